//! Connections and channels as Python sees them: thin faces of the engine's `Connection`.
//!
//! `Channel` is the base of `wiretask.ServerChannel`: what its `service()` asks for work, and what
//! tasks write to. Nothing here calls back into Python, but for making the objects it returns.
mod connection;
mod opening;
mod output;
mod work;

pub use connection::Connection;
pub use opening::{ChannelOpening, task_of};
pub(crate) use output::{Disconnected, disconnected, flush, write_all, write_file};
pub use work::WORK_NUMBERS;

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyReferenceError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use wiretask_engine::channel_run::Next;
use wiretask_engine::server::Server as EngineServer;
use wiretask_protocol::channel::CloseReason;

use self::connection::address;
use self::output::{try_write, write};
use self::work::to_python;
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};
use crate::wsgi::DisconnectProbe;

/// The base of `wiretask.ServerChannel`: its connection, and the output of its tasks.
#[pyclass(frozen, subclass, immutable_type, module = "wiretask._native")]
pub struct Channel {
    connection: OnceLock<Arc<PythonConnection>>,
    /// What environs have, once there was one.
    disconnect_probe: PyOnceLock<Py<DisconnectProbe>>,
}

impl Channel {
    fn bound(&self) -> PyResult<&Arc<PythonConnection>> {
        self.connection.get().ok_or_else(|| {
            PyRuntimeError::new_err("ServerChannel.__init__ has not been called by the subclass")
        })
    }

    /// The connection, unless it belongs to the parent of this process.
    fn own(&self) -> PyResult<Option<&Arc<PythonConnection>>> {
        Ok(Some(self.bound()?).filter(|connection| is_own(connection)))
    }
}

#[pymethods]
impl Channel {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { connection: OnceLock::new(), disconnect_probe: PyOnceLock::new() }
    }

    /// Ties channel and connection together; a connection that the server's own `accept` gave begins
    /// to be served.
    #[pyo3(signature = (connection, channel, /))]
    fn _bind(&self, py: Python<'_>, connection: &Connection, channel: Py<PyAny>) -> PyResult<()> {
        let connection = &connection.connection;
        if self.connection.set(Arc::clone(connection)).is_err() {
            return Err(PyRuntimeError::new_err("the channel has a connection already"));
        }
        if connection.attach_channel(channel).is_err() {
            if connection.is_closed() {
                return Err(disconnected(py));
            }
            return Err(PyRuntimeError::new_err("the connection has a channel already"));
        }
        if !connection.is_adopted() {
            EngineServer::adopt(connection);
        }
        Ok(())
    }

    /// Raises RuntimeError if `_bind` was not called.
    fn _check_bound(&self) -> PyResult<()> {
        self.bound().map(|_| ())
    }

    /// The connection.
    #[getter]
    fn _connection(&self) -> PyResult<Connection> {
        Ok(Connection { connection: Arc::clone(self.bound()?) })
    }

    /// The Python server.
    #[getter]
    fn _server<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        server_of(py, self.bound()?)
    }

    /// The address of the peer, in the form of the socket's family.
    #[getter]
    fn addr<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        address(py, self.bound()?.peer())
    }

    /// Whether the connection is closed.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.own()?.is_none_or(|connection| connection.is_closed()))
    }

    /// Whether the connection is closed, or closes as soon as its output is out.
    #[getter]
    fn _is_closing(&self) -> PyResult<bool> {
        Ok(self.own()?.is_none_or(|connection| connection.is_closing()))
    }

    /// Whether the peer has ended its input (it may still read the answer) or is gone.
    #[getter]
    fn client_disconnected(&self) -> PyResult<bool> {
        Ok(self.own()?.is_none_or(|connection| connection.is_peer_gone()))
    }

    /// Take bytes for the peer and return how many: all of them.
    ///
    /// What the task that runs writes leaves when it is done, on `flush`, or when `adj.send_bytes` wait; what
    /// another thread writes leaves at once.
    ///
    /// Raises:
    ///     TypeError: data is not bytes-like.
    ///     ClientDisconnectedError: the connection is closed, or closing.
    /// After failure: nothing of `data` will be sent, unless the connection was lost meanwhile.
    /// Threads: any. Blocking: for a short while when more than `adj.outbuf_high_watermark` bytes wait; longer
    /// only if what waits would be more than `adj.outbuf_overflow` and `adj.outbuf_spool_limit` together.
    #[pyo3(signature = (data))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        write(py, self.bound()?, data)
    }

    /// Take bytes for the peer without ever waiting for it: True. False, and nothing of `data` is taken, if more
    /// would wait than `adj.outbuf_overflow` and `adj.outbuf_spool_limit` together.
    ///
    /// For output to others than the peer of the running task, whose slowness is not to hold this task up.
    /// Otherwise like `write`; when none waits, `data` of any size is taken.
    ///
    /// Raises:
    ///     TypeError: data is not bytes-like.
    ///     ClientDisconnectedError: the connection is closed, or closing.
    /// Threads: any. Blocking: never for the peer; it may write to a temporary file.
    #[pyo3(signature = (data))]
    fn try_write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        try_write(py, self.bound()?, data)
    }

    /// Send what waits, as far as the socket takes it; with `block` wait until it has taken all.
    ///
    /// Raises:
    ///     ClientDisconnectedError: the connection is closed, or was lost.
    /// Threads: any. Blocking: only with `block`, until the peer has read or `adj.write_timeout_seconds` is over.
    #[pyo3(signature = (block = false))]
    fn flush(&self, py: Python<'_>, block: bool) -> PyResult<()> {
        flush(py, self.bound()?, block)
    }

    /// Serve no further request, and close when the output is out. Any thread; twice is harmless.
    fn close_when_done(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(connection) = self.own()? {
            gil::detached(py, Section::Send, || connection.close_when_done());
        }
        Ok(())
    }

    /// Close like `close_when_done`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.close_when_done(py)
    }

    /// Close at once; what has not been sent is dropped.
    fn _abort(&self) -> PyResult<()> {
        if let Some(connection) = self.own()? {
            connection.abort(CloseReason::Aborted);
        }
        Ok(())
    }

    /// The next thing to do for the worker that runs the channel: a request (of a WSGI server: an exchange, its environ
    /// and the file that the body is in, or None), bytes, a `WORK_` number, or `None`; then the output has been sent and
    /// the channel may be somebody else's.
    fn _next_work(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(connection) = self.own()? else { return Ok(None) };
        loop {
            let work = match connection.start_work() {
                Next::Work(work) => work,
                Next::Finish if connection.finish_and_hold() => return Ok(None),
                Next::Finish => match gil::detached(py, Section::Send, || connection.finish_work()) {
                    Some(work) => work,
                    None => return Ok(None),
                },
            };
            if let Some(work) = to_python(py, connection, &self.disconnect_probe, work)? {
                return Ok(Some(work));
            }
        }
    }

    /// Tells the loop that tasks were queued; false: the connection is closed, they will not run.
    fn _tasks_queued(&self) -> PyResult<bool> {
        Ok(self.own()?.is_some_and(|connection| connection.is_run_by_caller() || connection.tasks_queued()))
    }

    /// Tasks are left for a later turn; false: the connection is closed, they will not run.
    fn _tasks_left(&self) -> PyResult<bool> {
        Ok(self.bound()?.tasks_queued())
    }

    /// The worker's parser is in the middle of a request, or not.
    #[pyo3(signature = (has_begun, /))]
    fn _set_request_begun(&self, has_begun: bool) -> PyResult<()> {
        if let Some(connection) = self.own()? {
            connection.set_request_begun(has_begun);
        }
        Ok(())
    }

    /// More is to be done behind this task: the loop sends what is ready if that takes long.
    fn _flush_soon(&self) -> PyResult<()> {
        if let Some(connection) = self.own()? {
            connection.flush_soon();
        }
        Ok(())
    }

    /// The worker that runs the channel cannot go on: the connection closes.
    fn _give_up(&self) -> PyResult<()> {
        let Some(connection) = self.own()? else { return Ok(()) };
        match connection.current_run() {
            Some(run) if connection.is_run_by_caller() => connection.give_up_run(run),
            _ => connection.abort(CloseReason::Aborted),
        }
        Ok(())
    }

    /// The channel was queued and will not be run: the connection closes. Whether `handle_close` is due.
    fn _cancel_queued(&self) -> PyResult<bool> {
        Ok(self.own()?.is_some_and(|connection| connection.cancel_work()))
    }

    /// Whether a worker has the channel, or is to get it.
    #[getter]
    fn _is_queued(&self) -> PyResult<bool> {
        Ok(self.own()?.is_some_and(|connection| connection.current_run().is_some()))
    }
}

fn server_of<'py>(py: Python<'py>, connection: &Arc<PythonConnection>) -> PyResult<Bound<'py, PyAny>> {
    connection.core().host.server(py).ok_or_else(|| PyReferenceError::new_err("the server is gone"))
}

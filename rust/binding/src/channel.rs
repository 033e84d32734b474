//! Connections and channels as Python sees them: thin faces of the engine's `Connection`.
//!
//! `Channel` is the base of `wiretask.ServerChannel`: what its `service()` asks for work, and what
//! tasks write to. Nothing here calls back into Python, but for making the objects it returns.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyOSError, PyReferenceError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use wiretask_engine::connection::Next;
use wiretask_engine::output::{Room, Wrote};
use wiretask_engine::sent_file::SentFile;
use wiretask_engine::server::Server as EngineServer;
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::channel::{CloseReason, Work};
use wiretask_protocol::native::NativeConsumer;

use crate::consumers;
use crate::errors::{Fault, to_exception};
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};
use crate::wsgi::Exchange;

/// The connection was opened: `handle_connect`.
const WORK_OPENED: u8 = 1;
/// The peer will send no more.
const WORK_END_OF_INPUT: u8 = 2;
/// Tasks wait that were queued from outside.
const WORK_TASKS: u8 = 3;
/// The connection is gone: `handle_close`.
const WORK_CLOSED: u8 = 4;
/// The numbers that `Channel._next_work` gives, by their names in the module.
pub const WORK_NUMBERS: [(&str, u8); 4] = [
    ("WORK_OPENED", WORK_OPENED),
    ("WORK_END_OF_INPUT", WORK_END_OF_INPUT),
    ("WORK_TASKS", WORK_TASKS),
    ("WORK_CLOSED", WORK_CLOSED),
];

/// The connected socket of one peer; `wiretask.Connection` is its public face.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct Connection {
    pub(crate) connection: Arc<PythonConnection>,
}

impl Connection {
    /// The connection, unless it belongs to the parent of this process.
    fn own(&self) -> Option<&Arc<PythonConnection>> {
        Some(&self.connection).filter(|connection| is_own(connection))
    }
}

#[pymethods]
impl Connection {
    /// A number that no other open connection has.
    #[getter]
    fn identity(&self) -> usize {
        Arc::as_ptr(&self.connection).addr()
    }

    /// The address of the peer, in the form of the socket's family.
    #[getter]
    fn peer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        address(py, self.connection.peer())
    }

    /// Whether the connection is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.own().is_none_or(|connection| connection.is_closed())
    }

    /// Whether the peer has ended its input or is gone.
    #[getter]
    fn client_disconnected(&self) -> bool {
        self.own().is_none_or(|connection| connection.is_peer_gone())
    }

    /// Whether `pause_reading` is in force.
    #[getter]
    fn is_reading_paused(&self) -> bool {
        self.own().is_some_and(|connection| connection.is_input_held())
    }

    /// Read no more for now.
    fn pause_reading(&self) {
        if let Some(connection) = self.own() {
            connection.hold_input(true);
        }
    }

    /// Read again.
    fn resume_reading(&self) {
        if let Some(connection) = self.own() {
            connection.hold_input(false);
        }
    }

    /// Take bytes for the peer and return how many: all of them.
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        write(py, &self.connection, data)
    }

    /// Take bytes for the peer without waiting for it; whether they were taken.
    #[pyo3(signature = (data, /))]
    fn try_write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        try_write(py, &self.connection, data)
    }

    /// How many bytes wait for the peer to take them, wherever they are kept.
    #[getter]
    fn unsent_bytes(&self) -> usize {
        self.own().map_or(0, |connection| connection.unsent_bytes().0)
    }

    /// How many of them wait in the temporary file.
    #[getter]
    fn spooled_bytes(&self) -> usize {
        self.own().map_or(0, |connection| connection.unsent_bytes().1)
    }

    /// Send what waits, as far as the socket takes it; with `block` until it has taken all.
    #[pyo3(signature = (block, /))]
    fn flush(&self, py: Python<'_>, block: bool) -> PyResult<()> {
        flush(py, &self.connection, block)
    }

    /// Close when the output is out.
    fn close_when_done(&self, py: Python<'_>) {
        if let Some(connection) = self.own() {
            gil::detached(py, Section::Send, || connection.close_when_done());
            EngineServer::adopt_closing(connection);
        }
    }

    /// Close at once.
    fn abort(&self) {
        if let Some(connection) = self.own() {
            connection.abort(CloseReason::Aborted);
            EngineServer::adopt_closing(connection);
        }
    }

    /// Close, because the worker that was to run the channel never will; whether `handle_close` is due.
    fn cancel_queued(&self) -> bool {
        self.own().is_some_and(|connection| connection.cancel_work())
    }

    /// The descriptor, -1 once closed.
    fn fileno(&self) -> i32 {
        self.own().and_then(|connection| connection.socket()).map_or(-1, |socket| socket.as_raw_fd())
    }

    /// A new descriptor for the socket, close-on-exec, which the caller has to close.
    fn duplicate(&self, py: Python<'_>) -> PyResult<i32> {
        let Some(socket) = self.own().and_then(|connection| connection.socket()) else {
            return Err(PyOSError::new_err((libc::EBADF, "the connection is closed")));
        };
        let copy = socket.try_clone().map_err(|error| to_exception(py, Fault::Io(&error)))?;
        Ok(OwnedFd::from(copy).into_raw_fd())
    }
}

/// What is queued for a connection without a channel object; a Python subclass makes the object.
#[pyclass(frozen, subclass, immutable_type, module = "wiretask._native")]
pub struct ChannelOpening {
    connection: Arc<PythonConnection>,
}

#[pymethods]
impl ChannelOpening {
    #[new]
    #[pyo3(signature = (connection, /))]
    fn new(connection: &Connection) -> Self {
        Self { connection: Arc::clone(&connection.connection) }
    }

    /// The connection.
    #[getter]
    fn connection(&self) -> Connection {
        Connection { connection: Arc::clone(&self.connection) }
    }

    /// Whether a worker has the connection, or is to get it.
    #[getter]
    fn _is_queued(&self) -> bool {
        self.connection.current_run().is_some()
    }

    /// The Python server.
    #[getter]
    fn server<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        server_of(py, &self.connection)
    }
}

/// The base of `wiretask.ServerChannel`: its connection, and the output of its tasks.
#[pyclass(frozen, subclass, immutable_type, module = "wiretask._native")]
pub struct Channel {
    connection: OnceLock<Arc<PythonConnection>>,
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
        Self { connection: OnceLock::new() }
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

    /// The next thing to do for the worker that runs the channel: a request, bytes, a `WORK_` number,
    /// or `None`; then the output has been sent and the channel may be somebody else's.
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
            if let Some(work) = to_python(py, connection, work)? {
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

/// The ITask to queue for a connection: its channel, or what makes it.
pub fn task_of(py: Python<'_>, connection: &Arc<PythonConnection>) -> PyResult<Py<PyAny>> {
    if let Some(channel) = connection.with_channel(|channel| channel.map(|channel| channel.clone_ref(py))) {
        return Ok(channel);
    }
    let native = Connection { connection: Arc::clone(connection) };
    connection.core().host.opening_class.call1(py, (native,))
}

fn server_of<'py>(py: Python<'py>, connection: &Arc<PythonConnection>) -> PyResult<Bound<'py, PyAny>> {
    connection.core().host.server(py).ok_or_else(|| PyReferenceError::new_err("the server is gone"))
}

/// The work as the worker's Python sees it; `None`: there is nothing for Python to do.
fn to_python(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    work: Work<NativeConsumer>,
) -> PyResult<Option<Py<PyAny>>> {
    let number = match work {
        Work::Request(NativeConsumer::HttpRequest(request)) => {
            let Some(settings) = &connection.core().host.wsgi else {
                return consumers::wrap(py, NativeConsumer::HttpRequest(request)).map(Some);
            };
            return Exchange::begun_by(py, settings, connection, request);
        }
        Work::Request(consumer) => return consumers::wrap(py, consumer).map(Some),
        Work::Bytes(bytes) => return Ok(Some(PyBytes::new(py, &bytes).into_any().unbind())),
        Work::Opened => WORK_OPENED,
        Work::EndOfInput => WORK_END_OF_INPUT,
        Work::Tasks => WORK_TASKS,
        Work::Closed => {
            // The last of all work: the connection need not keep its channel any longer.
            drop(connection.detach_channel());
            WORK_CLOSED
        }
    };
    Ok(Some(number.into_pyobject(py)?.into_any().unbind()))
}

fn write(py: Python<'_>, connection: &Arc<PythonConnection>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
    if !is_own(connection) {
        return Err(disconnected(py));
    }
    let outcome = match data.cast::<PyBytes>() {
        Ok(bytes) => write_all(py, connection, bytes.as_bytes()).map(|()| bytes.as_bytes().len()),
        Err(_) => {
            let bytes = bytes_of(data)?;
            write_all(py, connection, &bytes).map(|()| bytes.len())
        }
    };
    outcome.map_err(|Disconnected| disconnected(py))
}

pub(crate) struct Disconnected;

pub(crate) fn write_all(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    data: &[u8],
) -> Result<(), Disconnected> {
    let mut deadline = None;
    loop {
        match connection.write(data) {
            Wrote::Buffered => return Ok(()),
            Wrote::ShouldSend => {
                gil::detached(py, Section::Send, || connection.send_now());
                return Ok(());
            }
            Wrote::ShouldWait => {
                let wait = || connection.hold_back(gil::exiting);
                return go_on(py, connection, wait, CloseReason::Aborted);
            }
            Wrote::Full => {
                // One limit for all its attempts, as others may write meanwhile.
                let deadline = *deadline.get_or_insert_with(|| connection.write_deadline());
                let wait = || connection.wait_for_room(Room::For(data.len()), deadline, gil::exiting);
                go_on(py, connection, wait, CloseReason::WriteTimeout)?;
            }
            Wrote::Closed => return Err(Disconnected),
        }
    }
}

/// Has a range of a file sent behind what was written.
pub(crate) fn write_file(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    file: &Arc<SentFile>,
    offset: u64,
    length: u64,
) -> Result<(), Disconnected> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut deadline = None;
    loop {
        match connection.write_file(file, offset, length) {
            Wrote::Closed => return Err(Disconnected),
            Wrote::Full => {
                let deadline = *deadline.get_or_insert_with(|| connection.write_deadline());
                let wait = || connection.wait_for_room(Room::For(0), deadline, gil::exiting);
                go_on(py, connection, wait, CloseReason::WriteTimeout)?;
            }
            Wrote::Buffered | Wrote::ShouldSend | Wrote::ShouldWait => {
                gil::detached(py, Section::Send, || connection.send_now());
                return Ok(());
            }
        }
    }
}

/// Waits for the peer to take output; if that ended in vain, or the process ends, the connection is closed.
fn go_on(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    wait: impl FnOnce() -> bool + Send,
    reason: CloseReason,
) -> Result<(), Disconnected> {
    if gil::wait(py, Section::OutputWait, wait) == Some(true) {
        return Ok(());
    }
    connection.abort(reason);
    Err(Disconnected)
}

/// Like `write`, but never waits for the peer: false, and nothing was taken, if as much waits as may.
fn try_write(py: Python<'_>, connection: &Arc<PythonConnection>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !is_own(connection) {
        return Err(disconnected(py));
    }
    let wrote = match data.cast::<PyBytes>() {
        Ok(bytes) => connection.write(bytes.as_bytes()),
        Err(_) => connection.write(&bytes_of(data)?),
    };
    match wrote {
        Wrote::Buffered => {}
        Wrote::ShouldSend | Wrote::ShouldWait => gil::detached(py, Section::Send, || connection.send_now()),
        Wrote::Full => return Ok(false),
        Wrote::Closed => return Err(disconnected(py)),
    }
    Ok(true)
}

/// A copy of any other bytes-like object than `bytes`.
fn bytes_of(data: &Bound<'_, PyAny>) -> PyResult<PyBackedBytes> {
    if let Ok(bytes) = data.extract::<PyBackedBytes>() {
        return Ok(bytes);
    }
    let view = pyo3::types::PyMemoryView::from(data).map_err(|_| {
        let kind = data.get_type();
        PyTypeError::new_err(format!("data is bytes, bytearray or memoryview, not {kind}"))
    })?;
    Ok(view.call_method0("tobytes")?.extract::<PyBackedBytes>()?)
}

pub(crate) fn flush(py: Python<'_>, connection: &Arc<PythonConnection>, block: bool) -> PyResult<()> {
    if !is_own(connection) {
        return Err(disconnected(py));
    }
    let is_open = if block {
        let wait = || connection.wait_for_room(Room::Empty, None, gil::exiting);
        let is_sent = gil::wait(py, Section::OutputWait, wait) == Some(true);
        if !is_sent {
            connection.abort(CloseReason::Aborted);
        }
        is_sent
    } else {
        gil::detached(py, Section::Send, || connection.send_now());
        !connection.is_closed()
    };
    if is_open { Ok(()) } else { Err(disconnected(py)) }
}

pub(crate) fn disconnected(py: Python<'_>) -> PyErr {
    to_exception(py, Fault::ClientDisconnected)
}

fn address<'py>(py: Python<'py>, peer: &PeerAddress) -> PyResult<Bound<'py, PyAny>> {
    Ok(match peer {
        PeerAddress::Inet(std::net::SocketAddr::V4(address)) => {
            (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()
        }
        PeerAddress::Inet(std::net::SocketAddr::V6(address)) => {
            let parts = (address.ip().to_string(), address.port(), address.flowinfo(), address.scope_id());
            parts.into_pyobject(py)?.into_any()
        }
        PeerAddress::Unix(path) => OsStr::from_bytes(path).into_pyobject(py)?.into_any(),
    })
}

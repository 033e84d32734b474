//! `PythonHost`: what the engine asks of its embedding, answered without the interpreter.
//!
//! A connection is queued with the worker pool of an unchanged `ThreadedTaskDispatcher`; for any other
//! dispatcher, and for everything else that needs Python, a chore goes to the housekeeper. Called on
//! loop threads, which never attach.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType, PyWeakrefReference};
use wiretask_engine::connection::Connection;
use wiretask_engine::log_event::{Level, LogEvent};
use wiretask_engine::server_core::{Host, ServerCore};
use wiretask_engine::worker_pool::WorkerPool;

use crate::channel;
use crate::gil;
use crate::housekeeper::{self, Chore};
use crate::tasks::QueuedTask;

/// A connection of a server that runs Python.
pub type PythonConnection = Connection<PythonHost>;

/// The embedding of one server.
pub struct PythonHost {
    /// The Python server; weak, so that a server nobody holds is collected and stops.
    pub server: Py<PyWeakrefReference>,
    /// The subclass of `ChannelOpening` that makes channels.
    pub opening_class: Py<PyType>,
    /// Where connections are queued; `None`: through `Server._queue_channel`, by the housekeeper.
    pub pool: Option<Arc<WorkerPool<QueuedTask>>>,
    /// The generation of processes the server was started in: after a fork its connections are the
    /// parent's, with locks that may be held for ever and descriptors that have become others'.
    pub generation: u64,
}

/// Whether a connection belongs to this process, and not to one that it was forked from.
pub fn is_own(connection: &PythonConnection) -> bool {
    connection.core().host.generation == gil::generation()
}

impl PythonHost {
    /// The Python server, unless it has been collected.
    pub fn server<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        use pyo3::types::PyWeakrefMethods;
        self.server.bind(py).upgrade()
    }
}

impl Host for PythonHost {
    type Channel = Py<PyAny>;

    fn submit(&self, connection: Arc<PythonConnection>) -> Result<(), Arc<PythonConnection>> {
        let Some(pool) = &self.pool else {
            housekeeper::post(call_server(Arc::clone(connection.core()), "_queue_channel", move |py| {
                channel::task_of(py, &connection)
            }));
            return Ok(());
        };
        match pool.push_quietly(QueuedTask::Connection(connection)) {
            Ok(_) => Ok(()),
            Err(refused) => match refused.item {
                QueuedTask::Connection(connection)
                    if connection.with_channel(|channel| channel.is_some()) =>
                {
                    // Tasks may wait in the channel: they are owed a `cancel`, which is Python's.
                    housekeeper::post(Chore::Made(Box::new(move |py| {
                        let task = channel::task_of(py, &connection)?;
                        Ok(("cancel", task).into_pyobject(py)?.unbind())
                    })));
                    Ok(())
                }
                QueuedTask::Connection(connection) => Err(connection),
                QueuedTask::Object(object) => {
                    self.release(object);
                    Ok(())
                }
            },
        }
    }

    fn wake_workers(&self) {
        if let Some(pool) = &self.pool {
            pool.wake();
        }
    }

    fn release(&self, channel: Py<PyAny>) {
        housekeeper::post(Chore::Drop(vec![channel]));
    }

    fn accept_ready(core: &Arc<ServerCore<Self>>, listener_index: usize) {
        housekeeper::post(call_server(Arc::clone(core), "_accept_ready", move |py| {
            Ok(listener_index.into_pyobject(py)?.into_any().unbind())
        }));
    }

    fn log(&self, level: Level, message: String) {
        housekeeper::post(Chore::Log(LogEvent { level, logger: "wiretask.server", message }));
    }
}

/// The chore of calling a method of the Python server with one argument; nothing if the server is gone.
fn call_server(
    core: Arc<ServerCore<PythonHost>>,
    method: &'static str,
    argument: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
) -> Chore {
    Chore::Made(Box::new(move |py| {
        let argument = argument(py)?;
        let callable = match core.host.server(py) {
            Some(server) => server.getattr(method)?,
            None => py.get_type::<PyTuple>().into_any(),
        };
        let arguments = if callable.is(py.get_type::<PyTuple>()) {
            PyTuple::empty(py)
        } else {
            PyTuple::new(py, [argument])?
        };
        Ok(("call", callable, arguments).into_pyobject(py)?.unbind())
    }))
}

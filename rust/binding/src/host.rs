//! `PythonHost`: what the engine asks of its embedding, answered without the interpreter.
//!
//! A connection is queued with the worker pool of an unchanged `ThreadedTaskDispatcher`; for any other
//! dispatcher, and for everything else that needs Python, a chore goes to the housekeeper. Called on
//! loop threads, which never attach.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType, PyWeakrefReference};
use wiretask_engine::connection::Connection;
use wiretask_engine::duty::Duty;
use wiretask_engine::log_event::{Level, LogEvent};
use wiretask_engine::server_core::{Host, ServerCore};
use wiretask_engine::worker_pool::WorkerPool;

use crate::channel;
use crate::gil;
use crate::housekeeper::{self, Chore};
use crate::tasks::QueuedTask;
use crate::wsgi::WsgiSettings;

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
    /// What the environs of a WSGI server begin as; `None`: requests are handed out as they are.
    pub wsgi: Option<WsgiSettings>,
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
            housekeeper::post(Chore::Made(Box::new(move |py| queue_by_server(py, &connection))));
            return Ok(());
        };
        let Err(refused) = pool.push_quietly(QueuedTask::Connection(connection)) else { return Ok(()) };
        match refused.item {
            // A channel has tasks to cancel, and may want to be told of the close.
            QueuedTask::Connection(connection) if connection.with_channel(|channel| channel.is_some()) => {
                housekeeper::post(Chore::Made(Box::new(move |py| {
                    Ok(("cancel", channel::task_of(py, &connection)?).into_pyobject(py)?.unbind())
                })));
                Ok(())
            }
            QueuedTask::Connection(connection) => Err(connection),
            QueuedTask::Object(object) => {
                self.release(object);
                Ok(())
            }
        }
    }

    fn wake_workers(&self) {
        if let Some(pool) = &self.pool {
            pool.wake();
        }
    }

    fn offer_duty(&self, duty: &Arc<dyn Duty>) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.offer_duty(duty))
    }

    fn end_duty(&self, duty: &Arc<dyn Duty>) {
        if let Some(pool) = &self.pool {
            pool.end_duty(duty);
        }
    }

    fn has_waiting_work(&self) -> bool {
        // What another dispatcher has to do nobody here knows.
        self.pool.as_ref().is_some_and(|pool| pool.pending() > 0)
    }

    fn release(&self, channel: Py<PyAny>) {
        housekeeper::post(Chore::Drop(vec![channel]));
    }

    fn accept_ready(core: &Arc<ServerCore<Self>>, listener_index: usize) {
        let core = Arc::clone(core);
        housekeeper::post(Chore::Made(Box::new(move |py| {
            Ok(match core.host.server(py) {
                Some(server) => {
                    ("call", server.getattr("_accept_ready")?, (listener_index,)).into_pyobject(py)?.unbind()
                }
                None => ("drop", PyList::empty(py)).into_pyobject(py)?.unbind(),
            })
        })));
    }

    fn log(&self, level: Level, message: String) {
        housekeeper::post(Chore::Log(LogEvent { level, logger: "wiretask.server", message }));
    }
}

/// The chore of having the Python server queue a connection; of cancelling it if the server is gone.
fn queue_by_server(py: Python<'_>, connection: &Arc<PythonConnection>) -> PyResult<Py<PyTuple>> {
    let task = channel::task_of(py, connection)?;
    Ok(match connection.core().host.server(py) {
        Some(server) => ("call", server.getattr("_queue_channel")?, (task,)).into_pyobject(py)?.unbind(),
        None => ("cancel", task).into_pyobject(py)?.unbind(),
    })
}

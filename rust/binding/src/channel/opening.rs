//! What is queued for a connection: its channel, or before there is one what makes it.
use std::sync::Arc;

use pyo3::prelude::*;

use super::connection::Connection;
use super::server_of;
use crate::host::PythonConnection;

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

/// The ITask to queue for a connection: its channel, or what makes it.
pub fn task_of(py: Python<'_>, connection: &Arc<PythonConnection>) -> PyResult<Py<PyAny>> {
    if let Some(channel) = connection.with_channel(|channel| channel.map(|channel| channel.clone_ref(py))) {
        return Ok(channel);
    }
    let native = Connection { connection: Arc::clone(connection) };
    connection.core().host.opening_class.call1(py, (native,))
}

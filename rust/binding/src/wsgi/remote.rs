//! What an environ says of the peer: made once for each connection, by its first request.
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;
use wiretask_engine::socket::PeerAddress;

use crate::host::{PythonConnection, is_own};

/// The peer of one connection, as its environs name it.
pub struct Remote {
    /// `REMOTE_ADDR`.
    pub host: Py<PyString>,
    /// `REMOTE_PORT`; a Unix socket has none.
    pub port: Option<Py<PyString>>,
    /// `wiretask.client_disconnected`.
    pub disconnected: Py<ClientDisconnected>,
}

impl Remote {
    /// The peer of `connection`.
    pub fn new(py: Python<'_>, connection: &Arc<PythonConnection>) -> PyResult<Self> {
        let (host, port) = match connection.peer() {
            PeerAddress::Inet(address) => (address.ip().to_string(), Some(address.port().to_string())),
            PeerAddress::Unix(_) => ("localhost".to_owned(), None),
        };
        Ok(Self {
            host: PyString::new(py, &host).unbind(),
            port: port.map(|port| PyString::new(py, &port).unbind()),
            disconnected: Py::new(py, ClientDisconnected { connection: Arc::clone(connection) })?,
        })
    }
}

/// Asks whether the client has gone, or sends nothing more: `environ["wiretask.client_disconnected"]()`.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct ClientDisconnected {
    connection: Arc<PythonConnection>,
}

#[pymethods]
impl ClientDisconnected {
    fn __call__(&self) -> bool {
        !is_own(&self.connection) || self.connection.is_peer_gone() || self.connection.is_closed()
    }
}

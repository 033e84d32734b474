//! `DisconnectProbe`: what an environ has as `wiretask.client_disconnected`, one for each connection.
use std::sync::Arc;

use pyo3::prelude::*;

use crate::host::{PythonConnection, is_own};

/// Tells an application whether its client is still there: `environ["wiretask.client_disconnected"]()`.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct DisconnectProbe {
    connection: Arc<PythonConnection>,
}

impl DisconnectProbe {
    /// The one of this connection.
    pub fn new(connection: &Arc<PythonConnection>) -> Self {
        Self { connection: Arc::clone(connection) }
    }
}

#[pymethods]
impl DisconnectProbe {
    /// Whether the client has gone, or sends nothing more. Threads: any, at any time.
    fn __call__(&self) -> bool {
        !is_own(&self.connection) || self.connection.is_peer_gone() || self.connection.is_closed()
    }
}

//! `DisconnectProbe`: what an environ has as `wiretask.client_disconnected`, one for each connection.
use std::sync::{Arc, Weak};

use pyo3::prelude::*;

use crate::host::{PythonConnection, is_own};

/// Tells an application whether its client is still there: `environ["wiretask.client_disconnected"]()`.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct DisconnectProbe {
    /// Weak: an environ may be kept for long.
    connection: Weak<PythonConnection>,
}

impl DisconnectProbe {
    /// The one of this connection.
    pub fn new(connection: &Arc<PythonConnection>) -> Self {
        Self { connection: Arc::downgrade(connection) }
    }
}

#[pymethods]
impl DisconnectProbe {
    /// Whether the client has gone, or sends nothing more. Threads: any, at any time.
    fn __call__(&self) -> bool {
        self.connection.upgrade().is_none_or(|connection| {
            !is_own(&connection) || connection.is_peer_gone() || connection.is_closed()
        })
    }
}

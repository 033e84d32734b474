//! The connected socket of one peer, as Python sees it.
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use wiretask_engine::server::Server as EngineServer;
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::channel::CloseReason;

use super::output::{flush, try_write, write};
use crate::errors::{Fault, to_exception};
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};

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

/// An address as the `socket` module has it.
pub(super) fn address<'py>(py: Python<'py>, peer: &PeerAddress) -> PyResult<Bound<'py, PyAny>> {
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

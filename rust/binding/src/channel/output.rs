//! Output for the peer of a connection, and when its writer waits. What tasks, channels and exchanges write goes here.
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use wiretask_engine::output::Wrote;
use wiretask_engine::sent_file::SentFile;
use wiretask_engine::waiting_writers::Room;
use wiretask_protocol::channel::CloseReason;

use crate::errors::{Fault, to_exception};
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};

/// Takes bytes for the peer and returns how many: all of them.
pub(super) fn write(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    data: &Bound<'_, PyAny>,
) -> PyResult<usize> {
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

/// The connection is closed, or closing.
pub(crate) struct Disconnected;

/// Takes all of `data` for the peer; waits while too much waits already.
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
pub(super) fn try_write(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    data: &Bound<'_, PyAny>,
) -> PyResult<bool> {
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

/// Sends what waits, as far as the socket takes it; with `block` until it has taken all.
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

/// The exception for whoever writes to a connection that takes nothing more.
pub(crate) fn disconnected(py: Python<'_>) -> PyErr {
    to_exception(py, Fault::ClientDisconnected)
}

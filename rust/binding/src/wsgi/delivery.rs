//! `Delivery`: the way of one answer to its client, and to the access log.
//!
//! Strategy: whatever is sent goes through here, so that nothing is from the child of a fork, and the log learns that
//! something was. It must not know what the bytes mean: `Answer` does.
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use wiretask_engine::sent_file::SentFile;
use wiretask_protocol::channel::CloseReason;

use super::access::Hit;
use super::whole_body::Parts;
use crate::channel::{Disconnected, disconnected, flush, write_all, write_file};
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};

/// The way of one answer.
pub struct Delivery {
    connection: Arc<PythonConnection>,
    /// For the access log; `None`: there is none.
    hit: Option<Hit>,
}

impl Delivery {
    /// The way to the client of `connection`, and to the log that has `hit`.
    pub fn new(connection: &Arc<PythonConnection>, hit: Option<Hit>) -> Self {
        Self { connection: Arc::clone(connection), hit }
    }

    /// The connection to the client.
    pub fn connection(&self) -> &Arc<PythonConnection> {
        &self.connection
    }

    /// Send `data`; waits while too much waits already.
    ///
    /// # Errors
    /// `ClientDisconnectedError`.
    pub fn send(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        if data.is_empty() {
            return Ok(());
        }
        if !is_own(&self.connection) {
            return Err(disconnected(py));
        }
        write_all(py, &self.connection, data).map_err(|Disconnected| disconnected(py))?;
        if let Some(hit) = &self.hit {
            hit.note_answer();
        }
        Ok(())
    }

    /// Look whether the client is still there, where there is nothing to send that would show it.
    ///
    /// # Errors
    /// `ClientDisconnectedError`.
    pub fn look(&self, py: Python<'_>) -> PyResult<()> {
        let connection = &self.connection;
        let is_gone = !is_own(connection) || connection.is_peer_gone() || connection.is_closed();
        if is_gone { Err(disconnected(py)) } else { Ok(()) }
    }

    /// Send `parts`, each by itself: a body of this length. How much of it was sent, and the error if that is not all.
    pub fn send_parts(&self, py: Python<'_>, parts: &Parts<'_, '_>, length: u64) -> (u64, PyResult<()>) {
        let mut missing_bytes = length;
        let mut sent = parts.each(|part| {
            // Other threads run meanwhile, and may change the list: its length has been announced.
            let part = &part[..part.len().min(usize::try_from(missing_bytes).unwrap_or(usize::MAX))];
            self.send(py, part)?;
            missing_bytes -= part.len() as u64;
            Ok(())
        });
        if missing_bytes > 0 && sent.is_ok() {
            sent = Err(PyValueError::new_err("the list that is the body was changed while it was sent"));
        }
        (length - missing_bytes, sent)
    }

    /// Send `length` bytes of a file from `offset` on.
    ///
    /// # Errors
    /// `ClientDisconnectedError`.
    pub fn send_file(&self, py: Python<'_>, file: &Arc<SentFile>, offset: u64, length: u64) -> PyResult<()> {
        if length == 0 {
            return Ok(());
        }
        write_file(py, &self.connection, file, offset, length).map_err(|Disconnected| disconnected(py))
    }

    /// Send what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// `ClientDisconnectedError`.
    pub fn flush(&self, py: Python<'_>) -> PyResult<()> {
        flush(py, &self.connection, false)
    }

    /// Close the connection once everything has been sent.
    pub fn close_when_done(&self, py: Python<'_>) {
        if is_own(&self.connection) {
            gil::detached(py, Section::Send, || self.connection.close_when_done());
        }
    }

    /// Close the connection so that the client cannot take its end for that of the answer.
    pub fn abort(&self) {
        if is_own(&self.connection) {
            self.connection.abort(CloseReason::Aborted);
        }
    }

    /// Note for the access log who asked, if that is not who is connected.
    pub fn note_client(&self, address: &str) {
        if let Some(hit) = &self.hit {
            hit.note_client(address);
        }
    }

    /// Tell the access log, if there is one, that the exchange is over; only the first call counts. `counted` gives
    /// the status of the answer and the length of its body.
    pub fn log_end(&self, is_complete: bool, counted: impl FnOnce() -> (u16, u64)) {
        if let Some(hit) = &self.hit {
            let (status, body_bytes) = counted();
            hit.record(&self.connection, status, body_bytes, is_complete);
        }
    }
}

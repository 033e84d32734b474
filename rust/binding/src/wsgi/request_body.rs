//! `RequestBody`: the body of a request whose application reads it while it comes.
//!
//! Strategy: the connection keeps what has come; here is what the answer depends on: how much has not been read, and
//! what the client did wrong. Read by one thread at a time; the counts need no lock. Knows nothing of the answer.
//! A body that has come whole is `Input`'s.
//! Source: RFC 9112 sections 6 and 9.3.
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use wiretask_protocol::channel::{BodyFailure, BodyPiece, MAX_DISCARDED_BYTES};
use wiretask_protocol::http::framing::BodyFraming;

use crate::channel::disconnected;
use crate::errors::{Fault, to_exception};
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};

/// The status for a client whose request does not come in time.
const REQUEST_TIMEOUT: u16 = 408;

/// The body of one request.
pub struct RequestBody {
    is_streamed: bool,
    /// Its length, if that is known beforehand; else 0.
    announced_bytes: u64,
    read_bytes: AtomicU64,
    /// The status for what the client did wrong in it; 0: nothing.
    fault_status: AtomicU16,
}

impl RequestBody {
    /// A body of which nothing has been read. Not `is_streamed`: it has come whole.
    pub fn new(is_streamed: bool, framing: BodyFraming) -> Self {
        let announced_bytes = match framing {
            BodyFraming::Length(length) => length,
            _ => 0,
        };
        let (read_bytes, fault_status) = (AtomicU64::new(0), AtomicU16::new(0));
        Self { is_streamed, announced_bytes, read_bytes, fault_status }
    }

    /// Whether it is to be taken from the connection, where it may still be coming.
    pub fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// The status that says what the client did wrong, once `receive` has raised; else `None`.
    pub fn fault_status(&self) -> Option<u16> {
        Some(self.fault_status.load(Ordering::Relaxed)).filter(|&status| status != 0)
    }

    /// Whether no other request can be read from `connection`, as this body stands before it: too much of it to be
    /// thrown away, or what cannot be read, or what the client was not asked for.
    pub fn is_in_the_way(&self, connection: &PythonConnection) -> bool {
        let unread_bytes = || self.announced_bytes.saturating_sub(self.read_bytes.load(Ordering::Relaxed));
        self.is_streamed
            && (unread_bytes() > MAX_DISCARDED_BYTES as u64
                || self.fault_status().is_some()
                || connection.is_body_unasked())
    }

    /// The next bytes from `connection`, at least one and `max_bytes` at most; none at its end.
    ///
    /// # Errors
    /// `ClientDisconnectedError`; `TimeoutError`: it does not come in time; `ProtocolError`: it is malformed, or too
    /// large.
    ///
    /// # Blocking
    /// Until some of it has come.
    pub fn receive<'py>(
        &self,
        py: Python<'py>,
        connection: &Arc<PythonConnection>,
        max_bytes: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        if !is_own(connection) {
            return Err(disconnected(py));
        }
        loop {
            match connection.take_body(max_bytes.max(1)) {
                BodyPiece::Bytes(bytes) => {
                    self.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    return Ok(PyBytes::new(py, &bytes));
                }
                BodyPiece::End => return Ok(PyBytes::new(py, b"")),
                BodyPiece::Failed(failure) => return Err(self.fail(py, failure)),
                BodyPiece::Wait { .. } => {
                    let wait = || connection.wait_for_body(gil::exiting);
                    if gil::wait(py, Section::OutputWait, wait).is_none() || gil::exiting() {
                        return Err(disconnected(py));
                    }
                }
            }
        }
    }

    /// Note why no more of it comes, and say so.
    fn fail(&self, py: Python<'_>, failure: BodyFailure) -> PyErr {
        match failure {
            BodyFailure::Stream(error) => {
                self.fault_status.store(error.kind.status().unwrap_or(0), Ordering::Relaxed);
                to_exception(py, Fault::Protocol(&error))
            }
            BodyFailure::Late => {
                self.fault_status.store(REQUEST_TIMEOUT, Ordering::Relaxed);
                PyTimeoutError::new_err("the body of the request does not come in time")
            }
            BodyFailure::Disconnected => disconnected(py),
        }
    }
}

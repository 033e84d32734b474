//! The reader of many messages as a Python class: blocks in, lists out.
//!
//! The mutex is held while a block is parsed and the values of its messages are made, which runs no Python code; the
//! list, which may wake the garbage collector, is made when it is free again.
use super::factory::shown;
use super::native_spec;
use super::stream_consumer::{each_piece, new_bytes};
use crate::errors::{Fault, to_exception};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wiretask_protocol::error::OutOfMemory;
use wiretask_protocol::message_reader::MessageReader as Reader;
use wiretask_protocol::native::ConsumerSpec;

/// For how many messages there is room at first.
const FEW_MESSAGES: usize = 64;

/// Reads message after message of one kind: takes blocks of the stream, and returns the messages that end in each.
///
/// The same messages, and in the end the same error, as from a fresh consumer for each message in turn, without an
/// object and a call for each. Between two blocks it holds the beginning of one message, within its limit.
///
/// Args:
///     parser_class: what a server takes as such: `Line`, `LengthPrefixed`, or what `configured()` of these two, of
///         `Delimiter` or of `FixedStream` made.
/// Raises:
///     TypeError: it is something else. HTTP messages are more than a value, so they are not read like this.
#[pyclass(module = "wiretask.consumers", frozen, immutable_type)]
pub struct MessageReader {
    spec: ConsumerSpec,
    reader: Mutex<Reader>,
}

impl MessageReader {
    /// # Locks
    /// The caller runs no Python code until the guard is gone.
    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl MessageReader {
    #[new]
    #[pyo3(signature = (parser_class, /), text_signature = "(parser_class, /)")]
    fn new(parser_class: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(spec) = native_spec(parser_class)?
            && let Some(reader) = Reader::new(&spec)
        {
            return Ok(Self { spec, reader: Mutex::new(reader) });
        }
        Err(PyTypeError::new_err(format!(
            "a MessageReader reads with Line, LengthPrefixed, or Line.configured(...) and the like of Delimiter, \
             FixedStream and LengthPrefixed, not with {}",
            parser_class.repr()?
        )))
    }

    /// Take the next bytes of the stream, and return the messages that they complete, in order.
    ///
    /// All of data is consumed, or all up to an `error`; after one nothing more is, and the list is empty.
    ///
    /// Args:
    ///     data: the next bytes, in order; may be empty; any length. It may be re-used after the call.
    /// Raises:
    ///     TypeError: data is not bytes-like or not contiguous. A peer's error never raises: see `error`.
    #[pyo3(signature = (data, /), text_signature = "($self, data, /)")]
    fn received_many<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = data.py();
        let mut values: Vec<Bound<'py, PyBytes>> = Vec::new();
        each_piece(data, |piece| {
            let mut reader = self.reader();
            reader.received(piece, |content| {
                if values.len() == values.capacity() {
                    make_room(&mut values)?;
                }
                values.push(new_bytes(py, content).map_err(|_| OutOfMemory)?);
                Ok(())
            });
            reader.error().is_none()
        })?;
        PyList::new(py, values)
    }

    /// The peer's fault as a `ProtocolError` (a new object each time), or `None`. Its `offset_bytes` counts from the
    /// beginning of the message that it is in.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.reader().error().copied()?;
        Some(to_exception(py, Fault::Protocol(&error)).into_value(py).into_any())
    }

    /// How many bytes of the stream were consumed in all; an `error` lies right before this place.
    #[getter]
    fn consumed_bytes(&self) -> u64 {
        self.reader().consumed_bytes()
    }

    /// Tell it that the peer will send nothing more; in the middle of a message that is an `error`.
    fn end_of_input(&self) {
        self.reader().end_of_input();
    }

    fn __repr__(&self) -> String {
        let reader = self.reader();
        let progress = match reader.error() {
            Some(error) => error.kind.name().to_owned(),
            None => format!("{} bytes consumed", reader.consumed_bytes()),
        };
        format!("<MessageReader({}) {progress}>", shown(&self.spec))
    }
}

/// Out of line, so that what is done for each message is little.
#[cold]
fn make_room<T>(values: &mut Vec<T>) -> Result<(), OutOfMemory> {
    values.try_reserve(values.len().max(FEW_MESSAGES)).map_err(|_| OutOfMemory)
}

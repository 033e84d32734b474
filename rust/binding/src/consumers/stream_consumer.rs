//! The base class of all native consumers: feeding, completion, error, value.
//!
//! The mutex is held for parsing and for copying a value only, never while Python code could run, so that it cannot be
//! part of a dead-lock, with a GIL or without.
use super::factory::arguments;
use crate::errors::{Fault, to_exception};
use pyo3::PyClass;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PySlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wiretask_protocol::consumer::StreamConsumer as _;
use wiretask_protocol::native::NativeConsumer;

/// How much of a buffer that may change under our hands is copied at a time.
const PIECE_BYTES: usize = 4096;

/// From this size on, a refused allocation of a value becomes a MemoryError (for one more pass over the memory).
const LARGE_VALUE_BYTES: usize = 1 << 20;

/// What every native stream consumer does; made only as one of its subclasses.
#[pyclass(module = "wiretask.consumers", subclass, frozen, immutable_type)]
pub struct StreamConsumer {
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) consumer: NativeConsumer,
    /// The value once it was asked for; the consumer's own copy is gone then.
    value: Option<Py<PyBytes>>,
}

impl StreamConsumer {
    pub(super) fn initializer<C>(consumer: NativeConsumer) -> PyClassInitializer<C>
    where
        C: PyClass<BaseType = Self> + Default,
    {
        Self::initializer_with(consumer, C::default())
    }

    pub(super) fn initializer_with<C>(consumer: NativeConsumer, subclass: C) -> PyClassInitializer<C>
    where
        C: PyClass<BaseType = Self>,
    {
        let state = Mutex::new(State { consumer, value: None });
        PyClassInitializer::from(Self { state }).add_subclass(subclass)
    }

    /// # Locks
    /// The caller runs no Python code until the guard is gone; so a plain lock is enough, and short.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl StreamConsumer {
    /// Take bytes from the stream and return how many were consumed.
    ///
    /// Args:
    ///     data: the next bytes, in order; may be empty; any length. It may be re-used after the call.
    /// Returns:
    ///     0..len(data) bytes. Less than len(data) only once `completed` is true.
    /// Raises:
    ///     TypeError: data is not bytes-like or not contiguous. A peer's error never raises: see `error`.
    pub(super) fn received(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut consumed = 0;
        each_piece(data, |piece| {
            let taken = self.state().consumer.received(piece);
            consumed += taken;
            taken == piece.len()
        })?;
        Ok(consumed)
    }

    /// Whether it has all it needs, or has failed.
    #[getter]
    fn completed(&self) -> bool {
        self.state().consumer.is_completed()
    }

    /// The peer's fault as a `ProtocolError` (a new object each time), or `None`.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.state().consumer.error().copied()?;
        Some(to_exception(py, Fault::Protocol(&error)).into_value(py).into_any())
    }

    /// The message's content, without terminator or prefix. RuntimeError: there is none, or an `error`.
    #[getter]
    pub(super) fn value(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let mut state = self.state();
        if let Some(value) = &state.value {
            return Ok(value.clone_ref(py));
        }
        if !state.consumer.is_completed() {
            return Err(PyRuntimeError::new_err("there is no value yet: the message is not complete"));
        }
        if let Some(error) = state.consumer.error() {
            return Err(PyRuntimeError::new_err(format!("there is no value: {error}")));
        }
        // Under the lock, so that two threads cannot both move it; making a bytes object runs no Python code.
        let value = new_bytes(py, state.consumer.value())?.unbind();
        drop(state.consumer.take_value());
        state.value = Some(value.clone_ref(py));
        Ok(value)
    }

    /// Whether the completed message asks for nothing: a blank line.
    #[getter]
    fn empty(&self) -> bool {
        self.state().consumer.is_empty()
    }

    /// Tell it that the peer will send nothing more.
    fn end_of_input(&self) {
        self.state().consumer.end_of_input();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        let state = slf.get().state();
        let arguments = arguments(&state.consumer.spec());
        let progress = match state.consumer.error() {
            Some(error) => error.kind.name(),
            None if state.consumer.is_completed() => "completed",
            None if state.consumer.is_started() => "started",
            None => "fresh",
        };
        drop(state);
        Ok(format!("<{name}({arguments}) {progress}>"))
    }
}

/// Call `take` with the bytes of any bytes-like object, until it returns false.
///
/// All at once if it is `bytes`. Anything else is copied in pieces, as another thread may write to it, and so that a
/// short message at the head of a long buffer does not cost the copy of all of it.
///
/// # Errors
/// `TypeError`: it is not bytes-like or not contiguous; nothing was taken then.
pub(super) fn each_piece(data: &Bound<'_, PyAny>, mut take: impl FnMut(&[u8]) -> bool) -> PyResult<()> {
    if let Ok(data) = data.cast::<PyBytes>() {
        take(data.as_bytes());
        return Ok(());
    }
    let py = data.py();
    let mut piece = [0; PIECE_BYTES];
    if let Ok(buffer) = PyBuffer::<u8>::get(data)
        && buffer.len_bytes() <= PIECE_BYTES
        && buffer.is_c_contiguous()
    {
        take(copied(py, buffer, &mut piece)?);
        return Ok(());
    }
    let view = byte_view(data)?;
    let len = view.len()?;
    for start in (0..len).step_by(PIECE_BYTES) {
        let end = len.min(start + PIECE_BYTES);
        let slice = PySlice::new(py, start as isize, end as isize, 1);
        if !take(copied(py, PyBuffer::get(&view.get_item(slice)?)?, &mut piece)?) {
            break;
        }
    }
    Ok(())
}

/// The bytes of a buffer that fits into `piece`, in it.
fn copied<'a>(py: Python<'_>, buffer: PyBuffer<u8>, piece: &'a mut [u8]) -> PyResult<&'a [u8]> {
    let piece = &mut piece[..buffer.len_bytes()];
    buffer.copy_to_slice(py, piece)?;
    Ok(piece)
}

/// The memory of a contiguous bytes-like object as a one-dimensional memoryview of bytes.
pub(super) fn byte_view<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let view = PyMemoryView::from(data).map_err(|refusal| {
        if !refusal.is_instance_of::<PyTypeError>(data.py()) {
            return refusal;
        }
        match data.get_type().name() {
            Ok(name) => PyTypeError::new_err(format!("bytes, bytearray or memoryview expected, not {name}")),
            Err(failure) => failure,
        }
    })?;
    // Fails with a TypeError of its own if the memory is not contiguous.
    view.call_method1(intern!(data.py(), "cast"), (intern!(data.py(), "B"),))
}

/// A bytes object; `MemoryError` instead of a panic where an allocation is likely to be refused.
#[inline]
pub(super) fn new_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    if bytes.len() < LARGE_VALUE_BYTES {
        return Ok(PyBytes::new(py, bytes));
    }
    new_large_bytes(py, bytes)
}

#[cold]
fn new_large_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, bytes.len(), |target| {
        target.copy_from_slice(bytes);
        Ok(())
    })
}

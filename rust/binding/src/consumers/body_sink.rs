//! Where a body goes that is not to be held: a callable, or something with `write`.
//!
//! Fed between two pieces of the stream, while no lock is held, so a sink may do what it likes but feed its own
//! consumer.
use super::stream_consumer::{StreamConsumer, new_bytes};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

const READY: u8 = 0;
const BUSY: u8 = 1;
const FAILED: u8 = 2;

/// The sink of one consumer; none by default.
#[derive(Default)]
pub(super) struct BodySink {
    /// What is called with each piece. Taken out by the garbage collector only.
    write: Mutex<Option<Py<PyAny>>>,
    is_there: bool,
    state: AtomicU8,
}

impl BodySink {
    /// # Errors
    /// `TypeError`: it is neither callable nor has a callable `write`.
    pub(super) fn new(sink: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(sink) = sink.filter(|sink| !sink.is_none()) else { return Ok(Self::default()) };
        let write = match sink.getattr_opt(intern!(sink.py(), "write"))? {
            Some(write) if write.is_callable() => write,
            _ if sink.is_callable() => sink.clone(),
            _ => {
                let text = format!(
                    "body_sink must be callable or have a write(), and {} is neither",
                    sink.get_type().name()?
                );
                return Err(PyTypeError::new_err(text));
            }
        };
        Ok(Self { write: Mutex::new(Some(write.unbind())), is_there: true, state: AtomicU8::new(READY) })
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Feed `consumer`, and the sink with what of the body came of it.
    ///
    /// # Errors
    /// Whatever the sink raises; after that the consumer is of no use. `RuntimeError` then, and if the sink feeds its
    /// own consumer.
    pub(super) fn received(&self, consumer: &StreamConsumer, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        if !self.is_there {
            return consumer.received(data);
        }
        match self.state.compare_exchange(READY, BUSY, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {}
            Err(BUSY) => return Err(PyRuntimeError::new_err("the body sink is at work for this consumer")),
            Err(_) => return Err(PyRuntimeError::new_err("the body sink has failed: the body is not whole")),
        }
        let result =
            consumer.received(data).and_then(|taken| self.pass_on(consumer, data.py()).map(|()| taken));
        self.state.store(if result.is_ok() { READY } else { FAILED }, Ordering::Release);
        result
    }

    fn pass_on(&self, consumer: &StreamConsumer, py: Python<'_>) -> PyResult<()> {
        let piece = consumer.state().consumer.take_value();
        if piece.is_empty() {
            return Ok(());
        }
        let write =
            self.write.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|sink| sink.clone_ref(py));
        if let Some(write) = write {
            write.call1(py, (new_bytes(py, &piece)?,))?;
        }
        Ok(())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Nobody holds the lock across Python code, so it is free whenever the collector runs.
        match self.write.try_lock() {
            Ok(write) => visit.call(&*write),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn clear(&self) {
        let sink = self.write.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(sink);
    }
}

//! The reactor of a loop of dispatchers, as `wiretask.watches` uses it.
//!
//! Strategy: a thin class over the engine's. In the child of a fork it does nothing and is leaked: its locks may be
//! held by threads that do not exist there.

use std::mem;
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::prelude::*;
use wiretask_engine::reactor::Reactor as EngineReactor;
use wiretask_engine::token::Token;

use crate::errors::{Fault, to_exception};
use crate::gil::{self, Section};

/// Those that have nothing but input, and others with what they have.
type ReadyLists = (Vec<u64>, Vec<(u64, i16)>);

/// Waits until descriptors are ready, level-triggered. Flags are those of `select.poll`.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct Reactor {
    /// `None` only while it is dropped.
    reactor: Option<EngineReactor>,
    generation: u64,
}

#[pymethods]
impl Reactor {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let reactor = EngineReactor::new().map_err(|error| to_exception(py, Fault::Io(&error)))?;
        Ok(Self { reactor: Some(reactor), generation: gil::generation() })
    }

    /// Whether it was made in this process, and not in one that this was forked from.
    #[getter]
    fn is_own(&self) -> bool {
        self.generation == gil::generation()
    }

    /// Watch a descriptor for these flags; the token under which it is reported.
    #[pyo3(signature = (descriptor, interest, /))]
    fn watch(&self, descriptor: i32, interest: i16) -> PyResult<u64> {
        let reactor = self.own().ok_or_else(|| {
            PyRuntimeError::new_err("the reactor belongs to a process that this one was forked from")
        })?;
        let token = reactor.watch(descriptor, interest);
        token.map(|token| token.0).ok_or_else(|| PyOverflowError::new_err("too many descriptors are watched"))
    }

    /// Watch for other flags; nothing happens if the token is not known any more.
    #[pyo3(signature = (token, interest, /))]
    fn change(&self, token: u64, interest: i16) {
        if let Some(reactor) = self.own() {
            reactor.change(Token(token), interest);
        }
    }

    /// Watch a descriptor no longer; before it is closed.
    #[pyo3(signature = (token, /))]
    fn forget(&self, token: u64) {
        if let Some(reactor) = self.own() {
            reactor.forget(Token(token));
        }
    }

    /// Wait, and return the tokens of what may be read, and (token, flags) of what is ready otherwise; `None` where it
    /// cannot: another thread waits, the process ends, or this is the child of a fork.
    #[pyo3(signature = (timeout_seconds=None, /))]
    fn wait(&self, py: Python<'_>, timeout_seconds: Option<f64>) -> PyResult<Option<ReadyLists>> {
        let Some(reactor) = self.own() else { return Ok(None) };
        // A time that does not fit is as good as none.
        let timeout = timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let mut ready = Vec::new();
        let outcome = gil::wait(py, Section::DispatcherWait, || reactor.wait(timeout, &mut ready));
        match outcome {
            Some(Ok(true)) => {
                let (readable, others): (Vec<_>, Vec<_>) =
                    ready.into_iter().partition(|(_, events)| *events == libc::POLLIN);
                let others = others.into_iter().map(|(token, events)| (token.0, events)).collect();
                Ok(Some((readable.into_iter().map(|(token, _)| token.0).collect(), others)))
            }
            Some(Ok(false)) | None => Ok(None),
            Some(Err(error)) => Err(to_exception(py, Fault::Io(&error))),
        }
    }

    /// How many descriptors are watched.
    fn __len__(&self) -> usize {
        self.own().map_or(0, EngineReactor::len)
    }
}

impl Reactor {
    fn own(&self) -> Option<&EngineReactor> {
        self.reactor.as_ref().filter(|_| self.is_own())
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        if !self.is_own() {
            mem::forget(self.reactor.take());
        }
    }
}

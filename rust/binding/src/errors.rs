//! The one place where an error of the Rust side becomes a Python exception.
//!
//! The classes live in `wiretask.errors` and are imported at their first use. Knows nothing of who failed.
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use std::io;
use wiretask_protocol::error::{ErrorClass, ErrorKind, ProtocolError};

/// Everything that can go wrong in Rust and be seen in Python.
#[derive(Debug)]
pub enum Fault<'a> {
    /// A peer's fault: the class follows the kind's.
    Protocol(&'a ProtocolError),
    /// As many tasks wait as may.
    TaskQueueFull {
        /// The limit that was reached.
        max_pending: usize,
    },
    /// The named dispatcher or server takes nothing more.
    ServerClosed {
        /// Which one.
        name: &'a str,
    },
    /// The client went away while something was sent to it.
    ClientDisconnected,
    /// The operating system refused.
    Io(&'a io::Error),
}

/// The Python exception for a fault, ready to be raised or to be handed out as a value.
///
/// # Errors
/// Never by design: if the exception's class cannot be imported or made, that failure is the answer.
pub fn to_exception(py: Python<'_>, fault: Fault<'_>) -> PyErr {
    match try_exception(py, fault) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// One error of each kind, as Python exceptions: for a test that must know them all.
#[pyfunction]
pub fn protocol_error_examples(py: Python<'_>) -> Vec<Py<PyAny>> {
    let example = |kind: &ErrorKind| {
        to_exception(py, Fault::Protocol(&ProtocolError::new(*kind, 0))).into_value(py).into_any()
    };
    ErrorKind::EXAMPLES.iter().map(example).collect()
}

fn try_exception<'py>(py: Python<'py>, fault: Fault<'_>) -> PyResult<Bound<'py, PyAny>> {
    match fault {
        Fault::Protocol(error) => protocol_exception(py, error),
        Fault::TaskQueueFull { max_pending } => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let text = format!("the task queue is full: {max_pending} tasks wait");
            CLASS.import(py, "wiretask.errors", "TaskQueueFullError")?.call1((text,))
        }
        Fault::ServerClosed { name } => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let text = format!("{name} is shut down");
            CLASS.import(py, "wiretask.errors", "ServerClosedError")?.call1((text,))
        }
        Fault::ClientDisconnected => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            CLASS.import(py, "wiretask.errors", "ClientDisconnectedError")?.call1(("the client has gone",))
        }
        // OSError picks its subclass by the number, which `PyErr::from(io::Error)` does not pass on.
        Fault::Io(error) => match error.raw_os_error() {
            Some(number) => {
                Ok(PyOSError::new_err((number, error.to_string())).into_value(py).into_bound(py).into_any())
            }
            None => Ok(PyOSError::new_err(error.to_string()).into_value(py).into_bound(py).into_any()),
        },
    }
}

fn protocol_exception<'py>(py: Python<'py>, error: &ProtocolError) -> PyResult<Bound<'py, PyAny>> {
    static MALFORMED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TOO_LARGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static UNSUPPORTED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TRUNCATED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (class, name) = match error.kind.class() {
        ErrorClass::Malformed => (&MALFORMED, "MalformedMessageError"),
        ErrorClass::TooLarge => (&TOO_LARGE, "MessageTooLargeError"),
        ErrorClass::Unsupported => (&UNSUPPORTED, "UnsupportedFeatureError"),
        ErrorClass::Truncated => (&TRUNCATED, "IncompleteMessageError"),
    };
    let properties = PyDict::new(py);
    properties.set_item("kind", error.kind.name())?;
    properties.set_item("offset_bytes", error.offset_bytes)?;
    properties.set_item("status", error.kind.status())?;
    if let Some(limit) = error.kind.limit_bytes() {
        properties.set_item("limit_bytes", limit)?;
    }
    if let Some(limit) = error.kind.limit_fields() {
        properties.set_item("limit_fields", limit)?;
    }
    class.import(py, "wiretask.errors", name)?.call((error.to_string(),), Some(&properties))
}

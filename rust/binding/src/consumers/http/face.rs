//! What the faces share: the body or its sink, the two mappings, and the methods that ask for them.
//!
//! PyO3 wants all methods of a class in one block, and a base class of the faces would be seen from Python. So the
//! block of each is written by a macro, which is given what only this class has.
use super::headers::HTTPHeaders;
use crate::consumers::body_sink::BodySink;
use crate::consumers::stream_consumer::StreamConsumer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};
use wiretask_protocol::consumer::StreamConsumer as _;
use wiretask_protocol::http::chunked::Chunked;
use wiretask_protocol::http::framing::BodyFraming;
use wiretask_protocol::http::grammar::Version;
use wiretask_protocol::http::message::{Head, Message};
use wiretask_protocol::native::NativeConsumer;

/// The usual limits, but for those arguments that are named.
macro_rules! limits {
    ($($argument:ident),+) => {{
        let mut limits = super::USUAL;
        $(limits.$argument = $argument.0;)+
        limits
    }};
}

/// The methods of a class whose objects take one body, and those of its own that are given.
macro_rules! content_face {
    ($class:ident { $($own:tt)* }) => {
        #[pymethods]
        impl $class {
            $($own)*

            /// Take bytes from the stream and return how many were consumed; what the sink raises passes through.
            fn received(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
                slf.get().extras.sink.received(slf.as_super().get(), data)
            }

            fn __traverse__(&self, visit: pyo3::gc::PyVisit<'_>) -> Result<(), pyo3::gc::PyTraverseError> {
                self.extras.sink.traverse(&visit)
            }

            fn __clear__(&self) {
                self.extras.sink.clear();
            }
        }
    };
}

/// The methods of a class whose objects take one message, head and body, and those of its own that are given.
macro_rules! message_face {
    ($class:ident holds $kind:ident($message:ident) { $($own:tt)* }) => {
        impl $class {
            fn ask<T>(slf: &Bound<'_, Self>, answer: impl FnOnce(&$message) -> T) -> PyResult<T> {
                let state = slf.as_super().get().state();
                match &state.consumer {
                    wiretask_protocol::native::NativeConsumer::$kind(message) => {
                        Ok(answer(super::face::whole(message.get())?))
                    }
                    _ => Err(super::face::not_this_kind()),
                }
            }
        }

        super::face::content_face! {
            $class {
                $($own)*

                /// Whether the head is whole, so that what it says can be asked. RuntimeError below: it is not.
                #[getter]
                fn head_completed(slf: &Bound<'_, Self>) -> bool {
                    Self::ask(slf, |_| ()).is_ok()
                }

                /// The head as it came.
                #[getter]
                fn head<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, pyo3::types::PyBytes>> {
                    Self::ask(slf, |message| pyo3::types::PyBytes::new(slf.py(), message.head().as_bytes()))
                }

                /// "1.1" or "1.0".
                #[getter]
                fn version<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
                    Self::ask(slf, |message| super::face::version(slf.py(), message.head().version()))
                }

                /// The fields of the head.
                #[getter]
                fn headers(slf: &Bound<'_, Self>) -> PyResult<Py<super::HTTPHeaders>> {
                    slf.get().extras.headers(slf.py(), || {
                        Self::ask(slf, |message| {
                            let head = message.head();
                            let lines = head.as_bytes().get(head.field_range()).unwrap_or_default();
                            super::HTTPHeaders::new(slf.py(), lines)
                        })
                    })
                }

                /// The fields after a chunked body; of no consequence for what the head said.
                #[getter]
                fn trailers(slf: &Bound<'_, Self>) -> PyResult<Py<super::HTTPHeaders>> {
                    slf.get().extras.trailers(slf.as_super().get(), slf.py())
                }

                /// The body. RuntimeError: it is not complete, there was an `error`, or it went to `body_sink`.
                #[getter]
                fn body(slf: &Bound<'_, Self>) -> PyResult<Py<pyo3::types::PyBytes>> {
                    slf.get().extras.body(slf.as_super().get(), slf.py())
                }

                /// The same as `body`.
                #[getter]
                fn value(slf: &Bound<'_, Self>) -> PyResult<Py<pyo3::types::PyBytes>> {
                    slf.get().extras.body(slf.as_super().get(), slf.py())
                }
            }
        }
    };
}

pub(super) use {content_face, limits, message_face};

/// What the classes have besides the consumer.
pub(super) struct Extras {
    pub(super) sink: BodySink,
    headers: PyOnceLock<Py<HTTPHeaders>>,
    trailers: PyOnceLock<Py<HTTPHeaders>>,
}

impl Default for Extras {
    fn default() -> Self {
        Self { sink: BodySink::default(), headers: PyOnceLock::new(), trailers: PyOnceLock::new() }
    }
}

impl Extras {
    pub(super) fn with_sink(sink: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { sink: BodySink::new(sink)?, ..Self::default() })
    }

    pub(super) fn body(&self, base: &StreamConsumer, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        if self.sink.is_there() {
            return Err(PyRuntimeError::new_err("the body is not held: it went to body_sink"));
        }
        base.value(py)
    }

    /// The fields of the head, which `make` reads the first time.
    pub(super) fn headers(
        &self,
        py: Python<'_>,
        make: impl FnOnce() -> PyResult<HTTPHeaders>,
    ) -> PyResult<Py<HTTPHeaders>> {
        let make = || make().and_then(|headers| Py::new(py, headers));
        Ok(self.headers.get_or_try_init(py, make)?.clone_ref(py))
    }

    pub(super) fn trailers(&self, base: &StreamConsumer, py: Python<'_>) -> PyResult<Py<HTTPHeaders>> {
        let make = || {
            let state = base.state();
            if !state.consumer.is_completed() {
                return Err(PyRuntimeError::new_err(
                    "there are no trailers yet: the message is not complete",
                ));
            }
            if let Some(error) = state.consumer.error() {
                return Err(PyRuntimeError::new_err(format!("there are no trailers: {error}")));
            }
            let lines = match &state.consumer {
                NativeConsumer::HttpRequest(request) => request.get().map(Message::trailer_bytes),
                NativeConsumer::HttpResponse(response) => response.get().map(Message::trailer_bytes),
                NativeConsumer::Chunked(chunked) => chunked.get().map(Chunked::trailer_bytes),
                _ => None,
            };
            Py::new(py, HTTPHeaders::new(py, lines.unwrap_or_default()))
        };
        Ok(self.trailers.get_or_try_init(py, make)?.clone_ref(py))
    }
}

/// The message, if its head is whole.
pub(super) fn whole<H: Head>(message: Option<&Message<H>>) -> PyResult<&Message<H>> {
    if let Some(message) = message
        && message.head().is_completed()
        && message.head().error().is_none()
    {
        return Ok(message);
    }
    Err(PyRuntimeError::new_err(match message.and_then(|message| message.error()) {
        Some(error) => format!("there is no head: {error}"),
        None => "there is no head yet: it is not complete".to_owned(),
    }))
}

/// What the constructor was told; its type is the reason why no other consumer can be in there.
pub(super) fn not_this_kind() -> PyErr {
    PyRuntimeError::new_err("this object holds another consumer")
}

pub(super) fn version(py: Python<'_>, version: Version) -> Bound<'_, PyString> {
    let name = version.name();
    PyString::new(py, name.strip_prefix("HTTP/").unwrap_or(name))
}

pub(super) fn content_length(framing: BodyFraming) -> Option<u64> {
    match framing {
        BodyFraming::Length(length) => Some(length),
        BodyFraming::Chunked | BodyFraming::UntilClose => None,
    }
}

//! The consumers of HTTP/1.1: requests, answers, chunked bodies.
//!
//! What a head says is asked of the native consumer each time; only the two mappings are kept.
use super::arguments::{
    MaxBodyBytes, MaxChunkExtensionBytes, MaxFields, MaxHeadBytes, MaxRequestLineBytes, MaxTrailerBytes,
    refuse_limit_as_adj, spec_error,
};
use super::body_sink::BodySink;
use super::common_names::shared;
use super::factory::ConsumerFactory;
use super::http_headers::HTTPHeaders;
use super::stream_consumer::StreamConsumer;
use crate::latin1::latin1;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyType};
use wiretask_protocol::consumer::StreamConsumer as _;
use wiretask_protocol::http::chunked::Chunked as ChunkedBody;
use wiretask_protocol::http::framing::BodyFraming;
use wiretask_protocol::http::message::{Head, Message};
use wiretask_protocol::http::request::Request;
use wiretask_protocol::http::response::Response;
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const USUAL: HttpLimits = HttpLimits::DEFAULT;

// The text signatures below spell these out.
const _: () = assert!(
    USUAL.max_head_bytes == 262_144
        && USUAL.max_request_line_bytes == 16_384
        && USUAL.max_fields == 128
        && USUAL.max_body_bytes == 1_073_741_824
        && USUAL.max_chunk_extension_bytes == 16_384
        && USUAL.max_trailer_bytes == 16_384
);

/// What the subclasses have besides the consumer.
struct Extras {
    sink: BodySink,
    headers: PyOnceLock<Py<HTTPHeaders>>,
    trailers: PyOnceLock<Py<HTTPHeaders>>,
}

impl Default for Extras {
    fn default() -> Self {
        Self { sink: BodySink::default(), headers: PyOnceLock::new(), trailers: PyOnceLock::new() }
    }
}

impl Extras {
    fn with_sink(sink: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { sink: BodySink::new(sink)?, ..Self::default() })
    }

    fn body(&self, base: &StreamConsumer, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        if self.sink.is_there() {
            return Err(PyRuntimeError::new_err("the body is not held: it went to body_sink"));
        }
        base.value(py)
    }

    fn trailers(&self, base: &StreamConsumer, py: Python<'_>) -> PyResult<Py<HTTPHeaders>> {
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
                NativeConsumer::Chunked(chunked) => chunked.get().map(ChunkedBody::trailer_bytes),
                _ => None,
            };
            Py::new(py, HTTPHeaders::new(py, lines.unwrap_or_default()))
        };
        Ok(self.trailers.get_or_try_init(py, make)?.clone_ref(py))
    }
}

/// The message, if its head is whole.
fn whole<H: Head>(message: Option<&Message<H>>) -> PyResult<&Message<H>> {
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
fn not_this_kind() -> PyErr {
    PyRuntimeError::new_err("this object holds another consumer")
}

/// A consumer of one HTTP/1.1 or HTTP/1.0 request: its head, and the body that the head announces.
///
/// Strict: what two parsers could read differently is an `error`. What the head says can be asked as soon as
/// `head_completed` is true; what a client sends is never decoded or normalised.
///
/// Args:
///     adj: what a server passes to its `parser_class`; ignored.
///     max_head_bytes: the longest head, from its first byte to the end of its empty line; at least 16.
///     max_request_line_bytes: the longest request line, its end included; at least 14.
///     max_fields: the most field lines of a head, and of trailers.
///     max_body_bytes: the longest body.
///     max_chunk_extension_bytes: the most that all chunk extensions of a body may take.
///     max_trailer_bytes: the longest trailers, their empty line included; at least 2.
///     body_sink: called (or its `write`) with each piece of the body, which is then not held; None: it is held.
/// Raises:
///     TypeError, ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct HTTPRequest {
    extras: Extras,
}

impl HTTPRequest {
    fn ask<T>(slf: &Bound<'_, Self>, answer: impl FnOnce(&Request) -> T) -> PyResult<T> {
        let state = slf.as_super().get().state();
        match &state.consumer {
            NativeConsumer::HttpRequest(request) => Ok(answer(whole(request.get())?)),
            _ => Err(not_this_kind()),
        }
    }

    fn text<'py>(
        slf: &Bound<'py, Self>,
        part: impl FnOnce(&Request) -> &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        Self::ask(slf, |request| latin1(slf.py(), part(request)))
    }
}

#[pymethods]
impl HTTPRequest {
    #[new]
    #[pyo3(signature = (adj=None, /, *, max_head_bytes=MaxHeadBytes(USUAL.max_head_bytes),
        max_request_line_bytes=MaxRequestLineBytes(USUAL.max_request_line_bytes),
        max_fields=MaxFields(USUAL.max_fields), max_body_bytes=MaxBodyBytes(USUAL.max_body_bytes),
        max_chunk_extension_bytes=MaxChunkExtensionBytes(USUAL.max_chunk_extension_bytes),
        max_trailer_bytes=MaxTrailerBytes(USUAL.max_trailer_bytes), body_sink=None))]
    #[pyo3(text_signature = "(adj=None, /, *, max_head_bytes=262144, max_request_line_bytes=16384, \
        max_fields=128, max_body_bytes=1073741824, max_chunk_extension_bytes=16384, \
        max_trailer_bytes=16384, body_sink=None)")]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of its own in Python")]
    fn new(
        adj: Option<&Bound<'_, PyAny>>,
        max_head_bytes: MaxHeadBytes,
        max_request_line_bytes: MaxRequestLineBytes,
        max_fields: MaxFields,
        max_body_bytes: MaxBodyBytes,
        max_chunk_extension_bytes: MaxChunkExtensionBytes,
        max_trailer_bytes: MaxTrailerBytes,
        body_sink: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "HTTPRequest(max_body_bytes=...)")?;
        let spec = ConsumerSpec::http_request(HttpLimits {
            max_head_bytes: max_head_bytes.0,
            max_request_line_bytes: max_request_line_bytes.0,
            max_fields: max_fields.0,
            max_body_bytes: max_body_bytes.0,
            max_chunk_extension_bytes: max_chunk_extension_bytes.0,
            max_trailer_bytes: max_trailer_bytes.0,
        })
        .map_err(spec_error)?;
        let extras = Extras::with_sink(body_sink)?;
        Ok(StreamConsumer::initializer_with(spec.new_consumer(), Self { extras }))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (*, max_head_bytes=MaxHeadBytes(USUAL.max_head_bytes),
        max_request_line_bytes=MaxRequestLineBytes(USUAL.max_request_line_bytes),
        max_fields=MaxFields(USUAL.max_fields), max_body_bytes=MaxBodyBytes(USUAL.max_body_bytes),
        max_chunk_extension_bytes=MaxChunkExtensionBytes(USUAL.max_chunk_extension_bytes),
        max_trailer_bytes=MaxTrailerBytes(USUAL.max_trailer_bytes)))]
    #[pyo3(
        text_signature = "($cls, *, max_head_bytes=262144, max_request_line_bytes=16384, max_fields=128, \
        max_body_bytes=1073741824, max_chunk_extension_bytes=16384, max_trailer_bytes=16384)"
    )]
    fn configured(
        cls: &Bound<'_, PyType>,
        max_head_bytes: MaxHeadBytes,
        max_request_line_bytes: MaxRequestLineBytes,
        max_fields: MaxFields,
        max_body_bytes: MaxBodyBytes,
        max_chunk_extension_bytes: MaxChunkExtensionBytes,
        max_trailer_bytes: MaxTrailerBytes,
    ) -> PyResult<ConsumerFactory> {
        let limits = HttpLimits {
            max_head_bytes: max_head_bytes.0,
            max_request_line_bytes: max_request_line_bytes.0,
            max_fields: max_fields.0,
            max_body_bytes: max_body_bytes.0,
            max_chunk_extension_bytes: max_chunk_extension_bytes.0,
            max_trailer_bytes: max_trailer_bytes.0,
        };
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::http_request(limits))
    }

    /// Take bytes from the stream and return how many were consumed; what the sink raises passes through.
    fn received(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        slf.get().extras.sink.received(slf.as_super().get(), data)
    }

    /// Whether the head is whole, so that what it says can be asked. RuntimeError below: it is not.
    #[getter]
    fn head_completed(slf: &Bound<'_, Self>) -> bool {
        Self::ask(slf, |_| ()).is_ok()
    }

    /// The head as it came.
    #[getter]
    fn head<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        Self::ask(slf, |request| PyBytes::new(slf.py(), request.head().as_bytes()))
    }

    /// The method, as it is written.
    #[getter]
    fn method<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::ask(slf, |request| shared(slf.py(), request.head().method()))
    }

    /// The target, as it is written.
    #[getter]
    fn target<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::text(slf, |request| request.head().target())
    }

    /// The path, not decoded; "*" for the whole server, "" for CONNECT.
    #[getter]
    fn path<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::text(slf, |request| request.head().path())
    }

    /// The query without its question mark, not decoded; "" if there is none.
    #[getter]
    fn query<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::text(slf, |request| request.head().query().unwrap_or_default())
    }

    /// Host and perhaps port that are asked: the target's, or else those of the Host field; "" if neither says.
    #[getter]
    fn host<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::text(slf, |request| request.head().host())
    }

    /// "1.1" or "1.0".
    #[getter]
    fn version<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::ask(slf, |request| version(slf.py(), request.head().version().name()))
    }

    /// The fields of the head.
    #[getter]
    fn headers(slf: &Bound<'_, Self>) -> PyResult<Py<HTTPHeaders>> {
        let make = || {
            Self::ask(slf, |request| {
                let head = request.head();
                HTTPHeaders::new(slf.py(), head.as_bytes().get(head.field_range()).unwrap_or_default())
            })
            .and_then(|headers| Py::new(slf.py(), headers))
        };
        Ok(slf.get().extras.headers.get_or_try_init(slf.py(), make)?.clone_ref(slf.py()))
    }

    /// The fields after a chunked body; of no consequence for what the head said.
    #[getter]
    fn trailers(slf: &Bound<'_, Self>) -> PyResult<Py<HTTPHeaders>> {
        slf.get().extras.trailers(slf.as_super().get(), slf.py())
    }

    /// The length of the body, if the head says it; None for a chunked body.
    #[getter]
    fn content_length(slf: &Bound<'_, Self>) -> PyResult<Option<u64>> {
        Self::ask(slf, |request| content_length(request.head().framing()))
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[getter]
    fn expects_continue(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::ask(slf, |request| request.head().expects_continue())
    }

    /// Whether another request may follow, as far as the client says. False after an error and before the head is whole.
    #[getter]
    fn keep_alive(slf: &Bound<'_, Self>) -> bool {
        Self::ask(slf, Message::keep_alive).unwrap_or(false)
    }

    /// The body. RuntimeError: it is not complete, there was an `error`, or it went to `body_sink`.
    #[getter]
    fn body(slf: &Bound<'_, Self>) -> PyResult<Py<PyBytes>> {
        slf.get().extras.body(slf.as_super().get(), slf.py())
    }

    /// The same as `body`.
    #[getter]
    fn value(slf: &Bound<'_, Self>) -> PyResult<Py<PyBytes>> {
        slf.get().extras.body(slf.as_super().get(), slf.py())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.extras.sink.traverse(&visit)
    }

    fn __clear__(&self) {
        self.extras.sink.clear();
    }
}

/// A consumer of one HTTP/1.1 or HTTP/1.0 answer, for clients and tests.
///
/// An interim answer (status 100 to 199) is an answer of its own. Where the head gives no length, the body ends with
/// the stream: `end_of_input()` completes it.
///
/// Args:
///     request_method: the method of the request: after HEAD there is no body, nor after a CONNECT that succeeds.
///     max_head_bytes, max_fields, max_body_bytes, max_chunk_extension_bytes, max_trailer_bytes, body_sink: as
///         those of `HTTPRequest`.
/// Raises:
///     TypeError, ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct HTTPResponse {
    extras: Extras,
}

impl HTTPResponse {
    fn ask<T>(slf: &Bound<'_, Self>, answer: impl FnOnce(&Response) -> T) -> PyResult<T> {
        let state = slf.as_super().get().state();
        match &state.consumer {
            NativeConsumer::HttpResponse(response) => Ok(answer(whole(response.get())?)),
            _ => Err(not_this_kind()),
        }
    }
}

#[pymethods]
impl HTTPResponse {
    #[new]
    #[pyo3(signature = (adj=None, /, *, request_method="GET", max_head_bytes=MaxHeadBytes(USUAL.max_head_bytes),
        max_fields=MaxFields(USUAL.max_fields), max_body_bytes=MaxBodyBytes(USUAL.max_body_bytes),
        max_chunk_extension_bytes=MaxChunkExtensionBytes(USUAL.max_chunk_extension_bytes),
        max_trailer_bytes=MaxTrailerBytes(USUAL.max_trailer_bytes), body_sink=None))]
    #[pyo3(text_signature = "(adj=None, /, *, request_method='GET', max_head_bytes=262144, max_fields=128, \
        max_body_bytes=1073741824, max_chunk_extension_bytes=16384, max_trailer_bytes=16384, body_sink=None)")]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of its own in Python")]
    fn new(
        adj: Option<&Bound<'_, PyAny>>,
        request_method: &str,
        max_head_bytes: MaxHeadBytes,
        max_fields: MaxFields,
        max_body_bytes: MaxBodyBytes,
        max_chunk_extension_bytes: MaxChunkExtensionBytes,
        max_trailer_bytes: MaxTrailerBytes,
        body_sink: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "HTTPResponse(max_body_bytes=...)")?;
        let limits = HttpLimits {
            max_head_bytes: max_head_bytes.0,
            max_fields: max_fields.0,
            max_body_bytes: max_body_bytes.0,
            max_chunk_extension_bytes: max_chunk_extension_bytes.0,
            max_trailer_bytes: max_trailer_bytes.0,
            ..USUAL
        };
        let spec = ConsumerSpec::http_response(limits, asked(request_method)).map_err(spec_error)?;
        let extras = Extras::with_sink(body_sink)?;
        Ok(StreamConsumer::initializer_with(spec.new_consumer(), Self { extras }))
    }

    /// A native factory of such consumers.
    #[classmethod]
    #[pyo3(signature = (*, request_method="GET", max_head_bytes=MaxHeadBytes(USUAL.max_head_bytes),
        max_fields=MaxFields(USUAL.max_fields), max_body_bytes=MaxBodyBytes(USUAL.max_body_bytes),
        max_chunk_extension_bytes=MaxChunkExtensionBytes(USUAL.max_chunk_extension_bytes),
        max_trailer_bytes=MaxTrailerBytes(USUAL.max_trailer_bytes)))]
    #[pyo3(text_signature = "($cls, *, request_method='GET', max_head_bytes=262144, max_fields=128, \
        max_body_bytes=1073741824, max_chunk_extension_bytes=16384, max_trailer_bytes=16384)")]
    fn configured(
        cls: &Bound<'_, PyType>,
        request_method: &str,
        max_head_bytes: MaxHeadBytes,
        max_fields: MaxFields,
        max_body_bytes: MaxBodyBytes,
        max_chunk_extension_bytes: MaxChunkExtensionBytes,
        max_trailer_bytes: MaxTrailerBytes,
    ) -> PyResult<ConsumerFactory> {
        let limits = HttpLimits {
            max_head_bytes: max_head_bytes.0,
            max_fields: max_fields.0,
            max_body_bytes: max_body_bytes.0,
            max_chunk_extension_bytes: max_chunk_extension_bytes.0,
            max_trailer_bytes: max_trailer_bytes.0,
            ..USUAL
        };
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::http_response(limits, asked(request_method)))
    }

    /// Take bytes from the stream and return how many were consumed; what the sink raises passes through.
    fn received(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        slf.get().extras.sink.received(slf.as_super().get(), data)
    }

    /// Whether the head is whole, so that what it says can be asked. RuntimeError below: it is not.
    #[getter]
    fn head_completed(slf: &Bound<'_, Self>) -> bool {
        Self::ask(slf, |_| ()).is_ok()
    }

    /// The head as it came.
    #[getter]
    fn head<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        Self::ask(slf, |response| PyBytes::new(slf.py(), response.head().as_bytes()))
    }

    /// The status, 100 to 999.
    #[getter]
    fn status(slf: &Bound<'_, Self>) -> PyResult<u16> {
        Self::ask(slf, |response| response.head().status())
    }

    /// The reason, as it is written.
    #[getter]
    fn reason<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::ask(slf, |response| latin1(slf.py(), response.head().reason()))
    }

    /// "1.1" or "1.0".
    #[getter]
    fn version<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyString>> {
        Self::ask(slf, |response| version(slf.py(), response.head().version().name()))
    }

    /// The fields of the head.
    #[getter]
    fn headers(slf: &Bound<'_, Self>) -> PyResult<Py<HTTPHeaders>> {
        let make = || {
            Self::ask(slf, |response| {
                let head = response.head();
                HTTPHeaders::new(slf.py(), head.as_bytes().get(head.field_range()).unwrap_or_default())
            })
            .and_then(|headers| Py::new(slf.py(), headers))
        };
        Ok(slf.get().extras.headers.get_or_try_init(slf.py(), make)?.clone_ref(slf.py()))
    }

    /// The fields after a chunked body; of no consequence for what the head said.
    #[getter]
    fn trailers(slf: &Bound<'_, Self>) -> PyResult<Py<HTTPHeaders>> {
        slf.get().extras.trailers(slf.as_super().get(), slf.py())
    }

    /// The length of the body, if it is known from the head; None for a chunked one, or one that ends with the stream.
    #[getter]
    fn content_length(slf: &Bound<'_, Self>) -> PyResult<Option<u64>> {
        Self::ask(slf, |response| content_length(response.head().framing()))
    }

    /// Whether another answer can come. False after an error and before the head is whole.
    #[getter]
    fn keep_alive(slf: &Bound<'_, Self>) -> bool {
        Self::ask(slf, Message::keep_alive).unwrap_or(false)
    }

    /// The body. RuntimeError: it is not complete, there was an `error`, or it went to `body_sink`.
    #[getter]
    fn body(slf: &Bound<'_, Self>) -> PyResult<Py<PyBytes>> {
        slf.get().extras.body(slf.as_super().get(), slf.py())
    }

    /// The same as `body`.
    #[getter]
    fn value(slf: &Bound<'_, Self>) -> PyResult<Py<PyBytes>> {
        slf.get().extras.body(slf.as_super().get(), slf.py())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.extras.sink.traverse(&visit)
    }

    fn __clear__(&self) {
        self.extras.sink.clear();
    }
}

/// A consumer of one body in the chunked coding of HTTP/1.1, trailers included.
///
/// Args:
///     adj: what a server passes to its `parser_class`; ignored.
///     max_body_bytes: the longest content.
///     max_fields, max_chunk_extension_bytes, max_trailer_bytes, body_sink: as those of `HTTPRequest`.
/// Raises:
///     TypeError, ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct Chunked {
    extras: Extras,
}

#[pymethods]
impl Chunked {
    #[new]
    #[pyo3(signature = (adj=None, /, *, max_body_bytes=MaxBodyBytes(USUAL.max_body_bytes),
        max_fields=MaxFields(USUAL.max_fields),
        max_chunk_extension_bytes=MaxChunkExtensionBytes(USUAL.max_chunk_extension_bytes),
        max_trailer_bytes=MaxTrailerBytes(USUAL.max_trailer_bytes), body_sink=None))]
    #[pyo3(text_signature = "(adj=None, /, *, max_body_bytes=1073741824, max_fields=128, \
        max_chunk_extension_bytes=16384, max_trailer_bytes=16384, body_sink=None)")]
    fn new(
        adj: Option<&Bound<'_, PyAny>>,
        max_body_bytes: MaxBodyBytes,
        max_fields: MaxFields,
        max_chunk_extension_bytes: MaxChunkExtensionBytes,
        max_trailer_bytes: MaxTrailerBytes,
        body_sink: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "Chunked(max_body_bytes=...)")?;
        let limits = HttpLimits {
            max_fields: max_fields.0,
            max_body_bytes: max_body_bytes.0,
            max_chunk_extension_bytes: max_chunk_extension_bytes.0,
            max_trailer_bytes: max_trailer_bytes.0,
            ..USUAL
        };
        let spec = ConsumerSpec::chunked(limits).map_err(spec_error)?;
        let extras = Extras::with_sink(body_sink)?;
        Ok(StreamConsumer::initializer_with(spec.new_consumer(), Self { extras }))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (*, max_body_bytes=MaxBodyBytes(USUAL.max_body_bytes),
        max_fields=MaxFields(USUAL.max_fields),
        max_chunk_extension_bytes=MaxChunkExtensionBytes(USUAL.max_chunk_extension_bytes),
        max_trailer_bytes=MaxTrailerBytes(USUAL.max_trailer_bytes)))]
    #[pyo3(text_signature = "($cls, *, max_body_bytes=1073741824, max_fields=128, \
        max_chunk_extension_bytes=16384, max_trailer_bytes=16384)")]
    fn configured(
        cls: &Bound<'_, PyType>,
        max_body_bytes: MaxBodyBytes,
        max_fields: MaxFields,
        max_chunk_extension_bytes: MaxChunkExtensionBytes,
        max_trailer_bytes: MaxTrailerBytes,
    ) -> PyResult<ConsumerFactory> {
        let limits = HttpLimits {
            max_fields: max_fields.0,
            max_body_bytes: max_body_bytes.0,
            max_chunk_extension_bytes: max_chunk_extension_bytes.0,
            max_trailer_bytes: max_trailer_bytes.0,
            ..USUAL
        };
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::chunked(limits))
    }

    /// Take bytes from the stream and return how many were consumed; what the sink raises passes through.
    fn received(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        slf.get().extras.sink.received(slf.as_super().get(), data)
    }

    /// The content. RuntimeError: it is not complete, there was an `error`, or it went to `body_sink`.
    #[getter]
    fn value(slf: &Bound<'_, Self>) -> PyResult<Py<PyBytes>> {
        slf.get().extras.body(slf.as_super().get(), slf.py())
    }

    /// The fields after the last chunk.
    #[getter]
    fn trailers(slf: &Bound<'_, Self>) -> PyResult<Py<HTTPHeaders>> {
        slf.get().extras.trailers(slf.as_super().get(), slf.py())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.extras.sink.traverse(&visit)
    }

    fn __clear__(&self) {
        self.extras.sink.clear();
    }
}

fn asked(request_method: &str) -> Asked {
    match request_method {
        "HEAD" => Asked::Head,
        "CONNECT" => Asked::Connect,
        _ => Asked::Other,
    }
}

fn version<'py>(py: Python<'py>, name: &str) -> Bound<'py, PyString> {
    PyString::new(py, name.strip_prefix("HTTP/").unwrap_or(name))
}

fn content_length(framing: BodyFraming) -> Option<u64> {
    match framing {
        BodyFraming::Length(length) => Some(length),
        BodyFraming::Chunked | BodyFraming::UntilClose => None,
    }
}

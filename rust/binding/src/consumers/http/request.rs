//! The face of a request: what its head says, and its body.
use super::USUAL;
use super::common_names::shared;
use super::face::{Extras, content_length, limits, message_face};
use crate::consumers::arguments::{
    MaxBodyBytes, MaxChunkExtensionBytes, MaxFields, MaxHeadBytes, MaxRequestLineBytes, MaxTrailerBytes,
    refuse_limit_as_adj, spec_error,
};
use crate::consumers::factory::ConsumerFactory;
use crate::consumers::stream_consumer::StreamConsumer;
use crate::latin1::latin1;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use wiretask_protocol::http::message::Message;
use wiretask_protocol::http::request::Request;
use wiretask_protocol::native::ConsumerSpec;

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
    fn text<'py>(
        slf: &Bound<'py, Self>,
        part: impl FnOnce(&Request) -> &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        Self::ask(slf, |request| latin1(slf.py(), part(request)))
    }
}

message_face! {
    HTTPRequest holds HttpRequest(Request) {
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
            let limits = limits!(
                max_head_bytes, max_request_line_bytes, max_fields, max_body_bytes, max_chunk_extension_bytes,
                max_trailer_bytes
            );
            let spec = ConsumerSpec::http_request(limits).map_err(spec_error)?;
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
            let limits = limits!(
                max_head_bytes, max_request_line_bytes, max_fields, max_body_bytes, max_chunk_extension_bytes,
                max_trailer_bytes
            );
            ConsumerFactory::new::<Self>(cls, ConsumerSpec::http_request(limits))
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
    }
}

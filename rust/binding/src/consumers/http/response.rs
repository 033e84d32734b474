//! The face of an answer: what its head says, and its body.
use super::USUAL;
use super::face::{Extras, content_length, limits, message_face};
use crate::consumers::arguments::{
    MaxBodyBytes, MaxChunkExtensionBytes, MaxFields, MaxHeadBytes, MaxTrailerBytes, refuse_limit_as_adj,
    spec_error,
};
use crate::consumers::factory::ConsumerFactory;
use crate::consumers::stream_consumer::StreamConsumer;
use crate::latin1::latin1;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use wiretask_protocol::http::message::Message;
use wiretask_protocol::http::response::Response;
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::native::ConsumerSpec;

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

message_face! {
    HTTPResponse holds HttpResponse(Response) {
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
            let limits = limits!(
                max_head_bytes, max_fields, max_body_bytes, max_chunk_extension_bytes, max_trailer_bytes
            );
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
            let limits = limits!(
                max_head_bytes, max_fields, max_body_bytes, max_chunk_extension_bytes, max_trailer_bytes
            );
            ConsumerFactory::new::<Self>(cls, ConsumerSpec::http_response(limits, asked(request_method)))
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
    }
}

fn asked(request_method: &str) -> Asked {
    match request_method {
        "HEAD" => Asked::Head,
        "CONNECT" => Asked::Connect,
        _ => Asked::Other,
    }
}

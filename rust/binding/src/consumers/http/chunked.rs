//! The face of a chunked body that stands alone: its content and its trailers.
use super::USUAL;
use super::face::{Extras, content_face, limits};
use super::headers::HTTPHeaders;
use crate::consumers::arguments::{
    MaxBodyBytes, MaxChunkExtensionBytes, MaxFields, MaxTrailerBytes, refuse_limit_as_adj, spec_error,
};
use crate::consumers::factory::ConsumerFactory;
use crate::consumers::stream_consumer::StreamConsumer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use wiretask_protocol::native::ConsumerSpec;

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

content_face! {
    Chunked {
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
            let limits = limits!(max_fields, max_body_bytes, max_chunk_extension_bytes, max_trailer_bytes);
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
            let limits = limits!(max_fields, max_body_bytes, max_chunk_extension_bytes, max_trailer_bytes);
            ConsumerFactory::new::<Self>(cls, ConsumerSpec::chunked(limits))
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
    }
}

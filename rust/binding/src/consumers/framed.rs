//! The consumers of messages that are framed by a length, a line's end or a delimiter.
use super::arguments::{Length, MaxBytes, delimiter_spec, length_format, refuse_limit_as_adj, spec_error};
use super::factory::ConsumerFactory;
use super::stream_consumer::StreamConsumer;
use pyo3::prelude::*;
use pyo3::types::PyType;
use wiretask_protocol::limits::{MAX_DELIMITED_BYTES, MAX_LINE_BYTES, MAX_PREFIXED_BYTES};
use wiretask_protocol::native::ConsumerSpec;

// The text signatures below spell these out.
const _: () =
    assert!(MAX_LINE_BYTES == 65_536 && MAX_DELIMITED_BYTES == 65_536 && MAX_PREFIXED_BYTES == 1_048_576);

/// A consumer of exactly n bytes; with n = 0 it is completed from the start.
///
/// Args:
///     n: the length in bytes, 0..2**64-1. Memory follows what arrives.
/// Raises:
///     TypeError, ValueError: n is no such number.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct FixedStream;

#[pymethods]
impl FixedStream {
    #[new]
    #[pyo3(signature = (n), text_signature = "(n)")]
    fn new(n: Length) -> PyClassInitializer<Self> {
        // Unlike a server's messages, a stream of no bytes makes sense on its own.
        StreamConsumer::initializer(ConsumerSpec::Fixed { length_bytes: n.0 }.new_consumer())
    }

    /// A native factory of such consumers, for use as `parser_class`.
    ///
    /// Raises:
    ///     ValueError: n is less than 1: there would be messages without end between two bytes.
    #[classmethod]
    #[pyo3(signature = (n), text_signature = "($cls, n)")]
    fn configured(cls: &Bound<'_, PyType>, n: Length) -> PyResult<ConsumerFactory> {
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::fixed(n.0))
    }
}

/// A consumer of one line: a line feed ends it, one carriage return before that is not content either.
///
/// A blank line is `empty`. A line too long is the error "line_too_long" as soon as max_bytes have come.
///
/// Args:
///     adj: what a server passes to its `parser_class`; ignored.
///     max_bytes: the longest line in bytes of the stream, terminator included; at least 1.
/// Raises:
///     TypeError: a number, str or bytes was given as `adj`: meant as a limit, no doubt.
///     ValueError: max_bytes is out of range.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct Line;

#[pymethods]
impl Line {
    #[new]
    #[pyo3(signature = (adj=None, /, *, max_bytes=MaxBytes(MAX_LINE_BYTES)))]
    #[pyo3(text_signature = "(adj=None, /, *, max_bytes=65536)")]
    fn new(adj: Option<&Bound<'_, PyAny>>, max_bytes: MaxBytes) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "Line(max_bytes=...)")?;
        let spec = ConsumerSpec::line(max_bytes.0).map_err(spec_error)?;
        Ok(StreamConsumer::initializer(spec.new_consumer()))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (*, max_bytes=MaxBytes(MAX_LINE_BYTES)), text_signature = "($cls, *, max_bytes=65536)")]
    fn configured(cls: &Bound<'_, PyType>, max_bytes: MaxBytes) -> PyResult<ConsumerFactory> {
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::line(max_bytes.0))
    }
}

/// A consumer of everything up to the first occurrence of a delimiter, which is not part of the value.
///
/// A message too long is the error "message_too_long" as soon as max_bytes have come. An empty message counts.
///
/// Args:
///     delimiter: 1 to 1024 bytes.
///     max_bytes: the longest message in bytes of the stream, delimiter included; at least its length.
/// Raises:
///     TypeError, ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct Delimiter;

#[pymethods]
impl Delimiter {
    #[new]
    #[pyo3(signature = (delimiter, *, max_bytes=MaxBytes(MAX_DELIMITED_BYTES)))]
    #[pyo3(text_signature = "(delimiter, *, max_bytes=65536)")]
    fn new(delimiter: &Bound<'_, PyAny>, max_bytes: MaxBytes) -> PyResult<PyClassInitializer<Self>> {
        let spec = delimiter_spec(delimiter, max_bytes)?.map_err(spec_error)?;
        Ok(StreamConsumer::initializer(spec.new_consumer()))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (delimiter, *, max_bytes=MaxBytes(MAX_DELIMITED_BYTES)))]
    #[pyo3(text_signature = "($cls, delimiter, *, max_bytes=65536)")]
    fn configured(
        cls: &Bound<'_, PyType>,
        delimiter: &Bound<'_, PyAny>,
        max_bytes: MaxBytes,
    ) -> PyResult<ConsumerFactory> {
        ConsumerFactory::new::<Self>(cls, delimiter_spec(delimiter, max_bytes)?)
    }
}

/// A consumer of a length and that many bytes; the length is not part of the value.
///
/// A length above the limit is the error "length_too_large" before any content is taken; a varint must be in
/// its shortest form ("length_overlong") and fit into 64 bits ("length_overflow").
///
/// Args:
///     adj: what a server passes to its `parser_class`; ignored.
///     size: how many bytes the length has: 1, 2, 4 or 8, or "varint" for unsigned LEB128 of at most 10 bytes.
///     byteorder: "big" or "little": the byte order of the length; means nothing for 1 byte and for a varint.
///     max_bytes: the longest message in bytes of the stream, length included; at least the length's own.
/// Raises:
///     TypeError: a number, str or bytes was given as `adj`: meant as a size, no doubt.
///     ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct LengthPrefixed;

#[pymethods]
impl LengthPrefixed {
    #[new]
    #[pyo3(signature = (adj=None, /, *, size=None, byteorder="big", max_bytes=MaxBytes(MAX_PREFIXED_BYTES)))]
    #[pyo3(text_signature = "(adj=None, /, *, size=4, byteorder='big', max_bytes=1048576)")]
    fn new(
        adj: Option<&Bound<'_, PyAny>>,
        size: Option<&Bound<'_, PyAny>>,
        byteorder: &str,
        max_bytes: MaxBytes,
    ) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "LengthPrefixed(size=..., max_bytes=...)")?;
        let format = length_format(size, byteorder)?;
        let spec = ConsumerSpec::length_prefixed(format, max_bytes.0).map_err(spec_error)?;
        Ok(StreamConsumer::initializer(spec.new_consumer()))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (*, size=None, byteorder="big", max_bytes=MaxBytes(MAX_PREFIXED_BYTES)))]
    #[pyo3(text_signature = "($cls, *, size=4, byteorder='big', max_bytes=1048576)")]
    fn configured(
        cls: &Bound<'_, PyType>,
        size: Option<&Bound<'_, PyAny>>,
        byteorder: &str,
        max_bytes: MaxBytes,
    ) -> PyResult<ConsumerFactory> {
        let format = length_format(size, byteorder)?;
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::length_prefixed(format, max_bytes.0))
    }
}

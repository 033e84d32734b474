//! The native stream consumers as Python classes, and the factories that a server's `parser_class` may be.
//!
//! One base class holds a `NativeConsumer` and has all methods; each kind is a subclass that adds its constructor, and
//! what else there is to ask. The classes are immutable: a patched method would not be seen by a server that parses
//! natively. Must not know servers, tasks or sockets.
mod arguments;
mod body_sink;
mod factory;
mod framed;
mod http;
mod message_reader;
mod stream_consumer;

pub use factory::ConsumerFactory;
pub use framed::{Delimiter, FixedStream, LengthPrefixed, Line};
pub use http::{Chunked, HTTPHeaders, HTTPRequest, HTTPResponse};
pub use message_reader::MessageReader;
pub use stream_consumer::StreamConsumer;

use arguments::default_length_prefixed;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{PyClass, PyTypeInfo};
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::limits::{HttpLimits, MAX_LINE_BYTES};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

/// The native consumer that `parser_class` stands for, or `None` if it is a Python parser.
///
/// Native are exactly the classes that need no arguments (`Line`, `LengthPrefixed`, those of HTTP) and every factory that
/// `configured()` made. A subclass is a Python parser: it may override anything.
///
/// # Errors
/// `TypeError` for `FixedStream` and `Delimiter` themselves, which cannot be called with an `Adjustments` alone.
pub fn native_spec(parser_class: &Bound<'_, PyAny>) -> PyResult<Option<ConsumerSpec>> {
    let py = parser_class.py();
    if let Ok(factory) = parser_class.cast_exact::<ConsumerFactory>() {
        return Ok(Some(factory.get().spec.clone()));
    }
    if parser_class.is(Line::type_object(py)) {
        return Ok(Some(ConsumerSpec::Line { max_bytes: MAX_LINE_BYTES }));
    }
    if parser_class.is(LengthPrefixed::type_object(py)) {
        return Ok(Some(default_length_prefixed()));
    }
    if parser_class.is(HTTPRequest::type_object(py)) {
        return Ok(Some(ConsumerSpec::HttpRequest { limits: HttpLimits::DEFAULT }));
    }
    if parser_class.is(HTTPResponse::type_object(py)) {
        return Ok(Some(ConsumerSpec::HttpResponse { limits: HttpLimits::DEFAULT, asked: Asked::Other }));
    }
    if parser_class.is(Chunked::type_object(py)) {
        return Ok(Some(ConsumerSpec::Chunked { limits: HttpLimits::DEFAULT }));
    }
    for (class, example) in [
        (FixedStream::type_object(py), "FixedStream.configured(n)"),
        (Delimiter::type_object(py), "Delimiter.configured(delimiter)"),
    ] {
        if parser_class.is(&class) {
            return Err(PyTypeError::new_err(format!("parser_class needs arguments: say {example}")));
        }
    }
    Ok(None)
}

/// The Python object around a consumer that was fed in Rust. Its value is copied once, when it is asked for.
///
/// # Errors
/// `MemoryError`.
pub fn wrap(py: Python<'_>, consumer: NativeConsumer) -> PyResult<Py<PyAny>> {
    let make = match &consumer {
        NativeConsumer::Fixed(_) => new_object::<FixedStream>,
        NativeConsumer::Line(_) => new_object::<Line>,
        NativeConsumer::Delimiter(_) => new_object::<Delimiter>,
        NativeConsumer::LengthPrefixed(_) => new_object::<LengthPrefixed>,
        NativeConsumer::Chunked(_) => new_object::<Chunked>,
        NativeConsumer::HttpRequest(_) => new_object::<HTTPRequest>,
        NativeConsumer::HttpResponse(_) => new_object::<HTTPResponse>,
    };
    make(py, consumer)
}

fn new_object<C>(py: Python<'_>, consumer: NativeConsumer) -> PyResult<Py<PyAny>>
where
    C: PyClass<BaseType = StreamConsumer> + Default,
{
    Ok(Py::new(py, StreamConsumer::initializer::<C>(consumer))?.into_any())
}

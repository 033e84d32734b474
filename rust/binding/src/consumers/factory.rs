//! The value of `configured()`: makes native consumers that are all alike.
use super::arguments::spec_error;
use super::stream_consumer::{byte_view, new_bytes};
use super::wrap;
use pyo3::PyTypeInfo;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, SpecError};

/// How much of a delimiter is shown.
const SHOWN_DELIMITER_BYTES: usize = 16;

/// Makes native consumers that are all alike; the value of `configured()`, callable as `parser_class(adj)`.
#[pyclass(module = "wiretask.consumers", frozen, eq, hash, immutable_type)]
#[derive(PartialEq, Eq, Hash)]
pub struct ConsumerFactory {
    pub(super) spec: ConsumerSpec,
}

impl ConsumerFactory {
    pub(super) fn new<C: PyTypeInfo>(
        cls: &Bound<'_, PyType>,
        spec: Result<ConsumerSpec, SpecError>,
    ) -> PyResult<Self> {
        if !cls.is(C::type_object(cls.py())) {
            let text = format!("configured() makes native consumers only, and {} is a subclass", cls.name()?);
            return Err(PyTypeError::new_err(text));
        }
        spec.map(|spec| Self { spec }).map_err(spec_error)
    }
}

#[pymethods]
impl ConsumerFactory {
    /// A fresh consumer; `adj` is ignored.
    #[pyo3(signature = (adj=None, /))]
    fn __call__(&self, py: Python<'_>, adj: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let _ignored = adj;
        wrap(py, self.spec.new_consumer())
    }

    /// The bytes from which one of its consumers reads `value` back.
    fn encode<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut encoded = Vec::new();
        let result = match value.cast::<PyBytes>() {
            Ok(bytes) => self.spec.encode(bytes.as_bytes(), &mut encoded),
            Err(_) => self.spec.encode(&PyBuffer::get(&byte_view(value)?)?.to_vec(py)?, &mut encoded),
        };
        result.map_err(|error| PyValueError::new_err(error.to_string()))?;
        new_bytes(py, &encoded)
    }

    fn __repr__(&self) -> String {
        shown(&self.spec)
    }
}

/// The factory as it would be written in Python.
pub(super) fn shown(spec: &ConsumerSpec) -> String {
    let name = match spec {
        ConsumerSpec::Fixed { .. } => "FixedStream",
        ConsumerSpec::Line { .. } => "Line",
        ConsumerSpec::Delimiter { .. } => "Delimiter",
        ConsumerSpec::LengthPrefixed { .. } => "LengthPrefixed",
        ConsumerSpec::Chunked { .. } => "Chunked",
        ConsumerSpec::HttpRequest { .. } => "HTTPRequest",
        ConsumerSpec::HttpResponse { .. } => "HTTPResponse",
    };
    format!("{name}.configured({})", arguments(spec))
}

/// The arguments that make such a consumer, as they would be written in Python.
pub(super) fn arguments(spec: &ConsumerSpec) -> String {
    match spec {
        ConsumerSpec::Fixed { length_bytes } => format!("n={length_bytes}"),
        ConsumerSpec::Line { max_bytes } => format!("max_bytes={max_bytes}"),
        ConsumerSpec::Delimiter { needle, max_bytes } => {
            let bytes = needle.as_bytes();
            let shown = &bytes[..bytes.len().min(SHOWN_DELIMITER_BYTES)];
            let cut = if shown.len() < bytes.len() { "..." } else { "" };
            format!("delimiter=b'{}'{cut}, max_bytes={max_bytes}", shown.escape_ascii())
        }
        ConsumerSpec::LengthPrefixed { format, max_bytes } => {
            let (size, order) = match format {
                LengthFormat::U8 => ("1", None),
                LengthFormat::U16(order) => ("2", Some(order)),
                LengthFormat::U32(order) => ("4", Some(order)),
                LengthFormat::U64(order) => ("8", Some(order)),
                LengthFormat::Varint => ("'varint'", None),
            };
            let order = match order {
                Some(ByteOrder::Big) => "byteorder='big', ",
                Some(ByteOrder::Little) => "byteorder='little', ",
                None => "",
            };
            format!("size={size}, {order}max_bytes={max_bytes}")
        }
        ConsumerSpec::Chunked { limits } | ConsumerSpec::HttpRequest { limits } => {
            limits_that_differ(limits, "")
        }
        ConsumerSpec::HttpResponse { limits, asked } => match asked {
            Asked::Other => limits_that_differ(limits, ""),
            Asked::Head => limits_that_differ(limits, "request_method='HEAD'"),
            Asked::Connect => limits_that_differ(limits, "request_method='CONNECT'"),
        },
    }
}

/// The limits that are not the default ones, behind another argument: there are too many to show them all.
fn limits_that_differ(limits: &HttpLimits, first: &str) -> String {
    let usual = HttpLimits::DEFAULT;
    let mut shown: Vec<String> = [
        ("max_head_bytes", limits.max_head_bytes, usual.max_head_bytes),
        ("max_request_line_bytes", limits.max_request_line_bytes, usual.max_request_line_bytes),
        ("max_fields", limits.max_fields, usual.max_fields),
        ("max_body_bytes", limits.max_body_bytes, usual.max_body_bytes),
        ("max_chunk_extension_bytes", limits.max_chunk_extension_bytes, usual.max_chunk_extension_bytes),
        ("max_trailer_bytes", limits.max_trailer_bytes, usual.max_trailer_bytes),
    ]
    .into_iter()
    .filter(|(_, limit, usual)| limit != usual)
    .map(|(name, limit, _)| format!("{name}={limit}"))
    .collect();
    if !first.is_empty() {
        shown.insert(0, first.to_owned());
    }
    shown.join(", ")
}

//! What the constructors take: numbers, delimiters, formats; and what they say when it is something else.
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyInt, PyString};
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::limits::MAX_PREFIXED_BYTES;
use wiretask_protocol::native::{ConsumerSpec, SpecError};

/// A type for each argument that is a number, so that an error names the argument.
macro_rules! number_arguments {
    ($($type:ident = $name:literal;)*) => {
        $(
            #[doc = concat!("The argument `", $name, "`.")]
            pub(super) struct $type(pub(super) u64);

            impl FromPyObject<'_, '_> for $type {
                type Error = PyErr;

                fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
                    whole_number($name, &value).map(Self)
                }
            }
        )*
    };
}

number_arguments! {
    MaxBytes = "max_bytes";
    Length = "n";
    MaxHeadBytes = "max_head_bytes";
    MaxRequestLineBytes = "max_request_line_bytes";
    MaxFields = "max_fields";
    MaxBodyBytes = "max_body_bytes";
    MaxChunkExtensionBytes = "max_chunk_extension_bytes";
    MaxTrailerBytes = "max_trailer_bytes";
}

fn whole_number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            return PyValueError::new_err(format!("{name} must be between 0 and 2**64 - 1, not {value}"));
        }
        match value.get_type().name() {
            Ok(kind) => PyTypeError::new_err(format!("{name} must be an int, not {kind}")),
            Err(failure) => failure,
        }
    })
}

pub(super) fn delimiter_spec(
    delimiter: &Bound<'_, PyAny>,
    max_bytes: MaxBytes,
) -> PyResult<Result<ConsumerSpec, SpecError>> {
    if let Ok(bytes) = delimiter.cast::<PyBytes>() {
        Ok(ConsumerSpec::delimiter(bytes.as_bytes(), max_bytes.0))
    } else if let Ok(bytes) = delimiter.cast::<PyByteArray>() {
        Ok(ConsumerSpec::delimiter(&bytes.to_vec(), max_bytes.0))
    } else {
        let text = format!("delimiter must be bytes, not {}", delimiter.get_type().name()?);
        Err(PyTypeError::new_err(text))
    }
}

pub(super) fn default_length_prefixed() -> ConsumerSpec {
    ConsumerSpec::LengthPrefixed { format: LengthFormat::U32(ByteOrder::Big), max_bytes: MAX_PREFIXED_BYTES }
}

pub(super) fn length_format(size: Option<&Bound<'_, PyAny>>, byteorder: &str) -> PyResult<LengthFormat> {
    let order = match byteorder {
        "big" => ByteOrder::Big,
        "little" => ByteOrder::Little,
        other => {
            return Err(PyValueError::new_err(format!("byteorder must be 'big' or 'little', not {other:?}")));
        }
    };
    let Some(size) = size else { return Ok(LengthFormat::U32(order)) };
    if let Ok(text) = size.cast::<PyString>() {
        if text == "varint" {
            return Ok(LengthFormat::Varint);
        }
    } else {
        match size.cast::<PyInt>().map(|number| number.extract::<u8>()) {
            Ok(Ok(1)) => return Ok(LengthFormat::U8),
            Ok(Ok(2)) => return Ok(LengthFormat::U16(order)),
            Ok(Ok(4)) => return Ok(LengthFormat::U32(order)),
            Ok(Ok(8)) => return Ok(LengthFormat::U64(order)),
            _ => {}
        }
    }
    Err(PyValueError::new_err(format!("size must be 1, 2, 4, 8 or 'varint', not {}", size.repr()?)))
}

/// A limit given by position would silently be taken for the `adj` that a server passes.
pub(super) fn refuse_limit_as_adj(adj: Option<&Bound<'_, PyAny>>, spelling: &str) -> PyResult<()> {
    let Some(adj) = adj else { return Ok(()) };
    if adj.is_instance_of::<PyInt>()
        || adj.is_instance_of::<PyFloat>()
        || adj.is_instance_of::<PyString>()
        || adj.is_instance_of::<PyBytes>()
    {
        let text =
            format!("limits are given by keyword: {spelling}; the first argument is a server's Adjustments");
        return Err(PyTypeError::new_err(text));
    }
    Ok(())
}

pub(super) fn spec_error(error: SpecError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

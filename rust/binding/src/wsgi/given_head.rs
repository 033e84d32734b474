//! The head of an answer as an application gives it to `start_response`: read at once, and every fault of it told.
//! Source: PEP 3333, "The start_response() Callable".
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use wiretask_protocol::http::answer::{AnswerFault, AnswerHead};

use super::spare_buffer;

/// Read what an application passes to `start_response`.
///
/// # Errors
/// `TypeError`, `ValueError`: something cannot be sent; the error names it.
pub fn read_head(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<AnswerHead> {
    let mut head = with_text(status, "the status", |text| {
        AnswerHead::new(text, spare_buffer::take())
            .map_err(|fault| refusal(fault, &String::from_utf8_lossy(text)))
    })?;
    let Ok(headers) = headers.cast::<PyList>() else {
        let kind = headers.get_type();
        return Err(PyTypeError::new_err(format!("headers are a list of (name, value), not {kind}")));
    };
    for pair in headers.iter() {
        let Some(pair) = pair.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2) else {
            return Err(PyTypeError::new_err("a header is a tuple (name, value)"));
        };
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        with_text(&name, "a header name", |name| {
            with_text(&value, "a header value", |value| {
                head.add(name, value).map_err(|fault| {
                    refusal(
                        fault,
                        &format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)),
                    )
                })
            })
        })?;
    }
    Ok(head)
}

/// Let `look` see a str as bytes, each character one.
fn with_text<R>(text: &Bound<'_, PyAny>, what: &str, look: impl FnOnce(&[u8]) -> PyResult<R>) -> PyResult<R> {
    let Ok(string) = text.cast::<PyString>() else {
        let kind = text.get_type();
        return Err(PyTypeError::new_err(format!("{what} is a str, not {kind}")));
    };
    let not_latin1 =
        || PyValueError::new_err(format!("{what} has characters in it that are not in Latin-1 (PEP 3333)"));
    let utf8 = string.to_str().map_err(|_| not_latin1())?;
    if utf8.is_ascii() {
        return look(utf8.as_bytes());
    }
    let bytes: Result<Vec<u8>, _> = utf8.chars().map(u8::try_from).collect();
    look(&bytes.map_err(|_| not_latin1())?)
}

/// The error for what cannot be sent.
pub fn refusal(fault: AnswerFault, what: &str) -> PyErr {
    PyValueError::new_err(format!("{fault}; not {what:?}"))
}

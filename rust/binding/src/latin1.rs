//! Bytes as a str, each byte one character: how HTTP's bytes are shown to Python, unchanged.
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The str with a character for each byte.
///
/// # Panics
/// If there is no memory for it, as everything in PyO3 that makes a str.
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    let length = bytes.len().cast_signed();
    // SAFETY: pointer and length are those of one slice, the token proves that this thread is attached, and what
    // comes back is a new reference to a str, or null.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length, std::ptr::null());
        Bound::from_owned_ptr(py, text).cast_into_unchecked()
    }
}

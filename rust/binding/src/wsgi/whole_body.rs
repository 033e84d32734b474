//! `Parts`: a body that an application gives whole, as most do.
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// A list or a tuple, exactly, of bytes, exactly: reading it runs no code of the application's.
pub enum Parts<'a, 'py> {
    /// A list.
    List(&'a Bound<'py, PyList>),
    /// A tuple.
    Tuple(&'a Bound<'py, PyTuple>),
}

impl<'a, 'py> Parts<'a, 'py> {
    /// The parts of `result`, if it is one of the two.
    pub fn of(result: &'a Bound<'py, PyAny>) -> Option<Self> {
        if let Ok(list) = result.cast_exact::<PyList>() {
            return Some(Self::List(list));
        }
        result.cast_exact::<PyTuple>().ok().map(Self::Tuple)
    }

    /// The length of all of them; `None` if one of them is not bytes.
    pub fn length(&self) -> Option<u64> {
        let mut length = 0;
        self.each(|part| {
            length += part.len() as u64;
            Ok(())
        })
        .ok()?;
        Some(length)
    }

    /// Let `look` see each part.
    ///
    /// # Errors
    /// The first of `look`; `TypeError` for a part that is not bytes.
    pub fn each(&self, mut look: impl FnMut(&[u8]) -> PyResult<()>) -> PyResult<()> {
        match self {
            Self::List(list) => list.iter().try_for_each(|part| look(exact_bytes(&part)?)),
            Self::Tuple(tuple) => tuple.iter().try_for_each(|part| look(exact_bytes(&part)?)),
        }
    }
}

fn exact_bytes<'a>(part: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    let Ok(bytes) = part.cast_exact::<PyBytes>() else {
        return Err(PyTypeError::new_err("not bytes"));
    };
    Ok(bytes.as_bytes())
}

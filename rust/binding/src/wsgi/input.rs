//! `Input`: what an environ has as `wsgi.input`, for a body that has come whole.
use std::io;
use std::os::fd::AsRawFd;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple, PyType};
use wiretask_engine::body_files::BodyFile;

/// The body of a request, to be read by the application.
pub struct Input {
    /// A `BytesIO`, or a `BodyReader` of a file.
    pub object: Py<PyAny>,
    /// How long it is.
    pub length: u64,
    is_file: bool,
}

impl Input {
    /// The body that is in `file`, or else the one in memory.
    ///
    /// # Errors
    /// `OSError`: no descriptor is left. `MemoryError`.
    pub fn new(py: Python<'_>, body: &[u8], file: Option<&BodyFile>) -> PyResult<Self> {
        Ok(match file {
            Some(file) => Self { object: open(py, file)?, length: file.length(), is_file: true },
            None => Self { object: in_memory(py, body)?, length: body.len() as u64, is_file: false },
        })
    }

    /// The file, if it is one: it is to be closed when the request has been answered.
    pub fn into_file(self) -> Option<Py<PyAny>> {
        self.is_file.then_some(self.object)
    }
}

fn in_memory(py: Python<'_>, body: &[u8]) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "io", "BytesIO")?;
    if body.is_empty() {
        return empty(class).map(Bound::unbind);
    }
    Ok(class.call1((PyBytes::new(py, body),))?.unbind())
}

/// `class.__new__(class)`, which is a whole `BytesIO` that is empty; its `__init__` would do nothing to it.
fn empty<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let arguments = PyTuple::empty(class.py());
    // SAFETY: the class is alive, so its fields can be read; `tp_new` is given the class itself, an empty tuple and no
    // dict, as it may be, and returns a new reference, or null with an exception.
    unsafe {
        let Some(new) = (*class.as_type_ptr()).tp_new else { return class.call0() };
        let object = new(class.as_type_ptr(), arguments.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(class.py(), object)
    }
}

fn open(py: Python<'_>, file: &BodyFile) -> PyResult<Py<PyAny>> {
    static RAW: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static READER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let descriptor = file.descriptor().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let copy = descriptor.try_clone_to_owned()?;
    let reader = READER.import(py, "wiretask.wsgi.body_reader", "BodyReader")?;
    let raw = RAW.import(py, "io", "FileIO")?.call1((copy.as_raw_fd(), "rb"))?;
    // It is closed with the object from here on.
    std::mem::forget(copy);
    Ok(reader.call1((raw,))?.unbind())
}

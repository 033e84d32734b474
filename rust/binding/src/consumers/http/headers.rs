//! The fields of a head as a mapping. Holds the bytes; strings are made when they are asked for.
use super::common_names::shared;
use crate::latin1::latin1;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString, PyTuple, PyType};
use std::collections::HashSet;
use wiretask_protocol::http::fields::Fields;

/// The fields of a head, in order, their names without regard to case. Immutable.
///
/// A mapping from each name (as it was first spelled) to its value; the values of a name that comes more than once are
/// joined with ", ". `lines` and `get_all` have them apart.
#[pyclass(module = "wiretask.consumers", frozen, mapping, immutable_type)]
pub struct HTTPHeaders {
    /// Checked field lines and the empty one after them.
    lines: Py<PyBytes>,
}

impl HTTPHeaders {
    pub(super) fn new(py: Python<'_>, lines: &[u8]) -> Self {
        Self { lines: PyBytes::new(py, lines).unbind() }
    }

    fn fields<'a>(&'a self, py: Python<'a>) -> Fields<'a> {
        Fields::new(self.lines.as_bytes(py))
    }

    fn values_of<'a>(&'a self, py: Python<'a>, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields(py).filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn joined<'py>(&self, name: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
        let py = name.py();
        let name = name.cast::<PyString>().ok()?.to_str().ok()?;
        let mut values = self.values_of(py, name.as_bytes());
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(latin1(py, first)) };
        let mut all = [first, second].join(&b", "[..]);
        for value in values {
            all.extend_from_slice(b", ");
            all.extend_from_slice(value);
        }
        Some(latin1(py, &all))
    }

    /// Each name once, as it was first spelled.
    fn names<'a>(&'a self, py: Python<'a>) -> impl Iterator<Item = &'a [u8]> {
        let mut seen = HashSet::new();
        self.fields(py).map(|(name, _)| name).filter(move |name| seen.insert(name.to_ascii_lowercase()))
    }
}

#[pymethods]
impl HTTPHeaders {
    /// The value of this name; KeyError: there is none.
    fn __getitem__<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        self.joined(name).ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        let Some(text) = name.cast::<PyString>().ok().and_then(|name| name.to_str().ok()) else {
            return false;
        };
        self.values_of(name.py(), text.as_bytes()).next().is_some()
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.names(py).count()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.names(py).map(|name| shared(py, name)).collect::<Vec<_>>())?.try_iter()
    }

    /// The value of this name, or the default.
    #[pyo3(signature = (name, default=None, /), text_signature = "($self, name, default=None, /)")]
    fn get<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        self.joined(name).map(Bound::into_any).or(default)
    }

    /// The values of this name, one for each line.
    #[pyo3(signature = (name, /))]
    fn get_all<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        PyList::new(
            py,
            self.values_of(py, name.as_bytes()).map(|value| latin1(py, value)).collect::<Vec<_>>(),
        )
    }

    /// Name and value of each line, in order.
    #[getter]
    fn lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pair = |(name, value)| PyTuple::new(py, [shared(py, name), latin1(py, value)]);
        PyList::new(py, self.fields(py).map(pair).collect::<PyResult<Vec<_>>>()?)
    }

    /// Name and value of each line as bytes, in order.
    #[getter]
    fn raw_lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = PyList::empty(py);
        for (name, value) in self.fields(py) {
            pairs.append(PyTuple::new(py, [PyBytes::new(py, name), PyBytes::new(py, value)])?)?;
        }
        Ok(pairs)
    }

    /// The bytes as they came.
    #[getter]
    fn raw(&self, py: Python<'_>) -> Py<PyBytes> {
        self.lines.clone_ref(py)
    }

    /// The names, as in any mapping.
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import(slf.py(), "collections.abc", "KeysView")?.call1((slf,))
    }

    /// The values, as in any mapping.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import(slf.py(), "collections.abc", "ValuesView")?.call1((slf,))
    }

    /// Names and values, as in any mapping.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import(slf.py(), "collections.abc", "ItemsView")?.call1((slf,))
    }

    /// Whether both have the same lines in the same order.
    fn __eq__<'py>(&self, py: Python<'py>, other: &Bound<'py, PyAny>) -> Option<bool> {
        let other = other.cast::<Self>().ok()?.get();
        let (mut ours, mut theirs) = (self.fields(py), other.fields(py));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Some(true),
                (Some((name, value)), Some((name2, value2)))
                    if name.eq_ignore_ascii_case(name2) && value == value2 => {}
                _ => return Some(false),
            }
        }
    }

    /// The names only: values are often secrets.
    fn __repr__(&self, py: Python<'_>) -> String {
        let names: Vec<_> = self.names(py).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        format!("<HTTPHeaders: {}>", names.join(", "))
    }
}

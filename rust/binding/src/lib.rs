//! The extension module `wiretask._native`.
use pyo3::prelude::*;

/// What `wiretask` keeps in Rust; import the public names from `wiretask`.
#[pymodule(gil_used = true)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

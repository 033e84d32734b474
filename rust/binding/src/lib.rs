//! The extension module `wiretask._native`.
use pyo3::prelude::*;

pub mod consumers;
pub mod errors;

/// What `wiretask` keeps in Rust; import the public names from `wiretask`.
#[pymodule(gil_used = true)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::consumers::{ConsumerFactory, Delimiter, FixedStream, LengthPrefixed, Line, StreamConsumer};
    #[pymodule_export]
    use crate::errors::protocol_error_examples;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

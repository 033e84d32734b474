//! The extension module `wiretask._native`.
use pyo3::prelude::*;

pub mod channel;
pub mod consumers;
mod date;
pub mod errors;
pub mod gil;
pub mod host;
pub mod housekeeper;
mod latin1;
pub mod loop_answers;
pub mod reactor;
pub mod server;
pub mod tasks;
pub mod workers;
pub mod wsgi;

/// What `wiretask` keeps in Rust; import the public names from `wiretask`.
#[pymodule(gil_used = true)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::channel::{Channel, ChannelOpening, Connection};
    #[pymodule_export]
    use crate::consumers::{
        Chunked, ConsumerFactory, Delimiter, FixedStream, HTTPHeaders, HTTPRequest, HTTPResponse,
        LengthPrefixed, Line, MessageReader, StreamConsumer,
    };
    #[pymodule_export]
    use crate::errors::protocol_error_examples;
    #[pymodule_export]
    use crate::gil::{begin_exit, claim_exit_hook, finish_exit, is_exiting, reset_after_fork};
    #[pymodule_export]
    use crate::housekeeper::{Mailroom, post_log};
    #[pymodule_export]
    use crate::reactor::Reactor;
    #[pymodule_export]
    use crate::server::{Server, close_descriptors_after_fork, is_native_parser};
    #[pymodule_export]
    use crate::tasks::{QueueWatch, TaskQueue};
    #[pymodule_export]
    use crate::workers::{Orphans, Worker};
    #[pymodule_export]
    use crate::wsgi::{DisconnectProbe, Exchange};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::gil::refuse_sub_interpreters(module.py())?;
        crate::housekeeper::make_mailbox();
        for (name, number) in crate::channel::WORK_NUMBERS {
            module.add(name, number)?;
        }
        // A measurement of a debug build would say nothing: tests/benchmarks asks.
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        module.add("__build_profile__", profile)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

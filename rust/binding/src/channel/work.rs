//! What a worker finds to do for a channel, as its Python sees it.
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use wiretask_protocol::channel::Work;
use wiretask_protocol::native::NativeConsumer;

use crate::consumers;
use crate::host::PythonConnection;
use crate::wsgi::{DisconnectProbe, Exchange};

/// The connection was opened: `handle_connect`.
const WORK_OPENED: u8 = 1;
/// The peer will send no more.
const WORK_END_OF_INPUT: u8 = 2;
/// Tasks wait that were queued from outside.
const WORK_TASKS: u8 = 3;
/// The connection is gone: `handle_close`.
const WORK_CLOSED: u8 = 4;
/// The numbers that `Channel._next_work` gives, by their names in the module.
pub const WORK_NUMBERS: [(&str, u8); 4] = [
    ("WORK_OPENED", WORK_OPENED),
    ("WORK_END_OF_INPUT", WORK_END_OF_INPUT),
    ("WORK_TASKS", WORK_TASKS),
    ("WORK_CLOSED", WORK_CLOSED),
];

/// The work as the worker's Python sees it; `None`: there is nothing for Python to do.
pub(super) fn to_python(
    py: Python<'_>,
    connection: &Arc<PythonConnection>,
    disconnect_probe: &PyOnceLock<Py<DisconnectProbe>>,
    work: Work<NativeConsumer>,
) -> PyResult<Option<Py<PyAny>>> {
    let number = match work {
        Work::Request(NativeConsumer::HttpRequest(request)) => {
            let Some(settings) = &connection.core().host.wsgi else {
                return consumers::wrap(py, NativeConsumer::HttpRequest(request)).map(Some);
            };
            let probe =
                disconnect_probe.get_or_try_init(py, || Py::new(py, DisconnectProbe::new(connection)))?;
            return Exchange::begun_by(py, settings, connection, probe, request);
        }
        Work::Request(consumer) => return consumers::wrap(py, consumer).map(Some),
        Work::Bytes(bytes) => return Ok(Some(PyBytes::new(py, &bytes).into_any().unbind())),
        Work::Opened => WORK_OPENED,
        Work::EndOfInput => WORK_END_OF_INPUT,
        Work::Tasks => WORK_TASKS,
        Work::Closed => {
            // The last of all work: the connection need not keep its channel any longer.
            drop(connection.detach_channel());
            WORK_CLOSED
        }
    };
    Ok(Some(number.into_pyobject(py)?.into_any().unbind()))
}

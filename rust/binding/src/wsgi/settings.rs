//! What all environs and answers of one server have in common.
use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use wiretask_engine::access_log::AccessLog;

use super::access;
use super::environ::BEGINNING;

/// The settings of a server that serves an application.
pub struct WsgiSettings {
    /// What every environ begins as, with a place for everything that each has.
    pub environ: Py<PyDict>,
    /// What `Server` says; empty: there is none.
    pub ident: Vec<u8>,
    /// The bytes of `SCRIPT_NAME`, which are cut off paths; none, or beginning with a slash and not ending with one.
    pub url_prefix: Vec<u8>,
    /// Nobody is trusted to say where requests were forwarded from: environs have none of these fields.
    pub drops_forwarding: bool,
    /// Listeners differ: `SERVER_PORT` is asked of each connection.
    pub ports_differ: bool,
    /// Applications read bodies while they come.
    pub streams_bodies: bool,
    /// Where requests are written down.
    pub access_log: Option<Arc<AccessLog>>,
}

impl WsgiSettings {
    /// Read them from the dict that Python passes, and open the access log of `server`.
    pub fn new(settings: &Bound<'_, PyDict>, server: &Bound<'_, PyAny>) -> PyResult<Self> {
        let item = |name: &str| settings.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_owned()));
        let environ = item("environ")?.cast_into::<PyDict>()?.copy()?;
        for (key, value) in BEGINNING {
            let text = |text| PyString::intern(environ.py(), text);
            environ.set_item(text(key), text(value))?;
        }
        Ok(Self {
            environ: environ.unbind(),
            ident: item("ident")?.cast_into::<PyString>()?.to_str()?.as_bytes().to_vec(),
            url_prefix: item("url_prefix")?.cast_into::<PyString>()?.to_str()?.as_bytes().to_vec(),
            drops_forwarding: item("drops_forwarding")?.extract()?,
            ports_differ: item("ports_differ")?.extract()?,
            streams_bodies: item("streams_bodies")?.extract()?,
            access_log: access::open(&item("access_log")?, server)?,
        })
    }
}

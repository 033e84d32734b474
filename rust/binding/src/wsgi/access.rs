//! The access log of a WSGI server: where it goes, and what it is told of an exchange.
//!
//! Strategy: an exchange keeps its request until its end, where the line is written from it, so that nothing is
//! copied on the way. Never touches a Python object but to read the settings.
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use pyo3::exceptions::{PyKeyError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyWeakrefMethods, PyWeakrefReference};
use wiretask_engine::access_log::{AccessLog, Asked, Format, Peer, Record, Target};
use wiretask_engine::log_event::LogEvent;
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::http::grammar::Version;
use wiretask_protocol::http::request::Request;

use crate::host::{PythonConnection, is_own};
use crate::housekeeper::{self, Chore};

/// The client went away before it got anything; the number is nginx's.
const CLIENT_GONE: u16 = 499;
/// No answer was made, though the client was there.
const FAILED: u16 = 500;

/// Open the log that the settings ask for, if they do.
///
/// # Errors
/// `OSError`: the file cannot be opened, or there are no threads left.
pub fn open(settings: &Bound<'_, PyAny>, server: &Bound<'_, PyAny>) -> PyResult<Option<Arc<AccessLog>>> {
    if settings.is_none() {
        return Ok(None);
    }
    let settings = settings.cast::<PyDict>()?;
    let item = |name: &str| settings.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_owned()));
    let format = if item("is_json")?.extract()? { Format::Json } else { Format::Combined };
    let path: Option<PathBuf> = item("path")?.extract()?;
    let target = match &path {
        None => collector(server)?,
        Some(path) if path.as_os_str() == "-" => Target::StandardOutput,
        Some(path) => Target::File(path.clone()),
    };
    let tell = |level, message| {
        housekeeper::post(Chore::Log(LogEvent { level, logger: "wiretask.server", message }));
    };
    match AccessLog::new(format, target, Box::new(tell)) {
        Ok(log) => Ok(Some(Arc::new(log))),
        Err(error) => {
            // The number is an attribute of its own.
            let told = error.to_string();
            let told = told.split(" (os error").next().unwrap_or_default();
            let reason = format!("cannot open the access log: {told}");
            Err(PyOSError::new_err((error.raw_os_error(), reason, path.map(PathBuf::into_os_string))))
        }
    }
}

/// Lines that the Python server hands to a logger, when the housekeeper tells it to.
fn collector(server: &Bound<'_, PyAny>) -> PyResult<Target> {
    let server = PyWeakrefReference::new(server)?.unbind();
    let server = Arc::new(server);
    Ok(Target::Collector(Box::new(move || {
        let server = Arc::clone(&server);
        housekeeper::post(Chore::Made(Box::new(move |py| {
            Ok(match server.bind(py).upgrade() {
                Some(server) => {
                    ("call", server.getattr("_deliver_access_lines")?, ()).into_pyobject(py)?.unbind()
                }
                None => ("drop", PyList::empty(py)).into_pyobject(py)?.unbind(),
            })
        })));
    })))
}

/// What is noted of an exchange while it lasts, for a server that has a log.
pub struct Hit {
    request: Box<Request>,
    begun: Option<Instant>,
    /// Who asked, where a proxy is trusted to say so.
    client: OnceLock<Box<[u8]>>,
    /// Something of the answer was handed over.
    is_answered: AtomicBool,
    is_recorded: AtomicBool,
}

impl Hit {
    /// The hit of a request whose exchange begins; `None`: there is no log.
    pub fn begun_by(log: Option<&Arc<AccessLog>>, request: Box<Request>) -> Option<Self> {
        let begun = log?.has_duration().then(Instant::now);
        let (is_answered, is_recorded) = (AtomicBool::new(false), AtomicBool::new(false));
        Some(Self { request, begun, client: OnceLock::new(), is_answered, is_recorded })
    }

    /// Note who asked, if that is not who is connected.
    pub fn note_client(&self, address: &str) {
        self.client.get_or_init(|| address.as_bytes().into());
    }

    /// A part of the answer was handed over.
    pub fn note_answer(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// The exchange is over. Only the first call counts.
    pub fn record(&self, connection: &PythonConnection, status: u16, body_bytes: u64, is_complete: bool) {
        // In the child of a fork the log is the parent's, and its lock may be held for ever.
        if !is_own(connection) || self.is_recorded.swap(true, Ordering::Relaxed) {
            return;
        }
        let wsgi = connection.core().host.wsgi.as_ref();
        let Some(log) = wsgi.and_then(|wsgi| wsgi.access_log.as_ref()) else { return };
        let (status, body_bytes) = if self.is_answered.load(Ordering::Relaxed) {
            (status, body_bytes)
        } else if connection.is_peer_gone() || connection.is_closed() {
            (CLIENT_GONE, 0)
        } else {
            (FAILED, 0)
        };
        let head = self.request.head();
        let protocol = match head.version() {
            Version::Http11 => "HTTP/1.1",
            Version::Http10 => "HTTP/1.0",
        };
        let mut record = Record {
            peer: self.client.get().map_or_else(|| peer_of(connection.peer()), |name| Peer::Named(name)),
            asked: Asked::Line { method: head.method(), target: head.target(), protocol },
            status,
            body_bytes,
            duration: self.begun.map(|begun| begun.elapsed()),
            is_complete,
            refusal: None,
            authorization: None,
            referer: None,
            user_agent: None,
        };
        for (name, value) in head.fields() {
            let (known, place): (&[u8], _) = match name.len() {
                7 => (b"referer", &mut record.referer),
                10 => (b"user-agent", &mut record.user_agent),
                13 => (b"authorization", &mut record.authorization),
                _ => continue,
            };
            if name.eq_ignore_ascii_case(known) {
                *place = Some(value);
            }
        }
        log.record(&record);
    }
}

/// A peer as the log names it.
pub fn peer_of(address: &PeerAddress) -> Peer<'static> {
    match address {
        PeerAddress::Inet(address) => Peer::Address(address.ip()),
        PeerAddress::Unix(_) => Peer::Unix,
    }
}

//! The environ of a request: what the server says, what the request line says, and the fields.
//!
//! Strings are those of PEP 3333: each character stands for a byte. Nothing is decoded but the path, once.
use std::borrow::Cow;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use wiretask_protocol::http::framing::BodyFraming;
use wiretask_protocol::http::grammar::Version;
use wiretask_protocol::http::request::Request;

use super::disconnect_probe::DisconnectProbe;
use super::header_entries::{entry_of, key_of};
use super::input::Input;
use super::remote::address_of;
use super::settings::WsgiSettings;
use crate::host::PythonConnection;
use crate::latin1::latin1;

/// The method, protocol and query that most requests have; what every environ begins with.
const USUAL_METHOD: &str = "GET";
const USUAL_PROTOCOL: &str = "HTTP/1.1";
const USUAL_QUERY: &str = "";

/// What every environ has of the request. A dict that has a key already takes a value for it in half the time, and
/// one that is right already need not be set at all.
pub const BEGINNING: [(&str, &str); 11] = [
    ("REQUEST_METHOD", USUAL_METHOD),
    ("PATH_INFO", ""),
    ("QUERY_STRING", USUAL_QUERY),
    ("SERVER_PROTOCOL", USUAL_PROTOCOL),
    ("REQUEST_URI", ""),
    ("REMOTE_ADDR", ""),
    ("REMOTE_HOST", ""),
    ("REMOTE_PORT", ""),
    ("wsgi.input", ""),
    ("wiretask.client_disconnected", ""),
    ("waitress.client_disconnected", ""),
];

/// Make the environ of `request`, whose body is `input`.
pub fn make<'py>(
    py: Python<'py>,
    settings: &WsgiSettings,
    connection: &Arc<PythonConnection>,
    disconnect_probe: &Py<DisconnectProbe>,
    request: &Request,
    input: &Input,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = settings.environ.bind(py).copy()?;
    let head = request.head();
    let protocol = match head.version() {
        Version::Http11 => "HTTP/1.1",
        Version::Http10 => "HTTP/1.0",
    };
    if protocol != USUAL_PROTOCOL {
        environ.set_item(intern!(py, "SERVER_PROTOCOL"), protocol)?;
    }
    if head.method() != USUAL_METHOD.as_bytes() {
        environ.set_item(intern!(py, "REQUEST_METHOD"), latin1(py, head.method()))?;
    }
    environ.set_item(intern!(py, "PATH_INFO"), path_info(py, head.path(), &settings.url_prefix))?;
    let query = head.query().unwrap_or_default();
    if query != USUAL_QUERY.as_bytes() {
        environ.set_item(intern!(py, "QUERY_STRING"), latin1(py, query))?;
    }
    environ.set_item(intern!(py, "REQUEST_URI"), text(py, head.target()))?;
    let (host, port) = address_of(py, connection.peer());
    environ.set_item(intern!(py, "REMOTE_ADDR"), &host)?;
    environ.set_item(intern!(py, "REMOTE_HOST"), host)?;
    match port {
        Some(port) => environ.set_item(intern!(py, "REMOTE_PORT"), port)?,
        None => environ.del_item(intern!(py, "REMOTE_PORT"))?,
    }
    if settings.ports_differ
        && let Some(port) = own_port(connection)
    {
        environ.set_item(intern!(py, "SERVER_PORT"), port.to_string())?;
    }
    set_fields(py, settings, &environ, request)?;
    if head.framing() == BodyFraming::Chunked && !settings.streams_bodies {
        // The application gets the body without its chunks, and can be told how long it is.
        environ.del_item(intern!(py, "HTTP_TRANSFER_ENCODING"))?;
        environ.set_item(intern!(py, "CONTENT_LENGTH"), input.length.to_string())?;
    }
    environ.set_item(intern!(py, "wsgi.input"), &input.object)?;
    environ.set_item(intern!(py, "wiretask.client_disconnected"), disconnect_probe)?;
    environ.set_item(intern!(py, "waitress.client_disconnected"), disconnect_probe)?;
    Ok(environ)
}

fn set_fields(
    py: Python<'_>,
    settings: &WsgiSettings,
    environ: &Bound<'_, PyDict>,
    request: &Request,
) -> PyResult<()> {
    let before = environ.len();
    let mut count = 0;
    let mut repeated: Vec<Py<PyString>> = Vec::new();
    for (name, value) in request.head().fields() {
        let Some((key, value)) = entry_of(py, name, value) else { continue };
        if key.is_forwarding && settings.drops_forwarding {
            continue;
        }
        environ.set_item(&key.name, value)?;
        if environ.len() == before + count {
            // It was there already.
            if !is_among(py, &repeated, &key.name)? {
                repeated.push(key.name);
            }
        } else {
            count += 1;
        }
    }
    // One line is made of all, and once, however many there are.
    for key in &repeated {
        environ.set_item(key, joined_values(py, request, key))?;
    }
    // The authority of an absolute target counts, not the field (RFC 9112 section 3.2.2).
    let host = request.head().host();
    if request.head().target().first() != Some(&b'/') && !host.is_empty() {
        environ.set_item(intern!(py, "HTTP_HOST"), latin1(py, host))?;
    }
    Ok(())
}

/// Whether one of the keys is the same str. Only those that are kept are the same object, too.
fn is_among(py: Python<'_>, keys: &[Py<PyString>], key: &Py<PyString>) -> PyResult<bool> {
    for known in keys {
        if known.bind(py).as_any().eq(key)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn joined_values<'py>(py: Python<'py>, request: &Request, key: &Py<PyString>) -> Bound<'py, PyString> {
    let key = key.bind(py).to_str().unwrap_or_default();
    let separator: &[u8] = if key == "HTTP_COOKIE" { b"; " } else { b", " };
    let mut all = Vec::new();
    for (name, value) in request.head().fields() {
        if key_of(py, name).is_some_and(|other| other.name.bind(py) == key) {
            if !all.is_empty() {
                all.extend_from_slice(separator);
            }
            all.extend_from_slice(value);
        }
    }
    latin1(py, &all)
}

/// `PATH_INFO`: the path without the prefix, percent-decoded.
fn path_info<'py>(py: Python<'py>, path: &[u8], prefix: &[u8]) -> Bound<'py, PyString> {
    let decoded: Cow<'_, [u8]> = percent_encoding::percent_decode(path).into();
    let rest = match decoded.strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() && (rest.is_empty() || rest.first() == Some(&b'/')) => rest,
        _ => &decoded[..],
    };
    text(py, rest)
}

/// Bytes as a str; the commonest ones are not made anew.
fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match bytes {
        b"" => intern!(py, "").clone(),
        b"/" => intern!(py, "/").clone(),
        _ => latin1(py, bytes),
    }
}

/// The port of our side.
fn own_port(connection: &Arc<PythonConnection>) -> Option<u16> {
    connection.socket()?.local_addr().ok()?.as_socket().map(|address| address.port())
}

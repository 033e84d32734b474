//! The environ of a request: what the server says, what the request line says, and the fields.
//!
//! Strings are those of PEP 3333: each character stands for a byte. Nothing is decoded but the path, once.
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use wiretask_engine::body_files::BodyFile;
use wiretask_protocol::http::framing::BodyFraming;
use wiretask_protocol::http::grammar::Version;
use wiretask_protocol::http::request::Request;

use super::header_keys::key_of;
use super::remote::address_of;
use super::settings::WsgiSettings;
use crate::host::PythonConnection;
use crate::latin1::latin1;

/// What is set in all of them. A dict that has a key already takes a value for it in half the time.
pub const OWN_KEYS: [&str; 11] = [
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_PROTOCOL",
    "REQUEST_URI",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_PORT",
    "wsgi.input",
    "wiretask.client_disconnected",
    "waitress.client_disconnected",
];

/// Make the environ of `request`, whose body is moved out. A body that is in a file is `opened`, for the caller to
/// close when the request has been answered.
pub fn make<'py>(
    py: Python<'py>,
    settings: &WsgiSettings,
    connection: &Arc<PythonConnection>,
    request: &mut Request,
    body_file: Option<&BodyFile>,
    opened: &mut Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = settings.environ.bind(py).copy()?;
    let body = request.take_value();
    let head = request.head();
    let protocol = match head.version() {
        Version::Http11 => intern!(py, "HTTP/1.1"),
        Version::Http10 => intern!(py, "HTTP/1.0"),
    };
    environ.set_item(intern!(py, "SERVER_PROTOCOL"), protocol)?;
    let method = match head.method() {
        b"GET" => intern!(py, "GET").clone(),
        b"POST" => intern!(py, "POST").clone(),
        method => latin1(py, method),
    };
    environ.set_item(intern!(py, "REQUEST_METHOD"), method)?;
    environ.set_item(intern!(py, "PATH_INFO"), path_info(py, head.path(), &settings.url_prefix))?;
    environ.set_item(intern!(py, "QUERY_STRING"), text(py, head.query().unwrap_or_default()))?;
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
    if request.head().framing() == BodyFraming::Chunked && !settings.streams_bodies {
        let length = body_file.map_or(body.len() as u64, BodyFile::length);
        // The application gets the body without its chunks, and can be told how long it is.
        environ.del_item(intern!(py, "HTTP_TRANSFER_ENCODING"))?;
        environ.set_item(intern!(py, "CONTENT_LENGTH"), length.to_string())?;
    }
    let input = match body_file {
        Some(file) => opened.insert(input_of_file(py, file)?.unbind()).bind(py).clone(),
        None => input(py, &body)?,
    };
    environ.set_item(intern!(py, "wsgi.input"), input)?;
    Ok(environ)
}

fn set_fields(
    py: Python<'_>,
    settings: &WsgiSettings,
    environ: &Bound<'_, PyDict>,
    request: &Request,
) -> PyResult<()> {
    let host_key = intern!(py, "HTTP_HOST");
    let before = environ.len();
    let mut count = 0;
    for (name, value) in request.head().fields() {
        let Some(key) = key_of(py, name) else { continue };
        if key.is_forwarding && settings.drops_forwarding {
            continue;
        }
        let key = key.name;
        let value = latin1(py, value);
        environ.set_item(&key, &value)?;
        count += 1;
        if environ.len() != before + count {
            // It was there already: one line is made of all.
            count -= 1;
            let joined = joined_values(py, request, &key);
            environ.set_item(&key, joined)?;
        }
    }
    // The authority of an absolute target counts, not the field (RFC 9112 section 3.2.2).
    if environ.len() > before && environ.contains(host_key)? {
        let host = request.head().host();
        if request.head().target().first() != Some(&b'/') && !host.is_empty() {
            environ.set_item(host_key, latin1(py, host))?;
        }
    }
    Ok(())
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
    let decoded = match memchr_percent(path) {
        true => std::borrow::Cow::Owned(percent_encoding::percent_decode(path).collect::<Vec<u8>>()),
        false => std::borrow::Cow::Borrowed(path),
    };
    let rest = match decoded.strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() && (rest.is_empty() || rest.first() == Some(&b'/')) => rest,
        _ => &decoded[..],
    };
    text(py, rest)
}

fn memchr_percent(path: &[u8]) -> bool {
    path.contains(&b'%')
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

/// `wsgi.input`: a body that is held whole, as a `BytesIO`.
fn input<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "io", "BytesIO")?;
    if body.is_empty() { class.call0() } else { class.call1((PyBytes::new(py, body),)) }
}

/// `wsgi.input`: a body that was too long for memory.
fn input_of_file<'py>(py: Python<'py>, file: &BodyFile) -> PyResult<Bound<'py, PyAny>> {
    static OPEN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let copy =
        file.descriptor().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?.try_clone_to_owned()?;
    let open = OPEN.get_or_try_init(py, || PyResult::Ok(py.import("io")?.getattr("open")?.unbind()))?;
    let opened = open.bind(py).call1((copy.as_raw_fd(), "rb"))?;
    // It is closed with the object from here on.
    std::mem::forget(copy);
    Ok(opened)
}

//! `Exchange`: one request and the answer to it, as the worker that serves it sees them.
//!
//! Strategy: what the application says is checked and written to bytes at once, so that no object of the
//! application's is kept. An answer that is whole in memory leaves in one piece. Used by one thread at a time; the
//! lock is never waited for, and never held while bytes are sent.
//! Source: PEP 3333; RFC 9112.
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use wiretask_engine::sent_file::SentFile;
use wiretask_protocol::channel::CloseReason;
use wiretask_protocol::http::answer::{
    AnswerBody, AnswerHead, AnswerPlan, Asking, ServerFields, write_decimal,
};
use wiretask_protocol::http::encode;
use wiretask_protocol::http::request::Request;
use wiretask_protocol::lazy::Lazy;
use wiretask_protocol::native::NativeConsumer;

use super::access::Hit;
use super::disconnect_probe::DisconnectProbe;
use super::environ;
use super::given_head::{read_head, refusal};
use super::input::Input;
use super::request_body::RequestBody;
use super::settings::WsgiSettings;
use super::spare_buffer;
use super::whole_body::Parts;
use crate::channel::{Disconnected, disconnected, flush, write_all, write_file};
use crate::date::with_date;
use crate::gil::{self, Section};
use crate::host::{PythonConnection, is_own};

/// Larger pieces are not copied behind their head.
const MAX_JOINED_BYTES: usize = 64 * 1024;

/// One request, and the answer to it.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct Exchange {
    connection: Arc<PythonConnection>,
    asking: Asking,
    answer: Mutex<Answer>,
    request_body: RequestBody,
    /// For the access log; `None`: there is none.
    hit: Option<Hit>,
}

/// How far the answer is.
struct Answer {
    /// What `start_response` said last.
    head: Option<AnswerHead>,
    /// There once the head has been written.
    plan: Option<AnswerPlan>,
    /// Of a body of known length, what is still to come.
    missing_bytes: u64,
    /// What the body will come to, if that is known and the application did not say.
    known_length: Option<u64>,
    body_bytes: u64,
    /// The application gave more than it had announced.
    excess_bytes: u64,
    is_ended: bool,
}

impl Exchange {
    /// The exchange that `request` begins, its environ, and the file that its body is in, or None, which is to be
    /// closed when it has been answered. `None`: it has been.
    pub fn begun_by(
        py: Python<'_>,
        settings: &WsgiSettings,
        connection: &Arc<PythonConnection>,
        disconnect_probe: &Py<DisconnectProbe>,
        request: Lazy<Request>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let mut request = NativeConsumer::HttpRequest(request);
        let body_file = connection.take_body_file(&mut request);
        let NativeConsumer::HttpRequest(request) = request else { return Ok(None) };
        let Some(mut request) = request.into_made() else { return Ok(None) };
        let is_lost = body_file.is_err();
        let input = Input::new(py, &request.take_value(), body_file.ok().flatten().as_ref())?;
        let environ = environ::make(py, settings, connection, disconnect_probe, &request, &input)?;
        let head = request.head();
        let asking = Asking {
            version: head.version(),
            is_head: head.method() == b"HEAD",
            keep_alive: head.keep_alive(),
        };
        let is_connect = head.method() == b"CONNECT";
        let is_body_streamed = settings.streams_bodies && connection.is_body_streamed();
        let request_body = RequestBody::new(is_body_streamed, head.framing());
        let answer = Answer {
            head: None,
            plan: None,
            missing_bytes: 0,
            known_length: None,
            body_bytes: 0,
            excess_bytes: 0,
            is_ended: false,
        };
        let hit = Hit::begun_by(settings.access_log.as_ref(), request);
        let exchange = Self {
            connection: Arc::clone(connection),
            asking,
            answer: Mutex::new(answer),
            request_body,
            hit,
        };
        if is_lost {
            drop(exchange.fail(py, "507 Insufficient Storage", b"the request could not be kept\n"));
            return Ok(None);
        }
        if is_connect {
            // What follows would be a tunnel's. Whether the client still reads the answer is its own affair.
            drop(exchange.fail(py, "501 Not Implemented", b"there is no proxy here\n"));
            return Ok(None);
        }
        let begun = (Bound::new(py, exchange)?, environ, input.into_file());
        Ok(Some(begun.into_pyobject(py)?.into_any().unbind()))
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Say how the answer goes on, and give out its head, unless that has been done.
    fn begin(&self, answer: &mut Answer, whole_length: Option<u64>) -> PyResult<(AnswerPlan, Vec<u8>)> {
        if let Some(plan) = answer.plan {
            return Ok((plan, Vec::new()));
        }
        let whole_length = answer.known_length.or(whole_length);
        let Some(head) = &mut answer.head else {
            return Err(PyAssertionError::new_err(
                "start_response() was not called before the first part of the body",
            ));
        };
        let is_last = self.request_body.is_in_the_way(&self.connection) || self.connection.is_last_answer();
        let asking = Asking { keep_alive: self.asking.keep_alive && !is_last, ..self.asking };
        let plan = head.plan(asking, whole_length);
        let ident = self.ident();
        let out = with_date(|date| head.complete(asking, plan, whole_length, ServerFields { date, ident }));
        answer.plan = Some(plan);
        if let AnswerBody::Length(length) = plan.body {
            answer.missing_bytes = length;
        }
        Ok((plan, out))
    }

    fn ident(&self) -> &[u8] {
        self.connection.core().host.wsgi.as_ref().map_or(b"", |settings| &settings.ident)
    }

    /// Write a part of the body; what does not belong to it is counted and left out.
    fn add_part(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let mut part = data;
        let (out, is_large) = {
            let mut answer = self.lock();
            if answer.is_ended {
                // What comes now would stand before the next answer, which may be for somebody else.
                return Err(PyRuntimeError::new_err("the answer has ended: nothing can be added to it"));
            }
            let (plan, mut out) = self.begin(&mut answer, None)?;
            match plan.body {
                AnswerBody::Nothing => part = b"",
                AnswerBody::Length(_) => {
                    let missing = usize::try_from(answer.missing_bytes).unwrap_or(usize::MAX);
                    part = &data[..data.len().min(missing)];
                    answer.missing_bytes -= part.len() as u64;
                    answer.excess_bytes += (data.len() - part.len()) as u64;
                }
                AnswerBody::Chunked | AnswerBody::UntilClose => {}
            }
            answer.body_bytes += part.len() as u64;
            let is_large = part.len() > MAX_JOINED_BYTES && plan.body != AnswerBody::Chunked;
            match plan.body {
                AnswerBody::Chunked => encode::chunk(part, &mut out),
                _ if !is_large => out.extend_from_slice(part),
                _ => {}
            }
            (out, is_large)
        };
        let sent = self.send(py, &out).and_then(|()| if is_large { self.send(py, part) } else { Ok(()) });
        if sent.is_err() {
            self.lock().body_bytes -= part.len() as u64;
        }
        sent
    }

    fn send(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        if data.is_empty() {
            return Ok(());
        }
        if !is_own(&self.connection) {
            return Err(disconnected(py));
        }
        write_all(py, &self.connection, data).map_err(|Disconnected| disconnected(py))?;
        if let Some(hit) = &self.hit {
            hit.note_answer();
        }
        Ok(())
    }

    /// Tell the access log that the exchange is over.
    fn log_end(&self, is_complete: bool) {
        if let Some(hit) = &self.hit {
            let answer = self.lock();
            let (status, body_bytes) = (answer.status(), answer.body_bytes);
            drop(answer);
            hit.record(&self.connection, status, body_bytes, is_complete);
        }
    }

    fn close_when_done(&self, py: Python<'_>) {
        if is_own(&self.connection) {
            gil::detached(py, Section::Send, || self.connection.close_when_done());
        }
    }

    /// The answer is whole: the connection goes on, or closes when it is out.
    fn conclude(&self, py: Python<'_>, plan: AnswerPlan) {
        if !plan.keep_alive {
            self.close_when_done(py);
        }
    }
}

impl Answer {
    /// The status that was sent, or is to be; 0: none yet.
    fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, AnswerHead::status)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Unless it came to its end: it was given up in the middle.
        self.log_end(false);
    }
}

#[pymethods]
impl Exchange {
    /// Begin the answer: it is its own `start_response`. Return WSGI's `write`. PEP 3333 has all arguments passed by
    /// position; `exc_info` is passed by name all the same, and other servers take it.
    ///
    /// Raises:
    ///     TypeError: status, a name or a value is no str, or headers no list of tuples of two.
    ///     ValueError: one of them cannot be sent as it is (a line break in it, say); the error names it.
    ///     AssertionError: it was called before, and `exc_info` is not given.
    ///     The exception in `exc_info`, if the head has been sent.
    /// After failure: as if it had not been called.
    #[pyo3(signature = (status, headers, /, exc_info=None))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        if let Some(exc_info) = exc_info {
            if this.lock().plan.is_some() {
                return Err(PyErr::from_value(exc_info.get_item(1)?));
            }
        } else if this.lock().head.is_some() {
            return Err(PyAssertionError::new_err(
                "start_response() was called a second time, without exc_info",
            ));
        }
        let head = read_head(status, headers)?;
        this.lock().head = Some(head);
        slf.getattr(intern!(slf.py(), "write"))
    }

    /// Send a part of the body; WSGI's `write`. What goes beyond the announced length is left out.
    ///
    /// Raises:
    ///     TypeError: it is not bytes. AssertionError: `start_response` was not called.
    ///     RuntimeError: the answer has ended. ClientDisconnectedError: the client has gone.
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = part_of_body(data)?;
        if data.as_bytes().is_empty() {
            return Ok(());
        }
        self.add_part(py, data.as_bytes())?;
        flush(py, &self.connection, false)
    }

    /// Send the whole answer, if `result` is a list or tuple of nothing but bytes, and all is as announced; else
    /// False, and nothing was sent.
    #[pyo3(signature = (result, /))]
    fn finish(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(parts) = Parts::of(result) else { return Ok(false) };
        let Some(length) = parts.length() else { return Ok(false) };
        let mut is_large = false;
        let (plan, out) = {
            let mut answer = self.lock();
            let Some(head) = &answer.head else { return Ok(false) };
            let is_as_announced = head.content_length().is_none_or(|announced| announced == length);
            if answer.plan.is_some() || !(is_as_announced || self.asking.is_head) {
                return Ok(false);
            }
            let (plan, mut out) = self.begin(&mut answer, Some(length))?;
            answer.missing_bytes = 0;
            answer.is_ended = true;
            if plan.body != AnswerBody::Nothing {
                answer.body_bytes = length;
                is_large = length > MAX_JOINED_BYTES as u64;
                if !is_large {
                    parts.each(|part| {
                        out.extend_from_slice(part);
                        Ok(())
                    })?;
                }
            }
            (plan, out)
        };
        let mut sent = self.send(py, &out);
        spare_buffer::keep(out);
        if is_large && sent.is_ok() {
            let mut missing_bytes = length;
            sent = parts.each(|part| {
                // Other threads run meanwhile, and may change the list: its length has been announced.
                let part = &part[..part.len().min(usize::try_from(missing_bytes).unwrap_or(usize::MAX))];
                self.send(py, part)?;
                missing_bytes -= part.len() as u64;
                Ok(())
            });
            self.lock().body_bytes = length - missing_bytes;
            if missing_bytes > 0 && sent.is_ok() {
                sent = Err(PyValueError::new_err("the list that is the body was changed while it was sent"));
            }
        }
        if sent.is_err() {
            // What comes next would be taken for the rest of the body.
            self.close_when_done(py);
        }
        self.log_end(sent.is_ok());
        sent?;
        self.conclude(py, plan);
        Ok(true)
    }

    /// Say how long the body will be, unless the application has.
    #[pyo3(signature = (length, /))]
    fn expect_body(&self, length: u64) {
        self.lock().known_length = Some(length);
    }

    /// Send a part of a regular file as the whole body: `length` bytes from `offset` on, or as many of them as were
    /// announced. The descriptor is duplicated.
    ///
    /// False, and nothing was sent: the body has begun, more was announced than the file has, or no descriptor is left.
    ///
    /// Raises:
    ///     AssertionError: `start_response` was not called.
    ///     ClientDisconnectedError: the client has gone.
    #[pyo3(signature = (descriptor, offset, length, /))]
    fn send_file(&self, py: Python<'_>, descriptor: i32, offset: u64, length: u64) -> PyResult<bool> {
        // Before the head is written, behind which there has to be a body. It may be read where it cannot be sent.
        // SAFETY: the caller's descriptor is open for as long as this call lasts; it is only borrowed.
        let Ok(file) = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned() else {
            return Ok(false);
        };
        let file = Arc::new(SentFile::new(file));
        let (plan, out, part) = {
            let mut answer = self.lock();
            let announced = answer.head.as_ref().and_then(AnswerHead::content_length);
            if answer.plan.is_some() || announced.is_some_and(|announced| announced > length) {
                return Ok(false);
            }
            let (plan, out) = self.begin(&mut answer, Some(length))?;
            answer.missing_bytes = 0;
            answer.is_ended = true;
            let part = match plan.body {
                AnswerBody::Length(announced) => announced,
                _ => 0,
            };
            answer.body_bytes = part;
            (plan, out, part)
        };
        let sent = self.send(py, &out).and_then(|()| {
            if part == 0 {
                return Ok(());
            }
            write_file(py, &self.connection, &file, offset, part).map_err(|Disconnected| disconnected(py))
        });
        if sent.is_err() {
            self.lock().body_bytes = 0;
        }
        self.log_end(sent.is_ok());
        sent?;
        self.conclude(py, plan);
        Ok(true)
    }

    /// End the answer: nothing more comes. A body shorter than was announced makes it an error.
    ///
    /// Raises:
    ///     AssertionError: `start_response` was not called.
    ///     ValueError: the body is shorter than its Content-Length; the connection is closing.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let (plan, out, missing) = {
            let mut answer = self.lock();
            if answer.is_ended {
                return Ok(());
            }
            let (plan, mut out) = self.begin(&mut answer, Some(0))?;
            answer.is_ended = true;
            if plan.body == AnswerBody::Chunked {
                out.extend_from_slice(b"0\r\n\r\n");
            }
            (plan, out, answer.missing_bytes)
        };
        let sent = self.send(py, &out);
        self.log_end(sent.is_ok() && missing == 0);
        sent?;
        if missing > 0 {
            self.close_when_done(py);
            return Err(PyValueError::new_err(format!(
                "the body ends {missing} bytes before the Content-Length that was announced"
            )));
        }
        self.conclude(py, plan);
        Ok(())
    }

    /// The application has failed: answer with this status and text, in place of whatever it began, and close; if
    /// the head has been sent, close so that the client sees that the answer is not whole.
    #[pyo3(signature = (status, text, /))]
    fn fail(&self, py: Python<'_>, status: &str, text: &[u8]) -> PyResult<()> {
        let mut out = Vec::new();
        let plan = {
            let mut answer = self.lock();
            if answer.is_ended {
                return Ok(());
            }
            answer.is_ended = true;
            if answer.plan.is_none() {
                let mut head =
                    AnswerHead::new(status.as_bytes(), Vec::new()).map_err(|fault| refusal(fault, status))?;
                let mut length = Vec::new();
                write_decimal(text.len() as u64, &mut length);
                for (name, value) in
                    [(&b"Content-Type"[..], &b"text/plain; charset=utf-8"[..]), (b"Content-Length", &length)]
                {
                    head.add(name, value).map_err(|fault| refusal(fault, status))?;
                }
                let asking = Asking { keep_alive: false, ..self.asking };
                let plan = head.plan(asking, None);
                let ident = self.ident();
                out = with_date(|date| head.complete(asking, plan, None, ServerFields { date, ident }));
                answer.head = Some(head);
                if plan.body != AnswerBody::Nothing {
                    out.extend_from_slice(text);
                    answer.body_bytes = text.len() as u64;
                }
                answer.plan = Some(plan);
                None
            } else {
                answer.plan
            }
        };
        if plan.is_some() {
            self.log_end(false);
        }
        match plan {
            // The end of the connection would be the end of the body.
            Some(AnswerPlan { body: AnswerBody::UntilClose, .. }) if is_own(&self.connection) => {
                self.connection.abort(CloseReason::Aborted);
                Ok(())
            }
            Some(_) => {
                self.close_when_done(py);
                Ok(())
            }
            None => {
                let written = self.send(py, &out);
                self.log_end(written.is_ok());
                self.close_when_done(py);
                written
            }
        }
    }

    /// Note for the access log who asked, where a trusted proxy says so.
    #[pyo3(signature = (address, /))]
    fn note_client(&self, address: &str) {
        if let Some(hit) = &self.hit {
            hit.note_client(address);
        }
    }

    /// Whether the body of the request is to be taken by `receive_body`: it may still be coming.
    #[getter]
    fn is_body_streamed(&self) -> bool {
        self.request_body.is_streamed()
    }

    /// The next bytes of the body, at least one and `max_bytes` at most; none at its end.
    ///
    /// Raises:
    ///     ClientDisconnectedError: the client has gone. TimeoutError: the body does not come in time.
    ///     ProtocolError: it is malformed, or too large; the error has the status to answer with.
    /// Blocking: until some of it has come.
    #[pyo3(signature = (max_bytes, /))]
    fn receive_body<'py>(&self, py: Python<'py>, max_bytes: usize) -> PyResult<Bound<'py, PyBytes>> {
        self.request_body.receive(py, &self.connection, max_bytes)
    }

    /// The status that says what the client did wrong in the body, after `receive_body` has raised; else None.
    #[getter]
    fn fault_status(&self) -> Option<u16> {
        self.request_body.fault_status()
    }

    /// How many bytes the application gave beyond the Content-Length that it had announced.
    #[getter]
    fn excess_bytes(&self) -> u64 {
        self.lock().excess_bytes
    }
}

fn part_of_body<'a, 'py>(data: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    data.cast::<PyBytes>().map_err(|_| {
        let kind = data.get_type();
        PyTypeError::new_err(format!("a part of the body is bytes, not {kind}"))
    })
}

//! `Exchange`: one request and the answer to it, as the worker that serves it sees them.
//!
//! Strategy: what the application says is checked and written to bytes at once, so that no object of the
//! application's is kept. An answer that is whole in memory leaves in one piece. Used by one thread at a time; the
//! lock is never waited for, and never held while bytes are sent. `Answer` says which bytes, `Delivery` sends them.
//! Source: PEP 3333; RFC 9112.
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use wiretask_engine::sent_file::SentFile;
use wiretask_protocol::http::answer::{AnswerBody, AnswerPlan, Asking};
use wiretask_protocol::http::request::Request;
use wiretask_protocol::lazy::Lazy;
use wiretask_protocol::native::NativeConsumer;

use super::access::Hit;
use super::answer::{Answer, Failure, MAX_JOINED_BYTES, Terms};
use super::delivery::Delivery;
use super::disconnect_probe::DisconnectProbe;
use super::environ;
use super::given_head::read_head;
use super::input::Input;
use super::request_body::RequestBody;
use super::settings::WsgiSettings;
use super::spare_buffer;
use super::whole_body::Parts;
use crate::host::PythonConnection;

/// One request, and the answer to it.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct Exchange {
    asking: Asking,
    request_body: RequestBody,
    answer: Mutex<Answer>,
    delivery: Delivery,
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
        let is_connect = head.method() == b"CONNECT";
        let asking = Asking {
            version: head.version(),
            is_head: head.method() == b"HEAD",
            keep_alive: head.keep_alive(),
        };
        let is_body_streamed = settings.streams_bodies && connection.is_body_streamed();
        let request_body = RequestBody::new(is_body_streamed, head.framing());
        let hit = Hit::begun_by(settings.access_log.as_ref(), request);
        let delivery = Delivery::new(connection, hit);
        let exchange = Self { asking, request_body, answer: Mutex::default(), delivery };
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

    /// What the head depends on, if it leaves now.
    fn terms(&self) -> Terms<'_> {
        let connection = self.delivery.connection();
        let is_last = self.request_body.is_in_the_way(connection) || connection.is_last_answer();
        let asking = Asking { keep_alive: self.asking.keep_alive && !is_last, ..self.asking };
        Terms { asking, ident: self.ident() }
    }

    fn ident(&self) -> &[u8] {
        let settings = self.delivery.connection().core().host.wsgi.as_ref();
        settings.map_or(b"", |settings| &settings.ident)
    }

    /// Tell the access log that the exchange is over.
    fn log_end(&self, is_complete: bool) {
        self.delivery.log_end(is_complete, || {
            let answer = self.lock();
            (answer.status(), answer.body_bytes())
        });
    }

    /// The answer is whole: the connection goes on, or closes when it is out.
    fn conclude(&self, py: Python<'_>, plan: AnswerPlan) {
        if !plan.keep_alive {
            self.delivery.close_when_done(py);
        }
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
            if this.lock().is_head_sent() {
                return Err(PyErr::from_value(exc_info.get_item(1)?));
            }
        } else if this.lock().is_started() {
            return Err(PyAssertionError::new_err(
                "start_response() was called a second time, without exc_info",
            ));
        }
        let head = read_head(status, headers)?;
        this.lock().start(head);
        slf.getattr(intern!(slf.py(), "write"))
    }

    /// Send a part of the body; WSGI's `write`. What goes beyond the announced length is left out.
    ///
    /// Raises:
    ///     TypeError: it is not bytes. AssertionError: `start_response` was not called.
    ///     RuntimeError: the answer has ended. ClientDisconnectedError: the client has gone.
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = part_of_body(data)?.as_bytes();
        if data.is_empty() {
            return Ok(());
        }
        let part = self.lock().add(data, || self.terms())?;
        if part.length == 0 && part.out.is_empty() {
            return self.delivery.look(py);
        }
        let sent = self.delivery.send(py, &part.out).and_then(|()| self.delivery.send(py, part.behind));
        if sent.is_err() {
            self.lock().take_back(part.length);
        }
        sent?;
        self.delivery.flush(py)
    }

    /// Send a part of the body, as `write` does; whether more of it would be sent, if there were more.
    #[pyo3(signature = (data, /))]
    fn pass_on(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.write(py, data)?;
        Ok(self.lock().wants_more())
    }

    /// Send the whole answer, if `result` is a list or tuple of nothing but bytes, and all is as announced; else
    /// False, and nothing was sent.
    #[pyo3(signature = (result, /))]
    fn finish(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(parts) = Parts::of(result) else { return Ok(false) };
        let Some(length) = parts.length() else { return Ok(false) };
        let whole = self.lock().give_whole(length, self.asking.is_head, || self.terms())?;
        let Some(mut whole) = whole else { return Ok(false) };
        let is_large = whole.body_length > MAX_JOINED_BYTES;
        if whole.body_length > 0 && !is_large {
            parts.each(|part| {
                whole.out.extend_from_slice(part);
                Ok(())
            })?;
        }
        let mut sent = self.delivery.send(py, &whole.out);
        spare_buffer::keep(whole.out);
        if is_large && sent.is_ok() {
            let (sent_bytes, outcome) = self.delivery.send_parts(py, &parts, whole.body_length);
            self.lock().correct_body_bytes(sent_bytes);
            sent = outcome;
        }
        if sent.is_err() {
            // What comes next would be taken for the rest of the body.
            self.delivery.close_when_done(py);
        }
        self.log_end(sent.is_ok());
        sent?;
        self.conclude(py, whole.plan);
        Ok(true)
    }

    /// Say how long the body will be, unless the application has.
    #[pyo3(signature = (length, /))]
    fn expect_body(&self, length: u64) {
        self.lock().expect_body(length);
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
        let whole = self.lock().give_file(length, || self.terms())?;
        let Some(whole) = whole else { return Ok(false) };
        let sent = self
            .delivery
            .send(py, &whole.out)
            .and_then(|()| self.delivery.send_file(py, &file, offset, whole.body_length));
        if sent.is_err() {
            self.lock().correct_body_bytes(0);
        }
        self.log_end(sent.is_ok());
        sent?;
        self.conclude(py, whole.plan);
        Ok(true)
    }

    /// End the answer: nothing more comes. A body shorter than was announced makes it an error.
    ///
    /// Raises:
    ///     AssertionError: `start_response` was not called.
    ///     ValueError: the body is shorter than its Content-Length; the connection is closing.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let ending = self.lock().end(|| self.terms())?;
        let Some(ending) = ending else { return Ok(()) };
        let missing = ending.missing_bytes;
        let sent = self.delivery.send(py, &ending.out);
        self.log_end(sent.is_ok() && missing == 0);
        sent?;
        if missing > 0 {
            self.delivery.close_when_done(py);
            return Err(PyValueError::new_err(format!(
                "the body ends {missing} bytes before the Content-Length that was announced"
            )));
        }
        self.conclude(py, ending.plan);
        Ok(())
    }

    /// The application has failed: answer with this status and text, in place of whatever it began, and close; if
    /// the head has been sent, close so that the client sees that the answer is not whole.
    #[pyo3(signature = (status, text, /))]
    fn fail(&self, py: Python<'_>, status: &str, text: &[u8]) -> PyResult<()> {
        let asking = Asking { keep_alive: false, ..self.asking };
        let failure = self.lock().fail(status, text, Terms { asking, ident: self.ident() })?;
        match failure {
            Failure::Ended => Ok(()),
            Failure::Replaced(out) => {
                let sent = self.delivery.send(py, &out);
                self.log_end(sent.is_ok());
                self.delivery.close_when_done(py);
                sent
            }
            Failure::BrokenOff(body) => {
                self.log_end(false);
                match body {
                    // The end of the connection would be the end of the body.
                    AnswerBody::UntilClose => self.delivery.abort(),
                    _ => self.delivery.close_when_done(py),
                }
                Ok(())
            }
        }
    }

    /// Note for the access log who asked, where a trusted proxy says so.
    #[pyo3(signature = (address, /))]
    fn note_client(&self, address: &str) {
        self.delivery.note_client(address);
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
        self.request_body.receive(py, self.delivery.connection(), max_bytes)
    }

    /// The status that says what the client did wrong in the body, after `receive_body` has raised; else None.
    #[getter]
    fn fault_status(&self) -> Option<u16> {
        self.request_body.fault_status()
    }

    /// How many bytes the application gave beyond the Content-Length that it had announced.
    #[getter]
    fn excess_bytes(&self) -> u64 {
        self.lock().excess_bytes()
    }
}

fn part_of_body<'a, 'py>(data: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    data.cast::<PyBytes>().map_err(|_| {
        let kind = data.get_type();
        PyTypeError::new_err(format!("a part of the body is bytes, not {kind}"))
    })
}

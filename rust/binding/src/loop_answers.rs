//! `HttpAnswers`: what the loops of an HTTP server answer by themselves, without the interpreter.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wiretask_engine::access_log::{AccessLog, Record};
use wiretask_engine::server_core::LoopAnswers;
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::channel::Refusal;
use wiretask_protocol::http::grammar::is_field_value;
use wiretask_protocol::http::loop_answer::{CONTINUE, LoopAnswer};

use crate::date::with_date;
use crate::wsgi::peer_of;

/// The answers of one server.
#[derive(Debug)]
pub struct HttpAnswers {
    ident: Option<Vec<u8>>,
    retry_after_seconds: u32,
    /// Where refusals are written down.
    access_log: Option<Arc<AccessLog>>,
}

impl HttpAnswers {
    /// From `{"ident": str | None, "retry_after_seconds": int}`, and the log of the server.
    ///
    /// # Errors
    /// `ValueError` for an ident that is no value of a field; `KeyError`, `TypeError`.
    pub fn from_settings(settings: &Bound<'_, PyDict>, access_log: Option<Arc<AccessLog>>) -> PyResult<Self> {
        let ident: Option<String> = settings.as_any().get_item("ident")?.extract()?;
        let ident = ident.map(String::into_bytes).filter(|ident| !ident.is_empty());
        if ident.as_ref().is_some_and(|ident| !ident.is_ascii() || !is_field_value(ident)) {
            return Err(PyValueError::new_err("ident is ASCII, without control characters"));
        }
        let retry_after_seconds = settings.as_any().get_item("retry_after_seconds")?.extract()?;
        Ok(Self { ident, retry_after_seconds, access_log })
    }
}

impl LoopAnswers for HttpAnswers {
    fn refusal(&self, refusal: &Refusal, first_line: &[u8], peer: &PeerAddress) -> Vec<u8> {
        let (status, text) = match refusal {
            Refusal::Stream(error) => (error.kind.status().unwrap_or(400), error.kind.description()),
            Refusal::Late => (408, "the request was not complete in time"),
            Refusal::Unkept => (507, "the server has no room for the body"),
            Refusal::Unserved => (503, "too many requests wait to be served"),
        };
        let retry_after_seconds = (status == 503).then_some(self.retry_after_seconds);
        let answer = with_date(|date| {
            let server = self.ident.as_deref();
            let is_to_head = first_line.starts_with(b"HEAD ");
            LoopAnswer { status, text, date, server, retry_after_seconds, is_to_head }.to_bytes()
        });
        if let Some(log) = &self.access_log {
            let body_bytes = body_bytes_of(&answer);
            log.record(&Record::of_refusal(peer_of(peer), first_line, status, body_bytes, text));
        }
        answer
    }

    fn go_ahead(&self) -> &[u8] {
        CONTINUE
    }
}

fn body_bytes_of(answer: &[u8]) -> u64 {
    let end_of_head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end_of_head.map_or(0, |end| (answer.len() - end - 4) as u64)
}

//! `Answer`: how far the answer to one request is, and the bytes that it comes to.
//!
//! Strategy: each step is refused out of its turn, gives out the head if that has not left, and counts what it gives of
//! the body, which is never more than was announced. Whoever could not send what a step gave takes it back. What it
//! must not know: the connection. The exchange asks that for `Terms` when the head leaves, and sends.
//! Source: PEP 3333; RFC 9112 section 6.
use pyo3::exceptions::{PyAssertionError, PyRuntimeError};
use pyo3::prelude::*;
use wiretask_protocol::http::answer::{
    AnswerBody, AnswerHead, AnswerPlan, Asking, ServerFields, write_decimal,
};
use wiretask_protocol::http::encode;

use super::given_head::refusal;
use crate::date::with_date;

/// Larger parts of a body are not copied behind what goes before them.
pub const MAX_JOINED_BYTES: u64 = 64 * 1024;

/// How far the answer is.
#[derive(Default)]
pub struct Answer {
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

/// What the head of an answer depends on besides what the application said.
pub struct Terms<'a> {
    /// What was asked; `keep_alive` only if the connection can go on.
    pub asking: Asking,
    /// What `Server` says; none if empty.
    pub ident: &'a [u8],
}

/// A part of the body, to be sent.
pub struct Part<'a> {
    /// The head, if it has not left, and the part, if that is not large.
    pub out: Vec<u8>,
    /// The part, if it is large: it follows `out`.
    pub behind: &'a [u8],
    /// How much of the body it is.
    pub length: u64,
}

/// An answer that is begun and ended at once; its body is to be sent behind its head.
pub struct WholeAnswer {
    /// How it goes on.
    pub plan: AnswerPlan,
    /// The head.
    pub out: Vec<u8>,
    /// How much of the body is to be sent; 0: the answer has none.
    pub body_length: u64,
}

/// The end of an answer.
pub struct Ending {
    /// How it goes on.
    pub plan: AnswerPlan,
    /// The head, if it has not left, and what ends the body.
    pub out: Vec<u8>,
    /// What was announced and did not come.
    pub missing_bytes: u64,
}

/// What it comes to that the application failed.
pub enum Failure {
    /// Nothing: the answer had ended.
    Ended,
    /// This is to be sent in place of the answer, of which nothing had left.
    Replaced(Vec<u8>),
    /// The answer breaks off in its body, which is framed so.
    BrokenOff(AnswerBody),
}

impl Answer {
    /// The status that was sent, or is to be; 0: none yet.
    pub fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, AnswerHead::status)
    }

    /// How much of the body was given out to be sent.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// How much the application gave beyond what it had announced.
    pub fn excess_bytes(&self) -> u64 {
        self.excess_bytes
    }

    /// Whether more of the body would be sent, if there were more.
    pub fn wants_more(&self) -> bool {
        match self.plan.map(|plan| plan.body) {
            Some(AnswerBody::Nothing) => false,
            Some(AnswerBody::Length(_)) => self.excess_bytes == 0,
            Some(AnswerBody::Chunked | AnswerBody::UntilClose) | None => true,
        }
    }

    /// Whether `start_response` was called.
    pub fn is_started(&self) -> bool {
        self.head.is_some()
    }

    /// Whether the head has been given out, and cannot be replaced any more.
    pub fn is_head_sent(&self) -> bool {
        self.plan.is_some()
    }

    /// Note what `start_response` says, in place of what it said before.
    pub fn start(&mut self, head: AnswerHead) {
        self.head = Some(head);
    }

    /// Note how long the body will be.
    pub fn expect_body(&mut self, length: u64) {
        self.known_length = Some(length);
    }

    /// Take a part of the body. What does not belong to it is counted and left out.
    ///
    /// # Errors
    /// `RuntimeError`: the answer has ended. `AssertionError`: `start_response` was not called.
    pub fn add<'a, 't>(&mut self, data: &'a [u8], terms: impl FnOnce() -> Terms<'t>) -> PyResult<Part<'a>> {
        if self.is_ended {
            // What comes now would stand before the next answer, which may be for somebody else.
            return Err(PyRuntimeError::new_err("the answer has ended: nothing can be added to it"));
        }
        let (plan, mut out) = self.begin(None, terms)?;
        let part = match plan.body {
            AnswerBody::Nothing => b"",
            AnswerBody::Length(_) => {
                let missing = usize::try_from(self.missing_bytes).unwrap_or(usize::MAX);
                let part = &data[..data.len().min(missing)];
                self.missing_bytes -= part.len() as u64;
                self.excess_bytes += (data.len() - part.len()) as u64;
                part
            }
            AnswerBody::Chunked | AnswerBody::UntilClose => data,
        };
        let length = part.len() as u64;
        self.body_bytes += length;
        let mut behind = &b""[..];
        match plan.body {
            AnswerBody::Chunked => encode::chunk(part, &mut out),
            _ if length <= MAX_JOINED_BYTES => out.extend_from_slice(part),
            _ => behind = part,
        }
        Ok(Part { out, behind, length })
    }

    /// A part of the body, so long, could not be sent.
    pub fn take_back(&mut self, length: u64) {
        self.body_bytes -= length;
    }

    /// Begin and end the answer: its whole body has this length. `None`, and nothing has changed: it has begun, or
    /// cannot yet, or another length was announced, which only an answer to HEAD can have.
    ///
    /// # Errors
    /// None of its own: what is out of turn is `None` here.
    pub fn give_whole<'t>(
        &mut self,
        length: u64,
        is_head: bool,
        terms: impl FnOnce() -> Terms<'t>,
    ) -> PyResult<Option<WholeAnswer>> {
        let Some(head) = &self.head else { return Ok(None) };
        let is_as_announced = head.content_length().is_none_or(|announced| announced == length);
        if self.plan.is_some() || !(is_as_announced || is_head) {
            return Ok(None);
        }
        let (plan, out) = self.begin_and_end(length, terms)?;
        let body_length = if plan.body == AnswerBody::Nothing { 0 } else { length };
        self.body_bytes = body_length;
        Ok(Some(WholeAnswer { plan, out, body_length }))
    }

    /// Begin and end the answer: its whole body is what a file begins with, which has this length. `None`, and nothing
    /// has changed: it has begun, or more was announced.
    ///
    /// # Errors
    /// `AssertionError`: `start_response` was not called.
    pub fn give_file<'t>(
        &mut self,
        length: u64,
        terms: impl FnOnce() -> Terms<'t>,
    ) -> PyResult<Option<WholeAnswer>> {
        let announced = self.head.as_ref().and_then(AnswerHead::content_length);
        if self.plan.is_some() || announced.is_some_and(|announced| announced > length) {
            return Ok(None);
        }
        let (plan, out) = self.begin_and_end(length, terms)?;
        let body_length = match plan.body {
            AnswerBody::Length(announced) => announced,
            _ => 0,
        };
        self.body_bytes = body_length;
        Ok(Some(WholeAnswer { plan, out, body_length }))
    }

    /// Of the body of a whole answer, no more than this could be sent.
    pub fn correct_body_bytes(&mut self, sent_bytes: u64) {
        self.body_bytes = sent_bytes;
    }

    /// End the answer: nothing more comes. `None`: it had ended.
    ///
    /// # Errors
    /// `AssertionError`: `start_response` was not called.
    pub fn end<'t>(&mut self, terms: impl FnOnce() -> Terms<'t>) -> PyResult<Option<Ending>> {
        if self.is_ended {
            return Ok(None);
        }
        let (plan, mut out) = self.begin(Some(0), terms)?;
        self.is_ended = true;
        if plan.body == AnswerBody::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(Some(Ending { plan, out, missing_bytes: self.missing_bytes }))
    }

    /// End the answer, as the application has failed: with this status and text, unless the head has left.
    ///
    /// # Errors
    /// `ValueError`: the status cannot be sent. The answer has ended all the same.
    pub fn fail(&mut self, status: &str, text: &[u8], terms: Terms<'_>) -> PyResult<Failure> {
        if self.is_ended {
            return Ok(Failure::Ended);
        }
        self.is_ended = true;
        if let Some(plan) = self.plan {
            return Ok(Failure::BrokenOff(plan.body));
        }
        let Terms { asking, ident } = terms;
        let mut head = failure_head(status, text.len() as u64)?;
        let plan = head.plan(asking, None);
        let mut out = with_date(|date| head.complete(asking, plan, None, ServerFields { date, ident }));
        self.head = Some(head);
        if plan.body != AnswerBody::Nothing {
            out.extend_from_slice(text);
            self.body_bytes = text.len() as u64;
        }
        self.plan = Some(plan);
        Ok(Failure::Replaced(out))
    }

    fn begin_and_end<'t>(
        &mut self,
        length: u64,
        terms: impl FnOnce() -> Terms<'t>,
    ) -> PyResult<(AnswerPlan, Vec<u8>)> {
        let begun = self.begin(Some(length), terms)?;
        self.missing_bytes = 0;
        self.is_ended = true;
        Ok(begun)
    }

    /// Say how the answer goes on, and give out its head, unless that has been done.
    fn begin<'t>(
        &mut self,
        whole_length: Option<u64>,
        terms: impl FnOnce() -> Terms<'t>,
    ) -> PyResult<(AnswerPlan, Vec<u8>)> {
        if let Some(plan) = self.plan {
            return Ok((plan, Vec::new()));
        }
        let whole_length = self.known_length.or(whole_length);
        let Some(head) = &mut self.head else {
            return Err(PyAssertionError::new_err(
                "start_response() was not called before the first part of the body",
            ));
        };
        let Terms { asking, ident } = terms();
        let plan = head.plan(asking, whole_length);
        let out = with_date(|date| head.complete(asking, plan, whole_length, ServerFields { date, ident }));
        self.plan = Some(plan);
        if let AnswerBody::Length(length) = plan.body {
            self.missing_bytes = length;
        }
        Ok((plan, out))
    }
}

/// The head of an answer that is a line of text of this length.
fn failure_head(status: &str, text_length: u64) -> PyResult<AnswerHead> {
    let refused = |fault| refusal(fault, status);
    let mut length = Vec::new();
    write_decimal(text_length, &mut length);
    let mut head = AnswerHead::new(status.as_bytes(), Vec::new()).map_err(refused)?;
    head.add(b"Content-Type", b"text/plain; charset=utf-8").map_err(refused)?;
    head.add(b"Content-Length", &length).map_err(refused)?;
    Ok(head)
}

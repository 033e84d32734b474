//! A message: a head, and the body that the head announces. What requests and answers have in common.
//!
//! The body is held until it is taken: at the end, or piece by piece with [`Message::take_value`] by one who passes it
//! on, so that no more than a piece is ever held. After a fault in the body the head can still be read.
use super::body::BodyReader;
use super::fields::Fields;
use super::framing::BodyFraming;
use crate::consumer::StreamConsumer;
use crate::error::{ErrorKind, ProtocolError};
use crate::limits::HttpLimits;
use crate::unfinished::Unfinished;
use alloc::vec::Vec;

/// What a message needs of its head.
pub trait Head: StreamConsumer {
    /// The limits of the whole message.
    fn limits(&self) -> HttpLimits;

    /// Where the body ends, once the head is whole.
    fn framing(&self) -> BodyFraming;

    /// Whether another message may follow on this connection, as far as the head says.
    fn keep_alive(&self) -> bool;

    /// Whether the sender waits for a word before it sends the body.
    fn expects_continue(&self) -> bool {
        false
    }

    /// Move a whole head out, leaving a fresh one with the same limits; `None`: it is not whole, or cannot be moved.
    fn split(&mut self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Move the head's bytes out; it has nothing to tell afterwards.
    fn take_bytes(&mut self) -> Vec<u8>;

    /// How often a byte was looked at.
    #[cfg(feature = "count-work")]
    fn examined_bytes(&self) -> u64;
}

/// Takes one message.
#[derive(Debug)]
pub struct Message<H> {
    head: H,
    body: Option<BodyReader>,
    content: Unfinished,
    taken_bytes: u64,
    is_ended: bool,
    /// The sender has sent nothing of the body, and waits for a word before it does.
    awaits_go_ahead: bool,
    error: Option<ProtocolError>,
}

impl<H: Head> Message<H> {
    /// A consumer of one message, with a head that is fresh.
    pub(super) fn with_head(head: H) -> Self {
        Self {
            head,
            body: None,
            content: Unfinished::default(),
            taken_bytes: 0,
            is_ended: false,
            awaits_go_ahead: false,
            error: None,
        }
    }

    /// The limits.
    pub fn limits(&self) -> HttpLimits {
        self.head.limits()
    }

    /// The head; it may be whole, or have failed, before the message has.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Move the head's bytes out; the head has nothing to tell afterwards.
    pub fn take_head_bytes(&mut self) -> Vec<u8> {
        self.head.take_bytes()
    }

    /// The body so far, less what was taken out.
    pub fn value(&self) -> &[u8] {
        self.content.as_slice()
    }

    /// Move out what is held of the body: all of it, or what came since the last time.
    pub fn take_value(&mut self) -> Vec<u8> {
        self.content.take()
    }

    /// The trailers, once it is completed without an error.
    pub fn trailers(&self) -> Fields<'_> {
        Fields::new(self.trailer_bytes())
    }

    /// The bytes of the trailers, with the empty line that ends them.
    pub fn trailer_bytes(&self) -> &[u8] {
        self.body.as_ref().map_or(b"", BodyReader::trailer_bytes)
    }

    /// Whether another message may follow on this connection, as far as this one says. Never after an error.
    pub fn keep_alive(&self) -> bool {
        self.error.is_none() && self.head.keep_alive()
    }

    /// How often a byte was looked at: what the linear-work law bounds. Content is only copied.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        self.head.examined_bytes() + self.body.as_ref().map_or(0, BodyReader::examined_bytes)
    }

    fn begin_body(&mut self) -> Result<(), ErrorKind> {
        let body = BodyReader::new(self.head.framing(), self.limits())?;
        self.is_ended = body.is_nothing();
        self.awaits_go_ahead = !self.is_ended && self.head.expects_continue();
        self.body = Some(body);
        Ok(())
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.content.clear();
        if let Some(body) = &mut self.body {
            body.clear();
        }
        self.error = Some(ProtocolError::new(kind, self.taken_bytes));
    }
}

impl<H: Head> StreamConsumer for Message<H> {
    fn received(&mut self, data: &[u8]) -> usize {
        if self.is_completed() {
            return 0;
        }
        let mut taken = 0;
        if self.body.is_none() {
            taken = self.head.received(data);
            self.taken_bytes += taken as u64;
            if let Some(error) = self.head.error() {
                self.error = Some(*error);
                return taken;
            }
            if !self.head.is_completed() {
                return taken;
            }
            if let Err(kind) = self.begin_body() {
                self.fail(kind);
                return taken;
            }
        }
        if !self.is_ended
            && let Some(body) = &mut self.body
        {
            let limits = self.head.limits();
            let (more, result) = body.received(&data[taken..], &mut self.content, &limits);
            taken += more;
            self.taken_bytes += more as u64;
            self.awaits_go_ahead &= more == 0;
            match result {
                Ok(is_ended) => self.is_ended = is_ended,
                Err(kind) => self.fail(kind),
            }
        }
        taken
    }

    fn is_completed(&self) -> bool {
        self.is_ended || self.error.is_some()
    }

    fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }

    fn end_of_input(&mut self) {
        if matches!(self.body, Some(BodyReader::UntilClose(_))) && !self.is_completed() {
            self.is_ended = true;
        } else if self.is_started() && !self.is_completed() {
            self.fail(ErrorKind::Truncated);
        }
    }

    fn is_started(&self) -> bool {
        self.taken_bytes > 0
    }

    fn has_begun(&self) -> bool {
        self.body.is_some() || self.head.has_begun()
    }

    fn first_line(&self) -> &[u8] {
        self.head.first_line()
    }

    fn is_in_body(&self) -> bool {
        self.body.is_some() && !self.is_completed()
    }

    fn split_head(&mut self) -> Option<Self> {
        if !self.is_in_body() {
            return None;
        }
        let head = self.head.split()?;
        Some(Self { taken_bytes: self.taken_bytes, is_ended: true, ..Self::with_head(head) })
    }

    fn held_body_bytes(&self) -> usize {
        self.content.as_slice().len()
    }

    fn take_body(&mut self) -> Vec<u8> {
        self.take_value()
    }

    fn awaits_go_ahead(&self) -> bool {
        self.awaits_go_ahead && self.error.is_none()
    }

    fn note_go_ahead(&mut self) {
        self.awaits_go_ahead = false;
    }
}

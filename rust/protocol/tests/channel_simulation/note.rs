//! `Note`: the message of simulated channels. A line, and behind a line that says so a body.
//!
//! `+`, a letter, and perhaps `?`: behind the line come as many bytes as the letter is behind `a`, and with `?` the
//! peer says that it waits for a word before it sends them. Every other line is all there is.

use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::error::ProtocolError;
use wiretask_protocol::line::Line;

/// The longest line, its end included.
pub const LINE_LIMIT: usize = 12;

/// See the module.
#[derive(Debug)]
pub struct Note {
    line: Line,
    head: Vec<u8>,
    body: Vec<u8>,
    missing: usize,
    awaits_go_ahead: bool,
    /// The line was taken out.
    is_split: bool,
    is_truncated: Option<ProtocolError>,
}

/// How long the body behind this line is, and whether the peer says that it waits for a word.
fn announced(line: &[u8]) -> (usize, bool) {
    match line {
        [b'+', length @ b'a'..=b'z', rest @ ..] => (usize::from(length - b'a'), rest.first() == Some(&b'?')),
        _ => (0, false),
    }
}

impl Note {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self {
            line: Line::new(LINE_LIMIT as u64),
            head: Vec::new(),
            body: Vec::new(),
            missing: 0,
            awaits_go_ahead: false,
            is_split: false,
            is_truncated: None,
        }
    }

    /// Line and body, of which this was taken out before.
    pub fn text_behind(&self, taken: &[u8]) -> Vec<u8> {
        [&self.head[..], taken, &self.body].concat()
    }
}

impl StreamConsumer for Note {
    fn received(&mut self, data: &[u8]) -> usize {
        let mut taken = 0;
        if !self.line.is_completed() {
            taken = self.line.received(data);
            if !self.line.is_completed() || self.line.error().is_some() {
                return taken;
            }
            self.head = self.line.take_value();
            (self.missing, self.awaits_go_ahead) = announced(&self.head);
            self.awaits_go_ahead &= self.missing > 0;
        }
        let body = &data[taken..][..self.missing.min(data.len() - taken)];
        self.body.extend_from_slice(body);
        self.missing -= body.len();
        self.awaits_go_ahead &= body.is_empty();
        taken + body.len()
    }

    fn is_completed(&self) -> bool {
        self.is_truncated.is_some() || (self.line.is_completed() && self.missing == 0)
    }

    fn error(&self) -> Option<&ProtocolError> {
        self.is_truncated.as_ref().or(self.line.error())
    }

    fn end_of_input(&mut self) {
        if self.line.is_completed() && self.missing > 0 {
            let mut line = Line::new(1000);
            line.received(b"cut");
            line.end_of_input();
            self.is_truncated = line.error().copied();
        } else {
            self.line.end_of_input();
        }
    }

    fn is_empty(&self) -> bool {
        self.line.is_completed() && self.head.is_empty()
    }

    fn is_started(&self) -> bool {
        self.line.is_started()
    }

    fn is_in_body(&self) -> bool {
        self.missing > 0
    }

    fn split_head(&mut self) -> Option<Self> {
        if !self.is_in_body() || self.is_split {
            return None;
        }
        self.is_split = true;
        let mut head = Self::new();
        assert_eq!(head.line.received(b"taken\n"), 6);
        head.head.clone_from(&self.head);
        Some(head)
    }

    fn held_body_bytes(&self) -> usize {
        self.body.len()
    }

    fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    fn awaits_go_ahead(&self) -> bool {
        self.awaits_go_ahead
    }

    fn note_go_ahead(&mut self) {
        assert!(self.awaits_go_ahead, "let go ahead, though it does not wait");
        self.awaits_go_ahead = false;
    }
}

/// What a stream is, cut up.
pub struct Cut {
    /// The messages, in order; blank lines are none.
    pub notes: Vec<Vec<u8>>,
    /// It goes on with a line that is too long.
    pub has_error: bool,
    /// It ends in the middle of a message.
    pub is_unfinished: bool,
    /// It ends behind a line whose sender waits for a word.
    pub awaits_go_ahead: bool,
}

/// The messages in `stream`, found without a consumer.
pub fn cut(stream: &[u8]) -> Cut {
    let mut found = Cut { notes: Vec::new(), has_error: false, is_unfinished: false, awaits_go_ahead: false };
    let mut rest = stream;
    loop {
        let end = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) if end < LINE_LIMIT => end,
            _ => {
                found.has_error = rest.len() >= LINE_LIMIT;
                found.is_unfinished = !found.has_error && !rest.is_empty();
                return found;
            }
        };
        let (length, waits) = announced(&rest[..end]);
        let behind = &rest[end + 1..];
        if behind.len() < length {
            found.is_unfinished = true;
            found.awaits_go_ahead = waits && behind.is_empty();
            return found;
        }
        if end > 0 {
            found.notes.push([&rest[..end], &behind[..length]].concat());
        }
        rest = &behind[length..];
    }
}

//! The head of an answer: status line and fields, up to the empty line.
//!
//! As strict as with requests, but a status line may lack the space before a reason that is empty.
//! Source: RFC 9112 sections 4 and 5.
use super::fields::{Fields, may_begin_field_line, split_field_line};
use super::framing::{BodyFraming, ConnectionOptions, FramingFields};
use super::grammar::{Version, is_field_value, is_token_byte};
use super::section::{Flow, LineReader, Section};
use crate::consumer::StreamConsumer;
use crate::error::{ErrorKind, ProtocolError};
use crate::limits::HttpLimits;
use alloc::vec::Vec;
use core::ops::Range;

/// What the answer is to, as far as it matters to where it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Asked {
    /// With any other method.
    #[default]
    Other,
    /// With HEAD: there is no body.
    Head,
    /// With CONNECT: there is no body if the answer is a good one.
    Connect,
}

impl Asked {
    fn method(self) -> &'static [u8] {
        match self {
            Self::Other => b"GET",
            Self::Head => b"HEAD",
            Self::Connect => b"CONNECT",
        }
    }
}

/// Takes the head of an answer.
#[derive(Debug)]
pub struct ResponseHead {
    asked: Asked,
    section: Section,
    reader: HeadReader,
    framing: BodyFraming,
    is_ended: bool,
    error: Option<ProtocolError>,
}

#[derive(Debug)]
struct HeadReader {
    limits: HttpLimits,
    status_line: Option<StatusLine>,
    fields_start: usize,
    field_count: u64,
    framing: FramingFields,
    connection: ConnectionOptions,
}

#[derive(Debug)]
struct StatusLine {
    version: Version,
    status: u16,
    reason: Range<usize>,
}

impl ResponseHead {
    /// A consumer of one head within these limits.
    pub fn new(limits: HttpLimits, asked: Asked) -> Self {
        let reader = HeadReader {
            limits,
            status_line: None,
            fields_start: 0,
            field_count: 0,
            framing: FramingFields::default(),
            connection: ConnectionOptions::default(),
        };
        Self {
            asked,
            section: Section::default(),
            reader,
            framing: BodyFraming::Length(0),
            is_ended: false,
            error: None,
        }
    }

    /// The limits.
    pub fn limits(&self) -> HttpLimits {
        self.reader.limits
    }

    /// What the answer is to.
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// Whether it is whole and without fault, so that the accessors below have something to tell.
    pub fn is_whole(&self) -> bool {
        self.is_ended && self.error.is_none()
    }

    /// Its bytes as they came, the empty line after it included; what is held of them before it is whole.
    pub fn as_bytes(&self) -> &[u8] {
        self.section.as_slice()
    }

    /// Move the bytes out.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.section.take()
    }

    /// The status, 100 to 999; 0 before the head is whole.
    pub fn status(&self) -> u16 {
        self.status_line().map_or(0, |line| line.status)
    }

    /// The reason, as it is written; often empty, and meant for nobody but people.
    pub fn reason(&self) -> &[u8] {
        self.status_line().and_then(|line| self.as_bytes().get(line.reason.clone())).unwrap_or_default()
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.status_line().map_or(Version::Http11, |line| line.version)
    }

    /// The fields in order.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(self.as_bytes().get(self.field_range()).unwrap_or_default())
    }

    /// Where the field lines are in [`ResponseHead::as_bytes`].
    pub fn field_range(&self) -> Range<usize> {
        self.reader.fields_start..self.as_bytes().len()
    }

    /// Where the body ends.
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether another answer can come on this connection.
    pub fn keep_alive(&self) -> bool {
        self.is_whole()
            && self.framing != BodyFraming::UntilClose
            && self.reader.connection.keep_alive(self.version())
    }

    /// How often a byte was looked at: what the linear-work law bounds.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        self.section.examined_bytes()
    }

    fn status_line(&self) -> Option<&StatusLine> {
        if self.is_whole() { self.reader.status_line.as_ref() } else { None }
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.section.clear();
        self.error = Some(ProtocolError::new(kind, self.section.taken_bytes()));
    }
}

impl StreamConsumer for ResponseHead {
    fn received(&mut self, data: &[u8]) -> usize {
        if self.is_completed() {
            return 0;
        }
        let max_bytes = self.reader.limits.max_head_bytes;
        let too_large = ErrorKind::HeadTooLarge { limit_bytes: max_bytes };
        let (taken, result) = self.section.received(data, max_bytes, too_large, &mut self.reader);
        let asked = self.asked;
        match result.and_then(|is_ended| if is_ended { self.reader.judge(asked).map(Some) } else { Ok(None) })
        {
            Ok(None) => {}
            Ok(Some(framing)) => {
                self.framing = framing;
                self.is_ended = true;
            }
            Err(kind) => self.fail(kind),
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
        if self.is_started() && !self.is_completed() {
            self.fail(ErrorKind::Truncated);
        }
    }

    fn is_started(&self) -> bool {
        self.section.taken_bytes() > 0
    }
}

impl LineReader for HeadReader {
    fn begin(&self, first: u8) -> Result<(), ErrorKind> {
        if self.status_line.is_some() {
            return may_begin_field_line(first);
        }
        if is_token_byte(first) { Ok(()) } else { Err(ErrorKind::BadStatusLine) }
    }

    fn line_limit(&self) -> Option<(u64, ErrorKind)> {
        None
    }

    fn line(&mut self, line: &[u8], start: usize) -> Result<Flow, ErrorKind> {
        if self.status_line.is_none() {
            self.status_line = Some(StatusLine::parse(line, start)?);
            self.fields_start = start + line.len() + 2;
            return Ok(Flow::More);
        }
        if line.is_empty() {
            return Ok(Flow::End);
        }
        let (name, value) = split_field_line(line)?;
        if self.field_count == self.limits.max_fields {
            return Err(ErrorKind::TooManyFields { limit_fields: self.limits.max_fields });
        }
        self.field_count += 1;
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection.add(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.framing.add_content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.framing.add_transfer_encoding(value)
            }
            _ => {}
        }
        Ok(Flow::More)
    }
}

impl HeadReader {
    fn judge(&self, asked: Asked) -> Result<BodyFraming, ErrorKind> {
        let line = self.status_line.as_ref().ok_or(ErrorKind::BadStatusLine)?;
        self.framing.of_response(line.version, line.status, asked.method())
    }
}

impl StatusLine {
    /// Read `version SP status [SP reason]`.
    fn parse(line: &[u8], start: usize) -> Result<Self, ErrorKind> {
        let (version, rest) = line.split_at_checked(8).ok_or(ErrorKind::BadStatusLine)?;
        let version = Version::parse(version)?;
        let (status, reason) = match rest {
            [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] => {
                let digits = [*a, *b, *c].map(|digit| u16::from(digit - b'0'));
                (digits[0] * 100 + digits[1] * 10 + digits[2], reason)
            }
            _ => return Err(ErrorKind::BadStatusLine),
        };
        let reason = match reason {
            [] => b"",
            [b' ', text @ ..] if is_field_value(text) => text,
            _ => return Err(ErrorKind::BadStatusLine),
        };
        let end = start + line.len();
        Ok(Self { version, status, reason: end - reason.len()..end })
    }
}

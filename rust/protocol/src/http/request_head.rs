//! The head of a request: request line and fields, up to the empty line.
//!
//! A pure reader of lines; the bytes stay together in one buffer, and its parts are ranges in it. Fields are checked
//! as they come and found again on demand. The fields that decide what the message is (Host, Content-Length,
//! Transfer-Encoding, Connection, Expect) are understood here, and nothing else.
//! Source: RFC 9112 sections 2, 3 and 5, RFC 9110 sections 7.2 and 10.1.1.
use super::fields::{Fields, may_begin_field_line, split_field_line};
use super::framing::{BodyFraming, ConnectionOptions, FramingFields};
use super::grammar::{Version, is_blank, is_token, is_token_byte, list_members};
use super::host::split_authority;
use super::section::{Flow, LineReader, Section};
use super::target::{Target, TargetForm};
use crate::consumer::StreamConsumer;
use crate::error::{ErrorKind, ProtocolError};
use crate::limits::HttpLimits;
use alloc::vec::Vec;
use core::ops::Range;

/// How many empty lines may stand before a request: clients that are kind to very old servers send one.
const MAX_EMPTY_LINES: u8 = 2;

/// Takes the head of a request.
#[derive(Debug)]
pub struct RequestHead {
    section: Section,
    reader: HeadReader,
    framing: BodyFraming,
    is_ended: bool,
    error: Option<ProtocolError>,
}

/// The facts that were read from the lines so far.
#[derive(Debug)]
struct HeadReader {
    limits: HttpLimits,
    empty_lines: u8,
    request_line: Option<RequestLine>,
    fields_start: usize,
    field_count: u64,
    host: Option<Range<usize>>,
    framing: FramingFields,
    connection: ConnectionOptions,
    expects_continue: bool,
    expects_more: bool,
}

#[derive(Debug)]
struct RequestLine {
    method: Range<usize>,
    target_range: Range<usize>,
    target: Target,
    version: Version,
}

impl RequestHead {
    /// A consumer of one head within these limits.
    pub fn new(limits: HttpLimits) -> Self {
        let reader = HeadReader {
            limits,
            empty_lines: 0,
            request_line: None,
            fields_start: 0,
            field_count: 0,
            host: None,
            framing: FramingFields::default(),
            connection: ConnectionOptions::default(),
            expects_continue: false,
            expects_more: false,
        };
        Self {
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

    /// Whether it is whole and without fault, so that the accessors below have something to tell.
    pub fn is_whole(&self) -> bool {
        self.is_ended && self.error.is_none()
    }

    /// Its bytes as they came, empty lines before it and after it included; what is held of them before it is whole;
    /// none after an error.
    pub fn as_bytes(&self) -> &[u8] {
        if self.error.is_some() { b"" } else { self.section.as_slice() }
    }

    /// Move the bytes out; the accessors have nothing to tell afterwards.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.section.take()
    }

    /// The method, as it is written.
    pub fn method(&self) -> &[u8] {
        self.request_line().map_or(b"", |line| self.part(&line.method))
    }

    /// The target, as it is written.
    pub fn target(&self) -> &[u8] {
        self.request_line().map_or(b"", |line| self.part(&line.target_range))
    }

    /// How the target is written.
    pub fn target_form(&self) -> Option<TargetForm> {
        self.request_line().map(|line| line.target.form)
    }

    /// The path, as it is written; `/` where an absolute target has none, `*` for a whole server, empty for CONNECT.
    pub fn path(&self) -> &[u8] {
        let Some(line) = self.request_line() else { return b"" };
        match (line.target.form, self.target_part(line, &line.target.path)) {
            (TargetForm::Asterisk, _) => b"*",
            (TargetForm::Absolute, b"")
                if self.part(&line.method) == b"OPTIONS" && line.target.query.is_none() =>
            {
                b"*"
            }
            (TargetForm::Absolute, b"") => b"/",
            (_, path) => path,
        }
    }

    /// The query without its question mark, as it is written.
    pub fn query(&self) -> Option<&[u8]> {
        let line = self.request_line()?;
        line.target.query.as_ref().map(|query| self.target_part(line, query))
    }

    /// Host and port that are asked: those of the target, or else those of the Host field; empty if neither says.
    pub fn host(&self) -> &[u8] {
        let Some(line) = self.request_line() else { return b"" };
        match (self.target_part(line, &line.target.authority), &self.reader.host) {
            (b"", Some(host)) => self.part(host),
            (authority, _) => authority,
        }
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.request_line().map_or(Version::Http11, |line| line.version)
    }

    /// The fields in order.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(self.field_bytes())
    }

    /// Where the field lines are in [`RequestHead::as_bytes`].
    pub fn field_range(&self) -> Range<usize> {
        self.reader.fields_start..self.as_bytes().len()
    }

    fn field_bytes(&self) -> &[u8] {
        self.part(&self.field_range())
    }

    /// Where the body ends.
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether the client will send another request on this connection, if it is let.
    pub fn keep_alive(&self) -> bool {
        self.is_whole() && self.reader.connection.keep_alive(self.version())
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.is_whole() && self.version() == Version::Http11 && self.reader.expects_continue
    }

    /// How often a byte was looked at: what the linear-work law bounds.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        self.section.examined_bytes()
    }

    fn request_line(&self) -> Option<&RequestLine> {
        if self.is_whole() { self.reader.request_line.as_ref() } else { None }
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.as_bytes().get(range.clone()).unwrap_or_default()
    }

    fn target_part(&self, line: &RequestLine, range: &Range<usize>) -> &[u8] {
        self.part(&line.target_range).get(range.clone()).unwrap_or_default()
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.section.keep_first_line(b"");
        self.error = Some(ProtocolError::new(kind, self.section.taken_bytes()));
    }
}

impl StreamConsumer for RequestHead {
    fn received(&mut self, data: &[u8]) -> usize {
        if self.is_completed() {
            return 0;
        }
        let max_bytes = self.reader.limits.max_head_bytes;
        let too_large = ErrorKind::HeadTooLarge { limit_bytes: max_bytes };
        let (taken, result) = self.section.received(data, max_bytes, too_large, &mut self.reader);
        match result.and_then(|is_ended| if is_ended { self.reader.judge().map(Some) } else { Ok(None) }) {
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

    fn has_begun(&self) -> bool {
        self.section.has_content()
    }

    fn first_line(&self) -> &[u8] {
        self.section.first_line()
    }
}

impl LineReader for HeadReader {
    fn begin(&self, first: u8) -> Result<(), ErrorKind> {
        if self.request_line.is_some() {
            return may_begin_field_line(first);
        }
        match first {
            b'\r' => Ok(()),
            b'\n' => Err(ErrorKind::BareLineFeed),
            other if is_token_byte(other) => Ok(()),
            _ => Err(ErrorKind::BadRequestLine),
        }
    }

    fn line_limit(&self) -> Option<(u64, ErrorKind)> {
        let limit_bytes = self.limits.max_request_line_bytes;
        self.request_line.is_none().then_some((limit_bytes, ErrorKind::RequestLineTooLong { limit_bytes }))
    }

    fn line(&mut self, line: &[u8], start: usize) -> Result<Flow, ErrorKind> {
        if self.request_line.is_some() {
            if line.is_empty() {
                return Ok(Flow::End);
            }
            return self.field(line, start).map(|()| Flow::More);
        }
        if line.is_empty() {
            self.empty_lines += 1;
            return if self.empty_lines <= MAX_EMPTY_LINES {
                Ok(Flow::More)
            } else {
                Err(ErrorKind::BadRequestLine)
            };
        }
        self.request_line = Some(RequestLine::parse(line, start)?);
        self.fields_start = start + line.len() + 2;
        Ok(Flow::More)
    }
}

impl HeadReader {
    fn field(&mut self, line: &[u8], start: usize) -> Result<(), ErrorKind> {
        let (name, value) = split_field_line(line)?;
        if self.field_count == self.limits.max_fields {
            return Err(ErrorKind::TooManyFields { limit_fields: self.limits.max_fields });
        }
        self.field_count += 1;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                split_authority(value).ok_or(ErrorKind::BadHost)?;
                // The value is trimmed; where it begins in the line follows from what was trimmed before it.
                let blanks = line[5..].iter().take_while(|byte| is_blank(**byte)).count();
                let value_start = start + 5 + blanks;
                if self.host.replace(value_start..value_start + value.len()).is_some() {
                    return Err(ErrorKind::RepeatedHost);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                for expectation in list_members(value) {
                    let is_continue = expectation.eq_ignore_ascii_case(b"100-continue");
                    self.expects_continue |= is_continue;
                    self.expects_more |= !is_continue && !expectation.is_empty();
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection.add(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.framing.add_content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.framing.add_transfer_encoding(value)
            }
            _ => {}
        }
        Ok(())
    }

    /// What all lines together say: where the body ends.
    fn judge(&self) -> Result<BodyFraming, ErrorKind> {
        let line = self.request_line.as_ref().ok_or(ErrorKind::BadRequestLine)?;
        if line.version == Version::Http11 && self.host.is_none() {
            return Err(ErrorKind::MissingHost);
        }
        let framing = self.framing.of_request(line.version)?;
        // In HTTP/1.0 there are no expectations to be met.
        if self.expects_more && line.version == Version::Http11 {
            return Err(ErrorKind::UnsupportedExpectation);
        }
        Ok(framing)
    }
}

impl RequestLine {
    /// Read `method SP target SP version`.
    fn parse(line: &[u8], start: usize) -> Result<Self, ErrorKind> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ErrorKind::BadRequestLine);
        };
        if !is_token(method) {
            return Err(ErrorKind::BadRequestLine);
        }
        // First, as it says by which rules the rest is to be judged.
        let version = Version::parse(version)?;
        let target_start = start + method.len() + 1;
        Ok(Self {
            method: start..start + method.len(),
            target_range: target_start..target_start + target.len(),
            target: Target::parse(method, target).ok_or(ErrorKind::BadTarget)?,
            version,
        })
    }
}

//! The head of an answer as an application makes it and a server completes it.
//!
//! The application's lines are checked and written as they come; the framing, and whether the connection goes on, are
//! decided when the head leaves, from what both sides said. Nothing that an application says can begin a line of its
//! own, end the head, or frame the body against what is sent.
//! Source: RFC 9112 sections 4, 6 and 9, RFC 9110 sections 6.4.1, 7.6.1 and 8.6; PEP 3333.
use super::grammar::{Version, decimal, is_field_value, is_token, trim};
use alloc::vec::Vec;
use core::fmt;

/// A small answer fits, with its body.
const USUAL_BYTES: usize = 512;

/// Whether a field is for one connection, and so for the server alone to set.
fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |hop: &[u8]| name.eq_ignore_ascii_case(hop);
    // By length first: nearly all names end here.
    match name.len() {
        2 => is(b"te"),
        7 => is(b"trailer") || is(b"upgrade"),
        8 => is(b"trailers"),
        10 => is(b"connection") || is(b"keep-alive"),
        17 => is(b"transfer-encoding"),
        18 => is(b"proxy-authenticate"),
        19 => is(b"proxy-authorization"),
        _ => false,
    }
}

/// What of the request decides how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The version that the client speaks.
    pub version: Version,
    /// The method is HEAD: the answer has no body, whatever it says.
    pub is_head: bool,
    /// The client would send another request on this connection.
    pub keep_alive: bool,
}

/// Why a line of the application's cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// Not three digits from 200 on, a space and a reason.
    Status,
    /// The name of a field is no token.
    FieldName,
    /// The value of a field has a control byte in it.
    FieldValue,
    /// The field is for the server to set.
    HopByHop,
    /// Content-Length is not a number, or there are two.
    ContentLength,
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => {
                "a status is three digits from 200 to 999, a space and a reason without control characters"
            }
            Self::FieldName => {
                "a header name is one or more letters, digits and the characters !#$%&'*+-.^_`|~"
            }
            Self::FieldValue => "a header value has no control characters in it but tabs, and no line breaks",
            Self::HopByHop => "a hop-by-hop header is for the server to set",
            Self::ContentLength => "Content-Length is given once, as a decimal number",
        })
    }
}

/// How the body of an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// There is none, whatever the application gives.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes.
    UntilClose,
}

/// What a head says of the rest of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerPlan {
    /// How the body is framed.
    pub body: AnswerBody,
    /// Whether another request may follow.
    pub keep_alive: bool,
}

/// What the server adds to every answer, unless the application has said it.
#[derive(Clone, Copy, Debug)]
pub struct ServerFields<'a> {
    /// The present time, as `Date` has it.
    pub date: &'a [u8],
    /// What `Server` says; none if empty.
    pub ident: &'a [u8],
}

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Status line and field lines, without the line that ends them.
    bytes: Vec<u8>,
    status: u16,
    content_length: Option<u64>,
    has_date: bool,
    has_server: bool,
}

impl AnswerHead {
    /// One with this status, such as `404 Not Found`, written into `bytes`, whose memory it takes over.
    ///
    /// # Errors
    /// [`AnswerFault::Status`]; also for 1xx, which is no final answer.
    pub fn new(status: &[u8], mut bytes: Vec<u8>) -> Result<Self, AnswerFault> {
        let (code, reason) = match status.split_at_checked(3) {
            Some((code, [])) => (code, &b""[..]),
            Some((code, [b' ', reason @ ..])) => (code, reason),
            _ => return Err(AnswerFault::Status),
        };
        let number =
            decimal(code).filter(|number| (200..1000).contains(number)).ok_or(AnswerFault::Status)?;
        if !is_field_value(reason) {
            return Err(AnswerFault::Status);
        }
        bytes.clear();
        bytes.reserve(USUAL_BYTES);
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(code);
        bytes.push(b' ');
        bytes.extend_from_slice(reason);
        bytes.extend_from_slice(b"\r\n");
        let status = u16::try_from(number).unwrap_or(500);
        Ok(Self { bytes, status, content_length: None, has_date: false, has_server: false })
    }

    /// The number of the status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The length that the application has announced.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Add a field of the application's. White space around the value is left out.
    ///
    /// # Errors
    /// What is wrong with it; the head is as it was.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), AnswerFault> {
        if !matches!(name, b"Content-Type" | b"Content-Length") && !is_token(name) {
            return Err(AnswerFault::FieldName);
        }
        if !is_field_value(value) {
            return Err(AnswerFault::FieldValue);
        }
        let value = trim(value);
        match name.len() {
            4 => self.has_date |= name.eq_ignore_ascii_case(b"date"),
            6 if name.eq_ignore_ascii_case(b"server") => self.has_server = true,
            14 if name == b"Content-Length" || name.eq_ignore_ascii_case(b"content-length") => {
                // The largest number stands for those beyond it.
                let length = decimal(value).filter(|length| *length < u64::MAX);
                let length = length.ok_or(AnswerFault::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(AnswerFault::ContentLength);
                }
                return Ok(());
            }
            _ => {}
        }
        if is_hop_by_hop(name) {
            return Err(AnswerFault::HopByHop);
        }
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// How the answer goes on; `whole_length` is the length of the body, where it is known beforehand.
    pub fn plan(&self, asking: Asking, whole_length: Option<u64>) -> AnswerPlan {
        let keep_alive = asking.keep_alive;
        if asking.is_head || matches!(self.status, 204 | 205 | 304) {
            return AnswerPlan { body: AnswerBody::Nothing, keep_alive };
        }
        match (self.content_length.or(whole_length), asking.version) {
            (Some(length), _) => AnswerPlan { body: AnswerBody::Length(length), keep_alive },
            (None, Version::Http11) => AnswerPlan { body: AnswerBody::Chunked, keep_alive },
            (None, Version::Http10) => AnswerPlan { body: AnswerBody::UntilClose, keep_alive: false },
        }
    }

    /// Complete the head and give it away; what is left of this one knows its status and length.
    ///
    /// `whole_length` as for [`AnswerHead::plan`]; what answers HEAD announces it too, as it would to GET.
    pub fn complete(
        &mut self,
        asking: Asking,
        plan: AnswerPlan,
        whole_length: Option<u64>,
        server: ServerFields<'_>,
    ) -> Vec<u8> {
        let mut out = core::mem::take(&mut self.bytes);
        out.reserve(160);
        let known = whole_length.filter(|length| !(asking.is_head && *length == 0));
        // A 204 must not have one, a 205 has nothing; a 304 tells that of the 200 it stands for, which only the
        // application knows.
        let length = match self.status {
            204 => None,
            205 => Some(0),
            304 => self.content_length,
            _ => self.content_length.or(known),
        };
        if let Some(length) = length {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(length, &mut out);
            out.extend_from_slice(b"\r\n");
        } else if plan.body == AnswerBody::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if !plan.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if asking.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        if !self.has_date {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(server.date);
            out.extend_from_slice(b"\r\n");
        }
        if !self.has_server && !server.ident.is_empty() {
            out.extend_from_slice(b"Server: ");
            out.extend_from_slice(server.ident);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// The decimal digits of a number, and where among these bytes they begin.
pub fn decimal_digits(mut number: u64) -> ([u8; 20], usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return (digits, at);
        }
    }
}

/// Write a number in decimal digits.
pub fn write_decimal(number: u64, out: &mut Vec<u8>) {
    let (digits, start) = decimal_digits(number);
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    const SERVER: ServerFields<'static> = ServerFields { date: b"D", ident: b"S" };
    const GET: Asking = Asking { version: Version::Http11, is_head: false, keep_alive: true };

    fn written(
        status: &str,
        fields: &[(&str, &str)],
        asking: Asking,
        whole: Option<u64>,
    ) -> (AnswerPlan, String) {
        let mut head = AnswerHead::new(status.as_bytes(), Vec::new()).unwrap();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let plan = head.plan(asking, whole);
        let out = head.complete(asking, plan, whole, SERVER);
        (plan, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_body_of_known_length_is_announced() {
        let (plan, text) = written("200 OK", &[("A", " b ")], GET, Some(5));
        assert_eq!(plan, AnswerPlan { body: AnswerBody::Length(5), keep_alive: true });
        assert_eq!(text, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nDate: D\r\nServer: S\r\n\r\n");
    }

    #[test]
    fn an_unknown_length_is_chunked_or_ends_with_the_connection() {
        let (plan, text) = written("200 OK", &[("date", "x"), ("server", "y")], GET, None);
        assert_eq!(plan, AnswerPlan { body: AnswerBody::Chunked, keep_alive: true });
        assert_eq!(text, "HTTP/1.1 200 OK\r\ndate: x\r\nserver: y\r\nTransfer-Encoding: chunked\r\n\r\n");
        let old = Asking { version: Version::Http10, ..GET };
        let (plan, text) = written("200 ", &[], old, None);
        assert_eq!(plan, AnswerPlan { body: AnswerBody::UntilClose, keep_alive: false });
        assert_eq!(text, "HTTP/1.1 200 \r\nConnection: close\r\nDate: D\r\nServer: S\r\n\r\n");
        let (plan, text) = written("200", &[], old, Some(0));
        assert!(plan.keep_alive && text.contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn answers_without_a_body_have_none() {
        let head = Asking { is_head: true, ..GET };
        for (status, asking, length, is_announced) in [
            ("204 No Content", GET, "5", false),
            ("304 Not Modified", GET, "5", true),
            ("200 OK", head, "5", true),
        ] {
            let (plan, text) = written(status, &[("content-length", length)], asking, Some(3));
            assert_eq!(plan.body, AnswerBody::Nothing);
            assert!(plan.keep_alive);
            assert_eq!(text.contains("Content-Length: 5"), is_announced, "{text}");
            assert!(!text.contains("chunked") && !text.contains("Content-Length: 3"));
        }
        // An application that gives HEAD no body may still have one for GET.
        assert!(!written("200 OK", &[], head, Some(0)).1.contains("Length"));
        assert!(written("200 OK", &[], head, Some(7)).1.contains("Content-Length: 7"));
    }

    #[test]
    fn what_could_be_read_as_something_else_is_refused() {
        for status in [
            "",
            "20",
            "2000 OK",
            "099 X",
            "101 Switching",
            "OK 200",
            "200OK",
            "200 a\r\nB: c",
            "200 a\0",
            "+20 x",
        ] {
            assert_eq!(
                AnswerHead::new(status.as_bytes(), Vec::new()).err(),
                Some(AnswerFault::Status),
                "{status}"
            );
        }
        let mut head = AnswerHead::new(b"200 OK", Vec::new()).unwrap();
        for (name, value, fault) in [
            ("", "b", AnswerFault::FieldName),
            ("A b", "c", AnswerFault::FieldName),
            ("A\r\nB", "c", AnswerFault::FieldName),
            ("A:", "c", AnswerFault::FieldName),
            ("A", "b\r\nC: d", AnswerFault::FieldValue),
            ("A", "b\nc", AnswerFault::FieldValue),
            ("A", "\0", AnswerFault::FieldValue),
            ("Connection", "close", AnswerFault::HopByHop),
            ("transfer-encoding", "chunked", AnswerFault::HopByHop),
            ("Content-Length", "-1", AnswerFault::ContentLength),
            ("Content-Length", "1, 1", AnswerFault::ContentLength),
        ] {
            assert_eq!(head.add(name.as_bytes(), value.as_bytes()), Err(fault), "{name}: {value}");
        }
        head.add(b"Content-Length", b"1").unwrap();
        assert_eq!(head.add(b"content-length", b"1"), Err(AnswerFault::ContentLength));
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 12345, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(number, &mut out);
            assert_eq!(out, alloc::format!("{number}").into_bytes());
        }
    }
}

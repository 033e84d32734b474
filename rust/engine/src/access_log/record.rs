//! `Record`: what the access log is told of one request.
//!
//! Everything is borrowed: the line is written while the request still exists. Bytes of the client stand here as they
//! came; to make them harmless is the business of `format`.

use std::net::IpAddr;
use std::time::Duration;

/// One request that has come to its end, one way or the other.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Who asked.
    pub peer: Peer<'a>,
    /// What was asked.
    pub asked: Asked<'a>,
    /// The status of the answer.
    pub status: u16,
    /// The bytes of the answer's body, before any coding for the transfer.
    pub body_bytes: u64,
    /// How long it took; `None`: not known.
    pub duration: Option<Duration>,
    /// The answer was handed over whole.
    pub is_complete: bool,
    /// Why the server refused it by itself, in its own words; `None`: it did not.
    pub refusal: Option<&'a str>,
    /// The `Authorization` field.
    pub authorization: Option<&'a [u8]>,
    /// The `Referer` field.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer<'a> {
    /// The internet address of the connection.
    Address(IpAddr),
    /// A Unix socket.
    Unix,
    /// Somebody behind a proxy, as the proxy names him.
    Named(&'a [u8]),
}

/// The request line.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// One that was understood.
    Line {
        /// The method.
        method: &'a [u8],
        /// The target, as it was written.
        target: &'a [u8],
        /// Such as `HTTP/1.1`; the server's own words, as they are written.
        protocol: &'static str,
    },
    /// What came in its place, or the part of it that came; nothing behind its first line end is looked at.
    Raw(&'a [u8]),
}

impl<'a> Asked<'a> {
    /// A line that need not be one of a request.
    fn of_line(line: &'a [u8]) -> Self {
        let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
        let line = line.get(..end).unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method @ [_, ..]), Some(target @ [_, ..]), Some(b"HTTP/1.1"), None) => {
                Self::Line { method, target, protocol: "HTTP/1.1" }
            }
            (Some(method @ [_, ..]), Some(target @ [_, ..]), Some(b"HTTP/1.0"), None) => {
                Self::Line { method, target, protocol: "HTTP/1.0" }
            }
            _ => Self::Raw(line),
        }
    }
}

impl<'a> Record<'a> {
    /// The record of what the server refused before there was a request; `first_line` is how that began, as far as
    /// it is known.
    pub fn of_refusal(
        peer: Peer<'a>,
        first_line: &'a [u8],
        status: u16,
        body_bytes: u64,
        reason: &'a str,
    ) -> Self {
        Self {
            peer,
            asked: Asked::of_line(first_line),
            status,
            body_bytes,
            duration: None,
            is_complete: true,
            refusal: Some(reason),
            authorization: None,
            referer: None,
            user_agent: None,
        }
    }
}

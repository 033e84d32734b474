//! The answers that a server gives without its application: plain text, and the end of the connection.
//!
//! A pure function of a status, the date and what the server calls itself. Of the request no more is known here than
//! whether it was HEAD. Source: RFC 9110 sections 6.6.1, 9.3.2, 10.2.3 and 15, RFC 9112 section 9.6.
use alloc::format;
use alloc::vec::Vec;

/// The word that a client waits for which sent `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer says besides its status.
#[derive(Clone, Copy, Debug)]
pub struct LoopAnswer<'a> {
    /// The status.
    pub status: u16,
    /// What is wrong, in a few words of the server's own; nothing of the peer's.
    pub text: &'a str,
    /// The date, in the form of HTTP.
    pub date: &'a [u8],
    /// What the server calls itself; `None`: nothing.
    pub server: Option<&'a [u8]>,
    /// When to try again.
    pub retry_after_seconds: Option<u32>,
    /// It answers HEAD, as far as that can be seen: its body is left out.
    pub is_to_head: bool,
}

impl LoopAnswer<'_> {
    /// The whole answer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let reason = reason_phrase(self.status);
        let body = format!("{reason}: {}\n", self.text);
        let mut answer = format!("HTTP/1.1 {} {reason}\r\nDate: ", self.status).into_bytes();
        answer.extend_from_slice(self.date);
        if let Some(server) = self.server {
            answer.extend_from_slice(b"\r\nServer: ");
            answer.extend_from_slice(server);
        }
        if let Some(seconds) = self.retry_after_seconds {
            answer.extend_from_slice(format!("\r\nRetry-After: {seconds}").as_bytes());
        }
        let length = body.len();
        let rest = format!(
            "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        answer.extend_from_slice(rest.as_bytes());
        if !self.is_to_head {
            answer.extend_from_slice(body.as_bytes());
        }
        answer
    }
}

/// What a status is called, of those that a server gives by itself; the others are not told apart.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Error",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::consumer::StreamConsumer;
    use crate::error::ErrorKind;
    use crate::http::response::Response;
    use crate::http::response_head::Asked;
    use crate::limits::HttpLimits;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    const PLAIN: LoopAnswer<'static> = LoopAnswer {
        status: 400,
        text: "",
        date: DATE,
        server: None,
        retry_after_seconds: None,
        is_to_head: false,
    };

    fn read(answer: &[u8]) -> Response {
        let mut response = Response::new(HttpLimits::DEFAULT, Asked::Other);
        assert_eq!(response.received(answer), answer.len());
        assert!(response.is_completed());
        assert_eq!(response.error(), None);
        response
    }

    #[test]
    fn every_answer_is_one_whole_answer_after_which_nothing_comes() {
        let statuses = ErrorKind::EXAMPLES.iter().filter_map(|kind| kind.status()).chain([408, 503, 507]);
        for status in statuses {
            let answer = LoopAnswer { status, text: "it is so", ..PLAIN };
            let response = read(&answer.to_bytes());
            assert_eq!(response.head().status(), status);
            assert_eq!(response.head().reason(), reason_phrase(status).as_bytes());
            assert!(!response.keep_alive());
            assert!(response.value().ends_with(b": it is so\n"));
            assert!(!reason_phrase(status).ends_with("Error") || status == 500, "{status} has no name");
        }
    }

    #[test]
    fn to_head_it_is_the_same_without_its_body() {
        let whole = PLAIN.to_bytes();
        let head = LoopAnswer { is_to_head: true, ..PLAIN }.to_bytes();
        assert!(head.ends_with(b"\r\n\r\n") && whole.starts_with(&head) && whole.len() > head.len());
    }

    #[test]
    fn it_says_what_it_is_and_when_to_come_again() {
        let answer = LoopAnswer {
            status: 503,
            text: "all workers are busy",
            server: Some(b"wiretask"),
            retry_after_seconds: Some(7),
            ..PLAIN
        };
        assert_eq!(
            core::str::from_utf8(&answer.to_bytes()).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: wiretask\r\n\
             Retry-After: 7\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 42\r\n\
             Connection: close\r\n\r\nService Unavailable: all workers are busy\n"
        );
    }
}

//! Each limit of HTTP to the byte: what takes exactly so much is read, what takes one more is refused, and at once.
#![allow(clippy::unwrap_used)]
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::error::{ErrorKind, ProtocolError};
use wiretask_protocol::http::request::Request;
use wiretask_protocol::http::response::Response;
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::limits::HttpLimits;

const USUAL: HttpLimits = HttpLimits::DEFAULT;
const HEAD: &str = "POST /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Feed in pieces of this size until completed.
fn feed(consumer: &mut impl StreamConsumer, stream: &str, size: usize) -> Option<ProtocolError> {
    for piece in stream.as_bytes().chunks(size) {
        consumer.received(piece);
    }
    consumer.error().copied()
}

/// The stream is read within `fitting` limits, and refused within `tight` ones, certain after `offset` bytes.
fn assert_limit(stream: &str, fitting: HttpLimits, tight: HttpLimits, kind: ErrorKind, offset: u64) {
    for size in [1, 3, stream.len()] {
        let mut request = Request::new(fitting);
        assert_eq!((feed(&mut request, stream, size), request.is_completed()), (None, true), "{stream:?}");
        let error = feed(&mut Request::new(tight), stream, size);
        assert_eq!(error, Some(ProtocolError::new(kind, offset)), "{stream:?}");
    }
}

#[test]
fn the_head_counts_up_to_its_empty_line() {
    let len = HEAD.len() as u64;
    let limits = |max_head_bytes| HttpLimits { max_head_bytes, ..USUAL };
    let kind = ErrorKind::HeadTooLarge { limit_bytes: len - 1 };
    assert_limit(HEAD, limits(len), limits(len - 1), kind, len - 1);
    let stream = format!("\r\n\r\n{HEAD}");
    assert_limit(&stream, limits(len + 4), limits(len - 1), kind, len - 1);
}

#[test]
fn the_request_line_counts_up_to_its_end() {
    let limits = |max_request_line_bytes| HttpLimits { max_request_line_bytes, ..USUAL };
    let kind = ErrorKind::RequestLineTooLong { limit_bytes: 19 };
    assert_limit(HEAD, limits(20), limits(19), kind, 19);
    // Empty lines before it do not count.
    assert_limit(&format!("\r\n{HEAD}"), limits(20), limits(19), kind, 21);
}

#[test]
fn fields_are_counted_in_heads_and_in_trailers() {
    let limits = |max_fields| HttpLimits { max_fields, ..USUAL };
    let kind = ErrorKind::TooManyFields { limit_fields: 1 };
    assert_limit(HEAD, limits(2), limits(1), kind, HEAD.len() as u64 - 2);
    let stream = format!("{CHUNKED}0\r\nA:\r\nB:\r\nC:\r\n\r\n");
    let kind = ErrorKind::TooManyFields { limit_fields: 2 };
    assert_limit(&stream, limits(3), limits(2), kind, stream.len() as u64 - 2);
}

#[test]
fn an_announced_body_is_refused_before_it_comes() {
    let limits = |max_body_bytes| HttpLimits { max_body_bytes, ..USUAL };
    let kind = ErrorKind::BodyTooLarge { limit_bytes: 2 };
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    assert_limit(&format!("{head}abc"), limits(3), limits(2), kind, head.len() as u64);
    let offset = CHUNKED.len() as u64 + 3;
    assert_limit(&format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n"), limits(3), limits(2), kind, offset);
}

#[test]
fn chunks_count_together() {
    let limits = |max_body_bytes| HttpLimits { max_body_bytes, ..USUAL };
    let stream = format!("{CHUNKED}2\r\nab\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n");
    let kind = ErrorKind::BodyTooLarge { limit_bytes: 3 };
    assert_limit(&stream, limits(4), limits(3), kind, CHUNKED.len() as u64 + 16);
    let kind = ErrorKind::BodyTooLarge { limit_bytes: 0 };
    assert_limit(&stream, limits(4), limits(0), kind, CHUNKED.len() as u64 + 3);
}

#[test]
fn extensions_count_together_and_trailers_up_to_their_empty_line() {
    let stream = format!("{CHUNKED}1;a\r\nx\r\n0;b\r\nT: u\r\n\r\n");
    let extensions = |max_chunk_extension_bytes| HttpLimits { max_chunk_extension_bytes, ..USUAL };
    let kind = ErrorKind::ChunkExtensionsTooLarge { limit_bytes: 5 };
    // An extension counts from its semicolon to the carriage return.
    assert_limit(&stream, extensions(6), extensions(5), kind, CHUNKED.len() as u64 + 12);
    let trailers = |max_trailer_bytes| HttpLimits { max_trailer_bytes, ..USUAL };
    let kind = ErrorKind::TrailersTooLarge { limit_bytes: 7 };
    assert_limit(&stream, trailers(8), trailers(7), kind, stream.len() as u64 - 1);
}

#[test]
fn a_body_that_ends_with_the_stream_is_refused_at_the_first_byte_above() {
    let limits = HttpLimits { max_body_bytes: 3, ..USUAL };
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    for size in [1, 3, 100] {
        let mut response = Response::new(limits, Asked::Other);
        assert_eq!(feed(&mut response, &format!("{head}abc"), size), None);
        response.end_of_input();
        assert_eq!((response.is_completed(), response.value()), (true, &b"abc"[..]));
        let error = feed(&mut Response::new(limits, Asked::Other), &format!("{head}abcde"), size);
        let kind = ErrorKind::BodyTooLarge { limit_bytes: 3 };
        assert_eq!(error, Some(ProtocolError::new(kind, head.len() as u64 + 4)));
    }
}

//! Streams for the HTTP consumers: put together from good and hostile parts, so that most reach deep into a parser,
//! and then changed at a few random bytes.
use proptest::prelude::*;
use proptest::sample::select;

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "POST /x HTTP/1.1\r\n",
    "HEAD / HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "GET http://b/ HTTP/1.1\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "GET / HTTP/2.0\r\n",
    "GET / HTTP/1.1\n",
    "GET  / HTTP/1.1\r\n",
    "GET /#a HTTP/1.1\r\n",
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 404 Not Found\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 100 \r\n",
    "HTTP/2.0 200 OK\r\n",
    "HTTP/1.1 20 OK\r\n",
    "HTTP/1.1 200 OK\n",
];

const FIELD_LINES: &[&str] = &[
    "Host: a\r\n",
    "Host: a\r\n",
    "Host: a:80:80\r\n",
    "Content-Length: 3\r\n",
    "content-length: 4\r\n",
    "Content-Length: +3\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, upgrade\r\n",
    "Expect: 100-continue\r\n",
    "Expect: else\r\n",
    "X-Long: yyyyyyyyyyyyyyyyyyyyyyyyyyy \r\n",
    "A:\r\n",
    "A : b\r\n",
    " folded\r\n",
    "A: b\n",
    "A: \0\r\n",
];

const BODIES: &[&str] = &[
    "",
    "abc",
    "abcd",
    "3\r\nabc\r\n0\r\n\r\n",
    "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n",
    "3;x=\"y\\\"\" ; z\r\nabc\r\n00;\tq\r\nT: u\r\nV:\r\n\r\n",
    "5\r\nhelloXX",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nabc",
    "3\nabc\n0\n\n",
];

const INTERESTING: &[u8] = b"\r\n\0 \t:;=,\"\\0a5\x7f\xff";

fn head(first: &'static [&'static str]) -> impl Strategy<Value = String> {
    (
        select(first),
        proptest::collection::vec(select(FIELD_LINES), 0..5),
        prop_oneof![9 => Just("\r\n"), 1 => Just("\n")],
    )
        .prop_map(|(first, fields, end)| format!("{first}{}{end}", fields.concat()))
}

/// With one Host and one framing, as an honest peer sends it, so that bodies are reached often.
fn good_head(first: &'static str) -> impl Strategy<Value = String> {
    let framing = select(&["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", ""][..]);
    framing.prop_map(move |framing| format!("{first}Host: a\r\n{framing}\r\n"))
}

/// Replace, insert or remove single bytes at a few places.
fn changed(streams: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(INTERESTING), any::<u8>()];
    let changes = proptest::collection::vec((any::<usize>(), 0..3u8, byte), 0..3);
    (streams, changes).prop_map(|(mut stream, changes)| {
        for (place, change, byte) in changes {
            let place = place % (stream.len() + 1);
            match change {
                0 if place < stream.len() => stream[place] = byte,
                1 if place < stream.len() => drop(stream.remove(place)),
                _ => stream.insert(place, byte),
            }
        }
        stream
    })
}

pub fn requests() -> impl Strategy<Value = Vec<u8>> {
    let heads = prop_oneof![head(REQUEST_LINES), good_head("POST / HTTP/1.1\r\n")];
    changed((heads, select(BODIES)).prop_map(|(head, body)| [head.as_bytes(), body.as_bytes()].concat()))
}

pub fn responses() -> impl Strategy<Value = Vec<u8>> {
    let heads = prop_oneof![head(STATUS_LINES), good_head("HTTP/1.1 200 OK\r\n")];
    changed((heads, select(BODIES)).prop_map(|(head, body)| [head.as_bytes(), body.as_bytes()].concat()))
}

pub fn chunked_bodies() -> impl Strategy<Value = Vec<u8>> {
    changed(select(BODIES).prop_map(|body| body.as_bytes().to_vec()))
}

//! HTTP/1.1: one request or one response as a stream consumer, and what writes them.
//!
//! Strict: what two parsers could read differently is refused, never repaired. After an error nothing more is taken.
//! A head is read line by line: a fault in a line is told when the line ends (or at its first byte), so any cut of
//! the bytes gives the same answer, and a peer that never ends its head is still told early what is wrong with it.
//! Source: RFC 9110, RFC 9112.
pub mod answer;
mod body;
pub mod chunked;
pub mod encode;
pub mod fields;
pub mod framing;
pub mod grammar;
pub mod host;
pub mod loop_answer;
pub mod message;
pub mod request;
pub mod request_head;
pub mod response;
pub mod response_head;
mod section;
pub mod target;

//! All consumers of this crate behind one type, and their specifications: what a server keeps to make a fresh
//! consumer for each message.
use crate::consumer::StreamConsumer;
use crate::delimiter::{self, Delimiter};
use crate::error::{ProtocolError, Unencodable};
use crate::fixed::Fixed;
use crate::http::chunked::Chunked;
use crate::http::encode;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response_head::Asked;
use crate::lazy::Lazy;
use crate::length_prefix::{self, LengthFormat, LengthPrefixed};
use crate::limits::{
    HttpLimits, MAX_DELIMITER_BYTES, MIN_HEAD_BYTES, MIN_REQUEST_LINE_BYTES, MIN_TRAILER_BYTES,
};
use crate::line::{self, Line};
use crate::search::Needle;
use alloc::{sync::Arc, vec::Vec};
use core::fmt;

/// A stream consumer of this crate.
#[derive(Debug)]
pub enum NativeConsumer {
    /// A fixed number of bytes.
    Fixed(Fixed),
    /// A line.
    Line(Line),
    /// Everything up to a delimiter.
    Delimiter(Delimiter),
    /// A length and that many bytes.
    LengthPrefixed(LengthPrefixed),
    /// A chunked body.
    Chunked(Lazy<Chunked>),
    /// An HTTP request.
    HttpRequest(Lazy<Request>),
    /// An HTTP answer.
    HttpResponse(Lazy<Response>),
}

/// Run the same expression on whichever consumer it is.
macro_rules! each {
    ($consumer:expr, $inner:ident => $body:expr) => {
        match $consumer {
            NativeConsumer::Fixed($inner) => $body,
            NativeConsumer::Line($inner) => $body,
            NativeConsumer::Delimiter($inner) => $body,
            NativeConsumer::LengthPrefixed($inner) => $body,
            NativeConsumer::Chunked($inner) => $body,
            NativeConsumer::HttpRequest($inner) => $body,
            NativeConsumer::HttpResponse($inner) => $body,
        }
    };
}

impl NativeConsumer {
    /// The value, once completed without an error; before that, what is held of it. Of HTTP messages: the body.
    pub fn value(&self) -> &[u8] {
        match self {
            Self::Fixed(fixed) => fixed.value(),
            Self::Line(line) => line.value(),
            Self::Delimiter(delimiter) => delimiter.value(),
            Self::LengthPrefixed(prefixed) => prefixed.value(),
            Self::Chunked(chunked) => chunked.get().map_or(b"", Chunked::value),
            Self::HttpRequest(request) => request.get().map_or(b"", Request::value),
            Self::HttpResponse(response) => response.get().map_or(b"", Response::value),
        }
    }

    /// What it was made from.
    pub fn spec(&self) -> ConsumerSpec {
        match self {
            Self::Fixed(fixed) => ConsumerSpec::Fixed { length_bytes: fixed.length_bytes() },
            Self::Line(line) => ConsumerSpec::Line { max_bytes: line.max_bytes() },
            Self::Delimiter(delimiter) => ConsumerSpec::Delimiter {
                needle: Arc::clone(delimiter.needle()),
                max_bytes: delimiter.max_bytes(),
            },
            Self::LengthPrefixed(prefixed) => {
                ConsumerSpec::LengthPrefixed { format: prefixed.format(), max_bytes: prefixed.max_bytes() }
            }
            Self::Chunked(chunked) => ConsumerSpec::Chunked { limits: chunked.seed() },
            Self::HttpRequest(request) => ConsumerSpec::HttpRequest { limits: request.seed() },
            Self::HttpResponse(response) => {
                let (limits, asked) = response.seed();
                ConsumerSpec::HttpResponse { limits, asked }
            }
        }
    }

    /// Move the value out without copying it; empty afterwards.
    pub fn take_value(&mut self) -> Vec<u8> {
        match self {
            Self::Fixed(fixed) => fixed.take_value(),
            Self::Line(line) => line.take_value(),
            Self::Delimiter(delimiter) => delimiter.take_value(),
            Self::LengthPrefixed(prefixed) => prefixed.take_value(),
            Self::Chunked(chunked) => chunked.get_mut().map_or_else(Vec::new, Chunked::take_value),
            Self::HttpRequest(request) => request.get_mut().map_or_else(Vec::new, Request::take_value),
            Self::HttpResponse(response) => response.get_mut().map_or_else(Vec::new, Response::take_value),
        }
    }

    /// How often a byte was looked at in search of an end: what the linear-work law bounds.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        match self {
            Self::Line(line) => line.examined_bytes(),
            Self::Delimiter(delimiter) => delimiter.examined_bytes(),
            Self::Chunked(chunked) => chunked.get().map_or(0, Chunked::examined_bytes),
            Self::HttpRequest(request) => request.get().map_or(0, Request::examined_bytes),
            Self::HttpResponse(response) => response.get().map_or(0, Response::examined_bytes),
            Self::Fixed(_) | Self::LengthPrefixed(_) => 0,
        }
    }
}

impl StreamConsumer for NativeConsumer {
    fn received(&mut self, data: &[u8]) -> usize {
        each!(self, inner => inner.received(data))
    }

    fn is_completed(&self) -> bool {
        each!(self, inner => inner.is_completed())
    }

    fn error(&self) -> Option<&ProtocolError> {
        each!(self, inner => inner.error())
    }

    fn end_of_input(&mut self) {
        each!(self, inner => inner.end_of_input())
    }

    fn is_empty(&self) -> bool {
        each!(self, inner => inner.is_empty())
    }

    fn is_started(&self) -> bool {
        each!(self, inner => inner.is_started())
    }

    fn has_begun(&self) -> bool {
        each!(self, inner => inner.has_begun())
    }

    fn first_line(&self) -> &[u8] {
        each!(self, inner => inner.first_line())
    }

    fn is_in_body(&self) -> bool {
        each!(self, inner => inner.is_in_body())
    }

    fn held_body_bytes(&self) -> usize {
        each!(self, inner => inner.held_body_bytes())
    }

    fn take_body(&mut self) -> Vec<u8> {
        each!(self, inner => inner.take_body())
    }

    fn split_head(&mut self) -> Option<Self> {
        match self {
            Self::HttpRequest(request) => request.split_head().map(Self::HttpRequest),
            _ => None,
        }
    }

    fn awaits_go_ahead(&self) -> bool {
        each!(self, inner => inner.awaits_go_ahead())
    }

    fn note_go_ahead(&mut self) {
        each!(self, inner => inner.note_go_ahead())
    }
}

/// What makes consumers: kind and limits, checked. Cheap to clone; equal if it makes equal consumers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConsumerSpec {
    /// See [`ConsumerSpec::fixed`].
    Fixed {
        /// The length of the message.
        length_bytes: u64,
    },
    /// See [`ConsumerSpec::line`].
    Line {
        /// The longest line, terminator included.
        max_bytes: u64,
    },
    /// See [`ConsumerSpec::delimiter`].
    Delimiter {
        /// The delimiter, made ready for searching.
        needle: Arc<Needle>,
        /// The longest message, delimiter included.
        max_bytes: u64,
    },
    /// See [`ConsumerSpec::length_prefixed`].
    LengthPrefixed {
        /// How the length is written.
        format: LengthFormat,
        /// The longest message, prefix included.
        max_bytes: u64,
    },
    /// See [`ConsumerSpec::chunked`].
    Chunked {
        /// All limits.
        limits: HttpLimits,
    },
    /// See [`ConsumerSpec::http_request`].
    HttpRequest {
        /// All limits.
        limits: HttpLimits,
    },
    /// See [`ConsumerSpec::http_response`].
    HttpResponse {
        /// All limits; that of the request line means nothing here.
        limits: HttpLimits,
        /// What the answers are to.
        asked: Asked,
    },
}

/// Why a specification makes no sense: the caller's fault, told before the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// A message of no bytes would be followed by another for ever.
    FixedOfZero,
    /// The delimiter is empty.
    DelimiterEmpty,
    /// The delimiter is longer than [`MAX_DELIMITER_BYTES`].
    DelimiterTooLong,
    /// The limit leaves no room for even an empty message.
    LimitTooSmall {
        /// Which limit.
        name: &'static str,
        /// What an empty message takes.
        min_bytes: u64,
        /// What was given.
        max_bytes: u64,
    },
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FixedOfZero => f.write_str("n must be at least 1, not 0"),
            Self::DelimiterEmpty => f.write_str("delimiter must not be empty"),
            Self::DelimiterTooLong => write!(f, "delimiter must be at most {MAX_DELIMITER_BYTES} bytes"),
            Self::LimitTooSmall { name, min_bytes, max_bytes } => {
                write!(
                    f,
                    "{name} must be at least {min_bytes}, which an empty message takes, not {max_bytes}"
                )
            }
        }
    }
}

impl core::error::Error for SpecError {}

impl ConsumerSpec {
    /// Messages of `length_bytes` bytes, at least 1.
    ///
    /// # Errors
    /// [`SpecError::FixedOfZero`]: a server would find such messages without end between two bytes.
    pub fn fixed(length_bytes: u64) -> Result<Self, SpecError> {
        if length_bytes == 0 {
            return Err(SpecError::FixedOfZero);
        }
        Ok(Self::Fixed { length_bytes })
    }

    /// Lines of at most `max_bytes` bytes, terminator included.
    ///
    /// # Errors
    /// [`SpecError::LimitTooSmall`] for 0.
    pub fn line(max_bytes: u64) -> Result<Self, SpecError> {
        at_least("max_bytes", 1, max_bytes)?;
        Ok(Self::Line { max_bytes })
    }

    /// Messages that end with `delimiter`, of at most `max_bytes` bytes, delimiter included.
    ///
    /// # Errors
    /// The delimiter is empty or too long, or longer than `max_bytes`.
    pub fn delimiter(delimiter: &[u8], max_bytes: u64) -> Result<Self, SpecError> {
        if delimiter.len() > MAX_DELIMITER_BYTES {
            return Err(SpecError::DelimiterTooLong);
        }
        let needle = Needle::new(delimiter).ok_or(SpecError::DelimiterEmpty)?;
        at_least("max_bytes", delimiter.len() as u64, max_bytes)?;
        Ok(Self::Delimiter { needle: Arc::new(needle), max_bytes })
    }

    /// Messages behind their length, of at most `max_bytes` bytes, prefix included.
    ///
    /// # Errors
    /// [`SpecError::LimitTooSmall`] if not even the prefix fits.
    pub fn length_prefixed(format: LengthFormat, max_bytes: u64) -> Result<Self, SpecError> {
        at_least("max_bytes", u64::from(format.min_bytes()), max_bytes)?;
        Ok(Self::LengthPrefixed { format, max_bytes })
    }

    /// Chunked bodies within these limits.
    ///
    /// # Errors
    /// [`SpecError::LimitTooSmall`] if there is no room for trailers that are none.
    pub fn chunked(limits: HttpLimits) -> Result<Self, SpecError> {
        at_least("max_trailer_bytes", MIN_TRAILER_BYTES, limits.max_trailer_bytes)?;
        Ok(Self::Chunked { limits })
    }

    /// HTTP requests within these limits.
    ///
    /// # Errors
    /// [`SpecError::LimitTooSmall`] if there is no room for the shortest.
    pub fn http_request(limits: HttpLimits) -> Result<Self, SpecError> {
        at_least("max_head_bytes", MIN_HEAD_BYTES, limits.max_head_bytes)?;
        at_least("max_request_line_bytes", MIN_REQUEST_LINE_BYTES, limits.max_request_line_bytes)?;
        at_least("max_trailer_bytes", MIN_TRAILER_BYTES, limits.max_trailer_bytes)?;
        Ok(Self::HttpRequest { limits })
    }

    /// HTTP answers within these limits.
    ///
    /// # Errors
    /// [`SpecError::LimitTooSmall`] if there is no room for the shortest.
    pub fn http_response(limits: HttpLimits, asked: Asked) -> Result<Self, SpecError> {
        at_least("max_head_bytes", MIN_HEAD_BYTES, limits.max_head_bytes)?;
        at_least("max_trailer_bytes", MIN_TRAILER_BYTES, limits.max_trailer_bytes)?;
        Ok(Self::HttpResponse { limits, asked })
    }

    /// A fresh consumer; it holds no heap until bytes arrive.
    pub fn new_consumer(&self) -> NativeConsumer {
        match self {
            Self::Fixed { length_bytes } => NativeConsumer::Fixed(Fixed::new(*length_bytes)),
            Self::Line { max_bytes } => NativeConsumer::Line(Line::new(*max_bytes)),
            Self::Delimiter { needle, max_bytes } => {
                NativeConsumer::Delimiter(Delimiter::new(Arc::clone(needle), *max_bytes))
            }
            Self::LengthPrefixed { format, max_bytes } => {
                NativeConsumer::LengthPrefixed(LengthPrefixed::new(*format, *max_bytes))
            }
            Self::Chunked { limits } => NativeConsumer::Chunked(Lazy::new(*limits)),
            Self::HttpRequest { limits } => NativeConsumer::HttpRequest(Lazy::new(*limits)),
            Self::HttpResponse { limits, asked } => {
                NativeConsumer::HttpResponse(Lazy::new((*limits, *asked)))
            }
        }
    }

    /// Append `value` to `out` in the form in which a consumer of this specification reads it back. Of HTTP it is
    /// the plainest message with that body.
    ///
    /// # Errors
    /// [`Unencodable`] if it cannot be read back: it contains the delimiter, has another length, or is too long.
    /// `out` is then as it was.
    pub fn encode(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), Unencodable> {
        let before = out.len();
        let max_bytes = match self {
            Self::Fixed { length_bytes } => {
                if value.len() as u64 != *length_bytes {
                    return Err(Unencodable);
                }
                out.extend_from_slice(value);
                *length_bytes
            }
            Self::Line { max_bytes } => {
                line::encode(value, out)?;
                *max_bytes
            }
            Self::Delimiter { needle, max_bytes } => {
                delimiter::encode(needle, value, out)?;
                *max_bytes
            }
            Self::LengthPrefixed { format, max_bytes } => {
                length_prefix::encode(*format, value, out)?;
                *max_bytes
            }
            Self::Chunked { limits } | Self::HttpRequest { limits } | Self::HttpResponse { limits, .. } => {
                if value.len() as u64 > limits.max_body_bytes {
                    return Err(Unencodable);
                }
                let head_bytes = self.encode_http(value, out)?;
                if head_bytes > limits.max_head_bytes {
                    out.truncate(before);
                    return Err(Unencodable);
                }
                u64::MAX
            }
        };
        if (out.len() - before) as u64 > max_bytes {
            out.truncate(before);
            return Err(Unencodable);
        }
        Ok(())
    }

    /// Write the plainest message with this body; returns the length of its head.
    fn encode_http(&self, body: &[u8], out: &mut Vec<u8>) -> Result<u64, Unencodable> {
        let before = out.len();
        let length = alloc::format!("{}", body.len());
        let fields = [(&b"Host"[..], &b""[..]), (b"Content-Length", length.as_bytes())];
        match self {
            Self::HttpRequest { limits } if limits.max_fields >= 2 && limits.max_request_line_bytes >= 17 => {
                encode::request_head(b"POST", b"/", fields, out)?;
            }
            Self::HttpResponse { asked: Asked::Other, limits } if limits.max_fields >= 1 => {
                encode::response_head(200, b"OK", fields.into_iter().skip(1), out)?;
            }
            Self::HttpResponse { asked: Asked::Head | Asked::Connect, .. } if body.is_empty() => {
                encode::response_head(200, b"OK", [], out)?;
            }
            Self::Chunked { .. } => {
                encode::chunk(body, out);
                encode::last_chunk([], out)?;
                return Ok(0);
            }
            _ => return Err(Unencodable),
        }
        let head_bytes = (out.len() - before) as u64;
        out.extend_from_slice(body);
        Ok(head_bytes)
    }
}

fn at_least(name: &'static str, min_bytes: u64, max_bytes: u64) -> Result<(), SpecError> {
    if max_bytes < min_bytes {
        return Err(SpecError::LimitTooSmall { name, min_bytes, max_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::length_prefix::ByteOrder;

    #[test]
    fn limits_without_room_for_an_empty_message_are_refused() {
        assert_eq!(ConsumerSpec::fixed(0), Err(SpecError::FixedOfZero));
        assert_eq!(
            ConsumerSpec::line(0),
            Err(SpecError::LimitTooSmall { name: "max_bytes", min_bytes: 1, max_bytes: 0 })
        );
        assert_eq!(ConsumerSpec::delimiter(b"", 10), Err(SpecError::DelimiterEmpty));
        assert_eq!(ConsumerSpec::delimiter(&[0; 1025], 2000), Err(SpecError::DelimiterTooLong));
        assert_eq!(
            ConsumerSpec::delimiter(b"ab", 1),
            Err(SpecError::LimitTooSmall { name: "max_bytes", min_bytes: 2, max_bytes: 1 })
        );
        let format = LengthFormat::U32(ByteOrder::Big);
        assert_eq!(
            ConsumerSpec::length_prefixed(format, 3),
            Err(SpecError::LimitTooSmall { name: "max_bytes", min_bytes: 4, max_bytes: 3 })
        );
    }

    #[test]
    fn a_value_above_the_limit_is_not_encoded() {
        let mut out = b"kept".to_vec();
        assert_eq!(ConsumerSpec::line(3).unwrap().encode(b"abc", &mut out), Err(Unencodable));
        assert_eq!(out, b"kept");
    }
}

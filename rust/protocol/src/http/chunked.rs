//! The chunked coding: chunks with their sizes and extensions, the last one, trailers.
//!
//! Size lines go byte by byte through a small machine that accepts the grammar and nothing else, so a fault is told
//! at the very byte; extensions are checked, counted and forgotten. Chunk data is copied in one go. Trailers are kept
//! apart from the fields of the head. An absurd size is refused before any memory is asked for.
//! Source: RFC 9112 section 7.1.
use super::fields::{Fields, may_begin_field_line, split_field_line};
use super::grammar::{hex_digit, is_blank, is_token_byte};
use super::section::{Flow, LineReader, Section};
use crate::consumer::StreamConsumer;
use crate::error::{ErrorKind, ProtocolError};
use crate::lazy::Seeded;
use crate::limits::HttpLimits;
use crate::unfinished::Unfinished;
use alloc::vec::Vec;

/// As many hexadecimal digits as a 64-bit number can need; more are leading zeros that only a hostile peer sends.
const MAX_SIZE_DIGITS: u8 = 16;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A hexadecimal digit; so many have come.
    Size(u8),
    /// White space or the `;` of an extension, as white space has come after the size.
    BeforeExtension,
    /// The name of an extension, or white space before it.
    NameStart,
    Name,
    /// White space has come after the name: more of it, `=` or `;`.
    AfterName,
    /// The value of an extension, or white space before it.
    ValueStart,
    Value,
    Quoted,
    /// A backslash has come in a quoted value.
    Escaped,
    /// The value is over, by a quotation mark: `;`, white space or the end of the line.
    AfterQuoted,
    /// White space has come after the value: more of it, or `;`.
    AfterValue,
    SizeLineFeed,
    /// Chunk data; so many bytes are still to come.
    Data(u64),
    DataCarriageReturn,
    DataLineFeed,
    Trailers,
}

/// Undoes the coding; whoever feeds it keeps the content.
#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    limits: HttpLimits,
    state: State,
    size: u64,
    content_bytes: u64,
    extension_bytes: u64,
    trailers: Section,
    trailer_count: u64,
    #[cfg(feature = "count-work")]
    stepped_bytes: u64,
}

impl ChunkedDecoder {
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            state: State::Size(0),
            size: 0,
            content_bytes: 0,
            extension_bytes: 0,
            trailers: Section::default(),
            trailer_count: 0,
            #[cfg(feature = "count-work")]
            stepped_bytes: 0,
        }
    }

    /// Take bytes, add what they hold to `content`; return how many, and whether all chunks and trailers are there.
    pub(super) fn received(
        &mut self,
        data: &[u8],
        content: &mut Unfinished,
    ) -> (usize, Result<bool, ErrorKind>) {
        let mut at = 0;
        while at < data.len() {
            match self.state {
                State::Data(missing) => {
                    let rest = &data[at..];
                    let len = usize::try_from(missing).map_or(rest.len(), |missing| missing.min(rest.len()));
                    at += len;
                    // Other chunks may follow: room for this one only would have all moved for each.
                    if content.extend(&rest[..len], self.limits.max_body_bytes).is_err() {
                        return (at, Err(ErrorKind::OutOfMemory { limit_bytes: self.content_bytes }));
                    }
                    self.state = match missing - len as u64 {
                        0 => State::DataCarriageReturn,
                        missing => State::Data(missing),
                    };
                }
                State::Trailers => {
                    let limit_bytes = self.limits.max_trailer_bytes;
                    let too_large = ErrorKind::TrailersTooLarge { limit_bytes };
                    let mut reader = TrailerReader { count: &mut self.trailer_count, limits: &self.limits };
                    let (taken, result) =
                        self.trailers.received(&data[at..], limit_bytes, too_large, &mut reader);
                    return (at + taken, result);
                }
                _ => {
                    let byte = data[at];
                    at += 1;
                    #[cfg(feature = "count-work")]
                    {
                        self.stepped_bytes += 1;
                    }
                    match self.step(byte) {
                        Ok(state) => self.state = state,
                        Err(kind) => return (at, Err(kind)),
                    }
                }
            }
        }
        (at, Ok(false))
    }

    /// One byte of a size line or of the end of a chunk.
    fn step(&mut self, byte: u8) -> Result<State, ErrorKind> {
        match self.state {
            State::Size(digits) => match (hex_digit(byte), byte) {
                (Some(value), _) if digits < MAX_SIZE_DIGITS => {
                    self.size = self.size << 4 | u64::from(value);
                    Ok(State::Size(digits + 1))
                }
                (None, b'\r') if digits > 0 => Ok(State::SizeLineFeed),
                (None, b';' | b' ' | b'\t') if digits > 0 => {
                    self.count_extension()?;
                    Ok(if byte == b';' { State::NameStart } else { State::BeforeExtension })
                }
                _ => Err(ErrorKind::BadChunkSize),
            },
            State::SizeLineFeed if byte == b'\n' => self.begin_chunk(),
            State::SizeLineFeed => Err(ErrorKind::BadChunkSize),
            State::DataCarriageReturn if byte == b'\r' => Ok(State::DataLineFeed),
            State::DataLineFeed if byte == b'\n' => Ok(State::Size(0)),
            State::DataCarriageReturn | State::DataLineFeed => Err(ErrorKind::BadChunkEnd),
            _ => {
                self.count_extension()?;
                self.step_extension(byte).ok_or(ErrorKind::BadChunkExtension)
            }
        }
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted ) ] )`, then the carriage return.
    fn step_extension(&self, byte: u8) -> Option<State> {
        let is_token = is_token_byte(byte);
        match (self.state, byte) {
            (State::BeforeExtension | State::Name | State::AfterName, b';') => Some(State::NameStart),
            (State::Value | State::AfterQuoted | State::AfterValue, b';') => Some(State::NameStart),
            (State::Name | State::Value | State::AfterQuoted, b'\r') => Some(State::SizeLineFeed),
            (State::Name | State::AfterName, b'=') => Some(State::ValueStart),
            (State::ValueStart, b'"') => Some(State::Quoted),
            (State::Quoted, b'"') => Some(State::AfterQuoted),
            (State::Quoted, b'\\') => Some(State::Escaped),
            (State::Quoted | State::Escaped, b'\t' | 0x20..=0x7e | 0x80..=0xff) => Some(State::Quoted),
            (State::NameStart | State::Name, _) if is_token => Some(State::Name),
            (State::ValueStart | State::Value, _) if is_token => Some(State::Value),
            (State::BeforeExtension | State::NameStart | State::AfterName, _) if is_blank(byte) => {
                Some(self.state)
            }
            (State::ValueStart | State::AfterValue, _) if is_blank(byte) => Some(self.state),
            (State::Name, _) if is_blank(byte) => Some(State::AfterName),
            (State::Value | State::AfterQuoted, _) if is_blank(byte) => Some(State::AfterValue),
            _ => None,
        }
    }

    fn count_extension(&mut self) -> Result<(), ErrorKind> {
        let limit_bytes = self.limits.max_chunk_extension_bytes;
        if self.extension_bytes >= limit_bytes {
            return Err(ErrorKind::ChunkExtensionsTooLarge { limit_bytes });
        }
        self.extension_bytes += 1;
        Ok(())
    }

    fn begin_chunk(&mut self) -> Result<State, ErrorKind> {
        let size = core::mem::take(&mut self.size);
        if size == 0 {
            return Ok(State::Trailers);
        }
        let limit_bytes = self.limits.max_body_bytes;
        if size > limit_bytes - self.content_bytes {
            return Err(ErrorKind::BodyTooLarge { limit_bytes });
        }
        self.content_bytes += size;
        Ok(State::Data(size))
    }

    /// The trailers, once all is there.
    pub(super) fn trailers(&self) -> Fields<'_> {
        Fields::new(self.trailers.as_slice())
    }

    /// The bytes of the trailers, with the empty line that ends them.
    pub(super) fn trailer_bytes(&self) -> &[u8] {
        self.trailers.as_slice()
    }

    pub(super) fn clear(&mut self) {
        self.trailers.clear();
    }

    #[cfg(feature = "count-work")]
    pub(super) fn examined_bytes(&self) -> u64 {
        self.stepped_bytes + self.trailers.examined_bytes()
    }
}

struct TrailerReader<'a> {
    count: &'a mut u64,
    limits: &'a HttpLimits,
}

impl LineReader for TrailerReader<'_> {
    fn begin(&self, first: u8) -> Result<(), ErrorKind> {
        may_begin_field_line(first)
    }

    fn line_limit(&self) -> Option<(u64, ErrorKind)> {
        None
    }

    fn line(&mut self, line: &[u8], _start: usize) -> Result<Flow, ErrorKind> {
        if line.is_empty() {
            return Ok(Flow::End);
        }
        split_field_line(line)?;
        if *self.count == self.limits.max_fields {
            return Err(ErrorKind::TooManyFields { limit_fields: self.limits.max_fields });
        }
        *self.count += 1;
        Ok(Flow::More)
    }
}

/// Takes one chunked body; its value is the content.
#[derive(Debug)]
pub struct Chunked {
    decoder: ChunkedDecoder,
    content: Unfinished,
    taken_bytes: u64,
    is_ended: bool,
    error: Option<ProtocolError>,
}

impl Chunked {
    /// A consumer of one body; of the limits, those of body, extensions, trailers and their number are used.
    pub fn new(limits: HttpLimits) -> Self {
        Self {
            decoder: ChunkedDecoder::new(limits),
            content: Unfinished::default(),
            taken_bytes: 0,
            is_ended: false,
            error: None,
        }
    }

    /// The limits.
    pub fn limits(&self) -> HttpLimits {
        self.decoder.limits
    }

    /// The content so far, less what was taken out.
    pub fn value(&self) -> &[u8] {
        self.content.as_slice()
    }

    /// Move out what is held of the content: all of it, or what came since the last time.
    pub fn take_value(&mut self) -> Vec<u8> {
        self.content.take()
    }

    /// The trailers, once it is completed without an error.
    pub fn trailers(&self) -> Fields<'_> {
        self.decoder.trailers()
    }

    /// The bytes of the trailers, with the empty line that ends them.
    pub fn trailer_bytes(&self) -> &[u8] {
        self.decoder.trailer_bytes()
    }

    /// How often a byte of the framing was looked at; content is only copied.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        self.decoder.examined_bytes()
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.content.clear();
        self.decoder.clear();
        self.error = Some(ProtocolError::new(kind, self.taken_bytes));
    }
}

impl Seeded for Chunked {
    type Seed = HttpLimits;

    fn from_seed(limits: HttpLimits) -> Self {
        Self::new(limits)
    }
}

impl StreamConsumer for Chunked {
    fn received(&mut self, data: &[u8]) -> usize {
        if self.is_completed() {
            return 0;
        }
        let (taken, result) = self.decoder.received(data, &mut self.content);
        self.taken_bytes += taken as u64;
        match result {
            Ok(is_ended) => self.is_ended = is_ended,
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
        self.taken_bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], size: usize) -> Chunked {
        let mut chunked = Chunked::new(HttpLimits { max_body_bytes: 100, ..HttpLimits::default() });
        for piece in stream.chunks(size) {
            chunked.received(piece);
        }
        chunked
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        for stream in [
            &b"5\r\nhello\r\n0\r\n\r\n"[..],
            b"2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n",
            b"0000000000000005\r\nhello\r\n0\r\n\r\n",
            b"5;a\r\nhello\r\n0;b=c;d=\"e \\\" \xff\"\r\n\r\n",
            b"5 \t; a = b ; c = \"\" ;d\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX-Trail: y\r\nz:\r\n\r\n",
        ] {
            for size in [1, 2, stream.len()] {
                let chunked = read(stream, size);
                assert_eq!((chunked.error(), chunked.value()), (None, &b"hello"[..]), "{stream:?}");
                assert!(chunked.is_completed());
                assert_eq!(chunked.taken_bytes, stream.len() as u64);
            }
        }
        let trailers: Vec<_> =
            read(b"0\r\nX: y\r\nz:\r\n\r\n", 1).trailers().map(|(n, v)| [n, v].concat()).collect();
        assert_eq!(trailers, [&b"Xy"[..], b"z"]);
    }

    #[test]
    fn a_fault_is_told_at_its_byte() {
        use ErrorKind::{
            BadChunkEnd, BadChunkExtension, BadChunkSize, BadFieldName, BareLineFeed, FoldedFieldLine,
        };
        let too_large = ErrorKind::BodyTooLarge { limit_bytes: 100 };
        for (stream, kind, offset) in [
            (&b"\r\n"[..], BadChunkSize, 1),
            (b"5\nhello", BadChunkSize, 2),
            (b"5\r\r", BadChunkSize, 3),
            (b"0x5\r\n", BadChunkSize, 2),
            (b"+5\r\n", BadChunkSize, 1),
            (b"-5\r\n", BadChunkSize, 1),
            (b"0_5\r\n", BadChunkSize, 2),
            (b" 5\r\n", BadChunkSize, 1),
            (b";a\r\n", BadChunkSize, 1),
            (b"5:\r\n", BadChunkSize, 2),
            (b"\xb2\r\n", BadChunkSize, 1),
            (b"00000000000000005\r\n", BadChunkSize, 17),
            (b"5 \r\n", BadChunkExtension, 3),
            (b"5;\r\n", BadChunkExtension, 3),
            (b"5;;", BadChunkExtension, 3),
            (b"5;a;\r\n", BadChunkExtension, 5),
            (b"5;a=\r\n", BadChunkExtension, 5),
            (b"5;a \r\n", BadChunkExtension, 5),
            (b"5;a=b \r\n", BadChunkExtension, 7),
            (b"5;a\nb\r\n", BadChunkExtension, 4),
            (b"5;a=\"\r\n", BadChunkExtension, 6),
            (b"5;a=\"\\\n", BadChunkExtension, 7),
            (b"5;a=\"b\"c", BadChunkExtension, 8),
            (b"5;\0", BadChunkExtension, 3),
            (b"5;a=b\rue", BadChunkSize, 7),
            (b"ffffffffffffffff\r\n", too_large, 18),
            (b"65\r\n", too_large, 4),
            (b"64\r\nx", ErrorKind::Truncated, 5),
            (b"5\r\nhelloXX", BadChunkEnd, 9),
            (b"5\r\nhello\rX", BadChunkEnd, 10),
            (b"5\r\nhello\n", BadChunkEnd, 9),
            (b"0\r\nXX\r\n", BadFieldName, 7),
            (b"0\r\n\n", BareLineFeed, 4),
            (b"0\r\nA: b\n", BareLineFeed, 8),
            (b"0\r\n b\r\n", FoldedFieldLine, 4),
            (b"0\r\n: b\r\n", BadFieldName, 4),
        ] {
            for size in [1, 2, stream.len()] {
                let mut chunked = read(stream, size);
                chunked.end_of_input();
                let error = ProtocolError::new(kind, offset);
                assert_eq!(chunked.error(), Some(&error), "{:?}", stream.escape_ascii());
                assert_eq!(chunked.received(b"0\r\n\r\n"), 0);
                assert_eq!(chunked.value(), b"");
            }
        }
    }

    #[test]
    fn many_small_extensions_reach_their_limit_as_one_large_one_does() {
        let limits = HttpLimits { max_chunk_extension_bytes: 6, ..HttpLimits::default() };
        let kind = ErrorKind::ChunkExtensionsTooLarge { limit_bytes: 6 };
        for (stream, offset) in [(&b"1;abcdefgh\r\n"[..], 8), (b"1;a\r\nx\r\n1;a\r\nx\r\n1;a\r\n", 18)] {
            let mut chunked = Chunked::new(limits);
            chunked.received(stream);
            assert_eq!(chunked.error(), Some(&ProtocolError::new(kind, offset)));
        }
    }

    #[test]
    fn trailers_have_limits_of_their_own() {
        let limits = HttpLimits { max_trailer_bytes: 10, max_fields: 2, ..HttpLimits::default() };
        let mut chunked = Chunked::new(limits);
        chunked.received(b"0\r\nA: bcdefghij\r\n\r\n");
        let kind = ErrorKind::TrailersTooLarge { limit_bytes: 10 };
        assert_eq!(chunked.error(), Some(&ProtocolError::new(kind, 13)));
        let mut chunked = Chunked::new(limits);
        chunked.received(b"0\r\na:\r\n");
        chunked.received(b"b:\r\n");
        assert_eq!(chunked.error().map(|error| error.kind), None);
        let mut chunked = Chunked::new(HttpLimits { max_trailer_bytes: 100, ..limits });
        chunked.received(b"0\r\na:\r\nb:\r\nc:\r\n");
        assert_eq!(
            chunked.error().map(|error| error.kind),
            Some(ErrorKind::TooManyFields { limit_fields: 2 })
        );
    }
}

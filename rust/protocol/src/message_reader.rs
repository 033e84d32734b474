//! Message after message of one kind, out of blocks of the stream.
//!
//! One consumer is used over and over, so what a message is stays that consumer's affair; the reader only goes on
//! behind each. A message that lies whole in a block is handed on from where it lies; the beginning of one that goes
//! on in the next block is held by the consumer, within its limit.
//! Must not know: what becomes of the messages.
use crate::consumer::{Framed, StreamConsumer};
use crate::delimiter::Delimiter;
use crate::error::{ErrorKind, OutOfMemory, ProtocolError};
use crate::fixed::Fixed;
use crate::length_prefix::LengthPrefixed;
use crate::line::Line;
use crate::native::ConsumerSpec;
use alloc::sync::Arc;

/// Reads messages that are framed: of a fixed length, lines, delimited, behind their length.
#[derive(Debug)]
pub struct MessageReader {
    consumer: FramedConsumer,
    /// What of the stream the message under way has taken; of the last one, after an error.
    message_bytes: u64,
    consumed_bytes: u64,
    error: Option<ProtocolError>,
}

#[derive(Debug)]
enum FramedConsumer {
    Fixed(Fixed),
    Line(Line),
    Delimiter(Delimiter),
    LengthPrefixed(LengthPrefixed),
}

/// Run the same expression on whichever consumer it is.
macro_rules! each {
    ($consumer:expr, $inner:ident => $body:expr) => {
        match $consumer {
            FramedConsumer::Fixed($inner) => $body,
            FramedConsumer::Line($inner) => $body,
            FramedConsumer::Delimiter($inner) => $body,
            FramedConsumer::LengthPrefixed($inner) => $body,
        }
    };
}

impl MessageReader {
    /// A reader of such messages; `None` for those of HTTP, which are more than their content, and for messages of no
    /// bytes, which would be without number between two bytes.
    pub fn new(spec: &ConsumerSpec) -> Option<Self> {
        let consumer = match spec {
            ConsumerSpec::Fixed { length_bytes: 0 }
            | ConsumerSpec::Chunked { .. }
            | ConsumerSpec::HttpRequest { .. }
            | ConsumerSpec::HttpResponse { .. } => return None,
            ConsumerSpec::Fixed { length_bytes } => FramedConsumer::Fixed(Fixed::new(*length_bytes)),
            ConsumerSpec::Line { max_bytes } => FramedConsumer::Line(Line::new(*max_bytes)),
            ConsumerSpec::Delimiter { needle, max_bytes } => {
                FramedConsumer::Delimiter(Delimiter::new(Arc::clone(needle), *max_bytes))
            }
            ConsumerSpec::LengthPrefixed { format, max_bytes } => {
                FramedConsumer::LengthPrefixed(LengthPrefixed::new(*format, *max_bytes))
            }
        };
        Some(Self { consumer, message_bytes: 0, consumed_bytes: 0, error: None })
    }

    /// Take the next bytes of the stream, and call `keep` with the content of each message that they complete, in
    /// order. All of `data` is consumed, or all up to an error; after one nothing more is, ever.
    ///
    /// A message that `keep` has no memory for is an error like one that a consumer has no memory for.
    pub fn received(&mut self, data: &[u8], keep: impl FnMut(&[u8]) -> Result<(), OutOfMemory>) {
        if self.error().is_none() {
            each!(&mut self.consumer, consumer => {
                let (consumed, kept) = take_messages(consumer, data, &mut self.message_bytes, keep);
                self.consumed_bytes += consumed as u64;
                if kept.is_err() {
                    let kind = ErrorKind::OutOfMemory { limit_bytes: self.message_bytes };
                    self.error = Some(ProtocolError::new(kind, self.message_bytes));
                }
            });
        }
    }

    /// The peer's fault, if there was one; its offset counts from the beginning of the message that it is in.
    pub fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref().or_else(|| each!(&self.consumer, consumer => consumer.error()))
    }

    /// The peer will send nothing more: in the middle of a message that is a `Truncated` error.
    pub fn end_of_input(&mut self) {
        each!(&mut self.consumer, consumer => consumer.end_of_input());
    }

    /// How much of the stream was taken in all; an error is right before this place.
    pub fn consumed_bytes(&self) -> u64 {
        self.consumed_bytes
    }

    /// What is held of a message that is not whole yet.
    pub fn held(&self) -> &[u8] {
        each!(&self.consumer, consumer => consumer.held())
    }

    /// How often a byte was looked at in search of an end: what the linear-work law bounds.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        match &self.consumer {
            FramedConsumer::Line(line) => line.examined_bytes(),
            FramedConsumer::Delimiter(delimiter) => delimiter.examined_bytes(),
            FramedConsumer::Fixed(_) | FramedConsumer::LengthPrefixed(_) => 0,
        }
    }
}

/// Take all messages that end in `data`, and the beginning of the next one; return how much was consumed.
fn take_messages(
    consumer: &mut impl Framed,
    data: &[u8],
    message_bytes: &mut u64,
    mut keep: impl FnMut(&[u8]) -> Result<(), OutOfMemory>,
) -> (usize, Result<(), OutOfMemory>) {
    let mut consumed = 0;
    while consumed < data.len() {
        if *message_bytes == 0 {
            let (passed, kept) = consumer.pass_whole(&data[consumed..], &mut keep);
            consumed += passed;
            if kept.is_err() || consumed == data.len() {
                return (consumed, kept);
            }
        }
        let (taken, lent) = consumer.received_lending(&data[consumed..]);
        consumed += taken;
        *message_bytes += taken as u64;
        if !consumer.is_completed() || consumer.error().is_some() {
            break;
        }
        if let Err(refusal) = keep(lent.unwrap_or(consumer.held())) {
            return (consumed, Err(refusal));
        }
        consumer.renew();
        *message_bytes = 0;
    }
    (consumed, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HttpLimits;
    use alloc::vec::Vec;

    fn lines(max_bytes: u64) -> MessageReader {
        MessageReader::new(&ConsumerSpec::Line { max_bytes }).unwrap()
    }

    fn feed(reader: &mut MessageReader, data: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        reader.received(data, |content| {
            messages.push(content.to_vec());
            Ok(())
        });
        messages
    }

    #[test]
    fn a_line_over_several_blocks_is_one_line() {
        let mut reader = lines(100);
        assert_eq!(feed(&mut reader, b"a\n\nbc"), [&b"a"[..], b""]);
        assert_eq!(reader.held(), b"bc");
        assert_eq!(feed(&mut reader, b"d\r"), [b""; 0]);
        assert_eq!(feed(&mut reader, b"\ne\n"), [b"bcd", &b"e"[..]]);
        assert_eq!((reader.held(), reader.consumed_bytes(), reader.error()), (&b""[..], 10, None));
    }

    #[test]
    fn what_stands_before_an_error_is_handed_on_and_nothing_behind_it() {
        let mut reader = lines(3);
        assert_eq!(feed(&mut reader, b"a\nbcd\ne\n"), [b"a"]);
        let error = ProtocolError::new(ErrorKind::LineTooLong { limit_bytes: 3 }, 3);
        assert_eq!((reader.error(), reader.consumed_bytes()), (Some(&error), 5));
        assert_eq!(feed(&mut reader, b"e\n"), [b""; 0]);
        assert_eq!(reader.consumed_bytes(), 5);
    }

    #[test]
    fn the_end_of_input_is_an_error_in_the_middle_only() {
        let mut reader = lines(9);
        reader.end_of_input();
        feed(&mut reader, b"a\n");
        reader.end_of_input();
        assert_eq!(reader.error(), None);
        feed(&mut reader, b"ab");
        reader.end_of_input();
        assert_eq!(reader.error(), Some(&ProtocolError::new(ErrorKind::Truncated, 2)));
    }

    #[test]
    fn a_message_without_room_for_it_is_an_error() {
        let mut reader = lines(9);
        reader.received(b"a", |_| Ok(()));
        reader.received(b"b\nc\n", |_| Err(OutOfMemory));
        assert_eq!(reader.error(), Some(&ProtocolError::new(ErrorKind::OutOfMemory { limit_bytes: 3 }, 3)));
        assert_eq!((feed(&mut reader, b"d\n").len(), reader.consumed_bytes()), (0, 3));
    }

    #[test]
    fn messages_without_end_and_those_of_http_are_refused() {
        let limits = HttpLimits::DEFAULT;
        assert!(MessageReader::new(&ConsumerSpec::Fixed { length_bytes: 0 }).is_none());
        assert!(MessageReader::new(&ConsumerSpec::Chunked { limits }).is_none());
        assert!(MessageReader::new(&ConsumerSpec::HttpRequest { limits }).is_none());
    }
}

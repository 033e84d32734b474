//! A message behind its length: 1, 2, 4 or 8 bytes in either byte order, or an unsigned LEB128 varint.
//!
//! The length is decoded as its bytes arrive, and checked against the limit (which counts the prefix) before the
//! first byte of content; memory follows the content that arrived, never the length that was announced. A varint
//! must be in its shortest form, so that every message has one encoding.
//! Source: LEB128 as in DWARF 5, section 7.6, and Protocol Buffers.
use crate::consumer::{Framed, StreamConsumer};
use crate::error::{ErrorKind, ProtocolError, Unencodable};
use crate::limits::MAX_VARINT_BYTES;
use crate::unfinished::Unfinished;
use alloc::vec::Vec;

/// How the length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LengthFormat {
    /// One byte.
    U8,
    /// Two bytes.
    U16(ByteOrder),
    /// Four bytes.
    U32(ByteOrder),
    /// Eight bytes.
    U64(ByteOrder),
    /// Seven bits a byte, the least significant first, the high bit set on all but the last; at most ten bytes.
    Varint,
}

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The most significant (network order).
    Big,
    /// The least significant.
    Little,
}

impl LengthFormat {
    /// The number of bytes of the shortest prefix.
    pub const fn min_bytes(self) -> u8 {
        match self {
            Self::U8 | Self::Varint => 1,
            Self::U16(_) => 2,
            Self::U32(_) => 4,
            Self::U64(_) => 8,
        }
    }
}

/// Takes a length and that many bytes; its value is the bytes behind the length.
#[derive(Debug)]
pub struct LengthPrefixed {
    format: LengthFormat,
    max_bytes: u64,
    prefix_bytes: u8,
    /// The length decoded so far; all of it once `is_prefix_read`.
    length: u64,
    is_prefix_read: bool,
    content_bytes: u64,
    value: Unfinished,
    error: Option<ProtocolError>,
}

impl LengthPrefixed {
    /// A consumer of one message of at most `max_bytes` bytes, prefix included (at least the shortest prefix).
    pub fn new(format: LengthFormat, max_bytes: u64) -> Self {
        Self {
            format,
            max_bytes,
            prefix_bytes: 0,
            length: 0,
            is_prefix_read: false,
            content_bytes: 0,
            value: Unfinished::default(),
            error: None,
        }
    }

    /// How the length is written.
    pub fn format(&self) -> LengthFormat {
        self.format
    }

    /// The longest message, prefix included.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The message without its length, once completed without an error; before that, what is held of it.
    pub fn value(&self) -> &[u8] {
        self.value.as_slice()
    }

    /// Move the value out; empty afterwards.
    pub fn take_value(&mut self) -> Vec<u8> {
        self.value.take()
    }

    fn taken_bytes(&self) -> u64 {
        u64::from(self.prefix_bytes) + self.content_bytes
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.value.clear();
        self.error = Some(ProtocolError::new(kind, self.taken_bytes()));
    }

    /// Take one byte of the length.
    fn take_prefix_byte(&mut self, byte: u8) {
        let index = self.prefix_bytes;
        self.prefix_bytes += 1;
        match self.format {
            LengthFormat::U8 => self.length = u64::from(byte),
            LengthFormat::U16(order) | LengthFormat::U32(order) | LengthFormat::U64(order) => match order {
                ByteOrder::Big => self.length = self.length << 8 | u64::from(byte),
                ByteOrder::Little => self.length |= u64::from(byte) << (8 * index),
            },
            LengthFormat::Varint => return self.take_varint_byte(index, byte),
        }
        if self.prefix_bytes == self.format.min_bytes() {
            self.finish_prefix();
        }
    }

    fn take_varint_byte(&mut self, index: u8, byte: u8) {
        // The tenth byte has room for one bit: 9 * 7 = 63 bits stand before it.
        if index + 1 == MAX_VARINT_BYTES && byte > 1 {
            return self.fail(ErrorKind::LengthOverflow);
        }
        self.length |= u64::from(byte & 0x7f) << (7 * index);
        match byte {
            0 if index > 0 => self.fail(ErrorKind::LengthOverlong),
            0x80.. => {}
            _ => self.finish_prefix(),
        }
    }

    fn finish_prefix(&mut self) {
        self.is_prefix_read = true;
        let total = self.length.checked_add(u64::from(self.prefix_bytes));
        if total.is_none_or(|total| total > self.max_bytes) {
            self.fail(ErrorKind::LengthTooLarge { limit_bytes: self.max_bytes });
        }
    }

    /// Take bytes of the content; the number taken, and the content if it is whole.
    fn take_content<'d>(&mut self, data: &'d [u8]) -> (usize, Option<&'d [u8]>) {
        let missing = usize::try_from(self.length - self.content_bytes).unwrap_or(usize::MAX);
        let taken = data.len().min(missing);
        let content = &data[..taken];
        self.content_bytes += taken as u64;
        if taken as u64 == self.length {
            return (taken, Some(content));
        }
        self.hold(content);
        (taken, None)
    }

    fn hold(&mut self, content: &[u8]) {
        if self.value.extend(content, self.length).is_err() {
            self.fail(ErrorKind::OutOfMemory { limit_bytes: self.taken_bytes() });
        }
    }
}

impl Framed for LengthPrefixed {
    #[inline]
    fn received_lending<'d>(&mut self, data: &'d [u8]) -> (usize, Option<&'d [u8]>) {
        let mut at = 0;
        let mut lent = None;
        while at < data.len() && !self.is_completed() {
            if self.is_prefix_read {
                let (taken, content) = self.take_content(&data[at..]);
                at += taken;
                lent = content;
            } else {
                self.take_prefix_byte(data[at]);
                at += 1;
            }
        }
        (at, lent)
    }

    fn held(&self) -> &[u8] {
        self.value()
    }

    fn renew(&mut self) {
        *self = Self::new(self.format, self.max_bytes);
    }
}

impl StreamConsumer for LengthPrefixed {
    fn received(&mut self, data: &[u8]) -> usize {
        let (taken, lent) = self.received_lending(data);
        if let Some(content) = lent {
            self.hold(content);
        }
        taken
    }

    fn is_completed(&self) -> bool {
        self.error.is_some() || (self.is_prefix_read && self.content_bytes == self.length)
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
        self.prefix_bytes > 0
    }
}

/// Write the length of `content`, then `content`.
///
/// # Errors
/// [`Unencodable`] if the length does not fit into the prefix.
pub fn encode(format: LengthFormat, content: &[u8], out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let length = content.len() as u64;
    let size = usize::from(format.min_bytes());
    match format {
        LengthFormat::Varint => encode_varint(length, out),
        LengthFormat::U8 | LengthFormat::U16(_) | LengthFormat::U32(_) | LengthFormat::U64(_) => {
            if size < 8 && length >> (8 * size) != 0 {
                return Err(Unencodable);
            }
            if matches!(
                format,
                LengthFormat::U16(ByteOrder::Little)
                    | LengthFormat::U32(ByteOrder::Little)
                    | LengthFormat::U64(ByteOrder::Little)
            ) {
                out.extend_from_slice(&length.to_le_bytes()[..size]);
            } else {
                out.extend_from_slice(&length.to_be_bytes()[8 - size..]);
            }
        }
    }
    out.extend_from_slice(content);
    Ok(())
}

fn encode_varint(mut length: u64, out: &mut Vec<u8>) {
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(format: LengthFormat, max_bytes: u64, data: &[u8]) -> (usize, LengthPrefixed) {
        let mut consumer = LengthPrefixed::new(format, max_bytes);
        let taken = consumer.received(data);
        (taken, consumer)
    }

    #[test]
    fn every_format_reads_its_length() {
        for (format, data) in [
            (LengthFormat::U8, &b"\x02hi!"[..]),
            (LengthFormat::U16(ByteOrder::Big), b"\x00\x02hi!"),
            (LengthFormat::U16(ByteOrder::Little), b"\x02\x00hi!"),
            (LengthFormat::U32(ByteOrder::Big), b"\x00\x00\x00\x02hi!"),
            (LengthFormat::U32(ByteOrder::Little), b"\x02\x00\x00\x00hi!"),
            (LengthFormat::U64(ByteOrder::Big), b"\x00\x00\x00\x00\x00\x00\x00\x02hi!"),
            (LengthFormat::U64(ByteOrder::Little), b"\x02\x00\x00\x00\x00\x00\x00\x00hi!"),
            (LengthFormat::Varint, b"\x02hi!"),
        ] {
            let (taken, consumer) = fed(format, 100, data);
            assert_eq!((taken, consumer.value()), (data.len() - 1, &b"hi"[..]), "{format:?}");
        }
    }

    #[test]
    fn a_length_of_zero_is_a_message() {
        let (taken, consumer) = fed(LengthFormat::U8, 1, b"\x00\x00");
        assert_eq!((taken, consumer.is_completed(), consumer.error()), (1, true, None));
    }

    #[test]
    fn the_limit_counts_the_prefix() {
        assert_eq!(fed(LengthFormat::U8, 3, b"\x02hi").1.error(), None);
        let kind = ErrorKind::LengthTooLarge { limit_bytes: 2 };
        let (taken, consumer) = fed(LengthFormat::U8, 2, b"\x02hi");
        assert_eq!((taken, consumer.error()), (1, Some(&ProtocolError::new(kind, 1))));
    }

    #[test]
    fn the_largest_lengths_do_not_overflow() {
        for data in [&[0xff; 8][..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            let format =
                if data.len() == 8 { LengthFormat::U64(ByteOrder::Big) } else { LengthFormat::Varint };
            let (_, consumer) = fed(format, u64::MAX, data);
            let kind = ErrorKind::LengthTooLarge { limit_bytes: u64::MAX };
            assert_eq!(consumer.error(), Some(&ProtocolError::new(kind, data.len() as u64)));
        }
    }

    #[test]
    fn a_varint_above_64_bits_is_an_overflow() {
        for tenth in [0x02, 0x80, 0x81, 0xff] {
            let mut data = [0xff; 10];
            data[9] = tenth;
            let (taken, consumer) = fed(LengthFormat::Varint, u64::MAX, &data);
            let error = ProtocolError::new(ErrorKind::LengthOverflow, 10);
            assert_eq!((taken, consumer.error()), (10, Some(&error)), "{tenth:#x}");
        }
    }

    #[test]
    fn a_varint_with_needless_zeros_is_overlong() {
        for data in [&b"\x80\x00"[..], b"\x81\x80\x00", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"] {
            let (taken, consumer) = fed(LengthFormat::Varint, u64::MAX, data);
            let error = ProtocolError::new(ErrorKind::LengthOverlong, data.len() as u64);
            assert_eq!((taken, consumer.error()), (data.len(), Some(&error)), "{data:?}");
        }
    }
}

//! The words of HTTP: tokens, field values, numbers, lists. Bytes only; letters are the ASCII letters.
//!
//! Source: RFC 9110 section 5.5 and 5.6, RFC 9112 section 2.3.
use crate::error::ErrorKind;

/// A set of byte values.
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    /// The ASCII letters, the digits, and `others`.
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            set[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < others.len() {
            set[others[index] as usize] = true;
            index += 1;
        }
        Self(set)
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    pub(super) fn has_all(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.has(*byte))
    }
}

static TOKEN: ByteSet = ByteSet::alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// Whether it may stand in a method or a field name.
pub fn is_token_byte(byte: u8) -> bool {
    TOKEN.has(byte)
}

/// Whether it is a method or a field name: at least one byte, none that separates.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && TOKEN.has_all(bytes)
}

/// Whether it may stand in a field value: no control byte but the tab.
pub fn is_field_value(bytes: &[u8]) -> bool {
    has_no_control(bytes) || !bytes.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f)
}

/// Whether there is no control byte at all, tabs included: eight bytes at a time, the last eight perhaps twice.
fn has_no_control(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x80 * ONES;
    // The high bit of a byte is set in the result if the byte is below 0x20 or is 0x7f; above a byte that is, it may
    // be set in others too, which does no harm.
    let controls = |eight: &[u8; 8]| {
        let word = u64::from_le_bytes(*eight);
        let deletes = word ^ (0x7f * ONES);
        ((word.wrapping_sub(0x20 * ONES) & !word) | (deletes.wrapping_sub(ONES) & !deletes)) & HIGH_BITS
    };
    let (blocks, rest) = bytes.as_chunks::<8>();
    let found = blocks.iter().fold(0, |found, block| found | controls(block));
    match bytes.last_chunk::<8>() {
        Some(last) => found | controls(last) == 0,
        None => rest.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f),
    }
}

/// Whether it is optional white space: a space or a tab, nothing else.
pub fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The bytes without optional white space at either end.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed; empty ones are not left out.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// The number that is written in decimal digits and nothing else; `u64::MAX` if it is larger than that.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

/// The value of a hexadecimal digit.
pub fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The versions whose messages we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and what calls itself a later minor version of 1: it has to make sense to a reader of 1.1.
    Http11,
}

impl Version {
    /// Read `HTTP/1.1`.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedHttpVersion`] for the version of another HTTP, [`ErrorKind::BadHttpVersion`] for what
    /// is no version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ErrorKind> {
        match bytes {
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                match (major, minor) {
                    (b'1', b'0') => Ok(Self::Http10),
                    (b'1', _) => Ok(Self::Http11),
                    _ => Err(ErrorKind::UnsupportedHttpVersion),
                }
            }
            _ => Err(ErrorKind::BadHttpVersion),
        }
    }

    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_separator_no_control_and_no_byte_above_ascii() {
        assert!(is_token(b"X-a_b!#$%&'*+.^`|~9"));
        for bytes in [&b""[..], b"a b", b"a:", b"(a)", b"a\0", b"a\x7f", b"\xefoo", b"a\t", b"a\"", b"a,b"] {
            assert!(!is_token(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_has_no_control_byte_but_the_tab() {
        for byte in 0..=255u8 {
            let is_allowed = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            for len in 1..20 {
                for place in 0..len {
                    for other in [b'a', b' ', b'\t', 0x80, 0xff] {
                        let mut value = alloc::vec![other; len];
                        value[place] = byte;
                        assert_eq!(is_field_value(&value), is_allowed, "{byte} at {place} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_spaces_and_tabs_are_trimmed() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b"\x0ba\xa0"), b"\x0ba\xa0");
    }

    #[test]
    fn a_number_is_digits_only_and_too_large_a_one_stays_large() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551621"), Some(u64::MAX));
        for bytes in [&b""[..], b"+1", b"-1", b"0x5", b"1_0", b"1 ", b"1.0", b"1e3", b"\xb2"] {
            assert_eq!(decimal(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn another_version_is_told_from_no_version() {
        assert_eq!(Version::parse(b"HTTP/1.0"), Ok(Version::Http10));
        assert_eq!(Version::parse(b"HTTP/1.1"), Ok(Version::Http11));
        assert_eq!(Version::parse(b"HTTP/1.2"), Ok(Version::Http11));
        for bytes in [&b"HTTP/2.0"[..], b"HTTP/0.9", b"HTTP/3.0"] {
            assert_eq!(Version::parse(bytes), Err(ErrorKind::UnsupportedHttpVersion));
        }
        for bytes in [&b""[..], b"HTTP/1.32", b"http/1.1", b"FTP/1.1", b"HTTP/111", b"HTTP/2", b"HTTP/1.x"] {
            assert_eq!(Version::parse(bytes), Err(ErrorKind::BadHttpVersion), "{bytes:?}");
        }
    }
}

//! Bytes of a client, made harmless: no line end, no quote, nothing that a terminal obeys comes out.
//!
//! What comes out is visible ASCII and spaces, and can be told back to the bytes that went in. Strategy: most parts
//! need no escape; whether one does is asked of all bytes at once, without a branch for each.

/// The longest part of a client's that is written; of a longer one the beginning, and `...`.
pub(super) const MAX_PART_BYTES: usize = 8192;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Write a part that stands between quotes, as nginx does: `\xHH` for quotes, backslashes and all bytes that are not
/// visible ASCII or a space.
pub(super) fn write_quoted(part: &[u8], out: &mut Vec<u8>) {
    write_part(part, out, |byte, out| {
        out.extend_from_slice(&[b'\\', b'x', high_digit(byte), low_digit(byte)]);
    });
}

/// Write a part that stands alone: without spaces too.
pub(super) fn write_word(part: &[u8], out: &mut Vec<u8>) {
    for (index, word) in part.split(|byte| *byte == b' ').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\\x20");
        }
        write_quoted(word, out);
    }
}

/// Write a part as a JSON string, with its quotes: each character stands for a byte, as in an environ.
pub(super) fn write_json(part: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_part(part, out, |byte, out| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high_digit(byte), low_digit(byte)]),
    });
    out.push(b'"');
}

/// Write a number in at least so many digits, up to ten.
pub(super) fn write_padded(mut number: u32, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 10];
    let mut begin = digits.len();
    for digit in digits.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        begin -= 1;
    }
    out.extend_from_slice(&digits[begin.min(digits.len() - width)..]);
}

fn write_part(part: &[u8], out: &mut Vec<u8>, escape: impl Fn(u8, &mut Vec<u8>)) {
    let shown = part.get(..MAX_PART_BYTES).unwrap_or(part);
    if shown.iter().fold(true, |all, byte| all & is_plain(*byte)) {
        out.extend_from_slice(shown);
    } else {
        for &byte in shown {
            if is_plain(byte) { out.push(byte) } else { escape(byte, out) }
        }
    }
    if shown.len() < part.len() {
        out.extend_from_slice(b"...");
    }
}

fn is_plain(byte: u8) -> bool {
    // Without short circuits, so that many bytes are looked at in one instruction.
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn high_digit(byte: u8) -> u8 {
    DIGITS[usize::from(byte >> 4)]
}

fn low_digit(byte: u8) -> u8 {
    DIGITS[usize::from(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: fn(&[u8], &mut Vec<u8>), part: &[u8]) -> String {
        let mut out = Vec::new();
        write(part, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What `\xHH` stands for.
    fn told_back(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, more)) = rest.split_first() {
            rest = more;
            if byte == b'\\' {
                let code = std::str::from_utf8(&rest[1..3]).unwrap();
                bytes.push(u8::from_str_radix(code, 16).unwrap());
                rest = &rest[3..];
            } else {
                bytes.push(byte);
            }
        }
        bytes
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        assert_eq!(written(write_quoted, b"GET /a?b=c'd HTTP/1.1"), "GET /a?b=c'd HTTP/1.1");
        assert_eq!(written(write_json, b"a [b] {c}~"), "\"a [b] {c}~\"");
    }

    #[test]
    fn quotes_backslashes_and_what_is_not_ascii_are_escaped() {
        assert_eq!(written(write_quoted, b"\"\\\n\x1b[2J\x7f\x80\xff"), r"\x22\x5C\x0A\x1B[2J\x7F\x80\xFF");
        assert_eq!(written(write_json, b"\"\\\n\x7f\xe9"), r#""\"\\\u000A\u007F\u00E9""#);
        assert_eq!(written(write_word, b"a b  c\t"), r"a\x20b\x20\x20c\x09");
    }

    #[test]
    fn a_long_part_is_cut() {
        let text = written(write_quoted, &vec![b'a'; MAX_PART_BYTES + 1]);
        assert_eq!(text.len(), MAX_PART_BYTES + 3);
        assert!(text.ends_with("a..."));
        assert_eq!(written(write_quoted, &vec![b'a'; MAX_PART_BYTES]).len(), MAX_PART_BYTES);
    }

    #[test]
    fn numbers_have_leading_zeros() {
        for (number, width, text) in
            [(0, 1, "0"), (0, 2, "00"), (7, 4, "0007"), (12345, 4, "12345"), (59, 2, "59")]
        {
            let mut out = Vec::new();
            write_padded(number, width, &mut out);
            assert_eq!(out, text.as_bytes());
        }
        let mut out = Vec::new();
        write_padded(u32::MAX, 2, &mut out);
        assert_eq!(out, b"4294967295");
    }

    proptest! {
        #[test]
        fn escaped_bytes_are_visible_and_can_be_told_back(part in prop::collection::vec(any::<u8>(), 0..200)) {
            let quoted = written(write_quoted, &part);
            prop_assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'));
            prop_assert_eq!(told_back(&quoted), &part[..]);
            let word = written(write_word, &part);
            prop_assert!(!word.contains(' '));
            prop_assert_eq!(told_back(&word), &part[..]);
            let json = written(write_json, &part);
            prop_assert!(json.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}

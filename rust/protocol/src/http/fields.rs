//! Field lines: `Name: value`. One reader for heads and trailers, and a second one, cheap, for lines that the first
//! has let pass.
//!
//! Source: RFC 9112 section 5.
use super::grammar::{is_field_value, is_token_byte, trim};
use crate::error::ErrorKind;
use memchr::memchr;

/// Split a line (without its end) into name and trimmed value.
///
/// # Errors
/// [`ErrorKind::FoldedFieldLine`], [`ErrorKind::BadFieldName`] (also without a colon, or with white space before
/// it), [`ErrorKind::BadFieldValue`].
pub fn split_field_line(line: &[u8]) -> Result<(&[u8], &[u8]), ErrorKind> {
    may_begin_field_line(*line.first().ok_or(ErrorKind::BadFieldName)?)?;
    let end = line.iter().position(|byte| !is_token_byte(*byte)).ok_or(ErrorKind::BadFieldName)?;
    if end == 0 || line[end] != b':' {
        return Err(ErrorKind::BadFieldName);
    }
    let value = &line[end + 1..];
    if !is_field_value(value) {
        return Err(ErrorKind::BadFieldValue);
    }
    Ok((&line[..end], trim(value)))
}

/// Whether a field line, or the end of all, can begin with this byte.
///
/// # Errors
/// The kind of fault it is, if not.
pub(super) fn may_begin_field_line(byte: u8) -> Result<(), ErrorKind> {
    match byte {
        b' ' | b'\t' => Err(ErrorKind::FoldedFieldLine),
        b'\n' => Err(ErrorKind::BareLineFeed),
        b'\r' => Ok(()),
        other if is_token_byte(other) => Ok(()),
        _ => Err(ErrorKind::BadFieldName),
    }
}

/// Names and trimmed values of a section that was read without a fault, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields in `lines`: whole lines that [`split_field_line`] has let pass, perhaps with the empty one after
    /// them. Of other bytes it makes no sense, but no panic either.
    pub fn new(lines: &'a [u8]) -> Self {
        Self { rest: lines }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let colon = memchr(b':', self.rest)?;
        let (name, rest) = (&self.rest[..colon], &self.rest[colon + 1..]);
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let value = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        self.rest = rest.get(end + 1..).unwrap_or_default();
        Some((name, trim(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_line_is_a_name_a_colon_and_a_value() {
        for (line, name, value) in [
            (&b"A:b"[..], &b"A"[..], &b"b"[..]),
            (b"A: \t b c\t ", b"A", b"b c"),
            (b"A:", b"A", b""),
            (b"A: b:c", b"A", b"b:c"),
            (b"A: \xff\t\x80", b"A", b"\xff\t\x80"),
        ] {
            assert_eq!(split_field_line(line), Ok((name, value)));
        }
    }

    #[test]
    fn every_fault_has_its_kind() {
        for (line, kind) in [
            (&b""[..], ErrorKind::BadFieldName),
            (b"A b", ErrorKind::BadFieldName),
            (b"A", ErrorKind::BadFieldName),
            (b"A : b", ErrorKind::BadFieldName),
            (b": b", ErrorKind::BadFieldName),
            (b"\xc4: b", ErrorKind::BadFieldName),
            (b"A\0: b", ErrorKind::BadFieldName),
            (b" A: b", ErrorKind::FoldedFieldLine),
            (b"\tb", ErrorKind::FoldedFieldLine),
            (b"A: b\r", ErrorKind::BadFieldValue),
            (b"A: b\0", ErrorKind::BadFieldValue),
            (b"A: \x0bb", ErrorKind::BadFieldValue),
            (b"A: b\x7f", ErrorKind::BadFieldValue),
        ] {
            assert_eq!(split_field_line(line), Err(kind), "{line:?}");
        }
    }

    #[test]
    fn fields_come_in_order_and_as_often_as_they_were_sent() {
        let fields: Vec<_> = Fields::new(b"A: 1\r\nb:\r\nA:  2: \r\n\r\n").collect();
        assert_eq!(fields, [(&b"A"[..], &b"1"[..]), (b"b", b""), (b"A", b"2:")]);
        assert_eq!(Fields::new(b"\r\n").count(), 0);
    }
}

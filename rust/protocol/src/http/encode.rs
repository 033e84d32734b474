//! Writing heads, chunks and trailers. What could be read back as something else is refused: nothing that an
//! application says can begin a line of its own.
//!
//! Source: RFC 9112 sections 3, 4, 5 and 7.1.
use super::grammar::{is_field_value, is_token, trim};
use super::target::Target;
use crate::error::Unencodable;
use alloc::vec::Vec;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Write the head of an answer in HTTP/1.1.
///
/// # Errors
/// [`Unencodable`] if the status is not 100 to 999, the reason has a control byte, or a field is not one. `out` is
/// then as it was.
pub fn response_head<'a>(
    status: u16,
    reason: &[u8],
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    if !(100..1000).contains(&status) || !is_field_value(reason) {
        return Err(Unencodable);
    }
    let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    whole_or_nothing(out, |out| {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(&digits);
        out.push(b' ');
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        write_fields(fields, out)
    })
}

/// Write the head of a request in HTTP/1.1.
///
/// # Errors
/// [`Unencodable`] if the method is no token, the target not one for it, or a field is not one. `out` is then as it
/// was. Whether the fields make sense together (Host is there, say) is not looked at.
pub fn request_head<'a>(
    method: &[u8],
    target: &[u8],
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    if !is_token(method) || Target::parse(method, target).is_none() {
        return Err(Unencodable);
    }
    whole_or_nothing(out, |out| {
        out.extend_from_slice(method);
        out.push(b' ');
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_fields(fields, out)
    })
}

/// Write `content` as a chunk; nothing if it is empty, for an empty chunk would be the last.
pub fn chunk(content: &[u8], out: &mut Vec<u8>) {
    if content.is_empty() {
        return;
    }
    out.reserve(content.len() + 20);
    let mut shift = (usize::BITS - content.len().leading_zeros()).div_ceil(4) * 4;
    while shift > 0 {
        shift -= 4;
        out.push(HEX_DIGITS[content.len() >> shift & 15]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// Write the last chunk with these trailers.
///
/// # Errors
/// [`Unencodable`] if a trailer is no field; `out` is then as it was.
pub fn last_chunk<'a>(
    trailers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    whole_or_nothing(out, |out| {
        out.extend_from_slice(b"0\r\n");
        write_fields(trailers, out)
    })
}

fn write_fields<'a>(
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    for (name, value) in fields {
        if !is_token(name) || !is_field_value(value) || trim(value).len() != value.len() {
            return Err(Unencodable);
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn whole_or_nothing(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unencodable>,
) -> Result<(), Unencodable> {
    let before = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_line_by_line() {
        let mut out = Vec::new();
        response_head(200, b"OK", [(&b"A"[..], &b"b c"[..]), (b"D", b"")], &mut out).unwrap();
        assert_eq!(out, b"HTTP/1.1 200 OK\r\nA: b c\r\nD: \r\n\r\n");
        out.clear();
        request_head(b"GET", b"/a?b", [(&b"Host"[..], &b"a"[..])], &mut out).unwrap();
        assert_eq!(out, b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    #[test]
    fn nothing_begins_a_line_of_its_own() {
        let mut out = b"kept".to_vec();
        for (name, value) in [
            (&b"A"[..], &b"b\r\nX: y"[..]),
            (b"A", b"b\nX: y"),
            (b"A", b"b\r"),
            (b"A", b"b\0"),
            (b"A\r\nB", b"c"),
            (b"A ", b"b"),
            (b"A:", b"b"),
            (b"", b"b"),
            (b"A", b" b"),
        ] {
            assert_eq!(response_head(200, b"OK", [(name, value)], &mut out), Err(Unencodable));
            assert_eq!(request_head(b"GET", b"/", [(name, value)], &mut out), Err(Unencodable));
            assert_eq!(last_chunk([(name, value)], &mut out), Err(Unencodable));
        }
        assert_eq!(response_head(200, b"OK\r\nX: y", [], &mut out), Err(Unencodable));
        assert_eq!(response_head(99, b"", [], &mut out), Err(Unencodable));
        assert_eq!(response_head(1000, b"", [], &mut out), Err(Unencodable));
        assert_eq!(request_head(b"G T", b"/", [], &mut out), Err(Unencodable));
        assert_eq!(request_head(b"GET", b"/ HTTP/1.1\r\nX: y", [], &mut out), Err(Unencodable));
        assert_eq!(out, b"kept");
    }

    #[test]
    fn a_chunk_has_its_size_in_hexadecimal() {
        for (len, size) in [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (256, "100"), (65536, "10000")] {
            let mut out = Vec::new();
            chunk(&alloc::vec![b'x'; len], &mut out);
            assert!(out.starts_with(size.as_bytes()) && out[size.len()..].starts_with(b"\r\nx"), "{len}");
            assert_eq!(out.len(), size.len() + len + 4);
        }
        let mut out = Vec::new();
        chunk(b"", &mut out);
        assert_eq!(out, b"");
        last_chunk([(&b"A"[..], &b"b"[..])], &mut out).unwrap();
        assert_eq!(out, b"0\r\nA: b\r\n\r\n");
    }
}

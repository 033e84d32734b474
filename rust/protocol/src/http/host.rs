//! Who is asked: a host, perhaps with a port, as in `Host` and in a target.
//!
//! Source: RFC 3986 section 3.2, RFC 9110 section 7.2.
use super::grammar::{ByteSet, decimal, hex_digit};
use core::net::Ipv6Addr;

static UNRESERVED_OR_DELIMITER: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+,;=");
static NAME: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+,;=%");

/// Split `host[:port]`; `None` if it is not that. Brackets belong to the host. No user information.
///
/// Both parts may be empty, as the grammar has it, but a port needs a host. A port is a number up to 65535.
pub fn split_authority(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_len = match bytes {
        [b'[', ..] => bytes.iter().position(|byte| *byte == b']')? + 1,
        _ => bytes.iter().position(|byte| !NAME.has(*byte)).unwrap_or(bytes.len()),
    };
    let (host, rest) = bytes.split_at(host_len);
    let port = match rest {
        [] => None,
        [b':', port @ ..] => Some(port),
        _ => return None,
    };
    let is_host = match host {
        [b'[', address @ .., b']'] => is_ip_literal(address),
        [] => port.is_none(),
        name => are_escapes_whole(name),
    };
    let is_port = port.is_none_or(|port| port.is_empty() || decimal(port).is_some_and(|port| port <= 65_535));
    (is_host && is_port).then_some((host, port))
}

/// Whether every percent sign is followed by two hexadecimal digits.
pub(super) fn are_escapes_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match &rest[at + 1..] {
            [high, low, after @ ..] if hex_digit(*high).is_some() && hex_digit(*low).is_some() => {
                rest = after
            }
            _ => return false,
        }
    }
    true
}

fn is_ip_literal(bytes: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = bytes {
        let mut parts = future.splitn(2, |byte| *byte == b'.');
        let version = parts.next().unwrap_or_default();
        let address = parts.next().unwrap_or_default();
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|byte| *byte == b':' || UNRESERVED_OR_DELIMITER.has(*byte));
    }
    core::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_a_port() {
        for (bytes, host, port) in [
            (&b"a"[..], &b"a"[..], None),
            (b"a.example_1:80", b"a.example_1", Some(&b"80"[..])),
            (b"a:", b"a", Some(b"")),
            (b"", b"", None),
            (b"127.0.0.1:00080", b"127.0.0.1", Some(b"00080")),
            (b"[::1]:8080", b"[::1]", Some(b"8080")),
            (b"[::ffff:1.2.3.4]", b"[::ffff:1.2.3.4]", None),
            (b"[v1.fe80::a+en1]", b"[v1.fe80::a+en1]", None),
            (b"%C3%A4.example", b"%C3%A4.example", None),
        ] {
            assert_eq!(split_authority(bytes), Some((host, port)), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bytes in [
            &b"a b"[..],
            b"a/b",
            b"a?b",
            b"a#b",
            b"u@a",
            b"a:99999",
            b"a:+80",
            b"a:8x",
            b"a:80:80",
            b"::1",
            b"[::1",
            b"[::1]x",
            b"[::1]]",
            b"[]",
            b"[g::1]",
            b"[fe80::1%25eth0]",
            b"[v.a]",
            b"[v1.]",
            b":80",
            b"a%",
            b"a%4",
            b"a%zz",
            b"a\0",
            b"\xe4",
            b"a\\b",
            b"a\"",
        ] {
            assert_eq!(split_authority(bytes), None, "{bytes:?}");
        }
    }
}

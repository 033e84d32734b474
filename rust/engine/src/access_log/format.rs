//! How a record is written: one line each, whatever a client sends.
//!
//! Source: the formats `combined` of nginx (ngx_http_log_module) and Apache (mod_log_config); RFC 8259.

use std::io::Write;
use std::net::IpAddr;

use wiretask_protocol::http::answer::write_decimal;

use super::basic_user::UserName;
use super::escape::{write_json, write_quoted, write_word};
use super::record::{Asked, Peer, Record};
use super::timestamps::Timestamps;

/// A way to write records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `peer - user [time] "request" status bytes "referer" "user agent"`, escaped as nginx does.
    Combined,
    /// A JSON object.
    Json,
}

impl Format {
    /// Whether [`Record::duration`] is written.
    pub fn has_duration(self) -> bool {
        self == Self::Json
    }

    /// Write one line, with its end.
    pub(super) fn write(self, record: &Record<'_>, timestamps: &mut Timestamps, out: &mut Vec<u8>) {
        match self {
            Self::Combined => write_combined(record, timestamps, out),
            Self::Json => write_json_object(record, timestamps, out),
        }
    }
}

fn write_combined(record: &Record<'_>, timestamps: &mut Timestamps, out: &mut Vec<u8>) {
    write_peer(record.peer, out);
    out.extend_from_slice(b" - ");
    match record.authorization.and_then(UserName::of_authorization) {
        Some(user) => write_word(user.as_bytes(), out),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    timestamps.write_common(out);
    out.extend_from_slice(b"] \"");
    match record.asked {
        Asked::Line { method, target, protocol } => {
            write_quoted(method, out);
            out.push(b' ');
            write_quoted(target, out);
            out.push(b' ');
            out.extend_from_slice(protocol.as_bytes());
        }
        Asked::Raw(b"") => out.push(b'-'),
        Asked::Raw(line) => write_quoted(line, out),
    }
    out.extend_from_slice(b"\" ");
    write_small(record.status, out);
    out.push(b' ');
    write_decimal(record.body_bytes, out);
    for field in [record.referer, record.user_agent] {
        match field {
            Some(value) => {
                out.extend_from_slice(b" \"");
                write_quoted(value, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b" \"-\""),
        }
    }
    out.push(b'\n');
}

fn write_json_object(record: &Record<'_>, timestamps: &mut Timestamps, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    timestamps.write_iso(out);
    out.extend_from_slice(b"\",\"remote_addr\":");
    match record.peer {
        Peer::Named(name) => write_json(name, out),
        peer => {
            out.push(b'"');
            write_peer(peer, out);
            out.push(b'"');
        }
    }
    let user = record.authorization.and_then(UserName::of_authorization);
    write_member(b",\"remote_user\":", user.as_ref().map(UserName::as_bytes), out);
    let (method, target, protocol) = match record.asked {
        Asked::Line { method, target, protocol } => (Some(method), Some(target), Some(protocol.as_bytes())),
        Asked::Raw(_) => (None, None, None),
    };
    write_member(b",\"method\":", method, out);
    write_member(b",\"target\":", target, out);
    write_member(b",\"protocol\":", protocol, out);
    if let Asked::Raw(line) = record.asked {
        write_member(b",\"request_line\":", Some(line), out);
    }
    out.extend_from_slice(b",\"status\":");
    write_small(record.status, out);
    out.extend_from_slice(b",\"body_bytes\":");
    write_decimal(record.body_bytes, out);
    out.extend_from_slice(b",\"duration_us\":");
    match record.duration {
        Some(duration) => write_decimal(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(if record.is_complete { b",\"complete\":true" } else { b",\"complete\":false" });
    if let Some(reason) = record.refusal {
        write_member(b",\"refusal\":", Some(reason.as_bytes()), out);
    }
    write_member(b",\"referer\":", record.referer, out);
    write_member(b",\"user_agent\":", record.user_agent, out);
    out.extend_from_slice(b"}\n");
}

fn write_member(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    match value {
        Some(value) => write_json(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_peer(peer: Peer<'_>, out: &mut Vec<u8>) {
    match peer {
        Peer::Named(name) => write_word(name, out),
        Peer::Unix => out.extend_from_slice(b"unix:"),
        Peer::Address(IpAddr::V4(address)) => {
            for (index, number) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                write_small(u16::from(number), out);
            }
        }
        // Writing to a Vec does not fail.
        Peer::Address(IpAddr::V6(address)) => write!(out, "{address}").unwrap_or_default(),
    }
}

/// Write a number that mostly has three digits at most.
fn write_small(number: u16, out: &mut Vec<u8>) {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    match number {
        0..10 => out.push(digit(number)),
        10..100 => out.extend_from_slice(&[digit(number / 10), digit(number)]),
        100..1000 => out.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number)]),
        _ => write_decimal(u64::from(number), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record() -> Record<'static> {
        Record {
            peer: Peer::Address([192, 0, 2, 10].into()),
            asked: Asked::Line { method: b"GET", target: b"/a?b", protocol: "HTTP/1.1" },
            status: 200,
            body_bytes: 1234,
            duration: Some(Duration::from_micros(56)),
            is_complete: true,
            refusal: None,
            authorization: Some(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            referer: Some(b"http://example.org/"),
            user_agent: Some(b"curl/8"),
        }
    }

    fn line(format: Format, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        format.write(record, &mut Timestamps::new(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The line with its time made the same always.
    fn timeless(line: &str, from: &str, to: &str) -> String {
        let start = line.find(from).unwrap() + from.len();
        let end = start + line[start..].find(to).unwrap();
        format!("{}TIME{}", &line[..start], &line[end..])
    }

    #[test]
    fn combined_has_nine_parts() {
        assert_eq!(
            timeless(&line(Format::Combined, &record()), "[", "]"),
            "192.0.2.10 - Aladdin [TIME] \"GET /a?b HTTP/1.1\" 200 1234 \"http://example.org/\" \"curl/8\"\n"
        );
    }

    #[test]
    fn combined_says_a_hyphen_for_what_there_is_not() {
        let bare = Record {
            authorization: None,
            referer: None,
            user_agent: Some(b""),
            ..Record::of_refusal(Peer::Unix, b"", 408, 0, "late")
        };
        assert_eq!(
            timeless(&line(Format::Combined, &bare), "[", "]"),
            "unix: - - [TIME] \"-\" 408 0 \"-\" \"\"\n"
        );
    }

    #[test]
    fn json_has_every_part_by_name() {
        assert_eq!(
            timeless(&line(Format::Json, &record()), "\"time\":\"", "\""),
            concat!(
                r#"{"time":"TIME","remote_addr":"192.0.2.10","remote_user":"Aladdin","method":"GET","target":"/a?b","#,
                r#""protocol":"HTTP/1.1","status":200,"body_bytes":1234,"duration_us":56,"complete":true,"#,
                r#""referer":"http://example.org/","user_agent":"curl/8"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn json_says_null_for_what_there_is_not() {
        let peer = Peer::Address("2001:db8::1".parse().unwrap());
        let refusal = Record::of_refusal(peer, b"\x16\x03\x01 \"x\r\nHost: a", 400, 17, "no \"request\"");
        assert_eq!(
            timeless(&line(Format::Json, &refusal), "\"time\":\"", "\""),
            concat!(
                r#"{"time":"TIME","remote_addr":"2001:db8::1","remote_user":null,"method":null,"target":null,"#,
                r#""protocol":null,"request_line":"\u0016\u0003\u0001 \"x","status":400,"body_bytes":17,"#,
                r#""duration_us":null,"complete":true,"refusal":"no \"request\"","referer":null,"user_agent":null}"#,
                "\n"
            )
        );
    }

    #[test]
    fn small_numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 99, 100, 255, 999, 1000, u16::MAX] {
            let mut out = Vec::new();
            write_small(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn who_is_behind_a_proxy_is_named_and_cannot_forge_anything() {
        let named = Record { peer: Peer::Named(b"2001:db8::1 \"x"), ..record() };
        assert!(line(Format::Combined, &named).starts_with(r"2001:db8::1\x20\x22x - Aladdin ["));
        assert!(line(Format::Json, &named).contains(r#","remote_addr":"2001:db8::1 \"x","remote_user""#));
    }

    #[test]
    fn a_user_cannot_forge_the_parts_behind_its_name() {
        // "a [b] " in base64, without a colon.
        let forged = Record { authorization: Some(b"Basic YSBbYl0g"), ..record() };
        assert!(line(Format::Combined, &forged).starts_with(r"192.0.2.10 - a\x20[b]\x20 ["));
    }
}

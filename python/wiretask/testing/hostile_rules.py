"""The rules that hostile requests break, one each: where it stands, which answers are right, and how it is broken.

Source: RFC 9110 and RFC 9112, by the section that stands with each rule; published advisories.
"""

from __future__ import annotations

from dataclasses import dataclass

from wiretask.testing.broken_requests import (
    Break,
    around,
    bare_line_feed,
    chunks,
    coding,
    coding_in_1_0,
    first_line,
    host,
    length,
    length_and_coding,
    line,
    repeated_length,
    request_line,
    separator,
    without_host,
)

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True)
class Rule:
    """One rule; `break_it` breaks it. The rest: as of `HostileRequest`."""

    name: str
    source: str
    statuses: tuple[int, ...]
    break_it: Break
    is_must: bool = True


_CONTROLS = [bytes([byte]) for byte in range(32) if byte not in (9, 10, 13)] + [b"\x7f"]
_NOT_IN_NAMES = [
    b" ",
    b"(",
    b")",
    b",",
    b"/",
    b";",
    b"<",
    b"=",
    b"@",
    b"[",
    b"\\",
    b"{",
    b'"',
    b"\0",
    b"\xef",
    b"\x7f",
]
_LAST = b"0\r\n\r\n"

#: In the order of a request.
RULES: tuple[Rule, ...] = (
    Rule("line_ends_with_crlf", "9112 2.2", (400,), bare_line_feed, False),
    Rule("no_space_before_method", "9112 3", (400,), around([b" ", b"\t"], []), False),
    Rule("one_space_between", "9112 3", (400,), separator([b"  ", b"\t", b" \t", b"\x0b", b"\x0c"]), False),
    Rule("no_space_after_version", "9112 3", (400,), around([], [b" ", b"\t"]), False),
    Rule("method_is_token", "9112 3.1", (400,), request_line(0, [b"G(T", b"G\0T", b"G\xefT", b'GE"T', b"G@T"])),
    Rule(
        "version_grammar",
        "9112 2.3",
        (400, 505),
        request_line(
            2,
            [
                b"HTTP/1.32",
                b"HTTP/1",
                b"HTTP/11",
                b"HTTP/1,1",
                b"HTTP/1.",
                b"HTTP/.1",
                b"HTTP/+1.1",
                b"HTTP/x.1",
                b"HTTP/1.1x",
                b"HTTP/01.1",
            ],
        ),
    ),
    Rule("protocol_name", "9112 2.3", (400,), request_line(2, [b"http/1.1", b"Http/1.1", b"FTP/1.1", b"HTTPS/1.1"])),
    Rule("major_version", "9110 15.6.6", (505, 400), request_line(2, [b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9"])),
    Rule("target_form", "9112 3.2", (400,), request_line(1, [b"a", b"foo/bar", b"?q", b"example.com:443", b"*"])),
    Rule("target_has_no_fragment", "9112 3.2", (400,), request_line(1, [b"/#", b"/a#b", b"/a?b#c"]), False),
    Rule("target_bytes", "9112 3.2", (400,), request_line(1, [b"/\0", b"/a\x7f", b"/\x01", b"/a\x1f"])),
    Rule("host_is_there", "9112 3.2", (400,), without_host),
    Rule("one_host", "9112 3.2", (400,), line([b"Host: a", b"Host: b", b"host: b", b"HOST:"])),
    Rule(
        "host_grammar",
        "9112 3.2",
        (400,),
        host(
            [
                b"a/b",
                b"a?b",
                b"a#b",
                b"u@a",
                b"a b",
                b"[::1",
                b"::1",
                b"a:8x",
                b"a:+80",
                b"a:80:80",
                b"a\\b",
                b"example.com/abc?bar=",
            ]
        ),
    ),
    Rule("no_space_before_first_field", "9112 2.2", (400,), first_line([b" X-Ws: 1", b"\tContent-Length: 3"]), False),
    Rule("no_folded_line", "9112 5.2", (400,), line([b"X-A: a\r\n b", b"X-A: a\r\n\tb", b"X-A: a\r\n "]), False),
    Rule(
        "no_space_before_colon",
        "9112 5.1",
        (400,),
        line([b"X-A : a", b"X-A\t: a", b"Content-Length : 3", b"Transfer-Encoding : chunked"]),
    ),
    Rule(
        "line_has_colon",
        "9112 5",
        (400,),
        line([b"no colon here", b"Content-Length 10", b"Transfer-\r\nEncoding: x"]),
    ),
    Rule("name_is_not_empty", "9112 5", (400,), line([b": x", b":"])),
    Rule("name_is_token", "9110 5.1", (400,), line([b"X" + byte + b"A: x" for byte in _NOT_IN_NAMES])),
    Rule(
        "name_is_ascii",
        "9110 5.1",
        (400,),
        line(
            [
                "Tran\u017ffer-Encoding: chunked".encode(),
                "Content-Length\u00df: 3".encode(),
                b"\xa0Content-Length: 5",
                b"Transfer-Encoding\x88: chunked",
            ]
        ),
    ),
    Rule(
        "value_has_no_control",
        "9110 5.5",
        (400,),
        line([b"X-A: a" + byte + tail for byte in _CONTROLS for tail in (b"", b"b")]),
    ),
    Rule("no_bare_cr", "9112 2.2", (400,), line([b"X-A: a\rb", b"X-A: \r", b"X-A: a\rX-B: c"]), False),
    Rule(
        "length_is_digits",
        "9112 6.3",
        (400,),
        length(
            [
                b"+5",
                b"-5",
                b"0x5",
                b"5_0",
                b"1e3",
                b"5.0",
                b'"5"',
                b"0 5",
                b"",
                b"five",
                b"5;",
                b"5\x11",
                b"\xb2",
                "\u0665".encode(),
            ]
        ),
    ),
    Rule(
        "length_is_possible",
        "9110 8.6",
        (400, 413),
        length([b"18446744073709551616", b"18446744073709551621", b"99999999999999999999", b"9" * 100]),
    ),
    Rule("length_is_no_list", "9110 8.6", (400,), length([b"5, 5", b"5,5", b"5, 6", b"5,", b",5"]), False),
    Rule("one_length", "9112 6.3", (400,), repeated_length, False),
    Rule("one_framing", "9112 6.1", (400,), length_and_coding, False),
    Rule(
        "coding_is_known",
        "9112 6.1",
        (501, 400),
        coding(
            [
                b"gzip",
                b"identity",
                b"gzip, chunked",
                b"xchunked",
                b"chunke",
                b"chunked-ish",
                b'"chunked"',
                b"chunked chunked",
                b"cow",
            ]
        ),
    ),
    Rule("chunked_has_no_parameter", "9112 7.1", (501, 400), coding([b"chunked;a=b", b"chunked; q=1"]), False),
    Rule(
        "chunked_once_and_last",
        "9112 6.1",
        (400, 501),
        coding(
            [b"chunked, chunked", b"chunked, identity", b"chunked, gzip", b"identity, chunked, identity, chunked"]
        ),
    ),
    Rule(
        "coding_has_no_control",
        "9110 5.5",
        (400, 501),
        coding([b"\x0bchunked", b"chunked\x0b", b"chunked\x11", b"\x0cchunked", b"chunked\0"]),
    ),
    Rule("no_coding_in_1_0", "9112 6.1", (400,), coding_in_1_0, False),
    Rule(
        "chunk_size_is_hexadecimal",
        "9112 7.1",
        (400,),
        chunks(
            [
                size + b"\r\nhello\r\n" + _LAST
                for size in (b"0x5", b"+5", b"-5", b"0_5", b"5G", b"G", b"", b"5:", b"\xb2", b";a", b" ;a", b"5.")
            ]
        ),
    ),
    Rule(
        "no_space_at_chunk_size",
        "9112 7.1",
        (400,),
        chunks([size + b"\r\nhello\r\n" + _LAST for size in (b"5 ", b" 5", b"5\t")]),
        False,
    ),
    Rule(
        "chunk_size_is_possible",
        "9112 7.1",
        (400, 413),
        chunks(
            [
                size + b"\r\nhello\r\n" + _LAST
                for size in (b"ffffffffffffffff", b"10000000000000005", b"7fffffffffffffff", b"f" * 40)
            ]
        ),
    ),
    Rule(
        "chunk_line_ends_with_crlf",
        "9112 7.1",
        (400,),
        chunks(
            [
                b"5\nhello\r\n" + _LAST,
                b"5;a\nhello\r\n" + _LAST,
                b"5\r\r\nhello\r\n" + _LAST,
                b"2;\nxx\r\n1f;a\r\n" + _LAST + b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
            ]
        ),
        False,
    ),
    Rule(
        "chunk_extension_grammar",
        "9112 7.1.1",
        (400,),
        chunks([b"5;a=b\rc\r\nhello\r\n" + _LAST, b"5;\0\r\nhello\r\n" + _LAST, b"5;a=\x7f\r\nhello\r\n" + _LAST]),
        False,
    ),
    Rule(
        "crlf_after_chunk",
        "9112 7.1",
        (400,),
        chunks(
            [
                b"5\r\nhelloXX" + _LAST,
                b"5\r\nhello" + _LAST,
                b"4\r\nhello\r\n" + _LAST,
                b"5\r\nhello\n" + _LAST,
                b"5\r\nhello\r0\r\n\r\n",
            ]
        ),
    ),
    Rule(
        "last_chunk_ends",
        "9112 7.1",
        (400,),
        chunks([b"0\r\nXX\r\n\r\n", b"0\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\rX\r\n\r\n"]),
    ),
    Rule(
        "trailer_grammar",
        "9112 7.1.2",
        (400,),
        chunks(
            [
                b"0\r\n" + line + b"\r\n\r\n"
                for line in (b": x", b"bad name: x", b"X-A : x", b"no colon", b"X-A: a\0", b"X-A: a\r\n b")
            ]
        ),
    ),
)

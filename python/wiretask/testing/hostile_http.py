"""HTTP requests that break one rule each, labelled with the rule and the answer that it must get.

Near misses: everything else about them is right, so that only the named rule can refuse them. Each is what some
server of the last years took, or read differently from its neighbour. Bytes in, expectations out: must not know
any parser.

Source: RFC 9110 and RFC 9112, by the section that stands with each rule; published advisories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from wiretask.testing.http_messages import plain_fields

__all__ = ["HOSTILE_RULES", "HostileRequest", "hostile_http_requests", "oversized_http_requests"]


@dataclass(frozen=True)
class HostileRequest:
    """A request that has to be refused.

    Attributes:
        stream: the request, and maybe what an attacker puts behind it, which must never be taken for a request.
        rule: the name of the one rule that it breaks; source: where that stands.
        statuses: the answers that are right, the best first. The connection closes after any of them.
        is_must: false if the RFC lets a server accept it, in one stated way; being strict is safer.
    """

    stream: bytes
    rule: str
    source: str
    statuses: tuple[int, ...]
    is_must: bool = True


@dataclass
class _Parts:
    """A good request, taken apart: what a rule is broken in."""

    request_line: list[bytes]
    separators: list[bytes]
    lines: list[bytes]
    body: bytes = b""

    def stream(self) -> bytes:
        first = b"".join(part + gap for part, gap in zip(self.request_line, [*self.separators, b""], strict=True))
        return b"".join(line + b"\r\n" for line in [first, *self.lines]) + b"\r\n" + self.body

    def put(self, draw: st.DrawFn, *lines: bytes) -> None:
        """Insert field lines in this order, each somewhere."""
        place = 0
        for line in lines:
            place = draw(st.integers(place, len(self.lines)))
            self.lines.insert(place, line)
            place += 1

    def send_length(self, draw: st.DrawFn, value: bytes, body: bytes = b"hello") -> None:
        self.put(draw, b"Content-Length: " + value)
        self.body = body

    def send_coding(self, draw: st.DrawFn, value: bytes) -> None:
        self.put(draw, b"Transfer-Encoding: " + value)
        self.body = b"5\r\nhello\r\n0\r\n\r\n"

    def send_chunks(self, draw: st.DrawFn, body: bytes) -> None:
        self.put(draw, b"Transfer-Encoding: chunked")
        self.body = body


_Break = Callable[[st.DrawFn, _Parts], "bytes | None"]


@dataclass(frozen=True)
class _Rule:
    name: str
    source: str
    statuses: tuple[int, ...]
    break_it: _Break
    is_must: bool = True


def _one_of(values: Sequence[bytes], use: Callable[[st.DrawFn, _Parts, bytes], None]) -> _Break:
    def break_it(draw: st.DrawFn, parts: _Parts) -> None:
        use(draw, parts, draw(st.sampled_from(list(values))))

    return break_it


def _request_line(place: int, values: Sequence[bytes]) -> _Break:
    def use(draw: st.DrawFn, parts: _Parts, value: bytes) -> None:
        parts.request_line[place] = value

    return _one_of(values, use)


def _separator(values: Sequence[bytes]) -> _Break:
    def use(draw: st.DrawFn, parts: _Parts, value: bytes) -> None:
        parts.separators[draw(st.integers(0, 1))] = value

    return _one_of(values, use)


def _around(before: Sequence[bytes], after: Sequence[bytes]) -> _Break:
    def break_it(draw: st.DrawFn, parts: _Parts) -> bytes:
        stream = parts.stream()
        end = stream.index(b"\r\n")
        if before:
            return draw(st.sampled_from(list(before))) + stream
        return stream[:end] + draw(st.sampled_from(list(after))) + stream[end:]

    return break_it


def _line(values: Sequence[bytes]) -> _Break:
    return _one_of(values, lambda draw, parts, value: parts.put(draw, value))


def _first_line(values: Sequence[bytes]) -> _Break:
    return _one_of(values, lambda draw, parts, value: parts.lines.insert(0, value))


def _length(values: Sequence[bytes]) -> _Break:
    return _one_of(values, lambda draw, parts, value: parts.send_length(draw, value))


def _coding(values: Sequence[bytes]) -> _Break:
    return _one_of(values, lambda draw, parts, value: parts.send_coding(draw, value))


def _chunks(values: Sequence[bytes]) -> _Break:
    return _one_of(values, lambda draw, parts, value: parts.send_chunks(draw, value))


def _host(values: Sequence[bytes]) -> _Break:
    def use(draw: st.DrawFn, parts: _Parts, value: bytes) -> None:
        parts.lines = [b"Host: " + value if line.startswith(b"Host:") else line for line in parts.lines]

    return _one_of(values, use)


def _without_host(draw: st.DrawFn, parts: _Parts) -> None:
    parts.lines = [line for line in parts.lines if not line.startswith(b"Host:")]


def _bare_line_feed(draw: st.DrawFn, parts: _Parts) -> bytes:
    stream = parts.stream()
    ends = [at for at in range(len(stream)) if stream.startswith(b"\r\n", at)]
    place = draw(st.sampled_from(ends))
    return stream[:place] + stream[place + 1 :]


def _repeated_length(draw: st.DrawFn, parts: _Parts) -> None:
    parts.put(draw, b"Content-Length: 5", b"Content-Length: " + draw(st.sampled_from([b"5", b"6", b"0"])))
    parts.body = b"hello"


def _length_and_coding(draw: st.DrawFn, parts: _Parts) -> None:
    lines = [b"Content-Length: " + draw(st.sampled_from([b"0", b"3", b"5"])), b"Transfer-Encoding: chunked"]
    parts.put(draw, *draw(st.permutations(lines)))
    parts.body = b"5\r\nhello\r\n0\r\n\r\n"


def _coding_in_1_0(draw: st.DrawFn, parts: _Parts) -> None:
    parts.request_line[2] = b"HTTP/1.0"
    parts.send_coding(draw, b"chunked")


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

_RULES: tuple[_Rule, ...] = (
    _Rule("line_ends_with_crlf", "9112 2.2", (400,), _bare_line_feed, False),
    _Rule("no_space_before_method", "9112 3", (400,), _around([b" ", b"\t"], []), False),
    _Rule("one_space_between", "9112 3", (400,), _separator([b"  ", b"\t", b" \t", b"\x0b", b"\x0c"]), False),
    _Rule("no_space_after_version", "9112 3", (400,), _around([], [b" ", b"\t"]), False),
    _Rule("method_is_token", "9112 3.1", (400,), _request_line(0, [b"G(T", b"G\0T", b"G\xefT", b'GE"T', b"G@T"])),
    _Rule(
        "version_grammar",
        "9112 2.3",
        (400, 505),
        _request_line(
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
    _Rule(
        "protocol_name", "9112 2.3", (400,), _request_line(2, [b"http/1.1", b"Http/1.1", b"FTP/1.1", b"HTTPS/1.1"])
    ),
    _Rule("major_version", "9110 15.6.6", (505, 400), _request_line(2, [b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9"])),
    _Rule("target_form", "9112 3.2", (400,), _request_line(1, [b"a", b"foo/bar", b"?q", b"example.com:443", b"*"])),
    _Rule("target_has_no_fragment", "9112 3.2", (400,), _request_line(1, [b"/#", b"/a#b", b"/a?b#c"]), False),
    _Rule("target_bytes", "9112 3.2", (400,), _request_line(1, [b"/\0", b"/a\x7f", b"/\x01", b"/a\x1f"])),
    _Rule("host_is_there", "9112 3.2", (400,), _without_host),
    _Rule("one_host", "9112 3.2", (400,), _line([b"Host: a", b"Host: b", b"host: b", b"HOST:"])),
    _Rule(
        "host_grammar",
        "9112 3.2",
        (400,),
        _host(
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
    _Rule(
        "no_space_before_first_field", "9112 2.2", (400,), _first_line([b" X-Ws: 1", b"\tContent-Length: 3"]), False
    ),
    _Rule("no_folded_line", "9112 5.2", (400,), _line([b"X-A: a\r\n b", b"X-A: a\r\n\tb", b"X-A: a\r\n "]), False),
    _Rule(
        "no_space_before_colon",
        "9112 5.1",
        (400,),
        _line([b"X-A : a", b"X-A\t: a", b"Content-Length : 3", b"Transfer-Encoding : chunked"]),
    ),
    _Rule(
        "line_has_colon",
        "9112 5",
        (400,),
        _line([b"no colon here", b"Content-Length 10", b"Transfer-\r\nEncoding: x"]),
    ),
    _Rule("name_is_not_empty", "9112 5", (400,), _line([b": x", b":"])),
    _Rule("name_is_token", "9110 5.1", (400,), _line([b"X" + byte + b"A: x" for byte in _NOT_IN_NAMES])),
    _Rule(
        "name_is_ascii",
        "9110 5.1",
        (400,),
        _line(
            [
                "Tran\u017ffer-Encoding: chunked".encode(),
                "Content-Length\u00df: 3".encode(),
                b"\xa0Content-Length: 5",
                b"Transfer-Encoding\x88: chunked",
            ]
        ),
    ),
    _Rule(
        "value_has_no_control",
        "9110 5.5",
        (400,),
        _line([b"X-A: a" + byte + tail for byte in _CONTROLS for tail in (b"", b"b")]),
    ),
    _Rule("no_bare_cr", "9112 2.2", (400,), _line([b"X-A: a\rb", b"X-A: \r", b"X-A: a\rX-B: c"]), False),
    _Rule(
        "length_is_digits",
        "9112 6.3",
        (400,),
        _length(
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
    _Rule(
        "length_is_possible",
        "9110 8.6",
        (400, 413),
        _length([b"18446744073709551616", b"18446744073709551621", b"99999999999999999999", b"9" * 100]),
    ),
    _Rule("length_is_no_list", "9110 8.6", (400,), _length([b"5, 5", b"5,5", b"5, 6", b"5,", b",5"]), False),
    _Rule("one_length", "9112 6.3", (400,), _repeated_length, False),
    _Rule("one_framing", "9112 6.1", (400,), _length_and_coding, False),
    _Rule(
        "coding_is_known",
        "9112 6.1",
        (501, 400),
        _coding(
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
    _Rule("chunked_has_no_parameter", "9112 7.1", (501, 400), _coding([b"chunked;a=b", b"chunked; q=1"]), False),
    _Rule(
        "chunked_once_and_last",
        "9112 6.1",
        (400, 501),
        _coding(
            [b"chunked, chunked", b"chunked, identity", b"chunked, gzip", b"identity, chunked, identity, chunked"]
        ),
    ),
    _Rule(
        "coding_has_no_control",
        "9110 5.5",
        (400, 501),
        _coding([b"\x0bchunked", b"chunked\x0b", b"chunked\x11", b"\x0cchunked", b"chunked\0"]),
    ),
    _Rule("no_coding_in_1_0", "9112 6.1", (400,), _coding_in_1_0, False),
    _Rule(
        "chunk_size_is_hexadecimal",
        "9112 7.1",
        (400,),
        _chunks(
            [
                size + b"\r\nhello\r\n" + _LAST
                for size in (b"0x5", b"+5", b"-5", b"0_5", b"5G", b"G", b"", b"5:", b"\xb2", b";a", b" ;a", b"5.")
            ]
        ),
    ),
    _Rule(
        "no_space_at_chunk_size",
        "9112 7.1",
        (400,),
        _chunks([size + b"\r\nhello\r\n" + _LAST for size in (b"5 ", b" 5", b"5\t")]),
        False,
    ),
    _Rule(
        "chunk_size_is_possible",
        "9112 7.1",
        (400, 413),
        _chunks(
            [
                size + b"\r\nhello\r\n" + _LAST
                for size in (b"ffffffffffffffff", b"10000000000000005", b"7fffffffffffffff", b"f" * 40)
            ]
        ),
    ),
    _Rule(
        "chunk_line_ends_with_crlf",
        "9112 7.1",
        (400,),
        _chunks(
            [
                b"5\nhello\r\n" + _LAST,
                b"5;a\nhello\r\n" + _LAST,
                b"5\r\r\nhello\r\n" + _LAST,
                b"2;\nxx\r\n1f;a\r\n" + _LAST + b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
            ]
        ),
        False,
    ),
    _Rule(
        "chunk_extension_grammar",
        "9112 7.1.1",
        (400,),
        _chunks([b"5;a=b\rc\r\nhello\r\n" + _LAST, b"5;\0\r\nhello\r\n" + _LAST, b"5;a=\x7f\r\nhello\r\n" + _LAST]),
        False,
    ),
    _Rule(
        "crlf_after_chunk",
        "9112 7.1",
        (400,),
        _chunks(
            [
                b"5\r\nhelloXX" + _LAST,
                b"5\r\nhello" + _LAST,
                b"4\r\nhello\r\n" + _LAST,
                b"5\r\nhello\n" + _LAST,
                b"5\r\nhello\r0\r\n\r\n",
            ]
        ),
    ),
    _Rule(
        "last_chunk_ends",
        "9112 7.1",
        (400,),
        _chunks([b"0\r\nXX\r\n\r\n", b"0\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\rX\r\n\r\n"]),
    ),
    _Rule(
        "trailer_grammar",
        "9112 7.1.2",
        (400,),
        _chunks(
            [
                b"0\r\n" + line + b"\r\n\r\n"
                for line in (b": x", b"bad name: x", b"X-A : x", b"no colon", b"X-A: a\0", b"X-A: a\r\n b")
            ]
        ),
    ),
)

#: The name of every rule that `hostile_http_requests` breaks, in the order of a request.
HOSTILE_RULES: tuple[str, ...] = tuple(rule.name for rule in _RULES)


def hostile_http_requests(rule: str | None = None) -> st.SearchStrategy[HostileRequest]:
    """Requests that break one rule each.

    Args:
        rule: the name of the rule to break, one of `HOSTILE_RULES`; None: any.
    Raises:
        ValueError: there is no such rule.
    """
    rules = [known for known in _RULES if rule in (None, known.name)]
    if not rules:
        raise ValueError(f"there is no rule {rule!r}; they are {', '.join(HOSTILE_RULES)}")
    return _broken(rules)


@st.composite
def _broken(draw: st.DrawFn, rules: list[_Rule]) -> HostileRequest:
    chosen = draw(st.sampled_from(rules))
    lines = [name + b": " + value for name, value in draw(plain_fields(2))]
    parts = _Parts([draw(st.sampled_from([b"GET", b"POST"])), b"/x", b"HTTP/1.1"], [b" ", b" "], lines)
    parts.put(draw, b"Host: a")
    stream = chosen.break_it(draw, parts)
    return HostileRequest(
        parts.stream() if stream is None else stream, chosen.name, chosen.source, chosen.statuses, chosen.is_must
    )


def oversized_http_requests(
    *, max_line_bytes: int, max_head_bytes: int, max_body_bytes: int
) -> st.SearchStrategy[HostileRequest]:
    """Requests beyond the limits of a server, given in bytes: of the request line, the whole head, the body."""
    end = b" HTTP/1.1\r\nHost: a\r\n"
    long = b"a" * (max_line_bytes + 1)
    many = b"X-A: b\r\n" * (max_head_bytes // 8 + 1)
    over = max_body_bytes + 1
    chunk = b"%x\r\n%b\r\n" % (over, b"x" * over) if over <= 1024 * 1024 else b"%x\r\n" % over
    cases = [
        (b"GET /" + long + end + b"\r\n", "target_size", "9112 3", (414, 431)),
        (b"GET /x" + end + b"X-A: " + b"a" * max_head_bytes + b"\r\n\r\n", "head_size", "9110 5.4", (431,)),
        (b"GET /x" + end + many + b"\r\n", "head_size", "9110 5.4", (431,)),
        (b"POST /x" + end + b"Content-Length: %d\r\n\r\n" % over, "body_size", "9110 15.5.14", (413,)),
        (b"POST /x" + end + b"Transfer-Encoding: chunked\r\n\r\n" + chunk, "body_size", "9110 15.5.14", (413,)),
    ]
    return st.sampled_from([HostileRequest(*case) for case in cases])

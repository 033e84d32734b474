"""Ways to break one rule in a request that is good otherwise. Must not know: the rules.

A way is a function that changes the parts of a request, or returns the stream to be sent in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = [
    "Break",
    "Parts",
    "around",
    "bare_line_feed",
    "chunks",
    "coding",
    "coding_in_1_0",
    "first_line",
    "host",
    "length",
    "length_and_coding",
    "line",
    "one_of",
    "repeated_length",
    "request_line",
    "separator",
    "without_host",
]


@dataclass
class Parts:
    """A good request, taken apart: what a rule is broken in."""

    request_line: list[bytes]
    separators: list[bytes]
    lines: list[bytes]
    body: bytes = b""

    def stream(self) -> bytes:
        """Return the request, put together."""
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
        """Add a body, and this as its Content-Length."""
        self.put(draw, b"Content-Length: " + value)
        self.body = body

    def send_coding(self, draw: st.DrawFn, value: bytes) -> None:
        """Add a chunked body, and this as its Transfer-Encoding."""
        self.put(draw, b"Transfer-Encoding: " + value)
        self.body = b"5\r\nhello\r\n0\r\n\r\n"

    def send_chunks(self, draw: st.DrawFn, body: bytes) -> None:
        """Add this as a chunked body."""
        self.put(draw, b"Transfer-Encoding: chunked")
        self.body = body


#: A way: changes the parts, or returns the stream.
Break = Callable[[st.DrawFn, Parts], "bytes | None"]


def one_of(values: Sequence[bytes], use: Callable[[st.DrawFn, Parts, bytes], None]) -> Break:
    """Return the way that takes one of the values and uses it so."""

    def break_it(draw: st.DrawFn, parts: Parts) -> None:
        use(draw, parts, draw(st.sampled_from(list(values))))

    return break_it


def request_line(place: int, values: Sequence[bytes]) -> Break:
    """Return the way that has one of the values in place of the method (0), the target (1) or the version (2)."""

    def use(draw: st.DrawFn, parts: Parts, value: bytes) -> None:
        parts.request_line[place] = value

    return one_of(values, use)


def separator(values: Sequence[bytes]) -> Break:
    """Return the way that has one of the values between two parts of the request line."""

    def use(draw: st.DrawFn, parts: Parts, value: bytes) -> None:
        parts.separators[draw(st.integers(0, 1))] = value

    return one_of(values, use)


def around(before: Sequence[bytes], after: Sequence[bytes]) -> Break:
    """Return the way that puts one of `before` before the request line; without any, one of `after` behind it."""

    def break_it(draw: st.DrawFn, parts: Parts) -> bytes:
        stream = parts.stream()
        end = stream.index(b"\r\n")
        if before:
            return draw(st.sampled_from(list(before))) + stream
        return stream[:end] + draw(st.sampled_from(list(after))) + stream[end:]

    return break_it


def line(values: Sequence[bytes]) -> Break:
    """Return the way that adds one of the field lines, somewhere."""
    return one_of(values, lambda draw, parts, value: parts.put(draw, value))


def first_line(values: Sequence[bytes]) -> Break:
    """Return the way that adds one of the field lines, before all others."""
    return one_of(values, lambda draw, parts, value: parts.lines.insert(0, value))


def length(values: Sequence[bytes]) -> Break:
    """Return the way that sends a body of five bytes, and one of the values as its Content-Length."""
    return one_of(values, lambda draw, parts, value: parts.send_length(draw, value))


def coding(values: Sequence[bytes]) -> Break:
    """Return the way that sends a chunked body, and one of the values as its Transfer-Encoding."""
    return one_of(values, lambda draw, parts, value: parts.send_coding(draw, value))


def chunks(values: Sequence[bytes]) -> Break:
    """Return the way that sends one of the values as a chunked body."""
    return one_of(values, lambda draw, parts, value: parts.send_chunks(draw, value))


def host(values: Sequence[bytes]) -> Break:
    """Return the way that has one of the values as its Host."""

    def use(draw: st.DrawFn, parts: Parts, value: bytes) -> None:
        parts.lines = [b"Host: " + value if line.startswith(b"Host:") else line for line in parts.lines]

    return one_of(values, use)


def without_host(draw: st.DrawFn, parts: Parts) -> None:
    """Send no Host."""
    parts.lines = [line for line in parts.lines if not line.startswith(b"Host:")]


def bare_line_feed(draw: st.DrawFn, parts: Parts) -> bytes:
    """Leave out the carriage return of one line."""
    stream = parts.stream()
    ends = [at for at in range(len(stream)) if stream.startswith(b"\r\n", at)]
    place = draw(st.sampled_from(ends))
    return stream[:place] + stream[place + 1 :]


def repeated_length(draw: st.DrawFn, parts: Parts) -> None:
    """Send two lines of Content-Length."""
    parts.put(draw, b"Content-Length: 5", b"Content-Length: " + draw(st.sampled_from([b"5", b"6", b"0"])))
    parts.body = b"hello"


def length_and_coding(draw: st.DrawFn, parts: Parts) -> None:
    """Send Content-Length and Transfer-Encoding."""
    lines = [b"Content-Length: " + draw(st.sampled_from([b"0", b"3", b"5"])), b"Transfer-Encoding: chunked"]
    parts.put(draw, *draw(st.permutations(lines)))
    parts.body = b"5\r\nhello\r\n0\r\n\r\n"


def coding_in_1_0(draw: st.DrawFn, parts: Parts) -> None:
    """Send a chunked body in HTTP/1.0."""
    parts.request_line[2] = b"HTTP/1.0"
    parts.send_coding(draw, b"chunked")

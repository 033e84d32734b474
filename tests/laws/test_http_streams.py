"""The laws for the consumers of HTTP, on streams put together from good and hostile parts and changed at a few bytes.

`test_http_laws.py` has the well-formed messages and the hostile ones whose answer is known; here any answer will do
that is the same for every cut. All that a head can be asked is compared, and what a sink gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wiretask.consumers import Chunked, HTTPRequest, HTTPResponse
from wiretask.errors import IncompleteMessageError, ProtocolError

FIRST_LINES = {
    "request": [
        b"GET / HTTP/1.1\r\n",
        b"POST /a?b HTTP/1.1\r\n",
        b"\r\nPUT http://b/x HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.0\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
    ],
    "answer": [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404 Not Found\r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1 100 \r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 200 OK\n",
    ],
}
FIELD_LINES = [
    b"Host: a\r\n",
    b"Host: a:80:80\r\n",
    b"Content-Length: 3\r\n",
    b"content-length: +3\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"X: \xe4\t y \r\n",
    b"x:\r\n",
    b"X : y\r\n",
    b" folded\r\n",
    b"X: y\n",
]
BODIES = [
    b"",
    b"abc",
    b"3\r\nabc\r\n0\r\n\r\n",
    b'3;x=y\r\nabc\r\n1 ; z="\\""\r\nd\r\n000\r\nT: u\r\nt:\r\n\r\n',
    b"5\r\nhelloXX",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nabc",
    b"3\nabc\n0\n\n",
]


def changed(stream: bytes, changes: Iterable[tuple[int, bytes]]) -> bytes:
    """Put bytes over those at some places; where nothing is put, the byte is taken out."""
    for place, put in changes:
        at = place % (len(stream) + 1)
        stream = stream[:at] + put + stream[at + 1 :]
    return stream


changes = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"\xff", b"0", b"\r\n"])),
    max_size=2,
)


def streams_with_head(kind: str) -> st.SearchStrategy[bytes]:
    good = st.sampled_from([[], [b"Content-Length: 3\r\n"], [b"Transfer-Encoding: chunked\r\n"]]).map(
        lambda framing: [b"Host: a\r\n", *framing]
    )
    return st.builds(
        lambda first, fields, body, edits: changed(first + b"".join(fields) + b"\r\n" + body, edits),
        st.sampled_from(FIRST_LINES[kind]),
        good | st.lists(st.sampled_from(FIELD_LINES), max_size=4),
        st.sampled_from(BODIES),
        changes,
    )


@dataclass(frozen=True)
class Kind:
    """How to make a consumer, what to feed it, and what it can be asked once its head is whole."""

    make: Callable[..., Any]
    streams: st.SearchStrategy[bytes]
    facts: tuple[str, ...]


REQUEST_FACTS = ("method", "target", "path", "query", "host", "version", "headers", "expects_continue", "head")
RESPONSE_FACTS = ("status", "reason", "version", "headers", "content_length", "head")
TIGHT = {"max_fields": 2, "max_body_bytes": 3, "max_chunk_extension_bytes": 4, "max_trailer_bytes": 9}
KINDS = {
    "request": Kind(HTTPRequest, streams_with_head("request"), REQUEST_FACTS),
    "request, tight": Kind(
        lambda **sink: HTTPRequest(max_head_bytes=70, max_request_line_bytes=20, **TIGHT, **sink),
        streams_with_head("request"),
        REQUEST_FACTS,
    ),
    "answer": Kind(HTTPResponse, streams_with_head("answer"), RESPONSE_FACTS),
    "answer, tight": Kind(
        lambda **sink: HTTPResponse(max_head_bytes=60, **TIGHT, **sink), streams_with_head("answer"), RESPONSE_FACTS
    ),
    "answer to HEAD": Kind(
        lambda **sink: HTTPResponse(request_method="HEAD", **sink), streams_with_head("answer"), RESPONSE_FACTS
    ),
    "chunked": Kind(Chunked, st.builds(changed, st.sampled_from(BODIES), changes), ()),
    "chunked, tight": Kind(
        lambda **sink: Chunked(**TIGHT, **sink), st.builds(changed, st.sampled_from(BODIES), changes), ()
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
cuts = st.lists(st.integers(0, 200), max_size=6)
noise = st.binary(max_size=10)


def outcome(kind: Kind, consumer: Any, consumed: int) -> tuple[object, ...]:
    """All that can be seen of a consumer, comparable."""
    seen: list[object] = [consumed, consumer.completed, getattr(consumer, "keep_alive", None)]
    error = consumer.error
    if error is not None:
        assert isinstance(error, ProtocolError)
        assert consumer.completed
        seen += [type(error), error.kind, error.offset_bytes, error.status]
    elif consumer.completed:
        seen += [consumer.value, consumer.trailers.lines]
    if getattr(consumer, "head_completed", False):
        seen += [getattr(consumer, name) for name in kind.facts]
    return tuple(seen)


def deliver(kind: Kind, consumer: Any, pieces: Iterable[bytes]) -> tuple[object, ...]:
    """Feed the pieces in order; laws 2 and 3 are checked at every call."""
    consumed = 0
    for piece in pieces:
        was_completed = consumer.completed
        taken = consumer.received(piece)
        assert taken == (0 if was_completed else len(piece)) or (not was_completed and consumer.completed)
        assert taken > 0 or not piece or was_completed
        consumed += taken
    return outcome(kind, consumer, consumed)


def pieces_of(stream: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [*sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@every_kind
@given(data=st.data(), places=cuts, more=noise)
def test_any_cut_gives_the_same_outcome(kind: Kind, data: st.DataObject, places: list[int], more: bytes) -> None:
    stream = data.draw(kind.streams) + more
    whole = deliver(kind, kind.make(), [stream])
    assert deliver(kind, kind.make(), pieces_of(stream, range(len(stream)))) == whole
    assert deliver(kind, kind.make(), pieces_of(stream, places)) == whole


@every_kind
@given(data=st.data(), more=noise)
def test_what_follows_a_message_changes_nothing(kind: Kind, data: st.DataObject, more: bytes) -> None:
    stream = data.draw(kind.streams)
    consumer = kind.make()
    consumed = consumer.received(stream)
    if consumer.completed:
        assert deliver(kind, kind.make(), [stream[:consumed] + more]) == outcome(kind, consumer, consumed)


@every_kind
@given(data=st.data())
def test_error_lies_where_the_last_byte_was_taken(kind: Kind, data: st.DataObject) -> None:
    stream = data.draw(kind.streams)
    consumer = kind.make()
    consumed = consumer.received(stream)
    if consumer.error is not None:
        assert consumer.error.offset_bytes == consumed
        assert deliver(kind, kind.make(), [stream[: consumed - 1]])[1] is False


@every_kind
@given(data=st.data(), place=st.integers(0, 200))
def test_the_end_in_the_middle_is_truncated_and_elsewhere_nothing(
    kind: Kind, data: st.DataObject, place: int
) -> None:
    stream = data.draw(kind.streams)[:place]
    consumer = kind.make()
    before = deliver(kind, consumer, [stream])
    was_completed = consumer.completed
    ends_with_the_stream = (
        isinstance(consumer, HTTPResponse)
        and consumer.head_completed
        and consumer.content_length is None
        and "chunked" not in consumer.headers.get("transfer-encoding", "").lower()
    )
    consumer.end_of_input()
    if not stream or was_completed:
        assert outcome(kind, consumer, before[0]) == before  # type: ignore[arg-type]
        return
    if ends_with_the_stream:
        assert (consumer.completed, consumer.error) == (True, None)
    else:
        assert isinstance(consumer.error, IncompleteMessageError)
        assert consumer.error.offset_bytes == len(stream)
    assert consumer.received(b"more") == 0


@every_kind
@given(data=st.data(), places=cuts)
@example(data=None, places=[1, 2])
def test_a_sink_gets_what_else_would_be_held(kind: Kind, data: st.DataObject | None, places: list[int]) -> None:
    stream = data.draw(kind.streams) if data else FIRST_LINES["request"][0] + b"Host: a\r\n\r\n"
    holding = kind.make()
    holding.received(stream)
    pieces: list[bytes] = []
    passing_on = kind.make(body_sink=pieces.append)
    for piece in pieces_of(stream, places):
        passing_on.received(piece)
    assert (passing_on.completed, getattr(passing_on.error, "kind", None)) == (
        holding.completed,
        getattr(holding.error, "kind", None),
    )
    if holding.completed and holding.error is None:
        assert b"".join(pieces) == holding.value

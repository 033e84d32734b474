"""The laws of a stream consumer, through the Python face, for every consumer and some written in Python.

A row of KINDS is a factory, an encoder and a limit; the laws themselves are those of `wiretask.testing`. Work and
memory of the native ones are measured in the protocol crate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from netstring import Netstring, encode_netstring
from zope.interface.verify import verifyObject

from wiretask.consumers import (
    Chunked,
    ConsumerFactory,
    Delimiter,
    FixedStream,
    HTTPRequest,
    HTTPResponse,
    LengthPrefixed,
    Line,
)
from wiretask.errors import MessageTooLargeError, ProtocolError
from wiretask.examples.keyvalue.resp import RedisRequest, encode_reply
from wiretask.interfaces import IStreamConsumer
from wiretask.testing import (
    ConsumerLaw,
    check_stream,
    check_stream_consumer,
    cut_at,
    delimited,
    length_prefixed,
    lines,
    stream_consumer_machine,
    telling_bytes,
)


class ModestRedisRequest(RedisRequest):
    """The example's parser with the smallest limits that it takes."""

    max_line_bytes = 16 * 1024
    max_arguments = 99
    max_bulk_bytes = 16 * 1024
    max_request_bytes = 32 * 1024


@dataclass(frozen=True)
class Kind:
    """What the laws need of a consumer; the streams are good ones, and what may nearly be one."""

    make: Callable[[], Any]
    encode: Callable[[Any], bytes]
    max_bytes: int
    streams: st.SearchStrategy[bytes]
    values: st.SearchStrategy[Any]
    value_of: Callable[[Any], object] = attrgetter("value")
    is_native: bool = True
    limits: frozenset[int] = frozenset()
    may_end_with_input: bool = False

    @property
    def most_bytes(self) -> int:
        """A varint is read to its end, ten bytes at most, whatever the limit."""
        return max(self.max_bytes, 10) if "varint" in repr(self.make) else self.max_bytes


def native(factory: ConsumerFactory, max_bytes: int, streams: st.SearchStrategy[bytes] | None = None) -> Kind:
    return Kind(factory, factory.encode, max_bytes, telling_bytes() if streams is None else streams, telling_bytes())


redis_words = st.lists(telling_bytes(12), min_size=1, max_size=5)
redis_streams = st.one_of(
    redis_words.map(encode_reply),
    telling_bytes(40, b"*$\r\n013- '\"\\PG").map(lambda line: line + b"\r\n"),
    st.lists(
        st.sampled_from(
            [b"*", b"$", b"\r\n", b"\r", b"\n", b"1", b"3", b"-1", b"0", b"'", b'"', b"\\", b" ", b"PING"]
        )
        | st.binary(max_size=3),
        max_size=20,
    ).map(b"".join),
)

# The consumers of HTTP have several limits; a row has one. `test_http_laws.py` has the messages with all their parts.
ALIKE = {"max_body_bytes": 40, "max_chunk_extension_bytes": 40, "max_trailer_bytes": 40}


def http(factory: ConsumerFactory, max_bytes: int, *, may_end_with_input: bool = False) -> Kind:
    kind = native(factory, max_bytes, telling_bytes(40).map(factory.encode))
    return replace(kind, limits=frozenset({40, 64}), may_end_with_input=may_end_with_input)


KINDS = {
    "fixed-1": native(FixedStream.configured(1), 1),
    "fixed-7": native(FixedStream.configured(7), 7),
    "line": native(Line.configured(max_bytes=12), 12, lines(11)),
    "line-of-1": native(Line.configured(max_bytes=1), 1),
    "delimiter-1": native(Delimiter.configured(b"\0", max_bytes=12), 12, delimited(b"\0", 12)),
    "delimiter-crlf": native(Delimiter.configured(b"\r\n", max_bytes=12), 12, delimited(b"\r\n", 12)),
    "delimiter-aab": native(Delimiter.configured(b"aab", max_bytes=12), 12, delimited(b"aab", 12)),
    "delimiter-only": native(Delimiter.configured(b"aaa", max_bytes=3), 3),
    "prefix-1": native(LengthPrefixed.configured(size=1, max_bytes=12), 12, length_prefixed(1, max_bytes=12)),
    "prefix-2-big": native(LengthPrefixed.configured(size=2, max_bytes=12), 12, length_prefixed(2, max_bytes=12)),
    "prefix-2-little": native(
        LengthPrefixed.configured(size=2, byteorder="little", max_bytes=12),
        12,
        length_prefixed(2, "little", max_bytes=12),
    ),
    "prefix-4-big": native(LengthPrefixed.configured(max_bytes=12), 12, length_prefixed(max_bytes=12)),
    "prefix-8-little": native(
        LengthPrefixed.configured(size=8, byteorder="little", max_bytes=12),
        12,
        length_prefixed(8, "little", max_bytes=12),
    ),
    "varint": native(
        LengthPrefixed.configured(size="varint", max_bytes=12), 12, length_prefixed("varint", max_bytes=12)
    ),
    "varint-large": native(
        LengthPrefixed.configured(size="varint", max_bytes=2**64 - 1), 2**64 - 1, length_prefixed("varint")
    ),
    "chunked": http(Chunked.configured(**ALIKE), 1000),
    "http-request": http(HTTPRequest.configured(max_head_bytes=64, max_request_line_bytes=64, **ALIKE), 104),
    "http-response": http(HTTPResponse.configured(max_head_bytes=64, **ALIKE), 104, may_end_with_input=True),
    "netstring-in-python": Kind(
        Netstring, encode_netstring, 103, telling_bytes().map(encode_netstring), telling_bytes(), is_native=False
    ),
    "redis-in-python": Kind(
        ModestRedisRequest,
        encode_reply,
        64 * 1024,
        redis_streams,
        redis_words,
        lambda request: list(request.arguments),
        is_native=False,
    ),
}

SEARCHES = Counter(type(kind.make()).__name__ for kind in KINDS.values() for _ in ("streams", "values"))

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())

# Streams that went wrong once, or would, and where to cut them.
PINNED: list[tuple[bytes, list[int]]] = [
    (b"a\r\n\n", [1, 2]),
    (b"aaaaab", [2, 3]),
    (b"\x80\0", [1]),
    (b"*1\r\n$3\r\nPING\r", [13]),
    (b' "\r\n', [1]),
]


@every_kind
def test_consumer_provides_the_interface(kind: Kind) -> None:
    assert verifyObject(IStreamConsumer, kind.make())


@every_kind
def test_consumer_obeys_the_laws(
    kind: Kind, law_settings: Callable[[int], settings], count_examples: Callable[[str, int], None]
) -> None:
    name = type(kind.make()).__name__
    # What is larger is not tried: nobody waits for 2**64 bytes.
    max_bytes = kind.most_bytes if kind.most_bytes < 2**20 else None
    report = check_stream_consumer(
        kind.make,
        kind.streams,
        kind.encode,
        values=kind.values,
        value_of=kind.value_of,
        max_bytes=max_bytes,
        may_end_with_input=kind.may_end_with_input,
        settings=law_settings(SEARCHES[name]),
    )
    count_examples(name, report.examples)
    unseen = {ConsumerLaw.LINEAR_WORK} if kind.is_native or kind.max_bytes < 1000 else set()
    if max_bytes is None:
        unseen.add(ConsumerLaw.BOUNDED_MEMORY)
    assert report.checked == set(ConsumerLaw) - unseen


@every_kind
def test_consumer_is_used_as_a_server_would(kind: Kind) -> None:
    machine = stream_consumer_machine(kind.make, kind.streams, value_of=kind.value_of)
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=20, deadline=None))


@every_kind
@pytest.mark.parametrize(("stream", "places"), PINNED)
def test_consumer_obeys_the_laws_where_something_went_wrong_once(
    kind: Kind, stream: bytes, places: list[int]
) -> None:
    check_stream(kind.make, cut_at(stream, places), what_follows=b"aaab")


@every_kind
@given(stream=telling_bytes())
def test_an_error_is_a_protocol_error_and_names_the_limit(kind: Kind, stream: bytes) -> None:
    consumer = kind.make()
    consumer.received(stream)
    assert consumer.error is None or isinstance(consumer.error, ProtocolError)
    if isinstance(consumer.error, MessageTooLargeError):
        assert consumer.error.limit_bytes in (kind.limits or {kind.max_bytes})

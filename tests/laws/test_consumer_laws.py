"""The laws of a stream consumer, through the Python face, for every consumer and one written in Python.

A row of KINDS is a factory, an encoder and a limit; the suite knows nothing else of a consumer than the
interface. The laws are those of the protocol crate (`consumer.rs`); work and memory are measured there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wiretask.consumers import ConsumerFactory, Delimiter, FixedStream, LengthPrefixed, Line
from wiretask.errors import (
    IncompleteMessageError,
    MalformedMessageError,
    MessageTooLargeError,
    ProtocolError,
)
from wiretask.interfaces import IStreamConsumer


@implementer(IStreamConsumer)
class Netstring:
    """A consumer written in Python: `5:hello,` (D. J. Bernstein, "Netstrings", 1997), of at most 99 bytes."""

    def __init__(self, adj: object = None) -> None:
        self.completed = False
        self.error: ProtocolError | None = None
        self.value = b""
        self.empty = False
        self._digits = b""
        self._content = bytearray()
        self._length: int | None = None
        self._taken = 0

    def received(self, data: bytes | bytearray | memoryview) -> int:
        for taken, byte in enumerate(bytes(data)):
            if self.completed:
                return taken
            self._taken += 1
            self._take(byte)
        return len(data)

    def end_of_input(self) -> None:
        if self._taken and not self.completed:
            self._fail(IncompleteMessageError, "truncated")

    def _take(self, byte: int) -> None:
        if self._length is None:
            if byte == ord(":") and self._digits:
                self._length = int(self._digits)
            elif bytes([byte]).isdigit() and self._digits != b"0" and len(self._digits) < 2:
                self._digits += bytes([byte])
            else:
                self._fail(MalformedMessageError, "bad_length")
        elif len(self._content) < self._length:
            self._content.append(byte)
        elif byte == ord(","):
            self.value = bytes(self._content)
            self.completed = True
        else:
            self._fail(MalformedMessageError, "no_comma")

    def _fail(self, cls: type[ProtocolError], kind: str) -> None:
        self.error = cls(kind, kind=kind, offset_bytes=self._taken)
        self.completed = True


def encode_netstring(value: bytes) -> bytes:
    if len(value) > 99:
        raise ValueError("too long")
    return b"%d:%s," % (len(value), value)


@dataclass(frozen=True)
class Kind:
    """What the laws need of a consumer: a way to make one and, for the round trip, an encoder."""

    make: Callable[[], Any]
    encode: Callable[[bytes], bytes]
    max_bytes: int


def native(factory: ConsumerFactory, max_bytes: int) -> Kind:
    return Kind(factory, factory.encode, max_bytes)


KINDS = {
    "fixed-1": native(FixedStream.configured(1), 1),
    "fixed-7": native(FixedStream.configured(7), 7),
    "line": native(Line.configured(max_bytes=12), 12),
    "line-of-1": native(Line.configured(max_bytes=1), 1),
    "delimiter-1": native(Delimiter.configured(b"\0", max_bytes=12), 12),
    "delimiter-crlf": native(Delimiter.configured(b"\r\n", max_bytes=12), 12),
    "delimiter-aab": native(Delimiter.configured(b"aab", max_bytes=12), 12),
    "delimiter-only": native(Delimiter.configured(b"aaa", max_bytes=3), 3),
    "prefix-1": native(LengthPrefixed.configured(size=1, max_bytes=12), 12),
    "prefix-2-big": native(LengthPrefixed.configured(size=2, max_bytes=12), 12),
    "prefix-2-little": native(LengthPrefixed.configured(size=2, byteorder="little", max_bytes=12), 12),
    "prefix-4-big": native(LengthPrefixed.configured(max_bytes=12), 12),
    "prefix-8-little": native(LengthPrefixed.configured(size=8, byteorder="little", max_bytes=12), 12),
    "varint": native(LengthPrefixed.configured(size="varint", max_bytes=12), 12),
    "varint-large": native(LengthPrefixed.configured(size="varint", max_bytes=2**64 - 1), 2**64 - 1),
    "netstring-in-python": Kind(Netstring, encode_netstring, 103),
}

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())

# Few different bytes, so that terminators, lengths and false starts are common.
telling_bytes = st.lists(
    st.one_of(st.sampled_from(list(b"aaabb\r\n\0\1\2\3,:0123456789\x80\xff")), st.integers(0, 255)),
    max_size=40,
).map(bytes)
cuts = st.lists(st.integers(0, 40), max_size=6)
buffer_types = st.sampled_from([bytes, bytearray, memoryview])


def outcome(consumer: Any, consumed: int) -> tuple[object, ...]:
    """All that can be seen of a consumer, comparable."""
    error = consumer.error
    if error is not None:
        assert consumer.completed
        assert isinstance(error, ProtocolError)
        return (consumed, type(error), error.kind, error.offset_bytes, error.status)
    return (consumed, consumer.completed, consumer.empty, consumer.value if consumer.completed else None)


def deliver(consumer: Any, pieces: Iterable[Any]) -> tuple[object, ...]:
    """Feed the pieces in order; laws 2 and 3 are checked at every call."""
    consumed = 0
    for piece in pieces:
        was_completed = consumer.completed
        taken = consumer.received(piece)
        if was_completed:
            assert taken == 0, "consumed after completion"
        else:
            assert taken == len(piece) or consumer.completed, "left bytes without being completed"
            assert taken > 0 or not len(piece), "no progress"
        assert 0 <= taken <= len(piece)
        consumed += taken
    return outcome(consumer, consumed)


def pieces_of(stream: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [*sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def stream_for(kind: Kind, value: bytes, noise: bytes) -> bytes:
    """A message that the kind may read, if the value can be one, and then noise."""
    try:
        return kind.encode(value) + noise
    except ValueError:
        return value + noise


@every_kind
def test_consumer_provides_the_interface(kind: Kind) -> None:
    assert verifyObject(IStreamConsumer, kind.make())


@every_kind
@given(value=telling_bytes, noise=telling_bytes, places=cuts, buffer_type=buffer_types)
@example(value=b"a\r", noise=b"\n\n", places=[], buffer_type=bytes)
@example(value=b"aa", noise=b"aaab", places=[], buffer_type=bytes)
@example(value=b"\x80\0", noise=b"", places=[1], buffer_type=bytes)
def test_any_cut_gives_the_same_outcome(
    kind: Kind, value: bytes, noise: bytes, places: list[int], buffer_type: Callable[[bytes], Any]
) -> None:
    stream = stream_for(kind, value, noise)
    whole = deliver(kind.make(), [stream])
    assert deliver(kind.make(), pieces_of(stream, range(len(stream)))) == whole
    assert deliver(kind.make(), map(buffer_type, pieces_of(stream, places))) == whole


@every_kind
@given(value=telling_bytes, noise=telling_bytes, more=telling_bytes)
def test_what_follows_a_message_changes_nothing(kind: Kind, value: bytes, noise: bytes, more: bytes) -> None:
    stream = stream_for(kind, value, noise)
    consumer = kind.make()
    consumed = consumer.received(stream)
    if consumer.completed:
        assert deliver(kind.make(), [stream[:consumed] + more]) == outcome(consumer, consumed)


@every_kind
@given(stream=telling_bytes)
def test_the_limit_counts_stream_bytes(kind: Kind, stream: bytes) -> None:
    consumer = kind.make()
    # A varint is read to its end, ten bytes at most, whatever the limit.
    assert consumer.received(stream) <= max(kind.max_bytes, 10)
    if isinstance(consumer.error, MessageTooLargeError):
        assert consumer.error.limit_bytes == kind.max_bytes


@every_kind
@given(value=telling_bytes, more=telling_bytes)
def test_what_was_encoded_is_read_back(kind: Kind, value: bytes, more: bytes) -> None:
    try:
        encoded = kind.encode(value)
    except ValueError:
        return
    consumer = kind.make()
    assert consumer.received(encoded + more) == len(encoded)
    assert (consumer.completed, consumer.error, consumer.value) == (True, None, value)


@every_kind
@given(value=telling_bytes, noise=telling_bytes, place=st.integers(0, 40))
def test_the_end_in_the_middle_is_truncated_and_elsewhere_nothing(
    kind: Kind, value: bytes, noise: bytes, place: int
) -> None:
    consumer = kind.make()
    before = deliver(consumer, [stream := stream_for(kind, value, noise)[:place]])
    was_completed = consumer.completed
    consumer.end_of_input()
    if stream and not was_completed:
        assert isinstance(consumer.error, IncompleteMessageError)
        assert (consumer.error.kind, consumer.error.offset_bytes) == ("truncated", len(stream))
        assert consumer.received(b"more") == 0
    else:
        assert outcome(consumer, before[0]) == before  # type: ignore[arg-type]

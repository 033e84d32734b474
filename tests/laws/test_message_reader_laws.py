"""A reader of many messages reads what a consumer for each message reads, wherever the blocks are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretask.consumers import Delimiter, FixedStream, LengthPrefixed, Line, MessageReader
from wiretask.errors import ProtocolError
from wiretask.testing import cuts, delimited, every_cut, length_prefixed, lines, single_bytes, telling_bytes

# What a server would take as `parser_class`, and messages of that kind, good ones and others.
KINDS: dict[str, tuple[Any, st.SearchStrategy[bytes]]] = {
    "fixed": (FixedStream.configured(3), telling_bytes(3)),
    "fixed-1": (FixedStream.configured(1), telling_bytes(3)),
    "line": (Line.configured(max_bytes=6), lines(5)),
    "line-of-1": (Line.configured(max_bytes=1), lines(1)),
    "line-as-it-is": (Line, lines(100)),
    "delimiter": (Delimiter.configured(b"aab", max_bytes=9), delimited(b"aab", 9)),
    "delimiter-crlf": (Delimiter.configured(b"\r\n", max_bytes=6), delimited(b"\r\n", 6)),
    "prefix": (LengthPrefixed.configured(size=2, max_bytes=8), length_prefixed(2, max_bytes=8)),
    "prefix-as-it-is": (LengthPrefixed, length_prefixed()),
    "varint": (LengthPrefixed.configured(size="varint", max_bytes=8), length_prefixed("varint", max_bytes=8)),
}


def facts(error: ProtocolError | None) -> tuple[object, ...] | None:
    return None if error is None else (type(error), str(error), error.kind, error.offset_bytes, error.status)


def one_after_another(make: Any, stream: bytes, *, is_ended: bool) -> tuple[list[bytes], int, object]:
    """What a consumer for each message reads: the messages, the number of bytes, the error."""
    messages = []
    consumed = 0
    while True:
        consumer = make()
        consumed += consumer.received(stream[consumed:])
        if is_ended:
            consumer.end_of_input()
        if not consumer.completed or consumer.error is not None:
            return messages, consumed, facts(consumer.error)
        messages.append(consumer.value)


def read_in_blocks(make: Any, blocks: list[bytes], *, is_ended: bool) -> tuple[list[bytes], int, object]:
    reader = MessageReader(make)
    messages = []
    for block in blocks:
        before = reader.consumed_bytes
        had_failed = reader.error is not None
        found = reader.received_many(block)
        consumed = reader.consumed_bytes - before
        if had_failed:
            assert (found, consumed) == ([], 0)
        else:
            assert consumed == len(block) or reader.error is not None
        messages += found
    if is_ended:
        reader.end_of_input()
    return messages, reader.consumed_bytes, facts(reader.error)


@pytest.mark.parametrize(("make", "streams"), KINDS.values(), ids=KINDS.keys())
def test_reader_reads_what_a_consumer_for_each_message_reads(make: Any, streams: st.SearchStrategy[bytes]) -> None:
    many = st.lists(streams, max_size=6).map(b"".join)

    @given(st.one_of(many, st.tuples(many, telling_bytes(12)).map(b"".join)).flatmap(cuts), st.booleans())
    def check(blocks: list[bytes], is_ended: bool) -> None:
        stream = b"".join(blocks)
        expected = one_after_another(make, stream, is_ended=is_ended)
        for cut in (blocks, [stream], single_bytes(stream)):
            assert read_in_blocks(make, cut, is_ended=is_ended) == expected

    check()


def test_every_cut_of_lines_gives_the_same_lines() -> None:
    stream = b"a\r\n\nb\r\r\n\rc\n"
    for blocks in every_cut(stream):
        assert read_in_blocks(Line, blocks, is_ended=True) == ([b"a", b"", b"b\r", b"\rc"], len(stream), None)

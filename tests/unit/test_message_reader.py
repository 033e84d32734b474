"""The reader of many messages as a Python class: arguments, buffers, errors, representation."""

from __future__ import annotations

import array
import tracemalloc
from typing import Any

import pytest

from wiretask.consumers import (
    Chunked,
    Delimiter,
    FixedStream,
    HTTPRequest,
    HTTPResponse,
    LengthPrefixed,
    Line,
    MessageReader,
)
from wiretask.errors import IncompleteMessageError, MessageTooLargeError


def test_messages_of_a_block_come_as_a_list() -> None:
    reader = MessageReader(Line)
    assert reader.received_many(b"a\nb\r\n\nrest") == [b"a", b"b", b""]
    assert reader.received_many(b"") == []
    assert reader.received_many(b" of it\n") == [b"rest of it"]
    assert (reader.error, reader.consumed_bytes) == (None, 17)


@pytest.mark.parametrize("buffer_type", [bytearray, memoryview, lambda data: array.array("B", data)])
@pytest.mark.parametrize("length", [0, 1, 1000, 20_000])
def test_any_contiguous_buffer_is_taken(buffer_type: Any, length: int) -> None:
    reader = MessageReader(Line)
    assert reader.received_many(buffer_type(b"ab\n" * length + b"cd")) == [b"ab"] * length
    assert reader.received_many(b"\n") == [b"cd"]


def test_block_may_be_re_used() -> None:
    reader = MessageReader(Line)
    block = bytearray(b"ab\ncd")
    found = reader.received_many(block)
    block[:] = b"xy\nzz"
    assert (found, reader.received_many(b"\n")) == ([b"ab"], [b"cd"])


@pytest.mark.parametrize("data", ["text", 3, None, memoryview(b"abcd")[::2]])
def test_what_is_not_bytes_is_a_type_error_and_changes_nothing(data: Any) -> None:
    reader = MessageReader(Line)
    reader.received_many(b"a")
    with pytest.raises(TypeError):
        reader.received_many(data)
    assert reader.received_many(b"\n") == [b"a"]


def test_error_is_a_value_with_its_place_in_message_and_stream() -> None:
    reader = MessageReader(Line.configured(max_bytes=4))
    assert reader.received_many(b"abc\nabcde\nf\n") == [b"abc"]
    error = reader.error
    assert isinstance(error, MessageTooLargeError)
    assert (error.kind, error.offset_bytes, error.limit_bytes) == ("line_too_long", 4, 4)
    assert reader.error is not error
    assert reader.consumed_bytes == 8
    assert reader.received_many(b"f\n") == []
    assert reader.consumed_bytes == 8


def test_error_in_a_later_piece_of_a_buffer_leaves_the_rest() -> None:
    reader = MessageReader(Line.configured(max_bytes=4))
    good = b"abc\n" * 3000
    assert reader.received_many(bytearray(good + b"abcd" + good)) == [b"abc"] * 3000
    assert reader.consumed_bytes == len(good) + 4


def test_end_of_input_is_an_error_in_the_middle_only() -> None:
    reader = MessageReader(LengthPrefixed.configured(size=1))
    reader.received_many(b"\1a")
    reader.end_of_input()
    assert reader.error is None
    reader.received_many(b"\2a")
    reader.end_of_input()
    assert isinstance(reader.error, IncompleteMessageError)
    assert reader.error.offset_bytes == 2
    assert reader.received_many(b"b") == []


@pytest.mark.parametrize(
    "parser_class",
    [
        FixedStream,
        Delimiter,
        Chunked,
        HTTPRequest,
        HTTPResponse,
        HTTPRequest.configured(),
        type("Mine", (Line,), {}),
        Line(),
        None,
        "Line",
    ],
)
def test_what_does_not_frame_messages_is_refused(parser_class: Any) -> None:
    with pytest.raises(TypeError):
        MessageReader(parser_class)


def test_representation_says_what_is_read_and_how_far() -> None:
    reader = MessageReader(Line.configured(max_bytes=4))
    assert repr(reader) == "<MessageReader(Line.configured(max_bytes=4)) 0 bytes consumed>"
    reader.received_many(b"abcde")
    assert repr(reader) == "<MessageReader(Line.configured(max_bytes=4)) line_too_long>"


def test_what_was_read_is_not_kept() -> None:
    reader = MessageReader(Line)
    block = (b"x" * 98 + b"\r\n") * 100
    reader.received_many(block)
    tracemalloc.start()
    try:
        for _ in range(10):
            reader.received_many(block)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < len(block)

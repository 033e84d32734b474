"""Strategies for streams: lines, delimited and length-prefixed messages, bytes that tell, and damaged streams.

Each gives bytes as they come over the wire; those named after a format are well formed. Small on purpose: few
different bytes and short messages, so that terminators, false starts and lengths meet often.
Must not know consumers or laws.
"""

from __future__ import annotations

import itertools
import re
from random import Random
from typing import Literal

from hypothesis import strategies as st

__all__ = ["damaged", "delimited", "encode_varint", "length_prefixed", "lines", "mutated", "telling_bytes"]

_TELLING = b"aaabb\r\n\0\1\2\3,:; 0123456789\x7f\x80\xff"


def telling_bytes(max_size: int = 40, alphabet: bytes = _TELLING) -> st.SearchStrategy[bytes]:
    """Any bytes of at most this length, most of them out of `alphabet`, where parsers go wrong."""
    # One choice for each byte, as choices are what costs: two out of three are from the alphabet.
    weighted = [*itertools.islice(itertools.cycle(alphabet), 512), *range(256)]
    return st.lists(st.sampled_from(weighted), max_size=max_size).map(bytes)


def lines(max_bytes: int = 40, ends: tuple[bytes, ...] = (b"\n", b"\r\n")) -> st.SearchStrategy[bytes]:
    """A line and its end; the content holds no line feed, but maybe carriage returns.

    Args:
        max_bytes: the longest line, its end not counted.
        ends: what a line may end with.
    """
    content = telling_bytes(max_bytes).map(lambda data: data.replace(b"\n", b"\r"))
    return st.tuples(content, st.sampled_from(ends)).map(b"".join)


def delimited(delimiter: bytes, max_bytes: int = 40) -> st.SearchStrategy[bytes]:
    """A message and its delimiter, which occurs nowhere before; false starts of it are common.

    Raises:
        ValueError: the delimiter is empty.
    """
    if not delimiter:
        raise ValueError("the delimiter must not be empty")
    parts = st.one_of(
        st.sampled_from([delimiter[:end] for end in range(1, len(delimiter) + 1)]), telling_bytes(3, delimiter)
    )
    found = re.compile(re.escape(delimiter))

    def message(content: bytes) -> bytes:
        stream = content[:max_bytes] + delimiter
        match = found.search(stream)
        assert match is not None
        return stream[: match.end()]

    return st.lists(parts, max_size=max_bytes).map(b"".join).map(message)


def length_prefixed(
    size: Literal[1, 2, 4, 8, "varint"] = 4,
    byteorder: Literal["big", "little"] = "big",
    max_bytes: int = 40,
) -> st.SearchStrategy[bytes]:
    """A length and so many bytes of content.

    Args:
        size: how many bytes the length has, or "varint" for unsigned LEB128.
        byteorder: of the length.
        max_bytes: the longest content.
    """

    def message(content: bytes) -> bytes:
        if size == "varint":
            return encode_varint(len(content)) + content
        return len(content).to_bytes(size, byteorder) + content

    return telling_bytes(min(max_bytes, 255) if size == 1 else max_bytes).map(message)


def encode_varint(number: int) -> bytes:
    """Return a number of 0 or more as unsigned LEB128, in its shortest form."""
    groups = []
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def mutated(stream: bytes, random: Random) -> bytes:
    """Return `stream` with one to three small changes: bytes put in, replaced, repeated or left out."""
    for _ in range(random.randint(1, 3)):
        start = random.randint(0, len(stream))
        end = min(len(stream), start + random.randint(0, 3))
        put_in = bytes(random.choice(_TELLING + stream) for _ in range(random.randint(0, 2)))
        again = stream[start:end] if random.random() < 0.2 else b""
        stream = stream[:start] + put_in + again + stream[random.choice((start, end)) :]
    return stream


@st.composite
def damaged(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> bytes:
    """A stream of `streams` as it is, or followed by something, cut short, or with some bytes changed.

    What nearly is a message is where parsers go wrong; a strategy needs to give only good ones.
    """
    stream = draw(streams)
    kind = draw(st.sampled_from(["as it is", "followed", "cut short", "replaced", "doubled", "left out"]))
    place = draw(st.integers(0, len(stream)))
    end = draw(st.integers(place, min(len(stream), place + 4)))
    match kind:
        case "as it is":
            return stream
        case "followed":
            return stream + draw(st.one_of(telling_bytes(12), streams))
        case "cut short":
            return stream[:place]
        case "replaced":
            return stream[:place] + draw(telling_bytes(4)) + stream[end:]
        case "doubled":
            return stream[:end] + stream[place:]
        case _:
            return stream[:place] + stream[end:]

"""Every way to cut bytes into pieces, as a stream may be cut on its way.

`cuts` is a Hypothesis strategy that can give each of them and shrinks to few cuts; `every_cut` lists them all,
for short data. Must not know consumers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from random import Random

from hypothesis import strategies as st

__all__ = ["cut_at", "cuts", "every_cut", "single_bytes"]

#: As many cuts as one example may have beyond "byte by byte", which is always tried.
_MAX_CUTS = 24


def cuts(data: bytes, *, allow_empty: bool = True) -> st.SearchStrategy[list[bytes]]:
    """Lists of pieces that, joined, are `data`: whole, byte by byte, and cut at any places.

    Args:
        data: what is cut; any length.
        allow_empty: whether pieces may be empty, as a reader may hand over nothing. Shrinks to no cut at all.
    """
    lowest, highest = (0, len(data)) if allow_empty else (1, len(data) - 1)
    if lowest > highest:
        return st.just([data])
    some = st.lists(st.integers(lowest, highest), max_size=_MAX_CUTS, unique=not allow_empty)
    return st.one_of(
        some.map(lambda places: cut_at(data, places)),
        st.integers(1, max(1, len(data))).map(lambda size: _cut_evenly(data, size)),
    )


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return `data` cut at these offsets, in any order; an offset beyond its end counts as its end."""
    ends = [*sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def cut_by_chance(data: bytes, random: Random) -> list[bytes]:
    """Return `data` cut at some places, mostly few, or into pieces of one length; pieces may be empty."""
    if random.random() < 0.2:
        return _cut_evenly(data, random.randint(1, max(1, len(data))))
    count = random.choice((0, 1, 1, 2, 3, 5, _MAX_CUTS))
    return cut_at(data, [random.randint(0, len(data)) for _ in range(count)])


def single_bytes(data: bytes) -> list[bytes]:
    """Return the bytes of `data`, each a piece."""
    return [data[at : at + 1] for at in range(len(data))]


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    """Yield each of the 2**(len(data) - 1) ways to cut `data` into pieces that are not empty, fewest cuts first.

    Raises:
        ValueError: data is longer than 16 bytes.
    """
    if len(data) > 16:
        raise ValueError(f"{len(data)} bytes can be cut in 2**{len(data) - 1} ways; use cuts()")
    for count in range(max(1, len(data))):
        for places in itertools.combinations(range(1, len(data)), count):
            yield cut_at(data, places)


def _cut_evenly(data: bytes, size: int) -> list[bytes]:
    return cut_at(data, range(size, len(data), size))

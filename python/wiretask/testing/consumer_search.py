"""Has Hypothesis look for a stream or a value that breaks a law, and says what is found in the kit's own words.

Each search is given what checks one case, and raises the LawBroken of the smallest that it has found.
Must not know: what is checked of one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from wiretask.testing.consumer_cost import EndlessStream, check_limit, check_memory, check_work, is_visible
from wiretask.testing.cuts import cut_by_chance
from wiretask.testing.laws import LawBroken
from wiretask.testing.outcomes import StreamConsumerLike
from wiretask.testing.shrinking import Case, smallest
from wiretask.testing.streams import damaged, mutated, telling_bytes

__all__ = ["search_costs", "search_streams", "search_values"]

#: How many streams are stretched to see what they cost; each is long.
_COST_EXAMPLES = 25
#: As many times that are tried where most messages are over before something can be seen, which costs little.
_COST_TRIES = 10
#: As many streams that differ a little from one that was drawn are tried with it: that is much cheaper than drawing.
_NEIGHBOURS = 6
#: As many bytes as each of them is given for memory.
_MEMORY_STREAM_BYTES = 4096


def search_streams(
    check: Callable[[Sequence[bytes], int, bytes], None],
    streams: st.SearchStrategy[bytes],
    profile: hypothesis.settings,
) -> int:
    """Have Hypothesis look for a stream, and make what it finds smaller; return the number of examples.

    It chooses the stream, and a number from which all else follows: choosing is what costs the most, and what is
    found is made smaller here anyway.
    """
    count = 0
    found: list[Case] = []

    @hypothesis.settings(profile, **_quiet(profile))
    @hypothesis.given(st.one_of(telling_bytes(), damaged(streams)), st.integers(0, 2**32))
    def search(stream: bytes, seed: int) -> None:
        nonlocal count
        count += 1
        random = Random(seed)
        for each in (stream, *(mutated(stream, random) for _ in range(_NEIGHBOURS))):
            tried = cut_by_chance(each, random)
            place = random.randint(0, 60)
            what_follows = mutated(b"", random)
            try:
                check(tried, place, what_follows)
            except LawBroken:
                found[:] = [(tried, place, what_follows)]
                raise

    try:
        search()
    except LawBroken as error:
        error = smallest(lambda case: check(*case), found[0], error)
        raise _without_notes(error) from error.__cause__
    return count


def search_values(
    check: Callable[[Any, bytes], None], values: st.SearchStrategy[Any], profile: hypothesis.settings
) -> int:
    """Have Hypothesis look for a value, and for what follows it; return the number of examples."""
    count = 0

    @hypothesis.settings(profile, **_quiet(profile))
    @hypothesis.given(values, telling_bytes(8))
    def search(value: Any, what_follows: bytes) -> None:
        nonlocal count
        count += 1
        check(value, what_follows)

    try:
        search()
    except LawBroken as error:
        raise _without_notes(error) from error.__cause__
    return count


def search_costs(
    factory: Callable[[], StreamConsumerLike],
    streams: st.SearchStrategy[bytes],
    max_bytes: int | None,
    memory_factor: float,
    profile: hypothesis.settings,
) -> tuple[bool, int]:
    """Stretch streams, and look at what they cost; return whether work could be seen, and the number of examples."""
    seen = 0
    count = 0
    visible = is_visible(factory())
    wanted = min(profile.max_examples, _COST_EXAMPLES)

    def check(endless: EndlessStream) -> None:
        nonlocal seen
        if max_bytes is not None:
            check_limit(factory, endless, max_bytes)
        if visible:
            check_memory(factory, endless.take(_MEMORY_STREAM_BYTES), memory_factor)
            seen += check_work(factory, endless)

    quiet = _quiet(profile)
    quiet["phases"] = [phase for phase in quiet["phases"] if phase is not Phase.shrink]

    @hypothesis.settings(profile, **quiet, max_examples=wanted * _COST_TRIES if visible else wanted)
    @hypothesis.given(streams, st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
    def search(stream: bytes, head_bytes: int, start: int, length: int) -> None:
        nonlocal count
        if seen >= wanted:
            return
        count += 1
        unit = stream[start : start + length] or b"a"
        head = stream[:head_bytes]
        if visible:
            check_memory(factory, stream, memory_factor)
        try:
            check(EndlessStream(head, unit))
        except LawBroken as error:
            for simpler in [(b"", b"a"), (b"", unit[:1]), (b"", unit), (head, unit[:1])]:
                try:
                    check(EndlessStream(*simpler))
                except LawBroken as found:
                    if found.law is error.law:
                        raise found from None
            raise

    try:
        search()
    except LawBroken as error:
        raise _without_notes(error) from error.__cause__
    return seen > 0, count


def _quiet(profile: hypothesis.settings) -> dict[str, Any]:
    """What the searches have to set, whatever the profile: one finding, in our words, and no deadline."""
    return {
        "phases": [phase for phase in profile.phases if phase is not Phase.explain],
        "deadline": None,
        "report_multiple_bugs": False,
        "print_blob": False,
        "suppress_health_check": list(HealthCheck),
    }


def _without_notes(error: LawBroken) -> LawBroken:
    """The error without what Hypothesis has noted on it, which names nothing of the user's."""
    error.__notes__ = []
    return error

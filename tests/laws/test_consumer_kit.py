"""The kit finds what it says it finds: every planted fault, by the law that it breaks, and none elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from netstring import Netstring, encode_netstring
from planted_consumers import (
    PLANTED,
    BufferedLine,
    ForgetsTheCarriageReturn,
    LeavesTheLast,
    Planted,
    StumblesOverAColonInFront,
    netstrings,
    short_lines,
)

from wiretask.testing import ConsumerLaw, LawBroken, check_stream_consumer, stream_consumer_machine, telling_bytes

# The same examples every time: a planted fault is found, or it is not.
SEARCH = settings(max_examples=150, derandomize=True, database=None)


@pytest.mark.parametrize("planted", PLANTED, ids=[planted.factory.__name__ for planted in PLANTED])
def test_planted_fault_is_found_by_its_law_and_made_small(planted: Planted) -> None:
    with pytest.raises(LawBroken) as caught:
        check_stream_consumer(
            planted.factory, planted.streams, planted.encode, values=planted.values, settings=SEARCH
        )
    error = caught.value
    assert error.law is planted.law, str(error)
    assert planted.law.name in str(error)
    if planted.smallest_bytes is not None:
        assert error.stream is not None
        assert len(error.stream) <= planted.smallest_bytes


def test_every_law_has_a_planted_fault() -> None:
    assert {planted.law for planted in PLANTED} == set(ConsumerLaw)


def test_correct_consumers_pass_and_all_laws_were_checked() -> None:
    report = check_stream_consumer(
        BufferedLine, short_lines, lambda value: value + b"\n" if b"\n" not in value else _refuse(), settings=SEARCH
    )
    assert (report.checked, report.not_checked) == (set(ConsumerLaw), {})
    assert SEARCH.max_examples < report.examples <= 2 * SEARCH.max_examples, "one search, and the costs"
    report = check_stream_consumer(Netstring, netstrings, encode_netstring, values=telling_bytes(), settings=SEARCH)
    assert set(report.not_checked) == {ConsumerLaw.LINEAR_WORK}, "99 bytes are too few"


MACHINE_SEARCH = settings(
    max_examples=100, stateful_step_count=20, derandomize=True, database=None, deadline=None, phases=[Phase.generate]
)
# Laws that show while a consumer is used; a fault that needs one rare cut is left to `check_stream_consumer`.
RARE = {ForgetsTheCarriageReturn, LeavesTheLast, StumblesOverAColonInFront}
FOUND_BY_THE_MACHINE = {
    ConsumerLaw.SPLIT_INVARIANCE,
    ConsumerLaw.NO_OVER_READING,
    ConsumerLaw.PROGRESS,
    ConsumerLaw.TOTAL,
}


@pytest.mark.parametrize(
    "planted",
    [planted for planted in PLANTED if planted.law in FOUND_BY_THE_MACHINE and planted.factory not in RARE],
    ids=lambda planted: planted.factory.__name__,
)
def test_machine_finds_the_planted_fault(planted: Planted) -> None:
    with pytest.raises(LawBroken):
        run_state_machine_as_test(stream_consumer_machine(planted.factory, planted.streams), settings=MACHINE_SEARCH)


@pytest.mark.parametrize(("factory", "streams"), [(BufferedLine, short_lines), (Netstring, netstrings)])
def test_machine_passes_correct_consumers(factory: Any, streams: Any) -> None:
    run_state_machine_as_test(stream_consumer_machine(factory, streams), settings=MACHINE_SEARCH)


def _refuse() -> bytes:
    raise ValueError("no line")

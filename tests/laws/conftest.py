"""Counts the examples that each consumer was held to the laws with, and tells them at the end of the long profile.

In that profile every consumer gets 200,000 of them, or as many as LAW_EXAMPLES says, shared among the searches that
there are for it.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

LAW_EXAMPLES = int(os.environ.get("LAW_EXAMPLES", "200000"))

_counts: Counter[str] = Counter()


def is_long() -> bool:
    return os.environ.get("HYPOTHESIS_PROFILE") == "long"


@pytest.fixture
def law_settings() -> Callable[[int], settings]:
    """What `check_stream_consumer` is to be given for a consumer for which so many searches are made in all."""

    def share(searches: int) -> settings:
        if not is_long():
            return settings()
        return settings(max_examples=math.ceil(LAW_EXAMPLES / searches))

    return share


@pytest.fixture
def count_examples() -> Callable[[str, int], None]:
    """Notes that a consumer was held to the laws with so many more examples."""

    def count(consumer: str, examples: int) -> None:
        _counts[consumer] += examples

    return count


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    if is_long():
        terminalreporter.section("examples for each consumer, held to all its laws")
        for consumer, examples in sorted(_counts.items()):
            terminalreporter.write_line(f"{consumer:16} {examples:9,}")
    return (yield)

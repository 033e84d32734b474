"""How much is measured: a full run for the document, a quick one to look whether something has changed.

Strategy: one value for a whole run; the benchmarks ask it and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .results import Case

__all__ = ["FULL", "QUICK", "Settings", "measure_rounds"]


@dataclass(frozen=True)
class Settings:
    """How often, how long and with how many."""

    rounds: int
    seconds: float
    warmup_seconds: float
    echo_connections: tuple[int, ...]
    flood_tasks: int
    ping_pong_tasks: int
    idle_connections: int
    many_idle_connections: int
    idle_dispatchers: int
    idle_seconds: float
    redis_requests: int
    redis_pipelined_requests: int
    slow_rounds: int
    http_seconds: float
    large_mib: int
    parser_rounds: int


FULL = Settings(
    rounds=5,
    seconds=1.0,
    warmup_seconds=0.3,
    echo_connections=(1, 32, 256, 2000),
    flood_tasks=200_000,
    ping_pong_tasks=10_000,
    idle_connections=8000,
    many_idle_connections=10_000,
    idle_dispatchers=5000,
    idle_seconds=3.0,
    redis_requests=30_000,
    redis_pipelined_requests=120_000,
    slow_rounds=3,
    http_seconds=3.0,
    large_mib=1024,
    parser_rounds=21,
)
QUICK = Settings(
    rounds=2,
    seconds=0.4,
    warmup_seconds=0.2,
    echo_connections=(32, 256),
    flood_tasks=50_000,
    ping_pong_tasks=5_000,
    idle_connections=2000,
    many_idle_connections=2000,
    idle_dispatchers=1000,
    idle_seconds=1.0,
    redis_requests=10_000,
    redis_pipelined_requests=40_000,
    slow_rounds=1,
    http_seconds=1.0,
    large_mib=128,
    parser_rounds=5,
)


def measure_rounds(case: Case, rounds: int, sides: Iterable[tuple[str, Callable[[], dict[str, float]]]]) -> Case:
    """Measure every side once in each round, in their order, and return the case with the rounds."""
    for number in range(rounds):
        print(f"  {case.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        case.rounds.append({side: measure() for side, measure in sides})
    return case

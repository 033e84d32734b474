"""`loops`: an echo of dispatchers on `wiretask.asyncore`, beside the same program on asyncore; and timers.

Strategy: one program, told which module to import. Busy connections alone, where everybody is ready on every turn,
which is the best case of a loop that asks everybody; and a few busy ones beside many that are idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from .accounting import spent_ns, thread_cpu_ns
from .idle import fitting
from .machinery import load, program, run_json, serve
from .programs.asyncore_echo import MODULES, find_module
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_loops"]

METRICS = [
    Metric("cpu_us", "server CPU, µs/message", 2),
    Metric("rate", "messages/s"),
    Metric("p99_us", "p99, µs"),
    Metric("idle_percent", "CPU while all are idle, %", 3),
    Metric("insert_us", "insertion, CPU µs/timer", 2),
    Metric("fire_us", "firing, CPU µs/timer", 2),
]
BUSY = 32
FEW_BUSY = 10
#: The kinds of dispatchers of `programs/asyncore_echo.py`.
KINDS = {
    "with-send": "dispatcher_with_send",
    "asked": "writable() of its own, false",
    "buffered": "a buffer and writable() of its own",
}


def bench_loops(settings: Settings) -> Report:
    """Measure busy dispatchers, a few beside many idle ones, and timers."""
    report = Report("loops", "Dispatchers in a loop", METRICS, ["cpu_us", "rate"], "cpu_us")
    sides = [side for side in MODULES if find_module(side) is not None]
    report.notes += [f"{side} is not there: left out." for side in MODULES if side not in sides]
    for kind, title in KINDS.items():
        beside = [(side, partial(measured, side, kind, settings, BUSY, 0)) for side in sides]
        report.cases.append(measure_rounds(Case(f"{BUSY} busy, {title}"), settings.rounds, beside))
    idle = fitting(settings.idle_dispatchers, report)
    for kind in ("with-send", "asked"):
        beside = [(side, partial(measured, side, kind, settings, FEW_BUSY, idle)) for side in sides]
        name = f"{FEW_BUSY} busy beside {idle:,} idle, {KINDS[kind]}"
        report.cases.append(measure_rounds(Case(name), settings.slow_rounds, beside))
    crowds = [
        (f"{FEW_BUSY} busy, {count:,} idle", partial(measured, "wiretask", "with-send", settings, FEW_BUSY, count))
        for count in (idle, 0)
    ]
    report.cases.append(measure_rounds(Case("wiretask, busy beside idle"), settings.rounds, crowds))
    alone: list[tuple[str, Callable[[], dict[str, float]]]] = [("wiretask", partial(measure_idle, settings, idle))]
    report.cases.append(measure_rounds(Case(f"{idle:,} idle"), settings.slow_rounds, alone))
    timers = [(side, partial(run_json, program("loop_timers", "--side", side))) for side in ("wiretask", "asyncio")]
    report.cases.append(measure_rounds(Case("10,000 timers"), settings.rounds, timers))
    return report


def measured(side: str, kind: str, settings: Settings, busy: int, idle: int) -> dict[str, float]:
    """Return the figures of busy connections beside idle ones, on a fresh server."""
    with (
        serve(program("asyncore_echo", "--module", side, "--kind", kind)) as server,
        load(server, connections=busy, idle=idle, warmup=settings.warmup_seconds, seconds=settings.seconds) as client,
    ):
        client.warm_up()
        return client.measure()


def measure_idle(settings: Settings, connections: int) -> dict[str, float]:
    """Return what the loop takes of a processor while nothing happens."""
    with (
        serve(program("asyncore_echo", "--module", "wiretask", "--kind", "with-send")) as server,
        load(server, connections=0, idle=connections),
    ):
        time.sleep(2.0)  # for what it does after the last of them
        cpu, begun = thread_cpu_ns(server.pid), time.perf_counter_ns()
        time.sleep(settings.idle_seconds)
        spent = spent_ns(cpu, thread_cpu_ns(server.pid))
        return {"idle_percent": 100 * spent / (time.perf_counter_ns() - begun)}

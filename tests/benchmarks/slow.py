"""`slow`: tasks that wait, with and without a thread that computes all the time: how near to the ideal it stays.

Strategy: eight threads that sleep can do no more than eight sleeps at a time; how many they really do without any
server is measured in the same rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .machinery import load, program, run_json, serve
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_slow"]

THREADS = 8
CONNECTIONS = 32
METRICS = [
    Metric("rate", "answers/s"),
    Metric("of_ideal", "of threads/sleep, %", 1),
    Metric("p99_ms", "p99, ms", 1),
    Metric("ideal_ms", "ideal wait, ms", 1),
]


def bench_slow(settings: Settings) -> Report:
    """Measure sleeps of 1 and 10 ms, each without and with a thread that computes."""
    title = f"Tasks that sleep: {THREADS} threads, {CONNECTIONS} connections"
    report = Report("slow", title, METRICS, ["rate"], "of_ideal")
    for sleep_ms in (1, 10):
        for name, extra in ((f"{sleep_ms} ms", []), (f"{sleep_ms} ms, one thread computes", ["--cpu-bound"])):
            arguments = ["--threads", THREADS, "--sleep-ms", sleep_ms, *extra]
            sides = [
                ("wiretask", partial(measure_server, settings, sleep_ms, arguments)),
                ("threads without a server", partial(measure_threads, settings, sleep_ms, arguments)),
            ]
            report.cases.append(measure_rounds(Case(name), settings.slow_rounds, sides))
    return report


def measure_server(settings: Settings, sleep_ms: int, arguments: Sequence[object]) -> dict[str, float]:
    """Return the figures of a server whose tasks sleep."""
    with (
        serve(program("wiretask_echo", *arguments)) as server,
        load(server, connections=CONNECTIONS, warmup=settings.warmup_seconds, seconds=settings.seconds) as client,
    ):
        client.warm_up()
        figures = client.measure()
    return {
        "rate": figures["rate"],
        "of_ideal": figures["rate"] * sleep_ms / THREADS / 10,
        "p99_ms": figures["p99_us"] / 1000,
        "ideal_ms": sleep_ms * CONNECTIONS / THREADS,
    }


def measure_threads(settings: Settings, sleep_ms: int, arguments: Sequence[object]) -> dict[str, float]:
    """Return the figures of threads that do nothing but sleep."""
    rate = run_json(program("bare_threads", *arguments, "--seconds", settings.seconds))["rate"]
    return {"rate": rate, "of_ideal": rate * sleep_ms / THREADS / 10}

"""`http_waiting`: applications that wait or compute, and what the requests of others get of it.

Strategy: how many sleeps a second are possible is arithmetic: threads over seconds. Who sleeps seldom says so in his
answer, and the client leaves those out of its percentiles: what remains are the others.
"""

from __future__ import annotations

from functools import partial

from .hello import BODY
from .http_servers import available, serve_http
from .machinery import load, program, run_json
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_http_waiting"]

METRICS = [
    Metric("rate", "requests/s"),
    Metric("of_maximum", "of threads/sleep, %", 1),
    Metric("p50_ms", "p50, ms", 2),
    Metric("p99_ms", "p99 of the others, ms", 2),
    Metric("cpu_us", "server CPU, µs/request", 1),
]
SLEEP_SECONDS = 0.001
SLEEPING_THREADS = 16


def bench_http_waiting(settings: Settings) -> Report:
    """Measure sleeps of 1 ms, one sleep in a thousand of 50 ms, and 200 µs of pure Python."""
    report = Report("http_waiting", "WSGI applications that wait or compute", METRICS, ["p99_ms", "rate"], "p99_ms")
    names = available(report.notes, ["wiretask", "waitress", "gunicorn", "granian"])
    sides = [(name, partial(measured, name, settings, "nap", SLEEPING_THREADS, 64)) for name in names]
    sides.append(("threads without a server", partial(measured_threads, settings)))
    report.cases.append(measure_rounds(Case("every request sleeps 1 ms, 16 threads"), settings.slow_rounds, sides))
    names = available(report.notes, ["wiretask", "bjoern", "fastpysgi", "granian", "waitress"])
    sides = [(name, partial(measured, name, settings, "seldom", 4, 32)) for name in names]
    report.cases.append(measure_rounds(Case("1 in 1,000 sleeps 50 ms, 4 threads"), settings.slow_rounds, sides))
    for name in available(report.notes, ["wiretask", "waitress", "granian"]):
        crowds = [
            (f"{threads} thread{'s' * (threads > 1)}", partial(measured, name, settings, "compute", threads, 32))
            for threads in (4, 1)
        ]
        report.cases.append(measure_rounds(Case(f"{name}, 200 µs of Python"), settings.slow_rounds, crowds))
    return report


def measured_threads(settings: Settings) -> dict[str, float]:
    """Return how often threads wake that do nothing but sleep: the most that machine and CPython can give."""
    arguments = ["--threads", SLEEPING_THREADS, "--sleep-ms", 1000 * SLEEP_SECONDS, "--seconds", settings.seconds]
    rate = run_json(program("bare_threads", *arguments))["rate"]
    return {"rate": rate, "of_maximum": 100 * rate * SLEEP_SECONDS / SLEEPING_THREADS}


def measured(name: str, settings: Settings, application: str, threads: int, connections: int) -> dict[str, float]:
    """Return the figures of one load on a fresh server."""
    with (
        serve_http(name, application=application, threads=threads) as server,
        load(
            server,
            connections=connections,
            warmup=settings.warmup_seconds,
            seconds=settings.http_seconds,
            http="/",
            body=BODY,
            slow_body="slow",
        ) as client,
    ):
        client.warm_up()
        figures = client.measure(cpu_ns=server.cpu_ns)
    found = {
        "rate": figures["rate"],
        "p50_ms": figures["p50_us"] / 1000,
        "p99_ms": figures["p99_us"] / 1000,
        "cpu_us": figures["cpu_us"],
    }
    if application == "nap":
        found["of_maximum"] = 100 * figures["rate"] * SLEEP_SECONDS / threads
    return found

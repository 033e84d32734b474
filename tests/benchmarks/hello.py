"""`hello`, `http_pipelined` and `http_one`: the shortest WSGI application, and what a server costs around it.

Strategy: a closed loop of keep-alive connections, driven by wrk; the cost of a request is the CPU of all processes of
the server, over the requests. nginx answers a constant, without any application.
"""

from __future__ import annotations

from functools import partial

from .http_servers import available, serve_http
from .machinery import load
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds
from .wrk import wrk

__all__ = ["HTTP_METRICS", "bench_hello", "bench_http_one", "bench_http_pipelined"]

HTTP_METRICS = [
    Metric("cpu_us", "server CPU, µs/request", 2),
    Metric("rate", "requests/s"),
    Metric("p50_us", "p50, µs"),
    Metric("p99_us", "p99, µs"),
]
ALL = ["wiretask", "bjoern", "fastpysgi", "granian", "waitress", "gunicorn", "cheroot", "nginx"]
BODY = "Hello, World!"


def bench_hello(settings: Settings) -> Report:
    """Measure 32 and 256 connections, four threads where a server has threads."""
    title = "WSGI: hello world, keep-alive, 4 threads"
    report = Report("hello", title, HTTP_METRICS, ["cpu_us", "rate"], "cpu_us")
    for connections in (32, 256):
        sides = [(name, partial(measured, name, settings, connections)) for name in available(report.notes, ALL)]
        report.cases.append(measure_rounds(Case(f"{connections} connections"), settings.rounds, sides))
    return report


def bench_http_pipelined(settings: Settings) -> Report:
    """Measure 16 requests in flight on each of 32 connections, with the servers that answer them in order."""
    title = "16 requests in flight on each of 32 connections"
    report = Report("http_pipelined", title, HTTP_METRICS, ["cpu_us"], "cpu_us")
    names = available(report.notes, ["wiretask", "nginx", "granian", "fastpysgi"])
    sides = [(name, partial(measured, name, settings, 32, 16)) for name in names]
    report.cases.append(measure_rounds(Case("16 in flight"), settings.rounds, sides))
    return report


def bench_http_one(settings: Settings) -> Report:
    """Measure one connection with one request at a time."""
    title = "One connection, one request at a time"
    report = Report("http_one", title, HTTP_METRICS, ["cpu_us", "p50_us"], "cpu_us")
    names = available(report.notes, ["wiretask", "bjoern", "fastpysgi", "granian", "waitress", "nginx"])
    sides = [(name, partial(measured_closely, name, settings)) for name in names]
    report.cases.append(measure_rounds(Case("1 connection"), settings.rounds, sides))
    return report


def measured(name: str, settings: Settings, connections: int, pipeline: int = 1) -> dict[str, float]:
    """Return the figures of one load by wrk on a fresh server."""
    with serve_http(name) as server:
        wrk(server, connections=connections, seconds=1, pipeline=pipeline)
        return wrk(server, connections=connections, seconds=settings.http_seconds, pipeline=pipeline)


def measured_closely(name: str, settings: Settings, connections: int = 1) -> dict[str, float]:
    """Return the figures of one load by our own client, which counts nothing but whole answers."""
    with (
        serve_http(name) as server,
        load(
            server,
            connections=connections,
            warmup=settings.warmup_seconds,
            seconds=settings.http_seconds,
            http="/",
            body=BODY,
        ) as client,
    ):
        client.warm_up()
        return client.measure(cpu_ns=server.cpu_ns)

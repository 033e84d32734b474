"""`access_log`: what it costs to write down every request.

Strategy: the shortest application, as in `hello`, on a server of ours without a log and with one of each kind. The
cost is that of all threads of the server, the one that writes the file too.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from .hello import HTTP_METRICS
from .http_servers import serve_http
from .results import Case, Report
from .settings import Settings, measure_rounds
from .wrk import wrk

__all__ = ["bench_access_log"]

SIDES = {"no log": "", "combined": "combined", "JSON": "json", "a logger": "logger"}


def bench_access_log(settings: Settings) -> Report:
    """Measure 32 connections, one request after the other and 16 in flight on each."""
    title = "WSGI: hello world with an access log, 32 connections, 4 threads"
    report = Report("access_log", title, HTTP_METRICS, ["cpu_us"], "cpu_us")
    for name, pipeline in (("one after the other", 1), ("16 in flight", 16)):
        sides = [(side, partial(measured, kind, settings, pipeline)) for side, kind in SIDES.items()]
        report.cases.append(measure_rounds(Case(name), settings.rounds, sides))
    return report


def measured(kind: str, settings: Settings, pipeline: int) -> dict[str, float]:
    """Return the figures of one load by wrk on a fresh server with a log of this kind, in a file on the disk."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        log = {"BENCHMARK_ACCESS_LOG": kind, "BENCHMARK_ACCESS_LOG_FILE": str(Path(directory) / "access.log")}
        with serve_http("wiretask", environment=log) as server:
            wrk(server, connections=32, seconds=1, pipeline=pipeline)
            return wrk(server, connections=32, seconds=settings.http_seconds, pipeline=pipeline)

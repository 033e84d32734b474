"""`pages`: a page of Flask and of Django: what of the CPU of a request is the server's.

Strategy: the application is called without any server, in the same rounds; what a server costs is what remains.
"""

from __future__ import annotations

from functools import partial

from .http_servers import PEERS, available, serve_http
from .machinery import has_module, run_json
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds
from .wrk import wrk

__all__ = ["bench_pages"]

METRICS = [
    Metric("own_us", "server's own CPU, µs/request", 1),
    Metric("cpu_us", "with the application, µs/request", 1),
    Metric("rate", "requests/s"),
]


def bench_pages(settings: Settings) -> Report:
    """Measure a page of each framework that is installed."""
    report = Report("pages", "A page of Flask and of Django, 4 threads", METRICS, ["own_us"], "own_us")
    for framework in ("flask", "django"):
        if not has_module(framework):
            report.notes.append(f"{framework} is not installed: left out.")
            continue
        names = available(report.notes, ["wiretask", "waitress", "gunicorn", "granian"])
        sides = [(name, partial(measured, name, settings, framework)) for name in names]
        report.cases.append(measure_rounds(Case(f"{framework} page"), settings.slow_rounds, sides))
    return report


def measured(name: str, settings: Settings, framework: str) -> dict[str, float]:
    """Return the figures of one load, with the application's own cost taken off."""
    alone = application_us(framework)
    with serve_http(name, application=framework) as server:
        wrk(server, connections=32, seconds=1)
        figures = wrk(server, connections=32, seconds=settings.http_seconds)
    return {"own_us": figures["cpu_us"] - alone, "cpu_us": figures["cpu_us"], "rate": figures["rate"]}


def application_us(framework: str) -> float:
    """Return what the application alone costs, called without a server."""
    import os
    from pathlib import Path

    command = PEERS["wiretask"](0, 1, Path())
    command[command.index("wiretask")] = "none"
    before = os.environ.get("BENCHMARK_APPLICATION")
    os.environ["BENCHMARK_APPLICATION"] = framework
    try:
        return run_json(command)["cpu_us"]
    finally:
        if before is None:
            del os.environ["BENCHMARK_APPLICATION"]
        else:
            os.environ["BENCHMARK_APPLICATION"] = before

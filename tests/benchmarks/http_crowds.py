"""`http_idle` and `http_dripping`: connections that do nothing, or next to nothing.

Strategy: each idle connection has had one request answered. Those that drip send one byte a second of a head without
end, from a process of their own; what matters is what the requests of others notice.
"""

from __future__ import annotations

import subprocess
import time
from functools import partial

from .accounting import resident_bytes, spent_ns, thread_cpu_ns
from .hello import BODY, HTTP_METRICS
from .http_servers import WebServer, available, serve_http
from .idle import fitting
from .machinery import load, program, running
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_http_dripping", "bench_http_idle"]

IDLE_METRICS = [
    Metric("bytes", "resident bytes/connection"),
    Metric("idle_percent", "CPU while all are idle, %", 2),
]


def bench_http_idle(settings: Settings) -> Report:
    """Measure the memory and the CPU of idle keep-alive connections."""
    report = Report("http_idle", "Idle keep-alive connections", IDLE_METRICS, ["bytes"], "bytes")
    count = fitting(settings.idle_connections, report)
    names = available(report.notes, ["wiretask", "bjoern", "granian", "waitress", "nginx"])
    sides = [(name, partial(measure_idle, name, settings, count)) for name in names]
    report.cases.append(measure_rounds(Case(f"{count:,} idle connections"), settings.slow_rounds, sides))
    return report


def bench_http_dripping(settings: Settings) -> Report:
    """Measure 32 busy connections beside dripping ones, and without."""
    report = Report("http_dripping", "Beside connections that drip", HTTP_METRICS, ["p99_us", "cpu_us"], "p99_us")
    count = fitting(settings.many_idle_connections, report)
    for name in available(report.notes, ["wiretask", "nginx"]):
        sides = [
            (f"32 busy, {dripping:,} dripping", partial(measure_dripping, name, settings, dripping))
            for dripping in (count, 0)
        ]
        report.cases.append(measure_rounds(Case(name), settings.slow_rounds, sides))
    return report


def measure_idle(name: str, settings: Settings, connections: int) -> dict[str, float]:
    """Return bytes a connection and CPU while nothing happens, of all processes of the server."""
    with serve_http(name) as server:
        with load(server, connections=0, idle=50, http="/", body=BODY):
            pass
        time.sleep(0.5)
        pids = server.pids()
        bytes_before = sum(map(resident_bytes, pids))
        with load(server, connections=0, idle=connections, http="/", body=BODY):
            time.sleep(1.0)  # for what the server does after the last of them
            held = sum(map(resident_bytes, pids)) - bytes_before
            cpu, begun = {pid: thread_cpu_ns(pid) for pid in pids}, time.perf_counter_ns()
            time.sleep(settings.idle_seconds)
            idle_ns = sum(spent_ns(before, thread_cpu_ns(pid)) for pid, before in cpu.items())
            percent = 100 * idle_ns / (time.perf_counter_ns() - begun)
    return {"bytes": held / connections, "idle_percent": percent}


def measure_dripping(name: str, settings: Settings, dripping: int) -> dict[str, float]:
    """Return the figures of 32 busy connections beside so many that drip."""
    with serve_http(name) as server:
        if not dripping:
            return _busy(server, settings)
        command = program("dripping", server.port, dripping)
        with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            if int(process.stdout.readline() or 0) != dripping:
                raise RuntimeError("not all of the dripping connections could be opened")
            time.sleep(1.0)
            return _busy(server, settings)


def _busy(server: WebServer, settings: Settings) -> dict[str, float]:
    with load(
        server, connections=32, warmup=settings.warmup_seconds, seconds=settings.http_seconds, http="/", body=BODY
    ) as client:
        client.warm_up()
        return client.measure(cpu_ns=server.cpu_ns)

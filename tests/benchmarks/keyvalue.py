"""`keyvalue`: the example in Python beside the real redis-server, by the same redis-benchmark runs.

Strategy: redis-benchmark drives both; it is not told which is which.
"""

from __future__ import annotations

import contextlib
import csv
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from .accounting import spent_ns, thread_cpu_ns
from .machinery import Server, running
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_keyvalue", "requests_per_second"]

METRICS = [
    Metric("rate", "requests/s"),
    Metric("cpu_us", "server CPU, µs/request", 2),
    Metric("p99_us", "p99, µs"),
]


def bench_keyvalue(settings: Settings) -> Report:
    """Measure five commands, one at a time and 16 in flight, on 50 connections."""
    report = Report("keyvalue", "The keyvalue example beside redis-server", METRICS, ["rate", "cpu_us"], "cpu_us")
    missing = [name for name in ("redis-server", "redis-benchmark") if shutil.which(name) is None]
    if missing:
        report.notes.append(f"Not measured: {' and '.join(missing)} not installed.")
        return report
    for depth, requests in ((1, settings.redis_requests), (16, settings.redis_pipelined_requests)):
        for command in ("ping_mbulk", "set", "get", "incr", "mset"):
            sides = [
                (side, partial(measure_command, serving, command, depth, requests))
                for side, serving in (("wiretask keyvalue", serve_keyvalue), ("redis-server", serve_redis))
            ]
            name = f"{command.split('_')[0].upper()}, {depth} in flight"
            report.cases.append(measure_rounds(Case(name), settings.slow_rounds, sides))
    return report


@contextlib.contextmanager
def serve_keyvalue() -> Iterator[Server]:
    """Run the example on a port of the system's choice."""
    command = [sys.executable, "-m", "wiretask.examples.keyvalue", "--port", "0"]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        banner = process.stdout.readline()
        port = re.search(r"listens on \S+?:(\d+);", banner)
        if port is None:
            raise RuntimeError(f"the example did not say where it listens: {banner!r}")
        yield Server(process.pid, int(port[1]))


@contextlib.contextmanager
def serve_redis() -> Iterator[Server]:
    """Run redis-server, which keeps nothing on disk, on a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server does not listen") from None
                time.sleep(0.02)
        yield Server(process.pid, port)


def measure_command(serving: object, command: str, depth: int, requests: int) -> dict[str, float]:
    """Return the figures of one redis-benchmark run on a fresh server."""
    with serving() as server:  # type: ignore[operator]
        run_benchmark(server, command, depth, requests // 10)
        before = thread_cpu_ns(server.pid)
        figures = requests_per_second(run_benchmark(server, command, depth, requests))
        figures["cpu_us"] = spent_ns(before, thread_cpu_ns(server.pid)) / requests / 1000
        return figures


def run_benchmark(server: Server, command: str, depth: int, requests: int) -> str:
    """Return what redis-benchmark prints."""
    words = ["redis-benchmark", "-p", str(server.port), "-c", "50", "-n", str(requests), "-P", str(depth)]
    words += ["-t", command, "-q", "--csv"]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, timeout=300
    )
    return done.stdout


def requests_per_second(text: str) -> dict[str, float]:
    """Return rate and p99 from redis-benchmark's CSV of one command.

    Raises:
        ValueError: it is not the CSV of exactly one command.
    """
    rows = list(csv.DictReader(text.splitlines()))
    if len(rows) != 1:
        raise ValueError(f"redis-benchmark printed {len(rows)} results: {text[:300]!r}")
    return {"rate": float(rows[0]["rps"]), "p99_us": 1000 * float(rows[0]["p99_latency_ms"])}

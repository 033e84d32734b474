"""`idle`: what connections cost that do nothing: memory, CPU, and what they take from those that are busy.

Strategy: each idle connection has sent one line and got it back, so all that a server makes for a connection is
made. Memory is compared with that of the same process after its first such connection has come and gone.
"""

from __future__ import annotations

import resource
import time
from functools import partial

from .accounting import resident_bytes, spent_ns, thread_cpu_ns
from .echo import echo_servers
from .machinery import load, serve
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_idle"]

METRICS = [
    Metric("bytes", "resident bytes/connection"),
    Metric("idle_percent", "CPU while all are idle, %", 2),
    Metric("cpu_us", "server CPU, µs/message", 2),
    Metric("p99_us", "p99, µs"),
]


def bench_idle(settings: Settings) -> Report:
    """Measure idle connections alone, and busy ones beside them."""
    report = Report("idle", "Idle connections", METRICS, ["bytes", "cpu_us"], "bytes")
    servers = {side: command for side, command in echo_servers(report).items() if "thread" not in side}
    many, busy_beside = (
        fitting(count, report) for count in (settings.idle_connections, settings.many_idle_connections)
    )
    sides = [(side, partial(measure_idle, command, settings, many)) for side, command in servers.items()]
    report.cases.append(measure_rounds(Case(f"{many:,} idle connections"), settings.slow_rounds, sides))
    for side in [side for side in servers if side in ("wiretask", "uvloop, on its loop")]:
        crowds = [
            (f"32 busy, {idle:,} idle", partial(measure_busy, servers[side], settings, idle))
            for idle in (busy_beside, 0)
        ]
        report.cases.append(measure_rounds(Case(f"{side}, busy beside idle"), settings.rounds, crowds))
    return report


def fitting(connections: int, report: Report) -> int:
    """Return how many connections a process may have open here, at most those asked for."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200
    if allowed < connections:
        report.notes.append(f"{connections:,} connections were not allowed here (ulimit -n): {allowed:,} instead.")
    return min(connections, allowed)


def measure_idle(command: list[str], settings: Settings, connections: int) -> dict[str, float]:
    """Return bytes a connection and CPU while nothing happens."""
    with serve(command) as server:
        with load(server, connections=0, idle=1):
            pass
        time.sleep(0.5)
        bytes_before = resident_bytes(server.pid)
        with load(server, connections=0, idle=connections):
            time.sleep(1.0)  # for what the server does after the last of them
            held = resident_bytes(server.pid) - bytes_before
            cpu, begun = thread_cpu_ns(server.pid), time.perf_counter_ns()
            time.sleep(settings.idle_seconds)
            idle_ns = spent_ns(cpu, thread_cpu_ns(server.pid))
            percent = 100 * idle_ns / (time.perf_counter_ns() - begun)
    return {"bytes": held / connections, "idle_percent": percent}


def measure_busy(command: list[str], settings: Settings, idle: int) -> dict[str, float]:
    """Return the figures of 32 busy connections beside idle ones."""
    with (
        serve(command) as server,
        load(server, connections=32, idle=idle, warmup=settings.warmup_seconds, seconds=settings.seconds) as client,
    ):
        client.warm_up()
        return client.measure()

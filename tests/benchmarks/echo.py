"""`echo` and `pipelined`: 64-byte lines, each answered by a task in Python, beside loops that just send back.

Strategy: a closed loop of connections; the cost of an answer is what all threads of the server have spent on
processors, over the messages that were answered.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial

from .machinery import MissingPeerError, has_module, load, program, running, serve
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["PLAIN_METRICS", "bench_echo", "bench_pipelined", "echo_servers", "strace_counts"]

PLAIN_METRICS = [
    Metric("cpu_us", "server CPU, µs/message", 2),
    Metric("rate", "messages/s"),
    Metric("p50_us", "p50, µs"),
    Metric("p99_us", "p99, µs"),
    Metric("client_busy", "client busy", 2),
]
SYSTEM_CALLS = {
    "send": ("sendto", "sendmsg", "write", "writev"),
    "receive": ("recvfrom", "recvmsg", "read", "readv"),
    "wait": ("epoll_wait", "epoll_pwait"),
    "futex": ("futex",),
}


def echo_servers(report: Report) -> dict[str, list[str]]:
    """Return the command of each server by the name of its side; notes in the report what is missing here."""
    servers = {"wiretask": program("wiretask_echo")}
    if has_module("uvloop"):
        servers["uvloop, on its loop"] = program("asyncio_echo", "--uvloop")
        servers["uvloop + 4 threads"] = program("uvloop_threads_echo")
    else:
        report.notes.append("uvloop is not installed: left out.")
    servers["asyncio, on its loop"] = program("asyncio_echo")
    try:
        servers["C, epoll"] = program("epoll_echo.c")
    except MissingPeerError as error:
        report.notes.append(f"epoll in C left out: {error}.")
    servers["socketserver, a thread each"] = program("socketserver_echo")
    return servers


def measured(command: list[str], settings: Settings, connections: int, pipeline: int = 1) -> dict[str, float]:
    """Return the figures of one load on a fresh server."""
    with (
        serve(command) as server,
        load(
            server,
            connections=connections,
            pipeline=pipeline,
            warmup=settings.warmup_seconds,
            seconds=settings.seconds,
        ) as client,
    ):
        client.warm_up()
        return client.measure()


def bench_echo(settings: Settings) -> Report:
    """Measure lines, one at a time on each connection."""
    report = Report("echo", "Echo of 64-byte lines", PLAIN_METRICS, ["cpu_us", "rate"], "cpu_us")
    servers = echo_servers(report)
    for connections in settings.echo_connections:
        sides: list[tuple[str, Callable[[], dict[str, float]]]] = [
            (side, partial(measured, command, settings, connections))
            for side, command in servers.items()
            if "thread" not in side or connections == 32 or (connections == 256 and "uvloop" in side)
        ]
        name = f"{connections:,} connection{'s' if connections > 1 else ''}"
        report.cases.append(measure_rounds(Case(name), settings.rounds, sides))
    return report


def bench_pipelined(settings: Settings) -> Report:
    """Measure 16 lines in flight on each of 32 connections."""
    report = Report("pipelined", "16 lines in flight on each of 32 connections", PLAIN_METRICS, ["cpu_us"], "cpu_us")
    servers = {side: command for side, command in echo_servers(report).items() if "thread" not in side}
    beside = [(side, partial(measured, command, settings, 32, 16)) for side, command in servers.items()]
    report.cases.append(measure_rounds(Case("16 in flight"), settings.rounds, beside))
    for side in [side for side in servers if side in ("wiretask", "uvloop, on its loop")]:
        depths = [(f"{depth} in flight", partial(measured, servers[side], settings, 32, depth)) for depth in (16, 1)]
        report.cases.append(measure_rounds(Case(f"{side}, 16 beside 1"), settings.rounds, depths))
    if shutil.which("strace") is None:
        report.notes.append("System calls were not counted: there is no strace.")
        return report
    for depth in (16, 1):
        counts = count_system_calls(servers["wiretask"], depth)
        listed = ", ".join(f"{number:.2f} {kind}" for kind, number in counts.items())
        report.notes.append(
            f"System calls of wiretask for {depth} answer(s) of a connection, under strace: {listed}."
        )
    return report


def count_system_calls(command: list[str], depth: int) -> dict[str, float]:
    """Return the server's system calls of each kind for one batch of answers, while strace slows it."""
    with (
        serve(command) as server,
        load(server, connections=32, pipeline=depth, warmup=0.2, seconds=0.7) as client,
    ):
        client.warm_up()
        tracing = ["strace", "-f", "-c", "-U", "calls,name", "-p", str(server.pid)]
        with running(tracing, stderr=subprocess.PIPE) as tracer:
            assert tracer.stderr is not None
            tracer.stderr.readline()  # "attached"
            time.sleep(0.3)  # to its other threads
            batches = client.measure()["messages"] / depth
            tracer.send_signal(signal.SIGINT)
            counts = strace_counts(tracer.stderr.read())
    return {kind: sum(counts.get(name, 0) for name in names) / batches for kind, names in SYSTEM_CALLS.items()}


def strace_counts(text: str) -> dict[str, int]:
    """Return how often each system call was made, from what `strace -c -U calls,name` prints."""
    counts = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            counts[words[1]] = int(words[0])
    return counts

"""Starts and ends the programs of a measurement: servers, the load client, what has to be compiled first.

Strategy: every measurement gets fresh processes, started from this module and ended by it whatever happens.
Must not know: which benchmark asks, or how results are kept.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .accounting import spent_ns, thread_cpu_ns

__all__ = [
    "Load",
    "MissingPeerError",
    "Server",
    "build_load_client",
    "has_module",
    "load",
    "program",
    "run_json",
    "serve",
]

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
BUILD = ROOT / "target" / "benchmarks"


class MissingPeerError(Exception):
    """A peer is not installed here; the text says which."""


@dataclass(frozen=True)
class Server:
    """A server that runs: its process id, and the port it listens on (0: it said none)."""

    pid: int
    port: int


def has_module(name: str) -> bool:
    """Whether Python finds the module."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def program(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one of `programs/*.py` on this Python, or `programs/*.c` compiled.

    Raises:
        MissingPeerError: there is no C compiler.
    """
    words = [str(argument) for argument in arguments]
    if name.endswith(".c"):
        return [str(_compiled(PROGRAMS / name)), *words]
    return [sys.executable, "-W", "ignore", str(PROGRAMS / f"{name}.py"), *words]


def _compiled(source: Path) -> Path:
    binary = BUILD / source.stem
    compiler = shutil.which("cc")
    if compiler is None:
        raise MissingPeerError("no C compiler")
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", str(binary), str(source)], check=True)
    return binary


def build_load_client() -> None:
    """Build the load client with cargo, unless it is up to date.

    Raises:
        subprocess.CalledProcessError: it cannot be built; cargo has said why.
    """
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--package", "wiretask-load-client"],
        cwd=ROOT,
        env={**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target")},
        check=True,
    )


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run the command while the context is open; then end it, at the latest after five seconds by force."""
    process: subprocess.Popen[str] = subprocess.Popen(command, text=True, cwd=ROOT, **options)
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def serve(command: Sequence[str]) -> Iterator[Server]:
    """Run a server that prints its port on its first line.

    Raises:
        RuntimeError: it ended instead.
    """
    with running(command, stdout=subprocess.PIPE) as process:
        line = _line_of(process.stdout, command)
        yield Server(process.pid, int(line))


def run_json(command: Sequence[str]) -> dict[str, float]:
    """Run a program that prints one JSON object, and return that.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, timeout=300)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


class Load:
    """A load client that has opened its connections to a server and waits for the word."""

    def __init__(self, process: subprocess.Popen[str], server: Server) -> None:
        self._process = process
        self._server = server
        _line_of(process.stdout, ["the load client"])

    def warm_up(self) -> None:
        """Let it do what is not counted."""
        self._next()

    def measure(self, cpu_ns: Callable[[], int] | None = None) -> dict[str, float]:
        """Return the figures of the counted phase: what was answered, how soon, and what it cost the server.

        `cpu_ns` says what the server has spent, where that is not what the threads of its process have.

        `client_busy` is the part of the time that the client's one thread was on a processor: near 1, it was
        the client that could not do more.
        Raises:
            RuntimeError: an answer was wrong or did not come; the client has said what.
            ValueError: a thread of the server ended meanwhile.
        """
        own_before = thread_cpu_ns(self._process.pid)
        if cpu_ns is None:
            before = thread_cpu_ns(self._server.pid)
            figures: dict[str, float] = json.loads(self._next())
            spent = spent_ns(before, thread_cpu_ns(self._server.pid))
        else:
            spent_before = cpu_ns()
            figures = json.loads(self._next())
            spent = cpu_ns() - spent_before
        own = spent_ns(own_before, thread_cpu_ns(self._process.pid))
        return {
            "messages": figures["messages"],
            "rate": figures["messages"] / figures["seconds"],
            "cpu_us": spent / figures["messages"] / 1000,
            "p50_us": figures["p50_us"],
            "p99_us": figures["p99_us"],
            "client_busy": own / figures["seconds"] / 1e9,
        }

    def _next(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return _line_of(self._process.stdout, ["the load client"])


@contextlib.contextmanager
def load(
    server: Server,
    *,
    connections: int,
    idle: int = 0,
    pipeline: int = 1,
    warmup: float = 0.3,
    seconds: float = 1.0,
    http: str | None = None,
    body: str = "",
    slow_body: str = "",
) -> Iterator[Load]:
    """Run a load client; its connections are open when the context is entered, and closed when it is left.

    With `http`, a path, it sends requests, and takes for right the answers 200 with `body`, or with `slow_body`,
    which it leaves out of its percentiles.
    """
    command = [str(ROOT / "target" / "release" / "wiretask-load-client"), "--address", f"127.0.0.1:{server.port}"]
    command += ["--connections", str(connections), "--idle", str(idle), "--pipeline", str(pipeline)]
    command += ["--warmup", str(warmup), "--seconds", str(seconds)]
    if http is not None:
        command += ["--http", http, "--body", body, "--slow-body", slow_body]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Load(process, server)


def _line_of(stream: IO[str] | None, command: Sequence[str]) -> str:
    assert stream is not None
    line = stream.readline()
    if not line.endswith("\n"):
        raise RuntimeError(f"ended too soon: {' '.join(Path(word).name for word in command)}")
    return line

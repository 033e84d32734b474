"""Starts the servers that the benchmarks of HTTP compare, and says what all their processes have spent.

Strategy: each server gets a free port and is ready when it answers. A server may be several processes: it is
the process that was started, and all that descend from it.
Must not know: which benchmark asks, clients.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .accounting import descendants, process_cpu_ns
from .machinery import PROGRAMS, MissingPeerError, Server, has_module, running

__all__ = ["PEERS", "WebServer", "available", "serve_http"]

READY_SECONDS = 30.0
NGINX = """
{user}
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log {directory}/error crit;
events {{ worker_connections 16384; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_header_timeout 3600s;
    client_max_body_size 0;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type text/plain; return 200 "Hello, World!"; }}
        location = /file {{ default_type application/octet-stream; alias {file}; }}
    }}
}}
"""


@dataclass(frozen=True)
class WebServer(Server):
    """A server of HTTP that runs; `pid` is the process that was started."""

    def pids(self) -> list[int]:
        """Return its processes."""
        return [self.pid, *descendants(self.pid)]

    def cpu_ns(self) -> int:
        """Return the CPU time of all its processes, in the kernel and outside."""
        return sum(process_cpu_ns(pid) for pid in self.pids())

    def busiest_pid(self) -> int:
        """Return the process that does the work."""
        return max(self.pids(), key=process_cpu_ns)


def _own(name: str) -> Callable[[int, int, Path], list[str]]:
    def command(port: int, threads: int, directory: Path) -> list[str]:
        return [sys.executable, "-W", "ignore", str(PROGRAMS / "wsgi_server.py"), name, str(port), str(threads)]

    return command


def _gunicorn(port: int, threads: int, directory: Path) -> list[str]:
    words = ["-m", "gunicorn", "-k", "gthread", "-w", "1", "--threads", str(threads), "-b", f"127.0.0.1:{port}"]
    words += ["--keep-alive", "75", "--worker-connections", "20000", "--log-level", "error", "--chdir", str(PROGRAMS)]
    return [sys.executable, *words, "wsgi_applications:application"]


def _granian(port: int, threads: int, directory: Path) -> list[str]:
    words = ["-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--blocking-threads", str(threads), "--no-access-log", "--no-log", "--backlog", "4096"]
    words += ["--backpressure", "20000", "--http", "1", "--working-dir", str(PROGRAMS)]
    return [sys.executable, *words, "wsgi_applications:application"]


def _nginx(port: int, threads: int, directory: Path) -> list[str]:
    configuration = directory / "nginx.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    file = os.environ.get("BENCHMARK_FILE", "/dev/null")
    user = "user root;" if os.getuid() == 0 else ""  # who is to read the file
    text = NGINX.format(directory=directory, port=port, temporary=temporary, file=file, user=user)
    configuration.write_text(text)
    return ["nginx", "-c", str(configuration), "-p", str(directory)]


PEERS: dict[str, Callable[[int, int, Path], list[str]]] = {
    "wiretask": _own("wiretask"),
    "bjoern": _own("bjoern"),
    "fastpysgi": _own("fastpysgi"),
    "granian": _granian,
    "waitress": _own("waitress"),
    "gunicorn": _gunicorn,
    "cheroot": _own("cheroot"),
    "nginx": _nginx,
}


def available(notes: list[str], names: list[str]) -> list[str]:
    """Return which of the servers are there, and add a note on those that are not."""
    there = []
    for name in names:
        if shutil.which("nginx") if name == "nginx" else has_module(name):
            there.append(name)
        else:
            notes.append(f"{name} is not installed: left out.")
    return there


@contextlib.contextmanager
def serve_http(
    name: str, *, application: str = "hello", threads: int = 4, environment: dict[str, str] | None = None
) -> Iterator[WebServer]:
    """Run a server of `PEERS` while the context is open.

    Raises:
        MissingPeerError: it does not answer within half a minute.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        extra = {"BENCHMARK_APPLICATION": application} | (environment or {})
        before = {key: os.environ.get(key) for key in extra}
        os.environ.update(extra)
        try:
            command = PEERS[name](port, threads, Path(directory))
            with running(command, start_new_session=True) as process:
                server = WebServer(process.pid, port)
                _wait_until_it_answers(server, name)
                yield server
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})


def _wait_until_it_answers(server: WebServer, name: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
                connection.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                if connection.recv(12)[:5] == b"HTTP/":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise MissingPeerError(f"{name} does not answer")
        time.sleep(0.05)

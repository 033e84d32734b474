"""Runs `wrk` against a server, and reads its figures.

Strategy: wrk prints one line of JSON by way of a script. The server's CPU is looked at just before wrk starts and
just after it has ended, so that opening the connections is in it, for every server alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from .http_servers import WebServer
from .machinery import PROGRAMS, MissingPeerError

__all__ = ["parse_wrk", "wrk"]


def wrk(server: WebServer, *, connections: int, seconds: float, pipeline: int = 1) -> dict[str, float]:
    """Return the figures of one load; wrk takes whole seconds only.

    Raises:
        MissingPeerError: there is no wrk. RuntimeError: an answer was not 2xx, or did not come.
    """
    if shutil.which("wrk") is None:
        raise MissingPeerError("no wrk")
    whole_seconds = max(1, round(seconds))
    command = ["wrk", "-t1", "--timeout", "30s"]
    command += [f"-c{connections}", f"-d{whole_seconds}", "-s", str(PROGRAMS / "wrk_figures.lua")]
    before = server.cpu_ns()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}/"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=whole_seconds + 60,
        env=os.environ | {"WRK_PIPELINE": str(pipeline)},
    )
    spent = server.cpu_ns() - before
    figures = parse_wrk(done.stdout)
    found = {
        "messages": figures["messages"],
        "rate": figures["messages"] / figures["seconds"],
        "cpu_us": spent / figures["messages"] / 1000,
    }
    if figures["p99_us"] >= figures["p50_us"]:  # else it had too few to tell
        found |= {"p50_us": figures["p50_us"], "p99_us": figures["p99_us"]}
    return found


def parse_wrk(text: str) -> dict[str, float]:
    """Return the figures in what wrk has printed.

    Raises:
        RuntimeError: something failed, or nothing was answered.
    """
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk printed no figures: {text[-500:]}")
    figures: dict[str, float] = json.loads(lines[0])
    if figures.pop("failures") or not figures["messages"]:
        raise RuntimeError(f"requests have failed: {lines[0]}")
    return figures

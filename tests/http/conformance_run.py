"""All cases of one profile against one server, each in its deliveries.

Strategy: in each delivery `/evil` is renamed to a fresh name of the same length; what reached the application is in
the file to which it adds a line for every request.
"""

from __future__ import annotations

import itertools
import json
import re
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from conformance_delivery import RECEIVE_BYTES, Delivery
from conformance_judge import Case, expand, judge
from conformance_server import Server

WHOLE_SECONDS = 2.5  # after the last byte is sent
REPEAT_SECONDS = 1.2  # the same, for later deliveries once one has run into the deadline
BYTEWISE_MAX_BYTES = 700
BYTE_DELAY_SECONDS = 0.0002
PIECE_DELAY_SECONDS = 0.003
MAX_PIECES = 40
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Result = dict[str, Any]


class Run:
    """All cases of one profile against one server."""

    def __init__(self, server: Server, follow_up: str) -> None:
        self.server, self.follow_up = server, follow_up
        self.tokens = ("e" + "".join(t) for t in itertools.product(DIGITS, repeat=3))
        self.log_offset = 0
        self.log_paths: list[str] = []

    def case(self, case: Case) -> dict[str, Result]:
        """Return the result of one case: deliveries, verdict, preferred."""
        driver = case.get("driver", "default")
        if driver != "default":
            return DRIVERS[driver](self, case)
        results: dict[str, Result] = {}
        hung = False
        for name in case.get("deliveries", ("whole", "bytes", "lines")):
            delivered = self._deliver(
                case, name, case.get("deadline_seconds", REPEAT_SECONDS if hung else WHOLE_SECONDS)
            )
            if delivered is None:
                continue
            seen, result = delivered
            hung = hung or seen.timed_out
            if not result["passed"] or case["group"] == "H":
                self.check_alive(result)
            results[name] = result
        return results

    def prepare(self, case: Case, follow_up: bool = True) -> tuple[bytes, str | None, str]:
        """Return (payload, follow-up path, token): `/evil` renamed to a fresh path of the same length."""
        token = "/" + next(self.tokens)
        tail = case.get("follow_up", self.follow_up) if follow_up else ""
        follow = re.match(r"\w+ (\S+)", tail)
        data = (expand(case["bytes"]) + tail.encode("latin-1")).replace(b"/evil", token.encode())
        return data, follow[1].replace("/evil", token) if follow else None, token

    def _deliver(self, case: Case, name: str, seconds: float) -> tuple[Delivery, Result] | None:
        data, follow_path, token = self.prepare(case)
        if name == "whole":
            pieces, delay = [data], 0.0
        elif name == "bytes":
            if len(data) > BYTEWISE_MAX_BYTES:
                return None
            pieces, delay = [data[i : i + 1] for i in range(len(data))], BYTE_DELAY_SECONDS
        else:
            pieces, delay = re.split(rb"(?<=[\r\n])", data, maxsplit=MAX_PIECES), PIECE_DELAY_SECONDS
        seen = Delivery(case, follow_path, self.server.port)
        seen.run([piece for piece in pieces if piece], delay, seconds)
        return seen, self.result(case, seen, token)

    def result(self, case: Case, seen: Delivery, token: str) -> Result:
        """Return the verdict on a delivery."""
        self.read_log()
        seen.reached = any(path and token in path for path in self.log_paths[-50:])
        passed, preferred, reason = judge(case, seen)
        return {"passed": passed, "preferred": preferred, "reason": reason, "seen": seen.summary(), "token": token}

    def read_log(self) -> None:
        """Take note of what has reached the application."""
        try:
            with open(self.server.log_path, "rb") as log:
                log.seek(self.log_offset)
                data = log.read()
        except FileNotFoundError:
            return
        end = data.rfind(b"\n") + 1
        self.log_offset += end
        self.log_paths += [json.loads(line)["path"] for line in data[:end].splitlines()]

    def check_alive(self, result: Result) -> None:
        """Note in the result if the server is dead, and start it again."""
        if not self.server.answers():
            result.update(passed=False, preferred=False, reason="the server no longer answers; " + result["reason"])
            self.server.stop()
            self.server.start()


def drive_expect(run: Run, case: Case) -> dict[str, Result]:
    """Send the head, wait for 100 or a final answer, then the body."""
    data, follow_path, token = run.prepare(case)
    head, _, body = data.partition(b"\r\n\r\n")
    seen = Delivery(case, follow_path, run.server.port)
    with socket.create_connection(("127.0.0.1", run.server.port), 3) as connection:
        connection.sendall(head + b"\r\n\r\n")
        seen.socket = connection
        if select.select([connection], [], [], WHOLE_SECONDS)[0]:
            seen.receive()
        early = bool(seen.received)
        if early:
            connection.sendall(body)
            connection.setblocking(False)
            seen.read_until_decided(WHOLE_SECONDS)
    seen.parse()
    result = run.result(case, seen, token)
    if not early:
        result.update(passed=False, preferred=False, reason="neither 100 nor a final answer before the body")
    return {"expect": result}


def drive_flood(run: Run, case: Case) -> dict[str, Result]:
    """Pipeline many requests without reading; the memory of the server must stay bounded."""
    data, _, _ = run.prepare(case, follow_up=False)
    before, _ = run.server.usage()
    sent, peak, end = 0, before, time.monotonic() + 6
    with socket.create_connection(("127.0.0.1", run.server.port), 3) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        while sent < len(data) and time.monotonic() < end:
            if not select.select([], [connection], [], 0.5)[1]:
                peak = max(peak, run.server.usage()[0])
                if time.monotonic() > end - 3:
                    break
                continue
            try:
                sent += connection.send(data[sent : sent + RECEIVE_BYTES])
            except OSError:
                break
        time.sleep(1)
        peak = max(peak, run.server.usage()[0])
    growth = (peak - before) >> 20
    result = {
        "passed": growth < case["max_growth_mib"],
        "preferred": True,
        "reason": f"memory grew by {growth} MiB",
        "seen": f"sent {sent} of {len(data)} bytes, grew {growth} MiB",
    }
    run.check_alive(result)
    run.server.stop()  # what it still has queued must not disturb the next case
    run.server.start()
    return {"flood": result}


def drive_resets(run: Run, case: Case) -> dict[str, Result]:
    """Connect and reset many times; afterwards the server answers and does not spin."""
    for _ in range(case["times"]):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            try:
                connection.settimeout(2)
                connection.connect(("127.0.0.1", run.server.port))
                connection.send(expand(case["bytes"])[: case.get("send_bytes", 0)])
            except OSError:
                pass
    time.sleep(0.5)
    before = run.server.usage()[1]
    time.sleep(1)
    spent = run.server.usage()[1] - before
    result = {
        "passed": spent < 0.5,
        "preferred": True,
        "reason": f"{spent:.2f} s of CPU in one idle second",
        "seen": f"idle CPU {spent:.2f} s",
    }
    run.check_alive(result)
    return {"resets": result}


def drive_drip(run: Run, case: Case) -> dict[str, Result]:
    """Send one byte every 0.3 s without end; the server must give up within the profile's timeout."""
    data, _, token = run.prepare(case, follow_up=False)
    seen = Delivery(case, None, run.server.port)
    seen.run([data[i : i + 1] for i in range(len(data))][: case.get("drip_bytes", 30)], 0.3, 0.5)
    return {"drip": run.result(case, seen, token)}


DRIVERS: dict[str, Callable[[Run, Case], dict[str, Result]]] = {
    "expect": drive_expect,
    "flood": drive_flood,
    "resets": drive_resets,
    "drip": drive_drip,
}


def run_profile(
    command: str, cases: Iterable[Case], follow_up: str, each: Callable[[Case, dict[str, Result]], None] | None = None
) -> dict[str, dict[str, Result]]:
    """Run cases against one command; returns {case id: {delivery: result}}."""
    results: dict[str, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory(prefix="http-conformance-") as folder:
        server = Server(command, Path(folder) / "requests.log")
        server.start()
        run = Run(server, follow_up)
        try:
            for case in cases:
                results[case["id"]] = run.case(case)
                if each is not None:
                    each(case, results[case["id"]])
            time.sleep(0.5)
            run.read_log()
        finally:
            server.stop()
        for case in cases:  # an /evil that arrived after its delivery was judged
            choices = [case["expect"], *case["expect"].get("alternatives", ())]
            for result in results.get(case["id"], {}).values():
                if (
                    result.pop("token", None) in run.log_paths
                    and result["passed"]
                    and all(choice.get("evil_must_not_reach") for choice in choices)
                ):
                    result.update(passed=False, preferred=False, reason="/evil reached the application late")
    return results

"""One connection of a case: sends the pieces, reads until the outcome is decided, keeps what was seen."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from conformance_answers import Answer, parse_answers

GRACE_SECONDS = 0.3  # to see what follows an answer that is already wrong
RECEIVE_BYTES = 65536


def status_fits(accepted: list[Any], status: int | str) -> bool:
    """Return whether a status (int or 'none', 'open', 'garbage') is in a list that may hold '4xx'."""
    return any(status == item or (isinstance(status, int) and item == f"{status // 100}xx") for item in accepted)


class Delivery:
    """One connection: sends the pieces, reads until the outcome is decided, keeps what was seen."""

    def __init__(self, case: dict[str, Any], follow_path: str | None, port: int) -> None:
        self.case, self.follow_path, self.port = case, follow_path, port
        self.received, self.eof, self.reset, self.timed_out = b"", False, False, False
        self.answers: list[Answer] = []
        self.interim: list[int] = []
        self.rest, self.reached = b"", False
        self.socket: socket.socket

    def run(self, pieces: list[bytes], delay: float, seconds: float) -> None:
        """Connect, send the pieces with a delay after each, and read until the answer is decided, or for so long."""
        try:
            self.socket = socket.create_connection(("127.0.0.1", self.port), 3)
        except OSError:
            self.timed_out = True
            return
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        with self.socket:
            self._send(pieces, delay, time.monotonic() + 20)
            if self.case.get("then") == "fin" and not self.reset:
                try:
                    self.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    self.reset = True
            self.read_until_decided(seconds)
        self.parse()

    def _send(self, pieces: list[bytes], delay: float, end: float) -> None:
        for piece in pieces:
            view = memoryview(piece)
            while view and time.monotonic() < end:
                readable, writable, _ = select.select([self.socket], [self.socket], [], 1)
                if readable:
                    self.receive()
                    if self.eof:
                        return
                if writable:
                    try:
                        view = view[self.socket.send(view) :]
                    except BlockingIOError:
                        continue
                    except OSError:
                        self._drain_after_error()
                        return
            if delay and select.select([self.socket], [], [], delay)[0]:
                self.receive()
                if self.eof:
                    return

    def receive(self) -> None:
        """Take what has come."""
        try:
            block = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.eof = self.reset = True
            return
        self.received += block
        self.eof = not block

    def _drain_after_error(self) -> None:
        self.reset = True
        while not self.eof and select.select([self.socket], [], [], GRACE_SECONDS)[0]:
            self.receive()
        self.eof = True

    def read_until_decided(self, seconds: float) -> None:
        """Read until nothing more can change the verdict, at most so long."""
        end = time.monotonic() + seconds
        while not self.eof:
            self.parse()
            if (grace := self._decided()) is not None:
                end = min(end, time.monotonic() + grace)
            left = end - time.monotonic()
            if left <= 0:
                self.timed_out = grace is None
                return
            if select.select([self.socket], [], [], left)[0]:
                self.receive()

    def parse(self) -> None:
        """Take apart what has been received."""
        self.answers, self.interim, self.rest = parse_answers(self.received, self.case.get("head", False), self.eof)

    def _decided(self) -> float | None:
        """Return the seconds still worth waiting, or None for the whole deadline."""
        done = [answer for answer in self.answers if answer["complete"]]
        expected = self.case.get("good_before", 0) + 1
        if len(done) > expected:
            return 0.0
        choices = [self.case["expect"], *self.case["expect"].get("alternatives", ())]
        if len(done) == expected:
            fitting = [choice for choice in choices if status_fits(choice["status"], done[-1]["status"])]
            if not fitting:
                return GRACE_SECONDS
            if not self.follow_path and not any(choice["close"] for choice in fitting):
                return GRACE_SECONDS / 3
        return None

    def summary(self) -> str:
        """Return in a few words what was seen."""
        text = ",".join(str(answer["status"]) + ("" if answer["complete"] else "(cut)") for answer in self.answers)
        parts = [text or ("garbage" if self.rest else "nothing")]
        if self.interim:
            parts.append("interim " + ",".join(map(str, self.interim)))
        if self.rest and self.answers:
            parts.append("then garbage")
        parts.append("reset" if self.reset else "closed" if self.eof else "left open")
        if self.reached:
            parts.append("/evil reached")
        return " ".join(parts)

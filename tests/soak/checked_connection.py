"""A client's connection that knows byte for byte what has to come, and reports all that does not.

What comes is compared at once with the answers that are due, so an answer that is lost, doubled, mixed up with
another or out of order cannot pass. An end that the client did not ask for is reported with the time in which
it can have happened; whether the server's operator had a hand in it is for the judge to say.
Must not know: the operator's actions, how clients mix their behaviours.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from chaos_server import (
    ERROR_ANSWERING,
    GREETING_FLAVOURS,
    IDLE_TIMEOUT_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
    WRITE_TIMEOUT_SECONDS,
)
from conversation import GREETING, Request, answer_to, closes

DEADLINE_SECONDS = 45.0
#: A client that was away for so long may have been taken for dead.
LONGEST_PAUSE_SECONDS = 0.7 * min(IDLE_TIMEOUT_SECONDS, REQUEST_TIMEOUT_SECONDS, WRITE_TIMEOUT_SECONDS)

Report = Callable[..., None]


class Ended(Exception):  # noqa: N818 - no error: it ends a behaviour
    """The connection has ended; what there is to say about it has been reported."""


class _Greeting:
    identity = "greeting"


class CheckedConnection:
    """One connection of a client. One thread.

    Args:
        name: the connection's name, which no other has.
        flavour: of the server.
        port: of the server.
        behaviour: the name of what the client is up to, for reports.
        report: called with keyword arguments for each event.
        receive_buffer_bytes: small, for a client that cannot take much.
    Raises:
        Ended: no connection was made.
    """

    def __init__(
        self,
        name: str,
        flavour: str,
        port: int,
        behaviour: str,
        report: Report,
        *,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.flavour = flavour
        self.requests_sent = 0
        self.answers_read = 0
        self._behaviour = behaviour
        self._report = report
        self._numbers = 0
        #: What is due, each with the time when it was asked for.
        self._due: deque[tuple[Any, float]] = deque()
        self._head = b""
        self._position = 0
        self._is_end_due = False
        self._may_time_out = False
        #: At this time the server had certainly not yet ended the connection.
        self._alive_at = self._returned = time.monotonic()
        self._longest_pause = 0.0
        self._socket = socket.socket()
        self._socket.settimeout(DEADLINE_SECONDS)
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            self._socket.connect(("127.0.0.1", port))
        except OSError as error:
            self._socket.close()
            self._end("not connected", error)
        if flavour in GREETING_FLAVOURS:
            self._expect(_Greeting())

    # ---- sending --------------------------------------------------------------------------------

    def request(self, kind: str, argument: int = 0) -> bytes:
        """Return the line of the next request, whose answer is due from now on."""
        request = Request(self.name, self._numbers, kind, argument)
        self._numbers += 1
        if not self._is_end_due:
            self.requests_sent += 1
            self._expect(request)
            self._is_end_due = closes(request, is_error_answered=self.flavour in ERROR_ANSWERING)
        return request.encode()

    def expect_end(self) -> None:
        """From now on the server has to close when it has answered what is due."""
        self._is_end_due = True

    def allow_time_out(self) -> None:
        """From now on the server may take the client for dead."""
        self._may_time_out = True

    def send(self, data: bytes, *, is_refusal_expected: bool = False) -> None:
        """Send all of `data`."""
        self._note_pause()
        try:
            self._socket.sendall(data)
        except TimeoutError:
            self._fault(f"the server took no input for {DEADLINE_SECONDS:.0f} s")
        except OSError as error:
            # What was answered before may still be read.
            if not is_refusal_expected and not self._is_end_due:
                self._read_rest(error)
        self._returned = time.monotonic()

    def end_output(self) -> None:
        """Half-close; the server has to answer what is due, and then to close."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self.expect_end()

    # ---- reading --------------------------------------------------------------------------------

    @property
    def due(self) -> int:
        """How many answers are due."""
        return len(self._due)

    def read_all(self, piece_bytes: int = 262_144) -> None:
        """Read until nothing is due."""
        while self._due:
            self.read_some(piece_bytes)

    def read_some(self, piece_bytes: int = 262_144) -> None:
        """Read once, and check what has come."""
        self._note_pause()
        try:
            data = self._socket.recv(piece_bytes)
        except TimeoutError:
            self._fault(f"nothing came for {DEADLINE_SECONDS:.0f} s")
        except OSError as error:
            self._end("reset", error)
        else:
            if not data:
                self._end("closed", None)
            self._check(data)
        self._returned = time.monotonic()

    def read_to_end(self) -> None:
        """Read until the server closes, which it has to."""
        self._is_end_due = True
        with contextlib.suppress(Ended):
            while True:
                self.read_some()

    # ---- leaving --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close; what is due is no more. Twice is harmless."""
        self._due.clear()
        self._socket.close()

    def reset(self) -> None:
        """Close with a reset."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    # ---- checks ---------------------------------------------------------------------------------

    def _expect(self, request: Any) -> None:
        expected = self._bytes_of(request)
        if expected:
            self._due.append((request, time.monotonic()))

    def _bytes_of(self, request: Any) -> bytes:
        if isinstance(request, _Greeting):
            return GREETING
        if request.kind == "large":
            return b"large"  # Not made before its time.
        return answer_to(request, is_error_answered=self.flavour in ERROR_ANSWERING)

    def _check(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not self._due:
                self._fault(f"bytes that nobody asked for: {bytes(view[:200])!r}")
            if not self._head:
                head, _ = self._due[0]
                self._head = (
                    answer_to(head, is_error_answered=self.flavour in ERROR_ANSWERING)
                    if isinstance(head, Request)
                    else GREETING
                )
            taken = min(len(view), len(self._head) - self._position)
            if view[:taken] != self._head[self._position : self._position + taken]:
                wanted = self._head[self._position : self._position + taken]
                self._fault(f"wrong answer: {bytes(view[:120])!r}, where {wanted[:120]!r} was due")
            view = view[taken:]
            self._position += taken
            if self._position == len(self._head):
                _, self._alive_at = self._due.popleft()
                self._head, self._position = b"", 0
                self.answers_read += 1

    def _note_pause(self) -> None:
        self._longest_pause = max(self._longest_pause, time.monotonic() - self._returned)

    def _read_rest(self, error: OSError) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(262_144):
                self._check(data)
        self._end("refused input", error)

    def _end(self, how: str, error: OSError | None) -> None:
        """Report an end that was not due, and leave."""
        self._socket.close()
        self._note_pause()
        is_excused = self._may_time_out or self._longest_pause > LONGEST_PAUSE_SECONDS
        if not (self._is_end_due and not self._due) and not is_excused:
            cause = "" if error is None else f" ({errno.errorcode.get(error.errno or 0, error)})"
            self._report(
                event="ended",
                flavour=self.flavour,
                alive_at=self._alive_at,
                noticed=time.monotonic(),
                unanswered=len(self._due),
                text=f"{self._describe()}: {how}{cause}{self._what_is_due()}",
            )
        elif is_excused and self._due:
            self._report(event="excused", unanswered=len(self._due))
        raise Ended

    def _fault(self, text: str) -> None:
        self._report(event="fault", text=f"{self._describe()}: {text}{self._what_is_due()}")
        self._socket.close()
        raise Ended

    def _what_is_due(self) -> str:
        if not self._due:
            return ", while nothing was due"
        head, _ = self._due[0]
        kind = f" {head.kind} {head.argument}" if isinstance(head, Request) else ""
        return f", while {len(self._due)} answers were due, first {head.identity}{kind} (byte {self._position} of it)"

    def _describe(self) -> str:
        return f"{self._behaviour} {self.name} ({self.flavour})"

"""Dispatchers for the tests of the loop, over pairs of sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from wiretask.dispatcher import Dispatcher, SocketMap, loop

DEADLINE_SECONDS = 20.0


class Noting:
    """Notes in `calls` when its connection is closed, and what fails; mixed into a dispatcher."""

    calls: list[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.calls = []
        super().__init__(*arguments, **options)

    def handle_close(self) -> None:
        self.calls.append("close")
        super().handle_close()

    def handle_error(self) -> None:
        self.calls.append("error")
        super().handle_error()


class Reader(Noting, Dispatcher):
    """Keeps what it reads, and notes that too."""

    def __init__(self, sock: socket.socket | None = None, map: SocketMap | None = None) -> None:
        self.data = b""
        super().__init__(sock, map)

    def handle_read(self) -> None:
        self.calls.append("read")
        self.data += self.recv(4096)


@contextlib.contextmanager
def joined(kind: type[Dispatcher], entries: SocketMap) -> Iterator[tuple[Any, socket.socket]]:
    """A dispatcher of this kind in the map, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_SECONDS)
    dispatcher = kind(ours, entries)
    with theirs:
        yield dispatcher, theirs
    dispatcher.close()


def turn_until(entries: SocketMap, done: Callable[[], object]) -> None:
    """Turn the loop until `done()`, with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not done():
        assert time.monotonic() < deadline, "deadline"
        loop(timeout=0.05, map=entries, count=1)

"""Clients for the tests of servers: plain sockets, every wait of which has a deadline."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Self

import wiretask

DEADLINE_SECONDS = 20.0


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Return the first true value of `condition()`; fails at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.002)
    return value


class ClientSocket:
    """One client connection, whatever it speaks.

    Args:
        address: of the server; a string is the path of a Unix socket.
        receive_buffer_bytes: small, for a peer that cannot take much; None: the system's default.
    """

    def __init__(self, address: Any, *, receive_buffer_bytes: int | None = None) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE_SECONDS)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def is_closed_by_server(self) -> bool:
        """Return whether the server has closed, having sent nothing more; waits for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def end_output(self) -> None:
        """Half-close: the server sees the end of input, and can still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close. Twice is harmless."""
        with contextlib.suppress(OSError):
            self.socket.close()


class Peer(ClientSocket):
    """A client that reads bytes and lines."""

    @classmethod
    def of(cls, server: wiretask.Server, **options: Any) -> Self:
        """Return a client of the first address of a server."""
        host, port = server.effective_host, server.effective_port
        return cls((host, port) if port else host, **options)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes; fewer only if the stream ends."""
        data = bytearray()
        while len(data) < size and (piece := self.socket.recv(size - len(data))):
            data += piece
        return bytes(data)

    def read_line(self) -> bytes:
        """Return a line with its end; less if the stream ends."""
        line = bytearray()
        while not line.endswith(b"\n") and (piece := self.socket.recv(1)):
            line += piece
        return bytes(line)

    def read_to_end(self) -> bytes:
        """Return everything until the server closes."""
        data = bytearray()
        while piece := self.socket.recv(65536):
            data += piece
        return bytes(data)

    def ask(self, line: bytes) -> bytes:
        """Send a line (its end is added) and return the answer's, both without their ends."""
        self.send(line + b"\n")
        return self.read_line().removesuffix(b"\n")

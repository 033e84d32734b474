"""The line protocol of the soak: every request has an identity of its own, every answer is a function of it.

Server and clients share this file, so a client knows byte for byte what has to come back, and in which order.
A request carries a checksum, so that the server sees when bytes of two requests were mixed up on the way in.
Must not know: sockets, servers, who keeps account.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

#: Longest line that the servers take, its end included.
MAX_LINE_BYTES = 4096
#: What a server that speaks first says.
GREETING = b"hello\n"
#: What is open in a program that a handler starts: the three standard streams and the listing itself.
OPEN_IN_CHILD = "0 1 2 3"

#: About how much of a large answer is written at once.
PIECE_BYTES = 200_000

#: Requests after which the server closes the connection.
CLOSING_KINDS = frozenset({"close", "raise", "raise_late"})
#: Of these, those that go on where `handle_error` answers.
RAISING_KINDS = frozenset({"raise", "raise_late"})


class Request(NamedTuple):
    """One request.

    Attributes:
        connection: the client's name of the connection, the same in all its requests.
        number: 0, 1, 2 ... in the order in which they are sent on the connection.
        kind: what the server has to do; `answer_to` knows all kinds.
        argument: milliseconds, bytes or a count, as the kind says.
    """

    connection: str
    number: int
    kind: str
    argument: int

    @property
    def identity(self) -> str:
        """The request's name, which no other request of the run has."""
        return f"{self.connection}.{self.number}"

    def encode(self) -> bytes:
        """Return the request as a line."""
        content = f"{self.identity} {self.kind} {self.argument}"
        return f"{content} {zlib.crc32(content.encode()):08x}\n".encode()

    @classmethod
    def decode(cls, line: bytes) -> Request:
        """Return the request of a line (without its end).

        Raises:
            ValueError: no client has sent this line.
        """
        content, _, checksum = line.decode("ascii", "backslashreplace").rpartition(" ")
        if checksum != f"{zlib.crc32(content.encode()):08x}":
            raise ValueError(f"a line that no client has sent: {line[:200]!r}")
        identity, kind, argument = content.split(" ")
        connection, _, number = identity.rpartition(".")
        return cls(connection, int(number), kind, int(argument))


def closes(request: Request, *, is_error_answered: bool) -> bool:
    """Return whether the server closes the connection after this request."""
    return request.kind in CLOSING_KINDS and not (is_error_answered and request.kind in RAISING_KINDS)


def answer_to(request: Request, *, is_error_answered: bool) -> bytes:
    """Return all bytes that answer a request; b"" if it is answered by closing alone.

    Args:
        is_error_answered: whether the server's `handle_error` writes an answer.
    """
    kind, argument = request.kind, request.argument
    handled = error_answer(request) if is_error_answered else b""
    if kind == "raise":
        return handled
    if kind == "raise_late":
        return line_of(request, "soon") + handled
    if kind == "parts":
        return b"".join(parts_of(request))
    if kind == "large":
        return line_of(request, str(argument)) + body_of(request)
    if kind == "compute":
        return line_of(request, str(argument * (argument - 1) // 2))
    if kind == "spawn":
        return line_of(request, OPEN_IN_CHILD)
    if kind == "fork":
        return line_of(request, "0")
    return line_of(request, str(argument))


def line_of(request: Request, result: str) -> bytes:
    """Return an answer of one line."""
    return f"{request.identity} {request.kind} {result}\n".encode()


def error_answer(request: Request) -> bytes:
    """Return what a `handle_error` that answers writes."""
    return f"{request.identity} {request.kind} was handled\n".encode()


def parts_of(request: Request) -> list[bytes]:
    """Return the pieces of an answer that is written in several."""
    return [line_of(request, f"{part}/{request.argument}") for part in range(request.argument)]


def body_of(request: Request) -> bytes:
    """Return the content of a large answer: its identity over and over, `argument` bytes and a line feed."""
    return b"".join(pieces_of_body(request))


def pieces_of_body(request: Request) -> Iterator[bytes]:
    """Yield the content of a large answer in pieces of moderate size."""
    pattern = f"<{request.identity}>".encode()
    piece = pattern * (PIECE_BYTES // len(pattern))
    whole, rest = divmod(request.argument, len(piece))
    for _ in range(whole):
        yield piece
    yield piece[:rest] + b"\n"

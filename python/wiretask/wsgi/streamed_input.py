"""`StreamedInput`: `wsgi.input` of a body that the application reads while it comes.

Strategy: the standard library's buffered reader over the connection, so that every way of reading is there.
Must not know: how a body is framed.
"""

from __future__ import annotations

import io
from typing import Any

from wiretask._native import Exchange

__all__ = ["open_streamed_input"]

_BUFFER_BYTES = 65536


class StreamedInput(io.RawIOBase):
    """The body of a request, read once, from beginning to end. Reading blocks until something has come.

    Args:
        exchange: the exchange whose body it is.
    Raises (by every method that reads):
        ClientDisconnectedError: the client went before the body was whole. TimeoutError: it does not come in time.
        ProtocolError: it is malformed, or too large.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come into `buffer`; return how many bytes, 0 at the end of the body."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        data = self._exchange.receive_body(len(view))
        view[: len(data)] = data
        return len(data)


def open_streamed_input(exchange: Exchange) -> io.BufferedReader:
    """Return the body of a request as a file."""
    return io.BufferedReader(StreamedInput(exchange), _BUFFER_BYTES)

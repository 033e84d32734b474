"""`StreamedInput`: `wsgi.input` of a body that the application reads while it comes.

Strategy: a buffered reader over the connection, so that every way of reading is there; none of seeking.
Must not know: how a body is framed.
"""

from __future__ import annotations

import io
from typing import Any

from wiretask._native import Exchange
from wiretask.wsgi.body_reader import BodyReader

__all__ = ["StreamedInput", "open_streamed_input"]

_BUFFER_BYTES = 65536


class StreamedInput(io.RawIOBase):
    """The body of a request, read once, from beginning to end. Reading blocks until something has come.

    Args:
        exchange: the exchange whose body it is.
    Raises (by every method that reads):
        ClientDisconnectedError: the client went before the body was whole. TimeoutError: it does not come in time.
        ProtocolError: it is malformed, or too large. ValueError: it has been closed.
    After `close()` nothing is read: what comes then is of another request.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come into `buffer`; return how many bytes, 0 at the end of the body."""
        if self.closed:
            raise ValueError("the request has been answered: its body cannot be read any more")
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        data = self._exchange.receive_body(len(view))
        view[: len(data)] = data
        return len(data)


def open_streamed_input(exchange: Exchange) -> tuple[BodyReader, StreamedInput]:
    """Return the body of a request as a file, and what is to be closed when the request has been answered."""
    raw = StreamedInput(exchange)
    return BodyReader(raw, _BUFFER_BYTES), raw

"""`Connection`: the socket of one peer, as a channel sees it. The loop in Rust owns it.

Strategy: a thin ISocket over the native connection. What the loop does (reading, sending, closing) is asked of
the loop; everything else (names, options) is done on a duplicate of the descriptor, so that it can never hit a
descriptor which was closed and given to somebody else. Must not know: channels, servers, tasks.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, NoReturn

from zope.interface import implementer

from wiretask import _native
from wiretask.interfaces import ISocket

__all__ = ["Connection"]


@implementer(ISocket)
class Connection:
    """The connected socket that a server channel gets as `conn`. Made by a server, never by hand.

    Two objects for the same connection are equal. All methods may be called from any thread; those that
    need the descriptor raise OSError (EBADF) once the connection is closed.
    """

    __slots__ = ("__weakref__", "_native")

    def __init__(self, native: _native.Connection) -> None:
        if not isinstance(native, _native.Connection):
            raise TypeError(f"a Connection is made by a server when it accepts one, not from {native!r}")
        self._native = native

    def __repr__(self) -> str:
        state = "closed" if self._native.closed else "open"
        return f"<wiretask.Connection from {self._native.peer!r}, {state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and self._native.identity == other._native.identity

    def __hash__(self) -> int:
        return hash(self._native.identity)

    # ---- ISocket --------------------------------------------------------------------------------

    def listen(self, backlog: int) -> NoReturn:
        """Raise OSError (EINVAL): the socket is connected."""
        raise _os_error(errno.EINVAL)

    def bind(self, addr: object) -> NoReturn:
        """Raise OSError (EINVAL): the socket is connected."""
        raise _os_error(errno.EINVAL)

    def connect(self, address: object) -> NoReturn:
        """Raise OSError (EISCONN): the socket is connected."""
        raise _os_error(errno.EISCONN)

    def accept(self) -> NoReturn:
        """Raise OSError (EINVAL): the socket is connected."""
        raise _os_error(errno.EINVAL)

    def recv(self, buffer_size: int) -> bytes:
        """Return at most `buffer_size` bytes straight from the socket; `b""` at the end of input.

        Only between `pause_reading` and `resume_reading`: otherwise the loop reads, and the bytes go to
        `ServerChannel.received`.

        Raises:
            RuntimeError: reading is not paused.
            BlockingIOError: nothing is there; it never waits.
            OSError: the connection is closed or lost.
        """
        if not self._native.is_reading_paused:
            raise RuntimeError("recv() would compete with the server's loop; call pause_reading() first")
        with self._duplicate() as own:
            own.setblocking(False)
            return own.recv(buffer_size)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Take all of `data` for the peer and return its length; it leaves at once as far as possible.

        Raises and blocks like `ServerChannel.write`.
        """
        written = self._native.write(data)
        self._native.flush(False)
        return written

    def close(self) -> None:
        """Close when what was written has been sent. Twice is harmless."""
        self._native.close_when_done()

    # ---- beyond ISocket -------------------------------------------------------------------------

    def abort(self) -> None:
        """Close at once; what has not been sent is dropped."""
        self._native.abort()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._native.closed

    @property
    def client_disconnected(self) -> bool:
        """Whether the peer has ended its input (it may still read the answer) or is gone."""
        return self._native.client_disconnected

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait for the peer to take them, in memory and in the temporary file."""
        return self._native.unsent_bytes

    @property
    def spooled_bytes(self) -> int:
        """How many of the unsent bytes are in the temporary file."""
        return self._native.spooled_bytes

    def try_write(self, data: bytes | bytearray | memoryview) -> bool:
        """Take all of `data` without waiting for the peer, or nothing; see `ServerChannel.try_write`."""
        return self._native.try_write(data)

    def pause_reading(self) -> None:
        """Leave what the peer sends in the kernel, until `resume_reading`; the peer will have to wait."""
        self._native.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._native.resume_reading()

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed. Do not close it; it is the loop's."""
        return self._native.fileno()

    def getpeername(self) -> Any:
        """Return the address of the peer in the form of the socket's family, also after the close."""
        return self._native.peer

    def getsockname(self) -> Any:
        """Return the address of this side."""
        with self._duplicate() as own:
            return own.getsockname()

    def setsockopt(self, level: int, optname: int, value: int | bytes) -> None:
        """Set an option of the socket, as `socket.setsockopt` does."""
        with self._duplicate() as own:
            own.setsockopt(level, optname, value)

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> int | bytes:
        """Return an option of the socket, as `socket.getsockopt` does."""
        with self._duplicate() as own:
            return own.getsockopt(level, optname, buflen) if buflen else own.getsockopt(level, optname)

    def _duplicate(self) -> socket.socket:
        descriptor = self._native.duplicate()
        try:
            return socket.socket(fileno=descriptor)
        except BaseException:
            os.close(descriptor)
            raise


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))

"""`Wakeup`: a descriptor that ends the poll of one thread, for a request or for a signal.

Strategy: a pair of sockets, of which one end is polled. On the main thread the other end is Python's wake-up
descriptor too (`signal.set_wakeup_fd`), so that a signal is seen whichever thread the kernel gave it to, and
nothing ticks while nothing happens. A wake-up descriptor that the program had set is written on to.
Must not know: servers, loops, what a signal means. Source: fault R38.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from types import TracebackType
from typing import Self

__all__ = ["Wakeup"]

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class Wakeup:
    """A context manager; entered, polled and left by one thread.

    Raises:
        OSError: on entry: no descriptors are left; nothing has changed then.
    """

    def __init__(self) -> None:
        self._previous = -1
        self._gets_signals = False

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        try:
            self._reader.setblocking(False)
            self._writer.setblocking(False)
            if threading.current_thread() is threading.main_thread():
                self._gets_signals = True
                self._previous = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        except BaseException:
            # Ctrl-C may come in the middle.
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def fileno(self) -> int:
        """Return what to poll for input."""
        return self._reader.fileno()

    def ring(self) -> None:
        """End the poll. Threads: any, signal handlers included. Blocking: never."""
        # It is full, and the poll about to end, or closed, and nobody polls any more.
        with contextlib.suppress(OSError):
            self._writer.send(b"\0", _NO_SIGNAL)

    def clear(self) -> None:
        """Forget what ended the poll, having passed signals on to whom they belonged before."""
        with contextlib.suppress(BlockingIOError):
            numbers = self._reader.recv(4096).replace(b"\0", b"")
            if self._previous >= 0 and numbers:
                with contextlib.suppress(OSError):
                    os.write(self._previous, numbers)

    def let_signals_go(self) -> None:
        """Give the wake-up descriptor back, before the end of the block; a second call does nothing."""
        if self._gets_signals:
            signal.set_wakeup_fd(self._previous)
            self._gets_signals = False

    def _close(self) -> None:
        try:
            self.let_signals_go()
            # What came since the last poll.
            self.clear()
        finally:
            self.let_signals_go()
            self._reader.close()
            # Last: no signal is written to a descriptor that may be somebody else's.
            self._writer.close()

"""`Wakeup`: a descriptor that ends the poll of one thread, for a request or for a signal.

Strategy: a pipe, of which one end is polled. On the main thread the other end is Python's wake-up descriptor too
(`signal.set_wakeup_fd`), so that a signal is seen whichever thread the kernel gave it to, and nothing ticks while
nothing happens. A wake-up descriptor that the program had set is written on to.
Must not know: servers, loops, what a signal means. Source: fault R38.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import TracebackType
from typing import Self

__all__ = ["Wakeup"]


class Wakeup:
    """Open between `open` and `close`; as a context manager it gets signals, too. One thread polls it.

    Raises:
        OSError: on opening: no descriptors are left; nothing has changed then.
    """

    def __init__(self) -> None:
        self._reader = -1
        self._writer = -1
        self._previous = -1
        self._gets_signals = False
        self._is_rung = False
        # Re-entrant: a signal handler may ring in the middle of a close. Last: `__del__` looks whether it is there.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self.open()
        try:
            self.take_signals()
        except BaseException:
            # Ctrl-C may come in the middle.
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Ctrl-C may have come in the middle of `__init__`.
        if hasattr(self, "_lock"):
            self._close_descriptors()

    @property
    def is_open(self) -> bool:
        """Whether there is something to poll."""
        return self._reader >= 0

    def open(self) -> None:
        """Make the descriptors, unless they are there."""
        if self._reader < 0:
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            self._is_rung = False
            self._reader, self._writer = reader, writer

    def close(self) -> None:
        """Give signals back and close the descriptors. Twice is harmless."""
        try:
            self.let_signals_go()
        finally:
            self.let_signals_go()
            self._close_descriptors()

    def take_signals(self) -> bool:
        """Have signals end the poll, on the main thread; return whether that has changed something."""
        if self._gets_signals or threading.current_thread() is not threading.main_thread():
            return False
        self._gets_signals = True
        self._previous = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return True

    def let_signals_go(self) -> None:
        """Give the wake-up descriptor back to whom it belonged before; a second call does nothing."""
        if self._gets_signals:
            self._give_signals_back()
            if self._previous >= 0:
                # What came since the last poll.
                self.clear()

    def fileno(self) -> int:
        """Return what to poll for input; -1 while it is closed."""
        return self._reader

    def owns(self, descriptor: int) -> bool:
        """Return whether this is one of its descriptors, so that whoever had it before must have closed it."""
        return descriptor >= 0 and descriptor in (self._reader, self._writer)

    def ring(self) -> None:
        """End the poll. Threads: any, signal handlers included. Blocking: never."""
        with self._lock:
            if not self._is_rung and self._writer >= 0:
                self._is_rung = True
                # It is full, and the poll about to end.
                with contextlib.suppress(OSError):
                    os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget what ended the poll, having passed signals on to whom they belonged before.

        What was asked for before a `ring` must be looked at after this.
        """
        try:
            numbers = os.read(self._reader, 4096).replace(b"\0", b"")
        except OSError:
            # Nothing is there, or it is closed.
            numbers = b""
        # After reading: who rings before this is dealt with by the caller, who rings after it writes.
        self._is_rung = False
        if self._previous >= 0 and numbers:
            with contextlib.suppress(OSError):
                os.write(self._previous, numbers)

    def handle_fork(self, reopen: bool) -> None:
        """Let the parent's descriptors go, in the child of a fork, and have others, if that was open and is to be.

        After failure (no descriptors are left) it is closed.
        """
        was_open, got_signals = self.is_open and reopen, self._gets_signals
        self._is_rung = False
        self._lock = threading.RLock()
        if got_signals:
            with contextlib.suppress(ValueError, OSError):
                self._give_signals_back()
        self._gets_signals = False
        self._close_descriptors()
        if was_open:
            with contextlib.suppress(OSError):
                self.open()
                if got_signals:
                    self.take_signals()

    def _give_signals_back(self) -> None:
        signal.set_wakeup_fd(self._previous)
        self._gets_signals = False

    def _close_descriptors(self) -> None:
        # Under the lock: nobody rings a number that is somebody else's by now.
        with self._lock:
            reader, writer = self._reader, self._writer
            self._reader = self._writer = -1
            for descriptor in (writer, reader):
                if descriptor >= 0:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)

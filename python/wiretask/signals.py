"""`StopSignals`: a wait on the main thread that ends at once for Ctrl-C, SIGTERM or a request to stop.

Strategy: Python's own wake-up descriptor (`signal.set_wakeup_fd`) and a socket of ours are polled together,
so that a signal is seen whichever thread the kernel gave it to, and nothing ticks while nothing happens. A
wake-up descriptor that the program had set is written on to. Handlers are taken over only where they are the
default ones. Must not know: servers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopSignals"]

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """A context manager. On another than the main thread only `request_stop` ends the wait.

    Attributes:
        is_hurried: a second signal came: do not wait for anything any more.
    """

    def __init__(self) -> None:
        self.is_hurried = False
        self._is_requested = False
        self._handlers: dict[signal.Signals, Any] = {}
        self._previous_wakeup = -1
        self._has_wakeup = False

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        try:
            self._reader.setblocking(False)
            self._writer.setblocking(False)
            if threading.current_thread() is threading.main_thread():
                self._take_over()
        except BaseException:
            # Ctrl-C may come in the middle.
            self._give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def request_stop(self) -> None:
        """End the wait. Threads: any; signal handlers too."""
        self._is_requested = True
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def wait(self) -> None:
        """Return when a signal or `request_stop` came. An exception out of a signal handler passes on."""
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        while not self._is_requested:
            poller.poll()
            with contextlib.suppress(BlockingIOError):
                self._pass_on(self._reader.recv(4096))

    def _take_over(self) -> None:
        self._previous_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._has_wakeup = True
        for number in _STOPPING:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                self._handlers[number] = handler
                signal.signal(number, self._handle)

    def _give_back(self) -> None:
        try:
            # First, while Ctrl-C is still ours: nothing may write to a descriptor that is closed.
            if self._has_wakeup:
                signal.set_wakeup_fd(self._previous_wakeup)
                self._has_wakeup = False
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers.clear()
            # What came since the wait ended.
            with contextlib.suppress(BlockingIOError):
                self._pass_on(self._reader.recv(4096))
        finally:
            self._reader.close()
            self._writer.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_hurried = self._is_requested
        self._is_requested = True

    def _pass_on(self, numbers: bytes) -> None:
        """Write signal numbers to the descriptor that was set before ours."""
        if self._previous_wakeup >= 0:
            with contextlib.suppress(OSError):
                os.write(self._previous_wakeup, numbers.replace(b"\0", b""))

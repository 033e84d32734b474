"""`StopSignals`: a wait on the main thread that ends at once for Ctrl-C, SIGTERM, SIGQUIT or a request to stop.

Strategy: polls a `Wakeup`, which sees signals and requests alike. Handlers are taken over only where they are
the default ones. Other signals may have something done meanwhile. Must not know: servers.
"""

from __future__ import annotations

import contextlib
import select
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, Self

from wiretask.wakeups import Wakeup

__all__ = ["StopSignals"]

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class StopSignals:
    """A context manager. On another than the main thread only `request_stop` ends the wait.

    Args:
        actions: what to call for other signals, which do not end the wait.
    Attributes:
        is_hurried: a second signal came, or SIGQUIT: do not wait for anything any more.
    """

    def __init__(self, actions: Mapping[signal.Signals, Callable[[], object]] | None = None) -> None:
        self.is_hurried = False
        self._actions = {} if actions is None else dict(actions)
        self._is_requested = False
        self._handlers: dict[signal.Signals, Any] = {}
        self._wakeup = Wakeup()
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(self._wakeup)
            on_failure.callback(self._give_back)
            if threading.current_thread() is threading.main_thread():
                self._take_over()
            self._closing = on_failure.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def request_stop(self) -> None:
        """End the wait. Threads: any; signal handlers too."""
        self._is_requested = True
        self._wakeup.ring()

    def wait(self) -> None:
        """Return when a signal or `request_stop` came. An exception out of a signal handler passes on."""
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        while not self._is_requested:
            poller.poll()
            self._wakeup.clear()

    def _take_over(self) -> None:
        for number in (*_STOPPING, *self._actions):
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                self._handlers[number] = handler
                signal.signal(number, self._act if number in self._actions else self._handle)

    def _give_back(self) -> None:
        # First, while Ctrl-C is still ours: it must not come in the middle of this.
        self._wakeup.let_signals_go()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _act(self, number: int, frame: FrameType | None) -> None:
        self._actions[signal.Signals(number)]()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_hurried = self._is_requested or number == signal.SIGQUIT
        self._is_requested = True
        if number == signal.SIGQUIT:
            # Whoever sends it again means it: the system ends the process.
            signal.signal(number, signal.SIG_DFL)

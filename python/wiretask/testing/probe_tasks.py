"""Tasks that say what became of them, and waiting with a deadline: what dispatchers are checked with.

Must not know the laws, nor any dispatcher.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Gate", "ProbeTask", "TaskDispatcherLike", "wait_until"]


class TaskDispatcherLike(Protocol):
    """What the kit calls of a dispatcher (see `wiretask.interfaces.ITaskDispatcher`)."""

    def addTask(self, task: ProbeTask, /) -> object:  # noqa: N802 - the interface's name
        """Call `task.defer()` and queue the task."""

    def setThreadCount(self, count: int, /) -> object:  # noqa: N802
        """Set the number of workers."""

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> object:
        """Stop the workers."""

    def getPendingTasksEstimate(self) -> int:  # noqa: N802
        """How many tasks wait."""


class ProbeTask:
    """A task that records the calls of its three methods, and in which thread each came.

    Args:
        work: called by `service`.
        on_defer, on_cancel: called by `defer` and `cancel`; may raise.
    """

    def __init__(
        self,
        work: Callable[[], object] | None = None,
        *,
        on_defer: Callable[[], object] | None = None,
        on_cancel: Callable[[], object] | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.threads: dict[str, int] = {}
        self._actions = {"defer": on_defer, "service": work, "cancel": on_cancel}

    def defer(self) -> None:
        """Called in the adding thread."""
        self._record("defer")

    def service(self) -> None:
        """Called on a worker."""
        self._record("service")

    def cancel(self) -> None:
        """Called instead of `service`."""
        self._record("cancel")

    @property
    def outcomes(self) -> list[str]:
        """The calls but `defer`: there shall be exactly one in the end."""
        return [call for call in self.calls if call != "defer"]

    def _record(self, call: str) -> None:
        self.threads[call] = threading.get_ident()
        self.calls.append(call)
        action = self._actions[call]
        if action is not None:
            action()


class Gate:
    """Keeps the workers that enter it until it is opened.

    Args:
        deadline_seconds: so long a worker stays at most, so that nothing hangs for ever.
    """

    def __init__(self, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.inside = 0

    def stay(self) -> None:
        """Wait until the gate is opened; the work of a task."""
        with self._lock:
            self.inside += 1
        try:
            self._open.wait(self._deadline_seconds)
        finally:
            with self._lock:
                self.inside -= 1

    def open(self) -> None:
        """Let all go on, now and from now on."""
        self._open.set()


def wait_until(is_true: Callable[[], object], deadline_seconds: float) -> bool:
    """Return true as soon as `is_true()` is; false when the time is over."""
    deadline = time.monotonic() + deadline_seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True

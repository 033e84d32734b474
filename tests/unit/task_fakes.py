"""Tasks that say what became of them, and waiting with a deadline. For the tests of tasks and dispatchers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from wiretask.tasks import ThreadedTaskDispatcher

#: So long a test waits before it fails; never reached by one that passes.
DEADLINE_SECONDS = 20


class RecordingTask:
    """A task of no base class that counts the calls of its three methods."""

    def __init__(self, work: Callable[[], object] | None = None) -> None:
        self.work = work
        self.calls: list[str] = []
        self.threads: dict[str, str] = {}
        self.has_outcome = threading.Event()

    def _record(self, call: str) -> None:
        self.calls.append(call)
        self.threads[call] = threading.current_thread().name

    def defer(self) -> None:
        self._record("defer")

    def service(self) -> None:
        self._record("service")
        self.has_outcome.set()
        if self.work is not None:
            self.work()

    def cancel(self) -> None:
        self._record("cancel")
        self.has_outcome.set()

    @property
    def outcomes(self) -> list[str]:
        return [call for call in self.calls if call != "defer"]

    def wait(self) -> None:
        assert self.has_outcome.wait(DEADLINE_SECONDS)


class Gate:
    """Keeps workers busy until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)

    def task(self) -> RecordingTask:
        return RecordingTask(self._stay)

    def _stay(self) -> None:
        self._entered.release()
        assert self._open.wait(DEADLINE_SECONDS)

    def wait_until_entered(self, times: int = 1) -> None:
        for _ in range(times):
            assert self._entered.acquire(timeout=DEADLINE_SECONDS)

    def open(self) -> None:
        self._open.set()


@contextlib.contextmanager
def busy_dispatcher(
    threads: int = 1, max_pending: int | None = None
) -> Iterator[tuple[ThreadedTaskDispatcher, Gate]]:
    """A dispatcher all of whose workers are busy until the gate is opened."""
    gate = Gate()
    dispatcher = ThreadedTaskDispatcher(threads, max_pending=max_pending)
    try:
        for _ in range(threads):
            dispatcher.addTask(gate.task())
        gate.wait_until_entered(threads)
        yield dispatcher, gate
    finally:
        gate.open()
        assert dispatcher.shutdown(timeout=DEADLINE_SECONDS) == 0


def wait_until(is_true: Callable[[], object]) -> None:
    """Return when `is_true()` is; fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)

"""The dispatcher that runs tasks on threads.

`ThreadedTaskDispatcher` is a queue in Rust and worker threads whose outer loop is Python: Rust is called for
the next task and waits there without the interpreter, but never lies below application code. What the workers
hold is their end of the queue, not the dispatcher: a dispatcher that is dropped is collected, its threads
end, and what waits is cancelled. Nothing here holds a lock while calling a task, nor while starting a thread.

The queue is a root for the garbage collector: a task that waits keeps alive what it refers to, the dispatcher
included, until it is served, cancelled by `shutdown`, or the dispatcher is dropped.

Must not know servers or sockets. Source: `ITask`, `ITaskDispatcher`; design, section 3; faults R21-R52.
"""

from __future__ import annotations

import logging
import operator
import threading
import time
import weakref
from types import TracebackType
from typing import Self, TypedDict

from zope.interface import implementer

from wiretask import housekeeper
from wiretask._native import TaskQueue, is_exiting
from wiretask.errors import ServerClosedError, TaskQueueFullError
from wiretask.housekeeper import cancel_task, report
from wiretask.interfaces import ITaskDispatcher
from wiretask.task_classes import Task, TaskLike, check_task, task_classes
from wiretask.workers import cancel_orphans, run_worker

__all__ = ["DispatcherStats", "Task", "TaskLike", "ThreadedTaskDispatcher"]

_log = logging.getLogger("wiretask.task")

#: How long `shutdown` waits between two looks at signals, in seconds.
_SLICE_SECONDS = 0.1


class DispatcherStats(TypedDict):
    """Counters since the dispatcher was made (in the child of a fork: since then), and its state now.

    When nothing moves, `added == started + cancelled + pending`, where `cancelled` counts accepted tasks
    only. `oldest_wait_seconds` may be too long by the time between two arrivals.
    """

    added: int
    started: int
    cancelled: int
    refused: int
    errors: int
    pending: int
    highest_pending: int
    oldest_wait_seconds: float
    threads_target: int
    threads_alive: int
    threads_idle: int
    threads_busy: int
    threads_lost: int
    wakeups: int


@implementer(ITaskDispatcher)
class ThreadedTaskDispatcher:
    """Runs tasks on worker threads, in the order in which they were added.

    Every method may be called from any thread, workers and tasks included, and by tasks' own methods;
    `addTask` from signal handlers too. A context manager: leaving it shuts the dispatcher down.

    Args:
        threads: how many workers to start at once, 0 or more; 0 until `setThreadCount`: tasks wait.
        max_pending: how many tasks may wait, 1 or more; None: any number.
        name: names the threads (`wiretask-<name>-<n>`) and stands in messages.
    Raises:
        TypeError, ValueError: an argument is not as said above.
        RuntimeError: the system gave no more threads.
    """

    def __init__(self, threads: int = 0, *, max_pending: int | None = None, name: str = "wiretask") -> None:
        count = _checked_count("threads", threads)
        if max_pending is not None:
            try:
                max_pending = operator.index(max_pending)
            except TypeError:
                raise TypeError(f"max_pending must be None or an int, not {max_pending!r}") from None
            if max_pending < 1:
                raise ValueError(f"max_pending must be None or at least 1, not {max_pending}")
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {type(name).__name__}")
        self._name = name
        self._max_pending = max_pending
        self._threads: dict[int, threading.Thread] = {}
        self._make_queue()
        _register(self)
        if count:
            self.setThreadCount(count)

    @property
    def name(self) -> str:
        """The dispatcher's name."""
        return self._name

    def addTask(self, task: TaskLike) -> None:  # noqa: N802 - the interface's name
        """Call `task.defer()`, queue the task and wake a worker.

        Args:
            task: an ITask; a subclass of `Task` or any object with its three methods.
        Raises:
            ValueError: task is None.
            TypeError: a method of ITask is missing; the message names it.
            TaskQueueFullError: `max_pending` tasks wait.
            ServerClosedError: the dispatcher was shut down.
            BaseException: what `task.defer()` raised.
        After failure: the task is not queued; it was cancelled, unless it is no task at all.
        Threads: any; signal handlers too. Blocking: never, beyond what `defer()` does.
        """
        if type(task) not in task_classes:
            check_task(task)
        try:
            task.defer()
        except BaseException:
            cancel_task(task)
            raise
        outcome = self._queue.push(task)
        if outcome is not None:
            self._handle_outcome(outcome, task)

    def setThreadCount(self, count: int) -> None:  # noqa: N802 - the interface's name
        """Set the number of workers; surplus ones leave after the task at hand, whatever waits.

        Args:
            count: 0..4096. Above 0 opens a dispatcher that was shut.
        Raises:
            TypeError, ValueError: count is no such number; nothing has changed.
            RuntimeError: the system gave no more threads; those that could be started work, and are the count
            now.
        Threads: any. Blocking: until the new threads have started; never for those that leave.
        """
        count = _checked_count("count", count)
        queue = self._queue
        queue.set_target(count)
        if count:
            housekeeper.start()
            self._start_workers(queue, count)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> int:
        """Take no more tasks, stop the workers, and return how many of them still run.

        Args:
            cancel_pending: true: cancel what waits, at once. False: let the workers finish it within the
                timeout; what is left stays queued until `setThreadCount` opens the dispatcher, and is
                cancelled when the dispatcher is dropped.
            timeout: how long to wait for the workers, in seconds; 0 or less does not wait.
        Returns:
            How many workers still run a task when the time is over, the caller not counted; also logged.
        Raises:
            TypeError: timeout is no number; nothing has changed.
            KeyboardInterrupt: a signal came; what was to be cancelled has been.
        Threads: any; a worker does not wait for itself. Idempotent. Blocking: up to `timeout`.
        """
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be a number of seconds, not {timeout!r}")
        deadline = time.monotonic() + max(0.0, timeout)
        queue = self._queue
        queue.close(drain=not cancel_pending)
        interrupt = cancel_orphans(queue.orphans()) if cancel_pending else None
        own = 1 if queue.is_worker_thread() else 0
        try:
            if interrupt is not None:
                raise interrupt
            running = self._wait_for_workers(queue, own, deadline)
        finally:
            interrupt = None
            if not queue.is_open():
                queue.set_target(0)
        if running:
            _log.warning("%d thread(s) of dispatcher %r still running", running, self._name)
        elif not queue.is_open() and not is_exiting():
            self._join_threads(deadline)
        return running

    def getPendingTasksEstimate(self) -> int:  # noqa: N802 - the interface's name
        """Return how many tasks wait: exact when nothing moves. Any thread; never blocks."""
        return self._queue.pending()

    def stats(self) -> DispatcherStats:
        """Return all counters at this moment. Any thread; never blocks."""
        return self._queue.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        stats = self._queue.stats()
        threads = f"{stats['threads_alive']} of {stats['threads_target']} threads"
        return f"<{type(self).__qualname__} {self._name!r}: {threads}, {stats['pending']} tasks wait>"

    def _make_queue(self) -> None:
        self._queue = TaskQueue(self._name, self._max_pending)
        self._queue.belong_to(weakref.ref(self))
        # The first task finds out whether the housekeeper has to be started.
        self._queue.ask_for_care()

    def _handle_outcome(self, outcome: int, task: TaskLike) -> None:
        """Deal with what `push` said besides "queued"."""
        if outcome == TaskQueue.NEEDS_CARE:
            self._mend()
            return
        cancel_task(task)
        if outcome == TaskQueue.FULL:
            raise TaskQueueFullError(
                f"{self._max_pending} tasks wait in dispatcher {self._name!r}, the most that may"
            )
        raise ServerClosedError(f"dispatcher {self._name!r} was shut down; setThreadCount() opens it again")

    def _mend(self) -> None:
        """Start what has to run and does not; failure is logged, and tried again with the next task."""
        queue = self._queue
        if not queue.take_care():
            return
        try:
            housekeeper.start()
            self._start_workers(queue, None)
        except Exception as error:
            queue.ask_for_care()
            report(_log, "dispatcher %r cannot replace its threads", self._name, error=error)

    def _start_workers(self, queue: TaskQueue, requested: int | None) -> None:
        """Start a thread for every free seat; `requested` falls to what there is if that fails. Nothing at
        exit.
        """
        while not is_exiting() and (worker := queue.claim()) is not None:
            thread = threading.Thread(
                target=run_worker, args=(worker,), name=f"wiretask-{self._name}-{worker.index}", daemon=True
            )
            try:
                thread.start()
            except BaseException:
                worker.give_up(requested)
                if is_exiting():
                    return
                raise
            self._threads[worker.index] = thread

    def _wait_for_workers(self, queue: TaskQueue, own: int, deadline: float) -> int:
        """Wait in slices, so that signals are seen; return how many workers run besides the caller."""
        while True:
            rest = deadline - time.monotonic()
            left = queue.wait_for_workers(own, max(0.0, min(rest, _SLICE_SECONDS)))
            if left <= own or rest <= 0 or queue.is_open() or is_exiting():
                return max(0, left - own)

    def _join_threads(self, deadline: float) -> None:
        """Wait for threads that have left the queue and have only to end."""
        for index, thread in list(self._threads.items()):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
            if not thread.is_alive() and self._threads.get(index) is thread:
                del self._threads[index]

    def _handle_fork(self) -> None:
        """In the child of a fork: leave queue and threads to the parent, and begin anew with the next
        task.
        """
        old = self._queue
        self._threads = {}
        self._make_queue()
        self._queue.set_target(old.target())
        if not old.is_open():
            self._queue.close(drain=False)


def _checked_count(argument: str, count: int) -> int:
    """The number of workers that was asked for, if it can be had."""
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"{argument} must be an int of 0..{TaskQueue.MAX_WORKERS}, not {count!r}") from None
    if not 0 <= number <= TaskQueue.MAX_WORKERS:
        raise ValueError(f"{argument} must be 0..{TaskQueue.MAX_WORKERS}, not {number}")
    return number


_dispatchers: dict[int, weakref.ref[ThreadedTaskDispatcher]] = {}


def _register(dispatcher: ThreadedTaskDispatcher) -> None:
    """Have the dispatcher dealt with at exit and after a fork, as long as it lives."""
    reference = weakref.ref(dispatcher, _forget)
    _dispatchers[id(reference)] = reference


def _forget(reference: weakref.ref[ThreadedTaskDispatcher]) -> None:
    _dispatchers.pop(id(reference), None)


def _living() -> list[ThreadedTaskDispatcher]:
    return [dispatcher for reference in list(_dispatchers.values()) if (dispatcher := reference()) is not None]


def _handle_exit() -> None:
    """Dismiss all workers and cancel what waits; a worker that is busy is left behind."""
    for dispatcher in _living():
        dispatcher._queue.close(drain=False)
        cancel_orphans(dispatcher._queue.orphans())


def _handle_fork() -> None:
    for dispatcher in _living():
        dispatcher._handle_fork()


housekeeper.at_exit(_handle_exit)
housekeeper.after_fork(_handle_fork)

"""A small correct task dispatcher in plain Python, and copies that each break one promise, on purpose."""

from __future__ import annotations

import contextlib
import threading
from collections import deque


class PlainDispatcher:
    """A correct dispatcher: a deque, a condition and threads. Without logging, and slow."""

    def __init__(self):
        self.changed = threading.Condition()
        self.waiting = deque()
        self.target = 0
        self.workers = set()
        self.is_open = True
        self.drains = False

    def addTask(self, task):  # noqa: N802
        if task is None:
            raise ValueError("no task")
        try:
            task.defer()
        except BaseException:
            self.cancel(task)
            raise
        with self.changed:
            if self.is_open:
                self.queue(task)
                self.changed.notify_all()
                return
        self.cancel(task)
        raise RuntimeError("shut down")

    def queue(self, task):
        self.waiting.append(task)

    def setThreadCount(self, count):  # noqa: N802
        with self.changed:
            self.target = count
            self.is_open = self.is_open or count > 0
            self.drains = False
            for _ in range(count - len(self.workers)):
                thread = threading.Thread(target=self.run, daemon=True)
                self.workers.add(thread)
                thread.start()
            self.changed.notify_all()

    def shutdown(self, cancel_pending=True, timeout=5):
        cancelled = []
        with self.changed:
            self.is_open = False
            self.drains = not cancel_pending
            if cancel_pending:
                cancelled, self.waiting = self.waiting, deque()
            if not self.drains:
                self.target = 0
            self.changed.notify_all()
        for task in cancelled:
            self.cancel(task)
        self.wait_for_workers(timeout)
        with self.changed:
            self.target = 0 if not self.is_open else self.target
            self.changed.notify_all()

    def wait_for_workers(self, timeout):
        own = threading.current_thread()
        with self.changed:
            self.changed.wait_for(lambda: not self.workers - {own} or self.is_open, timeout)

    def getPendingTasksEstimate(self):  # noqa: N802
        return len(self.waiting)

    def run(self):
        own = threading.current_thread()
        while True:
            with self.changed:
                while not self.must_leave() and not self.waiting:
                    self.changed.wait()
                if self.must_leave():
                    self.workers.discard(own)
                    self.changed.notify_all()
                    return
                task = self.take()
            self.serve(task)

    def must_leave(self):
        return len(self.workers) > self.target or (self.drains and not self.waiting)

    def take(self):
        return self.waiting.popleft()

    def serve(self, task):
        with contextlib.suppress(BaseException):
            task.service()

    def cancel(self, task):
        with contextlib.suppress(BaseException):
            task.cancel()


class LosesTasksOnShutdown(PlainDispatcher):
    def shutdown(self, cancel_pending=True, timeout=5):
        if cancel_pending:
            with self.changed:
                self.waiting.clear()
        super().shutdown(cancel_pending, timeout)


class LosesTheLastOnShutdown(PlainDispatcher):
    def shutdown(self, cancel_pending=True, timeout=5):
        with self.changed:
            if cancel_pending and len(self.waiting) > 2:
                self.waiting.pop()
        super().shutdown(cancel_pending, timeout)


class RunsWhatItCancelled(PlainDispatcher):
    def cancel(self, task):
        super().cancel(task)
        self.serve(task)


class CancelsWhatFailed(PlainDispatcher):
    def serve(self, task):
        try:
            task.service()
        except BaseException:
            self.cancel(task)


class ServesTwice(PlainDispatcher):
    def serve(self, task):
        super().serve(task)
        super().serve(task)


class ForgetsTheSecond(PlainDispatcher):
    """Takes an object that waits already for a repetition."""

    def queue(self, task):
        if task not in self.waiting:
            super().queue(task)


class DefersLate(PlainDispatcher):
    """Calls defer() on the worker."""

    def addTask(self, task):  # noqa: N802
        if task is None:
            raise ValueError("no task")
        with self.changed:
            if self.is_open:
                self.queue(task)
                self.changed.notify_all()
                return
        task.defer()
        self.cancel(task)
        raise RuntimeError("shut down")

    def serve(self, task):
        task.defer()
        super().serve(task)


class SwallowsDeferErrors(PlainDispatcher):
    def addTask(self, task):  # noqa: N802
        with contextlib.suppress(LookupError):
            super().addTask(task)


class QueuesWhatCouldNotDefer(PlainDispatcher):
    def addTask(self, task):  # noqa: N802
        try:
            super().addTask(task)
        except LookupError:
            with self.changed:
                self.queue(task)
            raise


class ServesAtOnce(PlainDispatcher):
    """Runs a task in the adding thread when no worker is there."""

    def queue(self, task):
        if self.workers:
            super().queue(task)
        else:
            task.service()


class LastComesFirst(PlainDispatcher):
    def take(self):
        return self.waiting.pop()


class DiesOfAnException(PlainDispatcher):
    def serve(self, task):
        try:
            task.service()
        except Exception:
            with self.changed:
                self.target = 0


class DiesOfSystemExit(PlainDispatcher):
    """Catches Exception where BaseException is meant."""

    def serve(self, task):
        try:
            task.service()
        except Exception:
            pass
        except BaseException:
            with self.changed:
                self.target = 0


class StopsCancellingAtTheFirstError(PlainDispatcher):
    def cancel(self, task):
        task.cancel()


class NeverShrinks(PlainDispatcher):
    def must_leave(self):
        return super().must_leave() and (not self.is_open)


class ServesTheBacklogBeforeItShrinks(PlainDispatcher):
    def must_leave(self):
        return super().must_leave() and not self.waiting


class NeverGrows(PlainDispatcher):
    def setThreadCount(self, count):  # noqa: N802
        super().setThreadCount(min(count, 1) if len(self.workers) <= 1 else count)


class WaitsForItself(PlainDispatcher):
    def wait_for_workers(self, timeout):
        with self.changed:
            self.changed.wait_for(lambda: not self.workers or self.is_open, timeout)


class DoesNotWait(PlainDispatcher):
    def wait_for_workers(self, timeout):
        pass


class CancelsWhenToldToDrain(PlainDispatcher):
    def shutdown(self, cancel_pending=True, timeout=5):
        super().shutdown(True, timeout)


class TakesTasksWhenShut(PlainDispatcher):
    """What was added after shutdown waits for ever."""

    def addTask(self, task):  # noqa: N802
        with self.changed:
            if not self.is_open and task is not None:
                task.defer()
                self.queue(task)
                return
        super().addTask(task)


class RefusesWithoutCancelling(PlainDispatcher):
    def addTask(self, task):  # noqa: N802
        if not self.is_open and task is not None:
            task.defer()
            raise RuntimeError("shut down")
        super().addTask(task)


class NeverOpensAgain(PlainDispatcher):
    def setThreadCount(self, count):  # noqa: N802
        if self.is_open:
            super().setThreadCount(count)


class TakesNone(PlainDispatcher):
    def addTask(self, task):  # noqa: N802
        if task is not None:
            super().addTask(task)


class StumblesOverNone(PlainDispatcher):
    def addTask(self, task):  # noqa: N802
        task.defer()
        super().addTask(task)


class CountsWhatRuns(PlainDispatcher):
    running = 0

    def serve(self, task):
        self.running += 1
        super().serve(task)
        self.running -= 1

    def getPendingTasksEstimate(self):  # noqa: N802
        return len(self.waiting) + self.running


class KeepsCounting(PlainDispatcher):
    """An estimate that forgets what was cancelled."""

    added = 0

    def queue(self, task):
        self.added += 1
        super().queue(task)

    def take(self):
        self.added -= 1
        return super().take()

    def getPendingTasksEstimate(self):  # noqa: N802
        return self.added

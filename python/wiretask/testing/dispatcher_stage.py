"""The stage on which a law of task dispatchers is shown: a fresh dispatcher, and what scenes do with it.

Waiting has a deadline, which only a faulty dispatcher reaches. Must not know: which scenes there are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from wiretask.testing.laws import DispatcherLaw, LawBroken
from wiretask.testing.probe_tasks import Gate, ProbeTask, TaskDispatcherLike, wait_until

__all__ = ["Stage", "shown_calls"]


class Stage:
    """One dispatcher, the tasks that were given to it, and what is said about them in the end.

    Every method raises LawBroken where the dispatcher does not do what it must.
    """

    def __init__(
        self, law: DispatcherLaw, factory: Callable[[], TaskDispatcherLike], deadline_seconds: float
    ) -> None:
        self.law = law
        self.deadline_seconds = deadline_seconds
        self.gate = Gate(2 * deadline_seconds)
        self.tasks: list[ProbeTask] = []
        self.dispatcher = self.attempt("making a dispatcher", factory)

    def add(self, task: ProbeTask | None = None) -> ProbeTask:
        """Add a task, which the dispatcher must take."""
        task = task or ProbeTask()
        self.tasks.append(task)
        self.attempt("addTask()", lambda: self.dispatcher.addTask(task))
        return task

    def fill(self, threads: int, *, behind: int = 0) -> list[ProbeTask]:
        """Keep this many workers busy, and queue so many tasks behind them, which are returned."""
        self.set_threads(threads)
        for _ in range(threads):
            self.add(ProbeTask(self.gate.stay))
        self.expect(lambda: self.gate.inside == threads, f"{threads} tasks do not run on {threads} threads")
        return [self.add() for _ in range(behind)]

    def set_threads(self, count: int) -> None:
        """Set the number of workers."""
        self.attempt(f"setThreadCount({count})", lambda: self.dispatcher.setThreadCount(count))

    def shut_down(self, cancel_pending: bool = True, timeout: float | None = None) -> None:
        """Shut the dispatcher down."""
        seconds = self.deadline_seconds if timeout is None else timeout
        self.attempt("shutdown()", lambda: self.dispatcher.shutdown(cancel_pending, seconds))

    def attempt(self, what: str, call: Callable[[], Any]) -> Any:
        """The call's result, or the law broken by what it raised."""
        try:
            return call()
        except Exception as error:
            self.fail(f"{what} raised {error!r}", error)

    def expect(self, is_true: Callable[[], object], otherwise: str) -> None:
        """Wait for something that must happen."""
        if not wait_until(is_true, self.deadline_seconds):
            self.fail(f"{otherwise}, not in {self.deadline_seconds:g} s")

    def expect_outcome(self, task: ProbeTask, outcome: str, what: str) -> None:
        """Wait for one task's only outcome."""
        self.expect(lambda: task.outcomes, f"{what} was neither served nor cancelled")
        if len(task.outcomes) > 1:
            raise LawBroken(DispatcherLaw.ONE_OUTCOME, f"{what} got {shown_calls(task)}")
        if task.outcomes != [outcome]:
            self.fail(f"{what} got {shown_calls(task)}, not {outcome}() alone")

    def finish(self) -> None:
        """Open the gate, shut down, and hold everybody to exactly one outcome."""
        self.gate.open()
        self.shut_down()
        for number, task in enumerate(self.tasks, 1):
            what = f"task {number} of {len(self.tasks)}"
            one = DispatcherLaw.ONE_OUTCOME
            if not wait_until(lambda task=task: task.outcomes, self.deadline_seconds):  # type: ignore[misc]
                raise LawBroken(one, f"{what} was neither served nor cancelled, though the dispatcher is shut down")
            if len(task.outcomes) != 1:
                raise LawBroken(one, f"{what} got {shown_calls(task)}")

    def clear(self) -> None:
        """Leave no thread behind, as far as that depends on the kit."""
        self.gate.open()
        with suppress(Exception):
            self.dispatcher.shutdown(True, self.deadline_seconds)

    def fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        """Say that the scene's law is broken."""
        raise LawBroken(self.law, what) from cause


def shown_calls(task: ProbeTask) -> str:
    """Return what was called of a task, in words."""
    return ", then ".join(f"{call}()" for call in task.calls) or "no call at all"

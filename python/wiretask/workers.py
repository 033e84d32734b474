"""The outer loops of those who call tasks: a worker, and whoever cancels what a closed queue holds.

They are Python, so that no Rust frame ever lies below application code: a thread that is wedged in
`service()` above one would abort the process at exit. What is taken from the queue stays in the *cell*, a
list of one element, until the moment the task's method is called: between emptying the cell and the call
nothing can be raised (an asynchronous exception lands on entry to a Python function, on a jump back, or after
a call into C). So whatever is raised before loses nothing, since the task in the cell is given out again, and
whatever is raised after is the task's. What is thrown at a worker that waits strikes on the jump back that
follows the wait.

Must not know the dispatcher: a worker must not keep it alive. Source: design, section 3; faults R21, R22,
R26.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from wiretask._native import Orphans, Worker
from wiretask.housekeeper import report, safe_repr

__all__ = ["cancel_orphans", "run_worker"]

_log = logging.getLogger("wiretask.task")

#: How often a task may fail to start before it is given up.
_MAX_ATTEMPTS = 5


def run_worker(worker: Worker) -> None:
    """A worker thread from its beginning to its end; the caller of every task."""
    try:
        _serve(worker)
    except BaseException as error:
        report(_log, "worker %d of dispatcher %r ends and is replaced", worker.index, worker.name, error=error)
    finally:
        worker.leave()


def _serve(worker: Worker) -> None:
    """Serve tasks until the worker has to leave, whatever they raise."""
    cell = worker.cell
    task: Any = None
    while True:
        try:
            for task in worker:
                if task is None:
                    continue
                service = task.service
                cell[0] = None
                service()
                task = service = None  # a worker that waits keeps nothing alive
            return
        except BaseException as error:
            service = None
            # Another one may be thrown in by another thread while this one is dealt with.
            with suppress(BaseException):
                _handle_failure(worker, task, error)
            task = None


def _handle_failure(worker: Worker, task: Any, error: BaseException) -> None:
    """Log what came out of a task, or between tasks; give up one that cannot be started."""
    worker.count_error()
    cell = worker.cell
    if cell[0] is None:
        if task is None:
            report(_log, "exception in worker %d of dispatcher %r", worker.index, worker.name, error=error)
        else:
            report(_log, "exception in task %s", safe_repr(task), error=error)
        return
    report(_log, "task %s could not be started", safe_repr(cell[0]), error=error)
    if worker.attempts >= _MAX_ATTEMPTS:
        cancel = cell[0].cancel
        cell[0] = None
        cancel()


def cancel_orphans(orphans: Orphans) -> KeyboardInterrupt | None:
    """Cancel all tasks of a closed queue; what they raise is logged. Return a Ctrl-C that came meanwhile.

    A task whose `cancel` cannot even be looked up, time after time, is given up and logged.
    """
    cell = orphans.cell
    interrupt: KeyboardInterrupt | None = None
    task: Any = None
    attempts = 0
    while True:
        try:
            while orphans.next():
                task = cell[0]
                cancel = task.cancel
                cell[0] = None
                cancel()
                task = cancel = None
                attempts = 0
            return interrupt
        except BaseException as error:
            cancel = None
            if isinstance(error, KeyboardInterrupt):
                interrupt = error
            else:
                report(_log, "exception in cancel() of task %s", safe_repr(task), error=error)
            attempts += 1
            if attempts >= _MAX_ATTEMPTS and cell[0] is not None:
                cell[0] = None
            task = None

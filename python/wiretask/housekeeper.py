"""The housekeeper: one daemon thread a process that does in Python what native threads cannot.

It waits in Rust, asleep, and does one chore after the other: writes the engine's log events into `logging`,
drops references, calls what it is told to call, cancels tasks that nobody else can, has lost workers
replaced, and watches queues that have grown long. It also owns how the process ends (`at_exit`) and how the
child of a fork begins. A chore is a tuple, its kind first; `perform` knows the kinds. Must not know servers
or dispatchers: they come as callables. No chore may wait for long: the next one waits for it.

Source: design, section 3 (Housekeeper, Fork); faults R24, R40-R43.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from wiretask import _native

__all__ = ["after_fork", "at_exit", "cancel_task", "is_current_thread", "report", "safe_repr", "start"]

_log = logging.getLogger("wiretask.task")

#: How often a long queue is looked at, in seconds. A queue that is short costs nothing.
WATCH_INTERVAL_SECONDS = 1.0
#: How long the end of the process waits for threads that are outside the interpreter, in seconds.
EXIT_TIMEOUT_SECONDS = 2.0


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


_ident: int | None = None
_exit_callbacks: list[Callable[[], object]] = []
_fork_callbacks: list[Callable[[], object]] = []


def start() -> None:
    """Start the housekeeper of this process, unless it runs already.

    Any thread; a no-op while the process ends.
    Raises:
        RuntimeError: the system gave no more threads; nothing has changed then.
    """
    if _native.is_exiting():
        return
    mailroom = _native.Mailroom.claim()
    if mailroom is not None:
        try:
            threading.Thread(target=_run, args=(mailroom,), name="wiretask-housekeeper", daemon=True).start()
        except RuntimeError:
            # The end may have begun since it was asked about: then there are no more threads.
            if not _native.is_exiting():
                raise


def is_current_thread() -> bool:
    """Return whether the caller is the housekeeper, which must not wait for anything that needs it."""
    return threading.get_ident() == _ident


def at_exit(callback: Callable[[], object]) -> None:
    """Have `callback` called when the process begins to end: it wakes and dismisses threads, and does not
    wait.
    """
    _exit_callbacks.append(callback)


def after_fork(callback: Callable[[], object]) -> None:
    """Have `callback` called in the child of a fork: it forgets what the parent's threads were doing."""
    _fork_callbacks.append(callback)


def report(logger: logging.Logger, message: str, *arguments: object, error: BaseException) -> None:
    """Log an error with its traceback, and never raise.

    A logging handler that raises is reported through `sys.unraisablehook`; if that raises too, nothing is
    left to be told.
    """
    try:
        logger.error(message, *arguments, exc_info=error)
    except BaseException as failure:
        # Also what a signal or another thread threw in here: who reports must come to its end.
        with suppress(BaseException):
            _LogFailure(failure)
    finally:
        del error


class _LogFailure:
    """Hands an exception to `sys.unraisablehook`, whose argument cannot be made from Python."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __del__(self) -> None:
        raise self.error


def safe_repr(thing: object) -> str:
    """`repr(thing)`, or its class and the reason why there is none."""
    try:
        return repr(thing)
    except Exception as error:
        return f"<{type(thing).__qualname__} object, whose repr raised {type(error).__name__}>"


def cancel_task(task: _Cancellable) -> BaseException | None:
    """Call `task.cancel()` and return what it raised, which is logged; None if nothing."""
    try:
        task.cancel()
    except BaseException as error:
        report(_log, "exception in cancel() of task %s", safe_repr(task), error=error)
        return error
    return None


def perform(chore: tuple[Any, ...], watches: list[_native.QueueWatch]) -> None:
    """Do one chore; what it raises is the caller's to report."""
    match chore:
        case ("log", level, logger, message):
            logging.getLogger(logger).log(level, "%s", message)
        case ("call", callable_, arguments):
            callable_(*arguments)
        case ("cancel", task):
            cancel_task(task)
        case ("mend", reference):
            dispatcher = reference() if reference is not None else None
            if dispatcher is not None:
                dispatcher._mend()
        case ("watch", watch):
            watches.append(watch)
        case ("drop", objects):
            del objects[:]
        case _:
            raise ValueError(f"unknown chore {chore!r}")


def look_at(watch: _native.QueueWatch, now_seconds: float) -> None:
    """Tell the operator if a queue keeps climbing, or has recovered."""
    notice = watch.sample(now_seconds)
    if notice is None:
        return
    depth, growth, oldest_wait_seconds = notice
    if growth:
        _log.warning(
            "the task queue of %r keeps climbing: %d tasks wait, %d more than when last looked at; "
            "the oldest has waited up to %.1f s",
            watch.name,
            depth,
            growth,
            oldest_wait_seconds,
        )
    else:
        _log.info("the task queue of %r has recovered: %d tasks wait", watch.name, depth)


def _run(mailroom: _native.Mailroom) -> None:
    """The housekeeper's thread: one chore after the other until the process ends."""
    global _ident
    _ident = threading.get_ident()
    watches: list[_native.QueueWatch] = []
    while True:
        try:
            if not _do_next(mailroom, watches):
                return
        except BaseException as error:
            report(_log, "exception in a chore of the housekeeper", error=error)


def _do_next(mailroom: _native.Mailroom, watches: list[_native.QueueWatch]) -> bool:
    """Wait for a chore or the time to look at queues, and do it; False when the housekeeper must leave."""
    if mailroom.wait(WATCH_INTERVAL_SECONDS if watches else None):
        cell = mailroom.cell
        chore, cell[0] = cell[0], None
        perform(chore, watches)
        return True
    if not watches or _native.is_exiting():
        return False
    for watch in watches[:]:
        look_at(watch, time.monotonic())
        if watch.try_end():
            watches.remove(watch)
    return True


def _handle_exit() -> None:
    """End the threads that wait in Rust before the interpreter goes; those wedged in Python are left
    behind.
    """
    _native.begin_exit()
    for callback in _exit_callbacks:
        try:
            callback()
        except BaseException as error:
            report(_log, "exception at exit", error=error)
    _native.finish_exit(EXIT_TIMEOUT_SECONDS)


def _handle_fork() -> None:
    global _ident
    _ident = None
    _native.reset_after_fork()
    for callback in _fork_callbacks:
        try:
            callback()
        except BaseException as error:
            report(_log, "exception in the child of a fork", error=error)


if _native.claim_exit_hook():
    atexit.register(_handle_exit)
    os.register_at_fork(after_in_child=_handle_fork)

"""What stands in the map of a loop: what it is asked, and what is called for which event.

Strategy: asyncore's order of calls. One entry that fails never takes the others with it: its own `handle_error`
deals with that. Marks on methods say what need not be asked on every turn, and what does nothing.
Must not know: `Dispatcher`, how a loop waits, in which order entries have their turn.
Source: the published behaviour of `asyncore` up to Python 3.11.
"""

from __future__ import annotations

import contextlib
import errno
import select
import sys
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol, TypeAlias, TypeVar

__all__ = [
    "DISCONNECTED_ERRNOS",
    "ENDED",
    "LEAVES_THE_LOOP",
    "READ",
    "URGENT",
    "WRITE",
    "ExitNow",
    "LoopEntry",
    "SocketMap",
    "announced",
    "deliver",
    "does_nothing",
    "handle_failure",
    "interest_of",
    "is_announced",
    "is_passive",
    "passes_on",
]

DISCONNECTED_ERRNOS = frozenset(
    {
        errno.ECONNRESET,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.EBADF,
    }
)
"""Errors of a socket that say no more than that the connection has ended: they lead to `handle_close`."""

READ = select.POLLIN
URGENT = select.POLLPRI
WRITE = select.POLLOUT
ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class ExitNow(Exception):  # noqa: N818 (the published name)
    """Raised by a handler to end the loop: it passes through `handle_error` and out of `loop`."""


LEAVES_THE_LOOP = (ExitNow, KeyboardInterrupt, SystemExit)
"""What is meant to end the loop, and is never handled as an error."""


class LoopEntry(Protocol):
    """What an entry of the map must offer. `Dispatcher` does.

    Optional methods: `start_in_loop()`, called whenever a loop over the map begins, so it must bear
    repetition; `read_interest()` and `write_interest()`, asked in place of `readable` and `writable`. Optional
    attributes: `resting_until`, a time
    of `time.monotonic()` before which it is not polled for input; `has_input`, true while it holds input that
    was read already: if it wants to read, it has a read event at once.
    """

    def readable(self) -> bool:
        """Return whether to wait for input."""

    def writable(self) -> bool:
        """Return whether to wait for room for output."""

    def handle_read_event(self) -> None:
        """Deal with input."""

    def handle_write_event(self) -> None:
        """Deal with room for output."""

    def handle_expt_event(self) -> None:
        """Deal with urgent input."""

    def handle_close(self) -> None:
        """Deal with the end of the connection."""

    def handle_error(self) -> None:
        """Deal with the exception being handled."""

    def close(self) -> None:
        """Close, and leave the map."""


SocketMap: TypeAlias = MutableMapping[int, LoopEntry]
"""A map from file descriptor to entry, of any kind."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def announced(method: _Method) -> _Method:
    """Mark a `readable` or `writable` that need not be asked on every turn, and return it.

    It promises that `interest_changed()` is called whenever the answer has changed. (After a write event it is
    asked anyway.)
    """
    method._is_announced = True  # type: ignore[attr-defined]
    return method


def does_nothing(method: _Method) -> _Method:
    """Mark a handler that deals with its event in no way, and return it."""
    method._does_nothing = True  # type: ignore[attr-defined]
    return method


def passes_on(method: _Method) -> _Method:
    """Mark a `handle_write_event` that only passes the event on to `handle_write`, and return it."""
    method._passes_on = True  # type: ignore[attr-defined]
    return method


def is_announced(entry: Any) -> bool:
    """Return whether both `readable` and `writable` of an entry are marked, so that it need not be asked."""
    # `is True`: a fake may have every attribute one asks for.
    methods = getattr(entry, "readable", None), getattr(entry, "writable", None)
    return all(getattr(method, "_is_announced", False) is True for method in methods)


def is_passive(handler: Any) -> bool:
    """Return whether a handler is marked as doing nothing, or as passing on."""
    return getattr(handler, "_does_nothing", False) is True or getattr(handler, "_passes_on", False) is True


def interest_of(entry: Any) -> int:
    """Ask an entry and return what it is to be polled for: READ, URGENT, WRITE. Raises what it raises."""
    read_interest = getattr(entry, "read_interest", None) or entry.readable
    interest = READ | URGENT if read_interest() else 0
    write_interest = getattr(entry, "write_interest", None)
    if write_interest is not None:
        return interest | WRITE if write_interest() else interest
    return interest | WRITE if entry.writable() and not getattr(entry, "accepting", False) else interest


def deliver(entry: LoopEntry, events: int, is_registered: Callable[[], bool]) -> None:
    """Call the handlers that `events` stand for, as long as the entry stays registered. Whatever they raise."""
    if events & READ:
        entry.handle_read_event()
    if events & WRITE and is_registered():
        entry.handle_write_event()
    if events & URGENT and is_registered():
        entry.handle_expt_event()
    # With input left to read, the end is found by reading on, if somebody reads: closing now would lose it.
    if events & ENDED and is_registered() and not (events & READ and _reads(entry)):
        entry.handle_close()


def handle_failure(entry: LoopEntry, drop: Callable[[], object]) -> None:
    """Have an entry deal with the current exception, which one of its methods raised.

    Args:
        drop: takes the entry out of its map; called if it cannot even handle its errors.
    Raises:
        What is meant to end the loop.
    """
    error = sys.exception()
    # Only this: a frame that keeps an exception is kept by it.
    leaves = isinstance(error, LEAVES_THE_LOOP)
    is_end = isinstance(error, OSError) and error.errno in DISCONNECTED_ERRNOS
    del error
    if leaves:
        raise
    if not is_end:
        _report_to(entry, drop)
        return
    try:
        entry.handle_close()
    except BaseException:
        _report_to(entry, drop)


def _reads(entry: Any) -> bool:
    return not is_passive(getattr(entry, "handle_read", None))


def _report_to(entry: LoopEntry, drop: Callable[[], object]) -> None:
    """Let the entry handle the current exception; if that fails, end the entry and go on with the others."""
    current = sys.exception()
    try:
        if isinstance(current, LEAVES_THE_LOOP):
            raise
        entry.handle_error()
    except LEAVES_THE_LOOP:
        raise
    except BaseException as second:
        if second is current:
            raise
        with contextlib.suppress(Exception):
            traceback.print_exception(second, file=sys.stderr)
        with contextlib.suppress(Exception):
            entry.close()
        drop()
    finally:
        del current

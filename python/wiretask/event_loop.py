"""The loop that dispatchers run in: who is asked what, and what is called for which event.

Strategy: asyncore's semantics. Every turn asks each entry of the map for its interest, waits, and calls the
handlers of what has happened; it works on a snapshot, so handlers may add, remove, close, and run a nested
loop. One entry that fails never takes the others with it. Waits in `select.poll`.
Must not know: `Dispatcher` or servers; an entry is anything with the methods of `LoopEntry`.
Source: the published behaviour of `asyncore` up to Python 3.11.
"""

from __future__ import annotations

import contextlib
import errno
import math
import select
import sys
import time
import traceback
from collections.abc import MutableMapping
from typing import Any, Protocol, Self, TypeAlias

from wiretask.wakeups import Wakeup

__all__ = [
    "DISCONNECTED_ERRNOS",
    "ExitNow",
    "LoopEntry",
    "SocketMap",
    "close_all",
    "loop",
    "socket_map",
    "wake_loops",
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

_READ = select.POLLIN
_URGENT = select.POLLPRI
_WRITE = select.POLLOUT
_ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class ExitNow(Exception):  # noqa: N818 (the published name)
    """Raised by a handler to end the loop: it passes through `handle_error` and out of `loop`."""


_LEAVES_THE_LOOP = (ExitNow, KeyboardInterrupt, SystemExit)


class LoopEntry(Protocol):
    """What an entry of the map must offer. `Dispatcher` does.

    Optional methods: `start_in_loop()`, called whenever a loop over the map begins, so it must bear
    repetition; `write_interest()`, asked in place of `writable`. Optional attribute: `resting_until`, a time
    of `time.monotonic()` before which it is not polled for input.
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

socket_map: SocketMap = {}
"""The map that is used where none is given: from file descriptor to dispatcher."""


def loop(
    timeout: float | None = 30.0,
    use_poll: bool = False,
    map: SocketMap | None = None,
    count: int | None = None,
) -> None:
    """Handle events until the map is empty, or for `count` turns.

    Before the first turn, `start_in_loop()` is called on the entries that have it; that is how a server
    starts. An entry that wants neither to read nor to write is not polled, but keeps the loop alive.

    Args:
        timeout: seconds that one turn waits at most, 0 or more; None: until something happens.
        use_poll: accepted for compatibility and ignored: the best mechanism is always used.
        map: the entries, by file descriptor; None: `socket_map`. Keys that are no descriptor are not polled.
        count: the number of turns; None: until the map is empty.
    Raises:
        ExitNow, KeyboardInterrupt, SystemExit: from a handler. Whatever `start_in_loop` raises, or
            `handle_error` passes on (see `IDispatcherEventHandler.handle_error`).
    After failure: the map is as the handlers left it; the loop can be run again.
    Threads: one loop per map at a time; other threads may add and remove entries, which takes effect with the
        next turn. Blocking: yes.
    """
    entries = socket_map if map is None else map
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout is a number of seconds, 0 or more, or None, not {timeout!r}")
    is_watched = False
    for entry in list(entries.values()):
        start = getattr(entry, "start_in_loop", None)
        if callable(start):
            is_watched = True
            start()
    turns = 0
    with contextlib.ExitStack() as stack:
        alarm = None
        if timeout != 0:
            # Without descriptors for it, a loop of dispatchers alone does not fail: it could not before.
            with contextlib.nullcontext() if is_watched else contextlib.suppress(OSError):
                alarm = stack.enter_context(_Alarm(entries))
        while entries and (count is None or turns < count):
            _turn(timeout, entries, alarm)
            turns += 1


def close_all(map: SocketMap | None = None, ignore_all: bool = False) -> None:
    """Close every entry of the map, and empty it.

    Args:
        map: None: `socket_map`.
        ignore_all: true: whatever `close` raises is ignored (except what is meant to end the loop). False:
            only the error of a descriptor that is closed already is.
    Raises:
        The first exception that is not ignored.
    After failure: all entries have been tried, and the map is empty.
    """
    entries = socket_map if map is None else map
    first_error: BaseException | None = None
    for entry in list(entries.values()):
        try:
            entry.close()
        except BaseException as error:
            is_ignored = (ignore_all and not isinstance(error, _LEAVES_THE_LOOP)) or (
                isinstance(error, OSError) and error.errno == errno.EBADF
            )
            if first_error is None and not is_ignored:
                first_error = error
    entries.clear()
    if first_error is not None:
        raise first_error


def wake_loops(map: SocketMap) -> None:
    """End the wait of the loops over `map` in which entries started themselves: the map has changed.

    Threads: any, signal handlers included. Blocking: never.
    """
    for alarm in list(_alarms):
        if alarm.entries is map:
            alarm.ring()


class _Alarm(Wakeup):
    """Ends the wait of the one loop that polls it."""

    def __init__(self, entries: SocketMap) -> None:
        super().__init__()
        self.entries = entries

    def __enter__(self) -> Self:
        super().__enter__()
        _alarms.append(self)
        return self

    def __exit__(self, *reason: Any) -> None:
        _alarms.remove(self)
        super().__exit__(*reason)


_alarms: list[_Alarm] = []


def _turn(timeout: float | None, entries: SocketMap, alarm: _Alarm | None) -> None:
    """Ask everybody, wait once, handle what happened."""
    poller = select.poll()
    if alarm is not None:
        poller.register(alarm, _READ)
    polled: dict[int, LoopEntry] = {}
    for descriptor, entry in list(entries.items()):
        flags = _interest(descriptor, entry, entries)
        rest_seconds = getattr(entry, "resting_until", 0.0) - time.monotonic()
        if rest_seconds > 0:
            flags &= ~(_READ | _URGENT)
            timeout = rest_seconds if timeout is None else min(timeout, rest_seconds)
        if flags and isinstance(descriptor, int) and descriptor >= 0:
            poller.register(descriptor, flags)
            polled[descriptor] = entry
    milliseconds = None if timeout is None else min(math.ceil(timeout * 1000), 2**31 - 1)
    for descriptor, flags in poller.poll(milliseconds):
        if alarm is not None and descriptor == alarm.fileno():
            alarm.clear()
            continue
        # What another handler registered meanwhile under a number that was free again has no events yet.
        entry = polled[descriptor]
        if entries.get(descriptor) is entry:
            _deliver(descriptor, entry, flags, entries)


def _interest(descriptor: int, entry: LoopEntry, entries: SocketMap) -> int:
    try:
        flags = _READ | _URGENT if entry.readable() else 0
        write_interest = getattr(entry, "write_interest", entry.writable)
        return flags | _WRITE if write_interest() else flags
    except _LEAVES_THE_LOOP:
        raise
    except BaseException:
        _report_to(descriptor, entry, entries)
        return 0


def _deliver(descriptor: int, entry: LoopEntry, flags: int, entries: SocketMap) -> None:
    """Call the handlers that `flags` stand for, as long as the entry stays registered."""
    handlers = []
    if flags & _READ:
        handlers.append(entry.handle_read_event)
    if flags & _WRITE:
        handlers.append(entry.handle_write_event)
    if flags & _URGENT:
        handlers.append(entry.handle_expt_event)
    if flags & _ENDED and not flags & _READ:
        # With input left to read, the end is found by reading on: closing now would lose it.
        handlers.append(entry.handle_close)
    try:
        for handle in handlers:
            if entries.get(descriptor) is entry:
                handle()
    except _LEAVES_THE_LOOP:
        raise
    except OSError as error:
        if error.errno in DISCONNECTED_ERRNOS:
            _close(descriptor, entry, entries)
        else:
            _report_to(descriptor, entry, entries)
    except BaseException:
        _report_to(descriptor, entry, entries)


def _close(descriptor: int, entry: LoopEntry, entries: SocketMap) -> None:
    try:
        entry.handle_close()
    except _LEAVES_THE_LOOP:
        raise
    except BaseException:
        _report_to(descriptor, entry, entries)


def _report_to(descriptor: int, entry: LoopEntry, entries: SocketMap) -> None:
    """Let the entry handle the current exception; if that fails, end the entry and go on with the others."""
    current = sys.exception()
    try:
        entry.handle_error()
    except _LEAVES_THE_LOOP:
        raise
    except BaseException as second:
        if second is current:
            raise
        with contextlib.suppress(Exception):
            traceback.print_exception(second, file=sys.stderr)
        with contextlib.suppress(Exception):
            entry.close()
        if entries.get(descriptor) is entry:
            del entries[descriptor]

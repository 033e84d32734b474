"""The loop that dispatchers run in.

Strategy: asyncore's semantics. Every turn asks each entry of the map for its interest, waits, and calls the
handlers of what has happened; it works on a snapshot, so handlers may add, remove, close, and run a nested
loop. Waits in `select.poll`.
Must not know: `Dispatcher` or servers; an entry is anything with the methods of `LoopEntry`.
Source: the published behaviour of `asyncore` up to Python 3.11.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import select
import time
from collections.abc import Callable
from typing import Any, Self

from wiretask.loop_entries import LEAVES_THE_LOOP, READ, URGENT, LoopEntry, SocketMap, deliver, interest_of
from wiretask.wakeups import Wakeup

__all__ = ["close_all", "loop", "poll_once", "socket_map", "wake_loops"]

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
            is_ignored = (ignore_all and not isinstance(error, LEAVES_THE_LOOP)) or (
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


def poll_once(timeout: float | None, map: SocketMap) -> None:
    """Have one turn over the map: see `loop`. Nothing at all happens if it is empty."""
    if map:
        _turn(timeout, map, None)


def _turn(timeout: float | None, entries: SocketMap, alarm: _Alarm | None) -> None:
    """Ask everybody, wait once, handle what happened."""
    poller = select.poll()
    if alarm is not None:
        poller.register(alarm, READ)
    polled: dict[int, LoopEntry] = {}
    for descriptor, entry in list(entries.items()):
        events = interest_of(entry, _dropping(descriptor, entry, entries))
        rest_seconds = getattr(entry, "resting_until", 0.0) - time.monotonic()
        if rest_seconds > 0:
            events &= ~(READ | URGENT)
            timeout = rest_seconds if timeout is None else min(timeout, rest_seconds)
        if events and isinstance(descriptor, int) and descriptor >= 0:
            poller.register(descriptor, events)
            polled[descriptor] = entry
    milliseconds = None if timeout is None else min(math.ceil(timeout * 1000), 2**31 - 1)
    for descriptor, events in poller.poll(milliseconds):
        if alarm is not None and descriptor == alarm.fileno():
            alarm.clear()
            continue
        # What another handler registered meanwhile under a number that was free again has no events yet.
        entry = polled[descriptor]
        if entries.get(descriptor) is entry:
            is_registered = functools.partial(_is_registered, descriptor, entry, entries)
            deliver(entry, events, is_registered, _dropping(descriptor, entry, entries))


def _is_registered(descriptor: int, entry: LoopEntry, entries: SocketMap) -> bool:
    return entries.get(descriptor) is entry


def _dropping(descriptor: int, entry: LoopEntry, entries: SocketMap) -> Callable[[], None]:
    def drop() -> None:
        if entries.get(descriptor) is entry:
            del entries[descriptor]

    return drop

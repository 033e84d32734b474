"""One turn of a loop over any map: every entry is asked, then `select.poll` waits for all of them.

Strategy: what asyncore did. Nothing is remembered from turn to turn, so it does not matter who changed the map how.
Costs time for every entry, quiet or not; a `WatchedMap` has something better (see `watches`), for which this steps in
when the system has no more descriptors or the process ends.
Must not know: `Dispatcher`, servers, timers.
"""

from __future__ import annotations

import functools
import math
import select
import time
from collections.abc import Callable

from wiretask.loop_entries import READ, URGENT, LoopEntry, SocketMap, deliver, handle_failure, interest_of
from wiretask.wakeups import Wakeup

__all__ = ["scan"]

_LONGEST_MILLISECONDS = 2**31 - 1


def scan(entries: SocketMap, timeout: float | None, wakeup: Wakeup, is_nested: Callable[[], bool]) -> None:
    """Ask every entry, wait once for at most `timeout` seconds, and handle what happened.

    Args:
        wakeup: ends the wait, if it is open.
        is_nested: says whether another turn has begun since this one: then what is left is left to the next.
    Raises: see `wiretask.loop`.
    """
    poller = select.poll()
    wakeup_descriptor = wakeup.fileno()
    if wakeup_descriptor >= 0:
        poller.register(wakeup_descriptor, READ)
    polled: dict[int, LoopEntry] = {}
    ready: dict[int, int] = {}
    for descriptor, entry in list(entries.items()):
        try:
            interest = interest_of(entry)
        except BaseException:
            handle_failure(entry, functools.partial(_drop, descriptor, entry, entries))
            continue
        rest_until = getattr(entry, "resting_until", 0.0)
        rest_seconds = rest_until and rest_until - time.monotonic()
        if rest_seconds > 0:
            interest &= ~(READ | URGENT)
            timeout = rest_seconds if timeout is None else min(timeout, rest_seconds)
        if interest and isinstance(descriptor, int) and descriptor >= 0:
            polled[descriptor] = entry
            if wakeup.owns(descriptor):
                # Closed already.
                ready[descriptor], timeout = select.POLLNVAL, 0
                continue
            poller.register(descriptor, interest)
            if interest & READ and getattr(entry, "has_input", False) is True:
                ready[descriptor], timeout = READ, 0
    milliseconds = None if timeout is None else min(math.ceil(timeout * 1000), _LONGEST_MILLISECONDS)
    for descriptor, events in poller.poll(milliseconds):
        if descriptor == wakeup_descriptor:
            wakeup.clear()
        else:
            ready[descriptor] = ready.get(descriptor, 0) | events
    for descriptor, events in ready.items():
        # What another handler registered meanwhile under a number that was free again has no events yet.
        entry = polled[descriptor]
        if entries.get(descriptor) is entry:
            try:
                deliver(entry, events, functools.partial(_is_registered, descriptor, entry, entries))
            except BaseException:
                handle_failure(entry, functools.partial(_drop, descriptor, entry, entries))
        if is_nested():
            return


def _is_registered(descriptor: int, entry: LoopEntry, entries: SocketMap) -> bool:
    return entries.get(descriptor) is entry


def _drop(descriptor: int, entry: LoopEntry, entries: SocketMap) -> None:
    if entries.get(descriptor) is entry:
        del entries[descriptor]

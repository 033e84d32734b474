"""Calls that a loop makes at a certain time, once or again and again.

Strategy: a heap. New calls come in through a deque, so that any thread and any signal handler may add one; only the
thread that runs the loop touches the heap. A cancelled call stays there until its time has come, or until half of
all are.
Must not know: descriptors, dispatchers, how a loop waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from wiretask.loop_entries import LEAVES_THE_LOOP

__all__ = ["ScheduledCall", "Timers"]

_CANCELLED_AT_LEAST = 64


class ScheduledCall:
    """A call that a loop will make; `cancel` keeps it from that. Made by a loop."""

    __slots__ = ("_arguments", "_callback", "_interval_seconds", "_timers", "_when")

    def __init__(
        self,
        timers: Timers,
        when: float,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        interval_seconds: float | None,
    ) -> None:
        self._timers = timers
        self._when = when
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments
        self._interval_seconds = interval_seconds

    def __repr__(self) -> str:
        state = "cancelled" if self._callback is None else repr(self._callback)
        return f"<{type(self).__qualname__} at {self._when:.3f}: {state}>"

    def when(self) -> float:
        """Return when it is due, or was, on the clock of `EventLoop.time`."""
        return self._when

    def cancel(self) -> None:
        """Keep it from being made (again). Harmless at any time. Threads: any."""
        if self._callback is not None:
            self._callback, self._arguments = None, ()
            self._timers.cancelled += 1

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._callback is None

    def run(self, now: float) -> None:
        """Make the call; schedule the next one, if there is to be one, before that."""
        callback, arguments = self._callback, self._arguments
        if callback is None:
            self._timers.cancelled -= 1
            return
        interval = self._interval_seconds
        if interval is not None:
            # Calls that were missed are not made up for.
            following = self._when + interval
            self._when = following if following > now else now + interval
            self._timers.incoming.append(self)
        callback(*arguments)


class Timers:
    """The calls of one loop, by the time at which they are due."""

    def __init__(self) -> None:
        #: Where new calls are put. Threads: any.
        self.incoming: deque[ScheduledCall] = deque()
        self._heap: list[tuple[float, int, ScheduledCall]] = []
        self._numbers = itertools.count()
        #: How many of those held were cancelled, roughly.
        self.cancelled = 0

    def __len__(self) -> int:
        return len(self.incoming) + len(self._heap)

    def next_due(self) -> float | None:
        """Return when the first is due; None: there is none. In the thread that runs the loop."""
        self._take_in()
        heap = self._heap
        while heap and heap[0][2].cancelled():
            heapq.heappop(heap)
            self.cancelled -= 1
        return heap[0][0] if heap else None

    def make_due(self, now: float, report: Callable[[ScheduledCall, BaseException], object]) -> None:
        """Make the calls whose time has come; those of the same time in the order in which they were added.

        Args:
            report: is told what a call raised, unless that is meant to end the loop. The others are made then.
        After failure: the calls that are left are made next time.
        """
        self._take_in()
        heap, pop = self._heap, heapq.heappop
        # What a call adds waits for the next turn, for it is not taken in here.
        while heap and heap[0][0] <= now:
            call = pop(heap)[2]
            try:
                call.run(now)
            except LEAVES_THE_LOOP:
                raise
            except BaseException as error:
                report(call, error)

    def _take_in(self) -> None:
        incoming, heap, numbers, push = self.incoming, self._heap, self._numbers, heapq.heappush
        while incoming:
            call = incoming.popleft()
            push(heap, (call._when, next(numbers), call))
        if self.cancelled > _CANCELLED_AT_LEAST and self.cancelled * 2 > len(heap):
            heap[:] = [item for item in heap if not item[2].cancelled()]
            heapq.heapify(heap)
            self.cancelled = 0

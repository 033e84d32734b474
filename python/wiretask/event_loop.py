"""`EventLoop`: the loop that the dispatchers of a map run in.

Strategy: asyncore's semantics: a turn asks entries for their interest, waits, and calls the handlers of what has
happened. Over a `WatchedMap` it waits in Rust and looks at nobody who is quiet (`watches`); over any other map it
asks everybody (`scanning`). Besides, it makes calls that were handed over by other threads or are due.
Must not know: `Dispatcher` or servers; an entry is anything with the methods of `LoopEntry`.
Source: the published behaviour of `asyncore` up to Python 3.11; faults R27, R38.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from wiretask import _native, housekeeper
from wiretask.loop_entries import SocketMap
from wiretask.scanning import scan
from wiretask.timers import ScheduledCall, Timers
from wiretask.wakeups import Wakeup
from wiretask.watched_map import WatchedMap, socket_map
from wiretask.watches import Watches

__all__ = ["EventLoop", "find_running", "wake_loops"]

_LOG = logging.getLogger("wiretask.dispatcher")


class EventLoop:
    """A loop over a map of dispatchers, with calls that are due later or come from other threads.

    Args:
        map: the entries, by file descriptor; None: a new `WatchedMap`. A plain dict is good too, and may be changed
            by hand, but then every turn takes time for every entry.
    Raises:
        ValueError: the map has a loop already: see `of`.
    Attributes: `map`.
    Threads: `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`, `call_every` and `stop` may be called from
        any thread and from signal handlers. One thread at a time runs it; a second one takes no harm, but scans.
    """

    def __init__(self, map: SocketMap | None = None) -> None:
        self.map: SocketMap = WatchedMap() if map is None else map
        self._wakeup = Wakeup()
        self._watches: Watches | None = None
        self._timers = Timers()
        self._is_stopping = False
        self._is_waiting = False
        self._depth = 0
        self._turns = 0
        self._thread = 0
        #: Keys of a watched map whose entries may have to be started.
        self._unstarted: dict[int, None] = {}
        if isinstance(self.map, WatchedMap):
            if self.map.listener is not None:
                raise ValueError("this map has a loop already: EventLoop.of(map)")
            self.map.listener = self
            self._unstarted.update(dict.fromkeys(self.map))
        _loops.add(self)

    @classmethod
    def of(cls, map: SocketMap | None = None) -> EventLoop:
        """Return the loop over `map` (None: `wiretask.socket_map`), always the same one.

        Raises:
            TypeError: it is no `WatchedMap`: another kind of map has no loop of its own.
        """
        entries = socket_map if map is None else map
        if not isinstance(entries, WatchedMap):
            raise TypeError(
                f"only a WatchedMap has a loop of its own, not {type(entries).__name__}: use EventLoop(map)"
            )
        return entries.listener if isinstance(entries.listener, EventLoop) else cls(entries)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} of {len(self.map)} entries, {len(self._timers)} calls waiting>"

    # ---- running --------------------------------------------------------------------------------

    def run(self, timeout: float | None = None, count: int | None = None) -> None:
        """Handle events until the map is empty, for `count` turns, or until `stop`: see `wiretask.loop`.

        Calls that wait do not keep it going.
        """
        self._run(timeout, count, lambda: bool(self.map))

    def run_forever(self) -> None:
        """Handle events and make calls until `stop`, even while the map is empty. Raises: see `wiretask.loop`."""
        self._run(None, None, lambda: True)

    def turn(self, timeout: float | None = None) -> None:
        """Have one turn: wait once, at most for `timeout` seconds (None: until something happens), and handle it.

        Raises: see `wiretask.loop`.
        """
        gets_signals = self._enter(timeout != 0, may_fail=True)
        try:
            self._turn(timeout)
        finally:
            self._leave(gets_signals)

    def stop(self) -> None:
        """End the innermost `run` or `run_forever` after the turn that it is in.

        If none runs, the next one ends after one turn.
        """
        self._is_stopping = True
        self.wake()

    def wake(self) -> None:
        """End the wait of this turn. Threads: any, signal handlers included. Blocking: never."""
        self._wakeup.ring()

    # ---- calls ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the time on the clock of `call_at`: `time.monotonic()`."""
        return time.monotonic()

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> ScheduledCall:
        """Have the loop call `callback(*arguments)` in this turn or the next, and return the call.

        Calls are made in the order in which they were handed over, in the thread that runs the loop, after the
        handlers of the turn. Whatever one raises is logged to `wiretask.dispatcher`, and the others are made all the
        same; what is meant to end the loop (`ExitNow`, `KeyboardInterrupt`, `SystemExit`) ends it.
        """
        return self._schedule(0.0, callback, arguments, None)

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any) -> ScheduledCall:
        """As `call_soon`, which may be called from any thread, too; for those used to asyncio."""
        return self._schedule(0.0, callback, arguments, None)

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> ScheduledCall:
        """Have the loop call `callback(*arguments)` in so many seconds. Otherwise as `call_soon`.

        Raises:
            ValueError, TypeError: `seconds` is negative, or no number.
        """
        # Written out: programs set and cancel a timer for every message.
        if not (callable(callback) and isinstance(seconds, (int, float)) and seconds >= 0):
            raise _refusal(callback, seconds)
        call = ScheduledCall(self._timers, time.monotonic() + seconds, callback, arguments, None)
        self._timers.incoming.append(call)
        if self._is_waiting:
            self._wakeup.ring()
        return call

    def call_at(self, when: float, callback: Callable[..., object], *arguments: Any) -> ScheduledCall:
        """Have the loop call `callback(*arguments)` at a time of `time()`. Otherwise as `call_soon`."""
        if not isinstance(when, (int, float)) or math.isnan(when):
            raise _refusal(callback, when)
        return self._schedule(when, callback, arguments, None)

    def call_every(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> ScheduledCall:
        """Have the loop call `callback(*arguments)` every so many seconds, until it is cancelled.

        The first call is in `seconds`. Calls that were missed, because a handler took long, are not made up for. It
        goes on if a call raises. Otherwise as `call_soon`.

        Raises:
            ValueError, TypeError: `seconds` is not above 0, or no number.
        """
        if not (isinstance(seconds, (int, float)) and seconds > 0):
            raise _refusal(callback, seconds)
        return self._schedule(time.monotonic() + seconds, callback, arguments, seconds)

    # ---- what the map tells ---------------------------------------------------------------------

    def note_entry(self, key: int) -> None:
        """An entry of the map was put in or taken out. See `WatchedMap`."""
        self._unstarted[key] = None
        watches = self._watches
        if watches is not None:
            watches.note_entry(key)
            if self._is_waiting:
                self._wakeup.ring()
            elif not self.map and not self._depth:
                self._release()

    def note_interest(self, key: int) -> None:
        """An entry of the map wants something else than before. See `WatchedMap`."""
        watches = self._watches
        if watches is not None:
            watches.note_interest(key)
            if self._is_waiting:
                self._wakeup.ring()

    # ---- the parts ------------------------------------------------------------------------------

    def _schedule(
        self, when: float, callback: Callable[..., object], arguments: tuple[Any, ...], interval: float | None
    ) -> ScheduledCall:
        if not callable(callback):
            raise _refusal(callback, when)
        call = ScheduledCall(self._timers, when, callback, arguments, interval)
        self._timers.incoming.append(call)
        # Only another thread (or a signal handler) can be here while the loop waits.
        if self._is_waiting:
            self._wakeup.ring()
        return call

    def _run(self, timeout: float | None, count: int | None, goes_on: Callable[[], bool]) -> None:
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout is a number of seconds, 0 or more, or None, not {timeout!r}")
        has_started = self._start_entries()
        turns = 0
        # Without descriptors for it, a loop of dispatchers alone does not fail: it scans.
        gets_signals = self._enter(timeout != 0, may_fail=not has_started)
        try:
            while goes_on() and (count is None or turns < count):
                self._turn(timeout)
                turns += 1
                if self._is_stopping:
                    self._is_stopping = False
                    break
        finally:
            self._leave(gets_signals)

    def _start_entries(self) -> bool:
        """Start the entries that have to be; return whether there are any."""
        if isinstance(self.map, WatchedMap):
            if not self._unstarted:
                return False
            keys = []
            while self._unstarted:
                keys.append(self._unstarted.popitem()[0])
            entries = [(key, self.map.get(key)) for key in keys]
        else:
            entries = list(self.map.items())
        has_started = False
        for key, entry in entries:
            start = getattr(entry, "start_in_loop", None)
            if callable(start):
                has_started = True
                if isinstance(self.map, WatchedMap):
                    # It must bear repetition; and again if it fails.
                    self._unstarted[key] = None
                start()
        return has_started

    def _enter(self, waits: bool, may_fail: bool) -> bool:
        """Begin to run. If it waits, signals end that on the main thread; return whether they do since this call.

        OSError: no descriptors are left; only if it may not fail.
        """
        self._depth += 1
        self._thread = threading.get_ident()
        if self._depth == 1:
            _running.append(self)
        try:
            if waits:
                self._wakeup.open()
                return self._wakeup.take_signals()
        except BaseException as error:
            if not (may_fail and isinstance(error, OSError)):
                self._leave(gets_signals=False)
                raise
        return False

    def _leave(self, gets_signals: bool) -> None:
        """End what `_enter` began; `gets_signals`: what that returned."""
        if gets_signals:
            self._wakeup.let_signals_go()
        self._depth -= 1
        if self._depth <= 0:
            self._depth = 0
            with contextlib.suppress(ValueError):
                _running.remove(self)
            if not self.map:
                self._release()

    def _turn(self, timeout: float | None) -> None:
        self._turns += 1
        turns = self._turns
        watches = self._watches_now()
        ready = None
        if watches is not None:
            watches.ask()
            self._is_waiting = True
            try:
                ready = watches.wait(self._next_timeout(timeout))
            finally:
                self._is_waiting = False
            if ready is not None:
                watches.deliver(ready)
        if ready is None:
            self._is_waiting = True
            try:
                scan(self.map, self._next_timeout(timeout), self._wakeup, lambda: self._turns != turns)
            finally:
                self._is_waiting = False
        if self._timers:
            self._timers.make_due(time.monotonic(), _report)

    def _watches_now(self) -> Watches | None:
        """Return what waits in Rust; None where that cannot be."""
        if self._watches is None and isinstance(self.map, WatchedMap) and not _native.is_exiting():
            with contextlib.suppress(OSError):
                self._wakeup.open()
                self._watches = Watches(self.map, self._wakeup)
        return self._watches

    def _next_timeout(self, timeout: float | None) -> float | None:
        """Return how long this turn may wait."""
        if self._is_stopping:
            return 0.0
        due = self._timers.next_due() if self._timers else None
        if due is None:
            return timeout
        seconds = max(0.0, due - time.monotonic())
        return seconds if timeout is None else min(timeout, seconds)

    def _release(self) -> None:
        """Give back the descriptors that waiting takes, until the next turn."""
        watches, self._watches = self._watches, None
        if watches is not None:
            watches.close()
        self._wakeup.close()

    def _handle_fork(self) -> None:
        """Have a reactor and a wake-up of one's own, in the child of a fork; calls and map stay as they are."""
        if self._thread != threading.get_ident():
            # The thread that ran it does not exist here.
            self._depth, self._is_waiting = 0, False
        self._watches = None
        self._wakeup.handle_fork(reopen=self._depth > 0)


_loops: weakref.WeakSet[EventLoop] = weakref.WeakSet()
_running: list[EventLoop] = []


def find_running(map: SocketMap) -> EventLoop | None:
    """Return the loop over `map` that runs in this thread; None: there is none."""
    for event_loop in _running:
        if event_loop.map is map and event_loop._thread == threading.get_ident():
            return event_loop
    return None


def wake_loops(map: SocketMap) -> None:
    """End the wait of the loops over `map` that run: it has changed.

    Threads: any, signal handlers included. Blocking: never.
    """
    for event_loop in list(_running):
        if event_loop.map is map:
            event_loop.wake()


def _refusal(callback: object, seconds: object) -> Exception:
    """Return what to raise for arguments of a call that cannot be made."""
    if not callable(callback):
        return TypeError(f"a call needs something that can be called, not {callback!r}")
    if not isinstance(seconds, (int, float)):
        return TypeError(f"a number of seconds is expected, not {seconds!r}")
    return ValueError(f"a number of seconds from 0 on (to repeat a call: above 0) is expected, not {seconds!r}")


def _report(call: ScheduledCall, error: BaseException) -> None:
    housekeeper.report(_LOG, "uncaptured exception in %r", call, error=error)


def _wake_all_at_exit() -> None:
    for event_loop in list(_running):
        event_loop.wake()


def _handle_fork() -> None:
    _running[:] = [event_loop for event_loop in _running if event_loop._thread == threading.get_ident()]
    for event_loop in list(_loops):
        event_loop._handle_fork()


housekeeper.at_exit(_wake_all_at_exit)
housekeeper.after_fork(_handle_fork)

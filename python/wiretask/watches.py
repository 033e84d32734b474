"""What a loop over a `WatchedMap` has the reactor watch, and one turn of it.

Strategy: an entry is asked for its interest when it is put in, when it says that its interest changed, and after
write events; only one whose `readable` or `writable` is not marked with `announced` is asked on every turn. So a turn
costs what is ready, not what is there. Events come by token, which names one registration and no later one: whoever
was closed, or closed and put in again, gets none that were meant for what was there before.
Must not know: `Dispatcher`, servers, timers, who turns the loop.
Source: design, section 5; cpython#75114.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from typing import Any, TypeAlias

from wiretask import _native
from wiretask.loop_entries import (
    READ,
    URGENT,
    WRITE,
    LoopEntry,
    deliver,
    handle_failure,
    interest_of,
    is_announced,
)
from wiretask.wakeups import Wakeup
from wiretask.watched_map import WatchedMap

__all__ = ["Ready", "Watches"]

Ready: TypeAlias = tuple[list[int], list[tuple[int, int]]]
"""What is ready: the tokens of those that have nothing but input, then others with their events."""


class Watches:
    """The registrations of one map. For the thread that turns its loop, but `note_entry` and `note_interest`.

    Args:
        entries: the map; all that is in it is new.
        wakeup: ends the wait. It must be open, and stay so.
    Raises:
        OSError: no descriptors are left.
    """

    def __init__(self, entries: WatchedMap, wakeup: Wakeup) -> None:
        self._entries = entries
        self._wakeup = wakeup
        reactor = _native.Reactor()
        self._wakeup_token = reactor.watch(wakeup.fileno(), READ)
        self._reactor: _native.Reactor | None = reactor
        self._by_token: dict[int, _Watch] = {}
        self._by_key: dict[int, _Watch] = {}
        #: Those that are asked on every turn.
        self._asked: dict[int, _Watch] = {}
        #: Those that hold input which they have read already.
        self._filled: dict[int, _Watch] = {}
        #: When those that rest are asked again.
        self._resting: dict[int, float] = {}
        # Sets in the form of dicts, which other threads may change in the middle of anything.
        self._new_keys: dict[int, None] = dict.fromkeys(entries)
        self._changed_keys: dict[int, None] = {}
        self._turn_number = 0

    def close(self) -> None:
        """Watch nothing any more, and give the reactor's descriptor back. Twice is harmless."""
        self._reactor = None

    def note_entry(self, key: int) -> None:
        """Stop watching what was there under this key. Threads: any."""
        # At once: before the descriptor is closed.
        self._end(key)
        self._new_keys[key] = None

    def note_interest(self, key: int) -> None:
        """Ask what is there under this key again before the next wait. Threads: any."""
        self._changed_keys[key] = None

    def ask(self) -> None:
        """Begin a turn: ask whoever has to be asked, and have the reactor watch for what they say."""
        self._turn_number += 1
        for key in _drained(self._new_keys):
            self._begin(key)
        if self._resting:
            now = time.monotonic()
            # `list`, `pop` and `get`: other threads take entries out meanwhile.
            for token, until in list(self._resting.items()):
                if until <= now:
                    self._resting.pop(token, None)
                    watch = self._by_token.get(token)
                    if watch is not None:
                        self._changed_keys[watch.key] = None
        for key in _drained(self._changed_keys):
            watch = self._by_key.get(key)
            # Those that are asked anyway are asked below.
            if watch is not None and watch.token not in self._asked:
                self._update(watch)
        for watch in list(self._asked.values()):
            entry = watch.entry
            if watch.is_asked_directly:
                # What `_update` does, for the many that want what they wanted before.
                try:
                    interest = READ | URGENT if entry.readable() else 0
                    if entry.writable() and not entry.accepting:
                        interest |= WRITE
                    if interest == watch.interest and not entry.resting_until and not entry.has_input:
                        continue
                except BaseException:
                    self._handle_failure(watch)
                    continue
                self._settle(watch, interest, entry.resting_until, entry.has_input)
            else:
                self._update(watch)

    def wait(self, timeout: float | None) -> Ready | None:
        """Wait once, and return what is ready, for `deliver`.

        Args:
            timeout: seconds to wait at most; it may be shorter, for those that rest or hold input.
        Returns:
            None if it cannot wait: see `_native.Reactor.wait`.
        """
        if self._filled or self._new_keys or self._changed_keys:
            timeout = 0.0
        elif self._resting:
            rest_seconds = max(0.0, min(list(self._resting.values()), default=math.inf) - time.monotonic())
            timeout = rest_seconds if timeout is None else min(timeout, rest_seconds)
        ready = None if self._reactor is None else self._reactor.wait(timeout)
        if ready is not None and self._filled:
            events = dict(ready[1]) | dict.fromkeys(ready[0], READ)
            for token in list(self._filled):
                events[token] = events.get(token, 0) | READ
            ready = [], list(events.items())
        return ready

    def deliver(self, ready: Ready) -> None:
        """Handle what is ready; if a handler has turns of its own, leave the rest to the next turn.

        Raises: see `wiretask.loop`.
        """
        readable, others = ready
        by_token, asked, turn_number = self._by_token, self._asked, self._turn_number
        for token in readable:
            watch = by_token.get(token)
            if watch is None:
                if token == self._wakeup_token:
                    self._wakeup.clear()
                continue
            try:
                watch.entry.handle_read_event()
            except BaseException:
                handle_failure(watch.entry, functools.partial(self._drop, watch))
            if self._turn_number != turn_number:
                # Level, not edge: what is still so is reported again.
                return
        for token, events in others:
            watch = by_token.get(token)
            if watch is None:
                continue
            if token not in asked:
                self._changed_keys[watch.key] = None
            try:
                if events == WRITE:
                    watch.entry.handle_write_event()
                else:
                    deliver(watch.entry, events, functools.partial(by_token.__contains__, token))
            except BaseException:
                handle_failure(watch.entry, functools.partial(self._drop, watch))
            if self._turn_number != turn_number:
                return

    def _begin(self, key: int) -> None:
        self._end(key)
        entry = self._entries.get(key)
        # Other keys are not polled, but keep the loop alive.
        if entry is None or not isinstance(key, int) or key < 0 or self._reactor is None:
            return
        # Closed already, as the reactor finds out of -1.
        descriptor = -1 if self._wakeup.owns(key) else key
        watch = _Watch(entry, key, self._reactor.watch(descriptor, 0))
        has_to_be_asked = not is_announced(entry)
        if has_to_be_asked:
            # With the others.
            self._asked[watch.token] = watch
        self._by_token[watch.token] = watch
        # Last: from here on another thread may end it.
        self._by_key[key] = watch
        if not has_to_be_asked:
            self._update(watch)

    def _end(self, key: int) -> None:
        watch = self._by_key.pop(key, None)
        if watch is not None:
            token = watch.token
            self._by_token.pop(token, None)
            self._asked.pop(token, None)
            self._filled.pop(token, None)
            self._resting.pop(token, None)
            if self._reactor is not None:
                self._reactor.forget(token)

    def _update(self, watch: _Watch) -> None:
        """Ask an entry, and have it watched for what it says."""
        entry: Any = watch.entry
        try:
            interest = interest_of(entry)
            rest_until = getattr(entry, "resting_until", 0.0)
            has_input = getattr(entry, "has_input", False) is True
        except BaseException:
            self._handle_failure(watch)
        else:
            self._settle(watch, interest, rest_until, has_input)

    def _settle(self, watch: _Watch, interest: int, rest_until: float, has_input: bool) -> None:
        token = watch.token
        if rest_until and rest_until > time.monotonic():
            interest &= ~(READ | URGENT)
            self._resting[token] = rest_until
        if has_input and interest & READ:
            self._filled[token] = watch
        elif self._filled:
            self._filled.pop(token, None)
        if token not in self._by_token:
            # It left while it was asked. Looked at last, for another thread may have taken it out.
            self._resting.pop(token, None)
            self._filled.pop(token, None)
            return
        if interest != watch.interest:
            watch.interest = interest
            if self._reactor is not None:
                self._reactor.change(token, interest)

    def _handle_failure(self, watch: _Watch) -> None:
        """Have an entry deal with the current exception, and watch it for nothing until it is asked again."""
        handle_failure(watch.entry, functools.partial(self._drop, watch))
        self._settle(watch, 0, 0.0, False)

    def _drop(self, watch: _Watch) -> None:
        if self._entries.get(watch.key) is watch.entry:
            del self._entries[watch.key]


def _drained(keys: dict[int, None]) -> list[int]:
    """Return the keys in the order in which they came, and take them out."""
    drained = []
    # Another thread may take some.
    with contextlib.suppress(KeyError):
        while keys:
            drained.append(keys.popitem()[0])
    drained.reverse()
    return drained


class _Watch:
    """One registration."""

    __slots__ = ("entry", "interest", "is_asked_directly", "key", "token")

    def __init__(self, entry: LoopEntry, key: int, token: int) -> None:
        self.entry: Any = entry
        self.key = key
        self.token = token
        self.interest = 0
        #: It has a `writable` of its own, and all the attributes that are optional.
        self.is_asked_directly = (
            all(hasattr(type(entry), name) for name in ("accepting", "resting_until", "has_input"))
            and not hasattr(type(entry), "read_interest")
            and getattr(getattr(entry, "writable", None), "_is_announced", False) is not True
        )

"""`loop` and `close_all` of a map of dispatchers, of any kind, as asyncore had them.

Strategy: each call finds the loop of its map, and has that do the work. A plain dict has a loop only for the call.
Must not know: how a loop turns.
Source: the published behaviour of `asyncore` up to Python 3.11; IDispatcher.
"""

from __future__ import annotations

import errno
from types import TracebackType

from wiretask.event_loop import EventLoop, find_running
from wiretask.loop_entries import LEAVES_THE_LOOP, SocketMap
from wiretask.watched_map import WatchedMap, socket_map

__all__ = ["close_all", "loop", "poll_once", "socket_map"]


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
    Threads: one loop per map at a time; other threads may add and remove entries, which takes effect at once, or, if
        the map is no `WatchedMap`, with the next turn. Blocking: yes.
    """
    with _LoopOf(map) as event_loop:
        event_loop.run(timeout, count)


def poll_once(timeout: float | None = 0.0, map: SocketMap | None = None) -> None:
    """Have one turn over the map (None: `socket_map`); none at all if it is empty. See `EventLoop.turn`."""
    with _LoopOf(map) as event_loop:
        if event_loop.map:
            event_loop.turn(timeout)


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
    # With its descriptors.
    _spare_loops.clear()
    if first_error is not None:
        raise first_error


class _LoopOf:
    """The loop of a map, while the context lasts.

    For a map that has none of its own, it is the one in which this is nested, or a spare one: many programs have one
    turn at a time, and to make a loop costs more than a turn.
    """

    __slots__ = ("_lent", "_map")

    def __init__(self, map: SocketMap | None) -> None:
        self._map = socket_map if map is None else map
        self._lent: EventLoop | None = None

    def __enter__(self) -> EventLoop:
        entries = self._map
        if isinstance(entries, WatchedMap):
            return EventLoop.of(entries)
        running = find_running(entries)
        if running is not None:
            return running
        self._lent = _take_spare()
        self._lent.map = entries
        return self._lent

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lent is not None:
            # It must not keep the dispatchers.
            self._lent.map = {}
            if not _spare_loops:
                _spare_loops.append(self._lent)


#: At most one, or one more where threads met.
_spare_loops: list[EventLoop] = []


def _take_spare() -> EventLoop:
    try:
        return _spare_loops.pop()
    except IndexError:
        return EventLoop({})

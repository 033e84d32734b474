"""`WatchedMap`: a map from descriptor to dispatcher that tells its loop what changes in it.

Strategy: a dict every changing method of which tells one listener which key it was, before it returns; so a loop need
not look through all entries on every turn, and hears of a descriptor before that is closed.
Must not know: loops, dispatchers, what a key means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from wiretask.loop_entries import LoopEntry, SocketMap

__all__ = ["MapListener", "WatchedMap", "socket_map"]


class MapListener(Protocol):
    """What is told. Called in the thread that makes the change, which may be any; must be quick and not raise."""

    def note_entry(self, key: int) -> None:
        """An entry was put in under this key, or another one than before, or taken out."""

    def note_interest(self, key: int) -> None:
        """The entry under this key has another answer to `readable` or `writable`."""


class WatchedMap(dict[int, LoopEntry]):
    """A socket map whose loop need not look at quiet entries. Otherwise a dict.

    Attributes:
        listener: who is told of changes; set by the loop.
    """

    listener: MapListener | None = None

    def __init__(self, entries: Mapping[int, LoopEntry] | Iterable[tuple[int, LoopEntry]] = ()) -> None:
        super().__init__(entries)

    def note_interest(self, key: int) -> None:
        """Have the loop ask the entry under this key again. Nothing happens if there is none."""
        if self.listener is not None:
            self.listener.note_interest(key)

    def __setitem__(self, key: int, entry: LoopEntry, /) -> None:
        super().__setitem__(key, entry)
        self._note(key)

    def __delitem__(self, key: int, /) -> None:
        super().__delitem__(key)
        self._note(key)

    def pop(self, key: int, /, *default: Any) -> Any:
        """As that of a dict."""
        entry = super().pop(key, *default)
        self._note(key)
        return entry

    def popitem(self) -> tuple[int, LoopEntry]:
        """As that of a dict."""
        item = super().popitem()
        self._note(item[0])
        return item

    def setdefault(self, key: int, default: Any = None, /) -> Any:
        """As that of a dict."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *entries: Any, **named: Any) -> None:
        """As that of a dict."""
        for key, entry in dict(*entries, **named).items():
            self[key] = entry

    def __ior__(self, entries: Any, /) -> Any:  # type: ignore[misc]
        self.update(entries)
        return self

    def clear(self) -> None:
        """As that of a dict."""
        keys = list(self)
        super().clear()
        for key in keys:
            self._note(key)

    def _note(self, key: int) -> None:
        if self.listener is not None:
            self.listener.note_entry(key)


socket_map: SocketMap = WatchedMap()
"""The map that is used where none is given: from file descriptor to dispatcher."""

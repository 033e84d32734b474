"""The server's accounts: which tasks have been made, and that each gets exactly one of service() and cancel().

What waits stands in a table, what has its outcome is only counted, so the accounts of a long run stay small.
Must not know: what tasks do, who runs them.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any

MOST_EXAMPLES = 20


class Entry:
    """One task in the accounts. Any thread."""

    __slots__ = ("_accounts", "kind", "name", "number", "outcome")

    def __init__(self, accounts: Accounts, number: int, kind: str, name: str) -> None:
        self._accounts = accounts
        self.number = number
        self.kind = kind
        self.name = name
        self.outcome: str | None = None

    def serve(self) -> None:
        """`service()` was called."""
        self._accounts.close(self, "served")

    def cancel(self) -> None:
        """`cancel()` was called."""
        self._accounts.close(self, "cancelled")


class Accounts:
    """All tasks of the server process, and other counts that have to agree at the end. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Entry] = {}
        self._counts: dict[str, int] = {}
        self._faults: list[str] = []
        self._fault_count = 0

    def open(self, kind: str, name: str) -> Entry:
        """Return the entry of a new task; kind: "bare" or "request"."""
        with self._lock:
            entry = Entry(self, next(self._numbers), kind, name)
            self._waiting[entry.number] = entry
            self._add(f"{kind} tasks", 1)
        return entry

    def close(self, entry: Entry, outcome: str) -> None:
        """Note a task's outcome; a second one is a fault."""
        with self._lock:
            if entry.outcome is not None:
                self._add_fault(f"{entry.kind} task {entry.name} was {entry.outcome}, and then {outcome}")
                return
            entry.outcome = outcome
            del self._waiting[entry.number]
            self._add(f"{entry.kind} tasks {outcome}", 1)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._add(what, number)

    def fault(self, text: str) -> None:
        """Note something that must not be."""
        with self._lock:
            self._add_fault(text)

    def waiting(self) -> list[str]:
        """Return the tasks that have no outcome yet."""
        with self._lock:
            return [f"{entry.kind} task {entry.name}" for entry in self._waiting.values()]

    def counts(self) -> dict[str, int]:
        """Return all counters."""
        with self._lock:
            return dict(self._counts)

    def statement(self) -> dict[str, Any]:
        """Return everything, for the judge: "counts", "faults" and "without_outcome"."""
        waiting = self.waiting()
        with self._lock:
            faults = list(self._faults)
            if self._fault_count > len(faults):
                faults.append(f"... and {self._fault_count - len(faults)} faults more")
            return {
                "counts": dict(self._counts),
                "faults": faults,
                "without_outcome": waiting[:MOST_EXAMPLES],
                "without_outcome_count": len(waiting),
            }

    def _add(self, what: str, number: int) -> None:
        self._counts[what] = self._counts.get(what, 0) + number

    def _add_fault(self, text: str) -> None:
        self._fault_count += 1
        if len(self._faults) < MOST_EXAMPLES:
            self._faults.append(text)

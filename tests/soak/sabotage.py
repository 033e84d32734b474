"""Faults that the soak can commit against itself, to show that its checks find them: `--sabotage KIND`.

Each is committed in the server process, every so many times its place is passed. Must not know: the places.
"""

from __future__ import annotations

import threading

#: Kind -> how often its place is passed from one strike to the next.
KINDS = {
    "wrong-answer": 300,
    "lost-answer": 300,
    "answer-twice": 300,
    "closed-connection": 300,
    "lost-task": 500,
    "task-twice": 500,
    "descriptor-leak": 20,
    "thread-leak": 100,
    "memory-leak": 1,
    "error-logged": 300,
    "traceback": 300,
    "inherited-descriptor": 200,
    "busy-when-idle": 1,
    "exit-code": 1,
    "hang": 300,
    "crash": 300,
}


class Sabotage:
    """Says when a fault is to be committed. Any thread.

    Args:
        kind: one of `KINDS`, or None: never.
    """

    def __init__(self, kind: str | None = None) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._passed = 0

    def strikes(self, kind: str) -> bool:
        """Return whether the fault `kind` is to be committed here and now."""
        if kind != self._kind:
            return False
        with self._lock:
            self._passed += 1
            return self._passed % KINDS[kind] == 0

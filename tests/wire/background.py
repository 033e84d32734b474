"""Actions in threads of their own, which a test starts and waits for with a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable

from peers import DEADLINE_SECONDS, until

import wiretask


def in_thread(action: Callable[[], object]) -> threading.Thread:
    """Return the thread that does `action`; it does not keep the process alive."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    """Return whether the thread has ended; waits for it."""
    thread.join(DEADLINE_SECONDS)
    return not thread.is_alive()


def running_in_thread(server: wiretask.Server) -> threading.Thread:
    """Return the thread in which the server runs already."""
    thread = in_thread(server.run)
    until(lambda: "running" in repr(server), "the server to run")
    return thread

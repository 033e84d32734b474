"""The laws that the kit checks, by name, and the exception that says which one was broken.

Source: design, section 4 (stream consumers); `ITask` and `ITaskDispatcher` (dispatchers).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

__all__ = ["ConsumerLaw", "DispatcherLaw", "LawBroken"]


class ConsumerLaw(enum.Enum):
    """What a stream consumer promises; the value is the law in one sentence."""

    INTERFACE = "received() takes any bytes-like object, copies what it keeps, and returns how many bytes it took"
    SPLIT_INVARIANCE = "any cut of the same bytes gives the same outcome"
    NO_OVER_READING = "nothing is taken, and nothing changes, after completion"
    PROGRESS = "every call with data takes at least one byte, and all of them, until completion"
    BOUNDED_MEMORY = "the bytes taken stay within the limit, and the memory held within a multiple of those taken"
    LINEAR_WORK = "the work for a byte does not depend on how many came before"
    TOTAL = "any bytes give a value or an error state, never an exception"
    ROUND_TRIP = "what the encoder wrote is read back"
    END_OF_INPUT = "the end of input in the middle of a message is the error 'truncated', at that offset"


class DispatcherLaw(enum.Enum):
    """What a task dispatcher promises; the value is the law in one sentence."""

    ONE_OUTCOME = "every task that was added gets exactly one of service() and cancel()"
    DEFER = "addTask() calls defer() once, first, in the thread that adds; what it raises comes out, after cancel()"
    WORKER = "service() runs on a worker thread, never in the thread that adds"
    ORDER = "tasks start in the order in which they were added"
    SURVIVAL = "whatever a task raises, the workers live on and the tasks behind it are dealt with"
    THREAD_COUNT = "setThreadCount() sets how many tasks run at once, up and down, without waiting for the backlog"
    SHUTDOWN = "shutdown() cancels what waits, lets what runs finish, and can be called again and by a task"
    DRAIN = "shutdown(cancel_pending=False) serves what waits before the workers leave"
    REFUSAL = (
        "after shutdown() a task is refused with an exception, and cancelled, until setThreadCount() opens again"
    )
    NOT_A_TASK = "addTask(None) raises ValueError or TypeError, and changes nothing"
    ESTIMATE = "getPendingTasksEstimate() is exact while nothing moves"


class LawBroken(AssertionError):  # noqa: N818 - it is a finding, which the reader of a test wants to see so named
    """A law does not hold; the message shows the smallest case that was found.

    Attributes:
        law: the law.
        stream: the bytes, if it is about a stream.
        pieces: the pieces in which they were handed over, if that matters.
    """

    def __init__(
        self,
        law: ConsumerLaw | DispatcherLaw,
        what: str,
        *,
        stream: bytes | None = None,
        pieces: Sequence[bytes] | None = None,
        details: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.law = law
        self.stream = stream
        self.pieces = None if pieces is None else list(pieces)
        rows = []
        if stream is not None:
            rows.append(("stream", f"{_shown(stream)} ({len(stream)} bytes)"))
        if pieces is not None:
            rows.append(("cut", _shown_cut(pieces)))
        rows += details
        width = max((len(name) for name, _ in rows), default=0) + 1
        lines = [f"{what}", f"  {'law':{width}} {law.name}: {law.value}"]
        lines += [f"  {name:{width}} {text}" for name, text in rows]
        super().__init__("\n".join(lines))


def _shown(data: bytes) -> str:
    return repr(data) if len(data) <= 120 else f"{data[:80]!r}...{data[-30:]!r}"


def _shown_cut(pieces: Sequence[bytes]) -> str:
    if len(pieces) == 1:
        return "none, all in one piece"
    if len(pieces) > 20:
        lengths = {len(piece) for piece in pieces[:-1]}
        each = f"of {lengths.pop()}" if len(lengths) == 1 else "of various lengths"
        return f"{len(pieces)} pieces {each}: {' | '.join(_shown(piece) for piece in pieces[:5])} | ..."
    return " | ".join(_shown(piece) for piece in pieces)

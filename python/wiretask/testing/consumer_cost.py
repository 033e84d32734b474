"""The work and the memory of a consumer that is written in Python, counted without a clock.

A stream without end is made of a head and a unit that repeats, and fed in small pieces. *Work* is counted in
lines run and bytes looked at (`counting_bytes`); it must not grow from one stretch of the stream to the next.
*Memory* is what `tracemalloc` sees, compared with the bytes given. Neither sees inside of native code, where
nothing is counted: `is_visible` says so.
"""

from __future__ import annotations

import itertools
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType
from typing import Any

from wiretask.testing.counting_bytes import METER, CountingBytes, counting_names, is_counting_code
from wiretask.testing.laws import ConsumerLaw, LawBroken
from wiretask.testing.outcomes import StreamConsumerLike

__all__ = ["EndlessStream", "check_limit", "check_memory", "check_work", "is_visible"]

#: The stretches in which work is counted, and how many bytes each has.
_STRETCHES = 8
_STRETCH_BYTES = 64
#: Work below this many lines or bytes for one byte of the stream is never called too much.
_HARMLESS_WORK_PER_BYTE = 24
#: Memory below this is never called too much: what Python itself holds for a moment.
_HARMLESS_MEMORY_BYTES = 64 * 1024


class EndlessStream:
    """A head, and then a unit over and over."""

    def __init__(self, head: bytes, unit: bytes) -> None:
        self.head = head
        self.unit = unit

    def take(self, count: int) -> bytes:
        """Return its first `count` bytes."""
        repeats = max(0, count - len(self.head)) // len(self.unit) + 1
        return (self.head + self.unit * repeats)[:count]

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield it in pieces of about this size, for ever."""
        block = self.unit * max(1, size // len(self.unit))
        if self.head:
            yield self.head
        while True:
            yield block

    def __repr__(self) -> str:
        return f"{self.head!r} and then {self.unit!r} over and over"


def is_visible(consumer: object) -> bool:
    """Whether the consumer's work and memory can be seen from Python: not those of a native one."""
    return isinstance(getattr(type(consumer), "received", None), FunctionType)


def check_limit(factory: Callable[[], StreamConsumerLike], stream: EndlessStream, max_bytes: int) -> None:
    """Check that a stream without end is not taken beyond `max_bytes`.

    Raises:
        LawBroken: it is; the law of bounded memory.
    """
    consumer = factory()
    consumed_bytes = 0
    for piece in stream.pieces(min(65536, max(1, max_bytes))):
        if consumer.completed or consumed_bytes > max_bytes:
            break
        consumed_bytes += consumer.received(piece)
    if consumed_bytes > max_bytes:
        raise LawBroken(
            ConsumerLaw.BOUNDED_MEMORY,
            f"{consumed_bytes} bytes and more were taken for one message; max_bytes is {max_bytes}",
            details=[
                ("endless", repr(stream)),
                (
                    "remedy",
                    "a limit in the parser; or, if it is meant to take more, another max_bytes= for the check",
                ),
            ],
        )


def check_memory(factory: Callable[[], StreamConsumerLike], stream: bytes, factor: float) -> None:
    """Check that what is held, or taken for a moment, is at most `factor` times what was given so far.

    Raises:
        LawBroken: it is more.
    """
    was_tracing = tracemalloc.is_tracing()
    pieces = [stream[start : start + 16] for start in range(0, len(stream), 16)]
    consumer = factory()
    if not was_tracing:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        given = 0
        for piece in pieces:
            if consumer.completed:
                return
            tracemalloc.reset_peak()
            consumer.received(piece)
            given += len(piece)
            _, peak = tracemalloc.get_traced_memory()
            if peak - before > factor * given + _HARMLESS_MEMORY_BYTES:
                raise LawBroken(
                    ConsumerLaw.BOUNDED_MEMORY,
                    f"{peak - before} bytes of memory were taken for the first {given} bytes of the stream, more "
                    f"than {factor:g} times as many",
                    stream=stream[:given],
                )
    finally:
        if not was_tracing:
            tracemalloc.stop()


def check_work(factory: Callable[[], StreamConsumerLike], stream: EndlessStream) -> bool:
    """Check that no stretch of the stream costs more than the one before, all the way.

    Returns whether there was something to see: false if the consumer was completed too soon.
    Raises:
        LawBroken: the work for a byte grows with the number of bytes before it.
    """
    data = stream.take(_STRETCHES * _STRETCH_BYTES)
    lines, examined = _count_work(factory, data)
    if len(lines) < _STRETCHES:
        return False
    for what, counts in (("lines of Python run", lines), ("bytes looked at or copied", examined)):
        grows = all(earlier < later for earlier, later in itertools.pairwise(counts[1:]))
        if grows and counts[-1] >= max(3 * counts[1], _HARMLESS_WORK_PER_BYTE * _STRETCH_BYTES):
            per_byte = ", ".join(f"{count / _STRETCH_BYTES:.0f}" for count in counts)
            raise LawBroken(
                ConsumerLaw.LINEAR_WORK,
                f"the work for each byte grows with what came before: {what}, quadratic in all",
                details=[
                    ("endless", repr(stream)),
                    ("cut", "byte by byte"),
                    ("work", f"{per_byte} for each byte, in stretches of {_STRETCH_BYTES} bytes"),
                ],
            )
    return True


def _scopes_of(cls: type) -> list[dict[str, Any]]:
    """The global names of the modules in which the methods of a class were written."""
    methods = [thing for base in cls.__mro__ for thing in vars(base).values() if isinstance(thing, FunctionType)]
    return list({id(method.__globals__): method.__globals__ for method in methods}.values())


def _count_work(factory: Callable[[], StreamConsumerLike], data: bytes) -> tuple[list[int], list[int]]:
    """Lines run and bytes examined in each stretch that was taken before completion."""
    lines_run = 0

    def trace_lines(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines_run
        lines_run += event == "line"
        return trace_lines

    def trace_calls(frame: FrameType, event: str, argument: Any) -> Any:
        return None if is_counting_code(frame.f_code.co_filename) else trace_lines

    consumer = factory()
    lines: list[int] = []
    examined: list[int] = []
    with counting_names(_scopes_of(type(consumer))):
        consumer = factory()
        for start in range(0, len(data), _STRETCH_BYTES):
            lines_run, METER.bytes_examined = 0, 0
            stretch = [CountingBytes(data[at : at + 1]) for at in range(start, start + _STRETCH_BYTES)]
            previous = sys.gettrace()
            sys.settrace(trace_calls)
            try:
                for piece in stretch:
                    consumer.received(piece)
            finally:
                sys.settrace(previous)
            if consumer.completed:
                break
            lines.append(lines_run)
            examined.append(METER.bytes_examined)
    return lines, examined

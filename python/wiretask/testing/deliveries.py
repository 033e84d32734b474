"""Handing a stream to a consumer piece by piece, while every single call is held to the laws.

One `Delivery` is one fresh consumer and one way to cut one stream. What a call may do (progress, nothing after
completion, no exception, the returned number) is checked here; what deliveries have to do with each other is
`consumer_laws`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from wiretask.errors import ProtocolError
from wiretask.testing.laws import ConsumerLaw, LawBroken
from wiretask.testing.outcomes import Outcome, StreamConsumerLike, outcome_of

__all__ = ["Delivery"]


class Delivery:
    """One stream, in these pieces, into one fresh consumer.

    Args:
        factory: makes the consumer.
        pieces: what is handed over, one call each; together they are the stream.
        buffer_type: bytes, or bytearray or memoryview: those are overwritten after each call, as a reader that
            re-uses its buffer does.
        value_of: as for `outcome_of`.
    """

    def __init__(
        self,
        factory: Callable[[], StreamConsumerLike],
        pieces: Sequence[bytes],
        *,
        buffer_type: Callable[[bytes], Any] = bytes,
        value_of: Callable[[Any], object] | None = None,
    ) -> None:
        self.pieces = pieces
        self.stream = b"".join(pieces)
        self.consumed_bytes = 0
        self._buffer_type = buffer_type
        self._value_of = value_of
        self.consumer: Any = self._guarded("making a consumer", factory)

    @property
    def is_completed(self) -> bool:
        """What the consumer says."""
        completed: bool = self._guarded("looking at completed", lambda: self.consumer.completed)
        self._check_completed(completed)
        return completed

    def run(self) -> Outcome:
        """Hand over everything, also what comes after completion, and return the outcome.

        Raises:
            LawBroken: a call did what no call may do.
        """
        for piece in self.pieces:
            self.hand_over(piece)
        return self.outcome()

    def hand_over(self, piece: bytes) -> int:
        """Hand over one piece and return how many bytes of it were taken, having checked that."""
        # Called for every byte of every cut: what is in order is passed on with as few steps as can be.
        consumer = self.consumer
        buffer = self._buffer_type(piece)
        asked = "completed"
        try:
            was_completed = consumer.completed
            asked = "received"
            taken = consumer.received(buffer)
            asked = "completed"
            is_completed = consumer.completed
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._raised(f"received({_short(piece)})" if asked == "received" else "looking at completed", error)
        if buffer is not piece:
            self._spoil(buffer)
        if was_completed is False:
            is_plain = taken == len(piece) and (is_completed is False or is_completed is True)
        else:
            is_plain = taken == 0 and was_completed is True and is_completed is True
        if not is_plain or type(taken) is not int:
            self._check_call(piece, taken, was_completed, is_completed)
        self.consumed_bytes += taken
        return int(taken)

    def _check_call(self, piece: bytes, taken: object, was_completed: object, is_completed: object) -> None:
        """Hold one call of `received`, and `completed` before and after it, to the laws."""
        self._check_completed(was_completed)
        self._check_completed(is_completed)
        call = f"received({_short(piece)})"
        if isinstance(taken, bool) or not isinstance(taken, int) or not 0 <= taken <= len(piece):
            self._break(ConsumerLaw.INTERFACE, f"{call} returned {taken!r}, not a number of 0..{len(piece)}")
        if was_completed and not is_completed:
            self._break(ConsumerLaw.NO_OVER_READING, f"{call} made completed false again")
        if was_completed and taken:
            self._break(ConsumerLaw.NO_OVER_READING, f"{call} took {taken} bytes after completion")
        if piece and not taken and not was_completed:
            self._break(ConsumerLaw.PROGRESS, f"{call} took nothing, and was not completed before")
        if taken < len(piece) and not is_completed:
            self._break(ConsumerLaw.PROGRESS, f"{call} took {taken} of {len(piece)} bytes without being completed")

    def end_input(self) -> None:
        """Call `end_of_input()`, if the consumer has one."""
        if hasattr(self.consumer, "end_of_input"):
            self._guarded("end_of_input()", self.consumer.end_of_input)

    def outcome(self) -> Outcome:
        """What can be seen of the consumer now."""
        try:
            outcome = outcome_of(self.consumer, self.consumed_bytes, self._value_of)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            self._raised("looking at the consumer", raised)
        if outcome.error is None:
            return outcome
        error = self.consumer.error
        if not outcome.is_completed:
            self._break(ConsumerLaw.TOTAL, f"there is an error, {error!r}, but completed is false")
        if isinstance(error, ProtocolError) and not 0 <= error.offset_bytes <= self.consumed_bytes:
            self._break(
                ConsumerLaw.TOTAL,
                f"the error's offset_bytes is {error.offset_bytes}, of {self.consumed_bytes} bytes consumed",
            )
        return outcome

    def _guarded(self, what: str, call: Callable[[], Any]) -> Any:
        """The call's result; whatever it raises breaks a law. Also what Rust makes of a panic, no Exception."""
        try:
            return call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._raised(what, error)

    def _raised(self, what: str, error: BaseException) -> NoReturn:
        law = ConsumerLaw.TOTAL
        if self._buffer_type is not bytes and isinstance(error, (TypeError, AttributeError, BufferError)):
            law = ConsumerLaw.INTERFACE
        name = getattr(self._buffer_type, "__name__", "bytes")
        self._break(law, f"{what} raised {error!r}" + ("" if name == "bytes" else f", given a {name}"), error)

    def _check_completed(self, completed: object) -> None:
        if not isinstance(completed, bool):
            self._break(ConsumerLaw.INTERFACE, f"completed is {completed!r}, not True or False")

    def _spoil(self, buffer: object) -> None:
        if isinstance(buffer, bytearray) or (isinstance(buffer, memoryview) and not buffer.readonly):
            buffer[:] = b"\xa5" * len(buffer)

    def _break(self, law: ConsumerLaw, what: str, cause: BaseException | None = None) -> NoReturn:
        raise LawBroken(law, what, stream=self.stream, pieces=self.pieces) from cause


def _short(piece: bytes | bytearray | memoryview) -> str:
    shown = bytes(piece)
    return repr(shown) if len(shown) <= 40 else f"{shown[:30]!r}... of {len(shown)} bytes"

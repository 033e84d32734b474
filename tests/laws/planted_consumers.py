"""Consumers that each break one law, on purpose, and the correct ones that they were made from.

`PLANTED` says which law each breaks; the kit must find exactly that one. Kept simple: a fault is one method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from netstring import Netstring, encode_netstring

from wiretask.errors import IncompleteMessageError, MalformedMessageError, MessageTooLargeError
from wiretask.testing import ConsumerLaw, lines, telling_bytes


class BufferedLine:
    """A correct line consumer: keeps what came, searches only what is new."""

    max_bytes = 5000

    def __init__(self) -> None:
        self.completed = False
        self.error = None
        self.value = b""
        self._buffer = bytearray()

    def received(self, data):
        if self.completed:
            return 0
        room = self.max_bytes - len(self._buffer)
        data = bytes(data[:room])
        end = data.find(b"\n")
        if end >= 0:
            self._buffer += data[:end]
            self.value = bytes(self._buffer)
            self.completed = True
            return end + 1
        self._buffer += data
        if len(data) == room:
            self.fail(MessageTooLargeError("", kind="too_long", offset_bytes=len(self._buffer), limit_bytes=5000))
        return len(data)

    def end_of_input(self):
        if self._buffer and not self.completed:
            self.fail(IncompleteMessageError("", kind="truncated", offset_bytes=len(self._buffer)))

    def fail(self, error):
        self.error = error
        self.completed = True


# 1: the outcome depends on the cut


class ForgetsTheCarriageReturn(BufferedLine):
    """Drops a CR before the LF only if both came together."""

    def received(self, data):
        taken = super().received(data)
        if self.completed and bytes(data[:taken]).endswith(b"\r\n"):
            self.value = self.value.removesuffix(b"\r")
        return taken


class PlacesTheErrorAtThePiece(Netstring):
    def received(self, data):
        before = self._taken
        taken = super().received(data)
        if self.error is not None and taken and self.error.kind != "truncated":
            self.error.offset_bytes = before
        return taken


class NamesTheErrorByThePiece(Netstring):
    def received(self, data):
        taken = super().received(data)
        if self.error is not None and taken > 1:
            self.error.kind = "bad_piece"
        return taken


# 2: takes what is not its own


class TakesAll(BufferedLine):
    def received(self, data):
        return super().received(data) and len(data)


class KeepsTheRest(BufferedLine):
    """Takes the right number, but shows what came behind."""

    rest = b""

    def received(self, data):
        was_completed = self.completed
        taken = super().received(data)
        if self.completed and not was_completed:
            self.rest = bytes(data[taken:])
        return taken


class TakesMoreWhenCompleted(BufferedLine):
    def received(self, data):
        return len(data) if self.completed else super().received(data)


class BeginsAnew(BufferedLine):
    def received(self, data):
        if self.completed:
            self.completed = False
            return 0
        return super().received(data)


# 3: progress


class WaitsForTheWhole(Netstring):
    """Takes nothing until the message is there."""

    def received(self, data):
        if bytes(data).find(b",") < 0:
            return 0
        return super().received(data)


class LeavesTheLast(BufferedLine):
    """Holds back a CR, which might belong to the end of the line."""

    def received(self, data):
        if len(data) > 1 and bytes(data[-1:]) == b"\r" and not self.completed:
            data = data[:-1]
        return super().received(data)


# 4: memory


class WithoutLimit(BufferedLine):
    max_bytes = 2**40


class AllocatesAhead(BufferedLine):
    """Makes room for what the line announces."""

    def received(self, data):
        taken = super().received(data)
        if self._buffer[:1].isdigit():
            self._room = bytearray(1024 * 1024 * (self._buffer[0] - ord("0")))
        return taken


class KeepsEveryState(BufferedLine):
    def received(self, data):
        taken = super().received(data)
        self.__dict__.setdefault("_history", []).append(bytes(self._buffer))
        return taken


# 5: work


class SearchesFromTheStart(BufferedLine):
    def find(self):
        return self._buffer.find(b"\n")

    def received(self, data):
        if self.completed:
            return 0
        before = len(self._buffer)
        data = data[: self.max_bytes - before]
        self._buffer += data
        end = self.find()
        if end >= 0:
            self.value = bytes(self._buffer[:end])
            self.completed = True
            return end + 1 - before
        if len(self._buffer) == self.max_bytes:
            self.fail(MessageTooLargeError("", kind="too_long", offset_bytes=5000, limit_bytes=5000))
        return len(data)


class AsksWhetherItIsInThere(SearchesFromTheStart):
    def find(self):
        return self._buffer.index(b"\n") if b"\n" in self._buffer else -1


class CopiesTheBuffer(SearchesFromTheStart):
    def __init__(self):
        super().__init__()
        self._buffer = b""
        self._searched = 0

    def find(self):
        start, self._searched = self._searched, len(self._buffer)
        return self._buffer.find(b"\n", start)


class LooksByHand(SearchesFromTheStart):
    def find(self):
        for place, byte in enumerate(self._buffer):
            if byte == 10:
                return place
        return -1


class SplitsAgain(SearchesFromTheStart):
    def find(self):
        first, *rest = self._buffer.split(b"\n")
        return len(first) if rest else -1


# 6: exceptions, and errors that are none


class TrustsInt(Netstring):
    def _take(self, byte):
        if self._length is None and byte != ord(":"):
            self._digits += bytes([byte])
            int(self._digits)
        else:
            super()._take(byte)


class Decodes(BufferedLine):
    def received(self, data):
        taken = super().received(data)
        if self.completed and taken:
            self.text = self.value.decode()
        return taken


class RaisesItsErrors(Netstring):
    def received(self, data):
        taken = super().received(data)
        if self.error is not None and taken:
            raise self.error
        return taken


class FailsAndGoesOn(Netstring):
    def _fail(self, cls, kind):
        super()._fail(cls, kind)
        self.completed = False


class PlacesTheErrorBeyond(Netstring):
    def _fail(self, cls, kind):
        self.error = cls(kind, kind=kind, offset_bytes=self._taken + 1)
        self.completed = True


# 7: the round trip


class Strips(Netstring):
    def _take(self, byte):
        super()._take(byte)
        if self.completed:
            self.value = self.value.strip(b"a")


class Lowers(Netstring):
    """Changes every value in the same way, which only values from outside can show."""

    def _take(self, byte):
        super()._take(byte)
        if self.completed:
            self.value = self.value.lower()


# 8: the end of input


class IgnoresTheEnd(Netstring):
    def end_of_input(self):
        pass


class EndsSilently(Netstring):
    def end_of_input(self):
        self.completed = self.completed or bool(self._taken)


class MisplacesTheEnd(Netstring):
    def end_of_input(self):
        super().end_of_input()
        if self.error is not None and self.error.kind == "truncated":
            self.error.offset_bytes = 0


class MissesWhatNeverBegan(Netstring):
    def end_of_input(self):
        if not self.completed:
            self._fail(IncompleteMessageError, "truncated")


class SpoilsTheFinished(Netstring):
    def end_of_input(self):
        self._fail(IncompleteMessageError, "truncated")


# the interface


class KeepsTheCallersBuffer(BufferedLine):
    def received(self, data):
        taken = super().received(data)
        if self.completed and taken:
            self.last = memoryview(data)[taken - 1 : taken]
        return taken


class TakesBytesOnly(BufferedLine):
    def received(self, data):
        if not isinstance(data, bytes):
            raise TypeError("bytes, please")
        return super().received(data)


class ReturnsNothing(BufferedLine):
    def received(self, data):
        super().received(data)


class ReturnsTooMuch(BufferedLine):
    def received(self, data):
        return super().received(data) + 1


class StumblesOverAColonInFront(Netstring):
    """Refuses a colon that is the first byte of a piece of more than one."""

    def received(self, data):
        if not self.completed and self._taken == 1 and len(data) > 1 and bytes(data[:1]) == b":":
            self._taken += 1
            self._fail(MalformedMessageError, "colon")
            return 1
        return super().received(data)


@dataclass(frozen=True)
class Planted:
    """A faulty consumer, the law that it breaks, and what it is checked with."""

    factory: Callable[[], Any]
    law: ConsumerLaw
    streams: st.SearchStrategy[bytes]
    encode: Callable[[bytes], bytes] | None = None
    values: st.SearchStrategy[bytes] | None = None
    #: How long the stream in the message may be; none if a law shows no stream.
    smallest_bytes: int | None = None


netstrings = telling_bytes(20).map(encode_netstring)
short_lines = lines(20)


def _netstring(factory: Callable[[], Any], law: ConsumerLaw, smallest_bytes: int | None = None) -> Planted:
    return Planted(factory, law, netstrings, encode_netstring, telling_bytes(), smallest_bytes)


def _line(factory: Callable[[], Any], law: ConsumerLaw, smallest_bytes: int | None = None) -> Planted:
    return Planted(factory, law, short_lines, smallest_bytes=smallest_bytes)


PLANTED = [
    _line(ForgetsTheCarriageReturn, ConsumerLaw.SPLIT_INVARIANCE, 2),
    _netstring(PlacesTheErrorAtThePiece, ConsumerLaw.SPLIT_INVARIANCE, 2),
    _netstring(NamesTheErrorByThePiece, ConsumerLaw.SPLIT_INVARIANCE, 2),
    _netstring(StumblesOverAColonInFront, ConsumerLaw.SPLIT_INVARIANCE, 3),
    _line(TakesAll, ConsumerLaw.NO_OVER_READING, 2),
    _line(KeepsTheRest, ConsumerLaw.NO_OVER_READING, 2),
    _line(TakesMoreWhenCompleted, ConsumerLaw.NO_OVER_READING, 2),
    _line(BeginsAnew, ConsumerLaw.NO_OVER_READING, 2),
    _netstring(WaitsForTheWhole, ConsumerLaw.PROGRESS, 1),
    _line(LeavesTheLast, ConsumerLaw.PROGRESS, 2),
    _line(WithoutLimit, ConsumerLaw.BOUNDED_MEMORY),
    _line(AllocatesAhead, ConsumerLaw.BOUNDED_MEMORY, 16),
    _line(KeepsEveryState, ConsumerLaw.BOUNDED_MEMORY, 4096),
    _line(SearchesFromTheStart, ConsumerLaw.LINEAR_WORK),
    _line(AsksWhetherItIsInThere, ConsumerLaw.LINEAR_WORK),
    _line(CopiesTheBuffer, ConsumerLaw.LINEAR_WORK),
    _line(LooksByHand, ConsumerLaw.LINEAR_WORK),
    _line(SplitsAgain, ConsumerLaw.LINEAR_WORK),
    _netstring(TrustsInt, ConsumerLaw.TOTAL, 1),
    _line(Decodes, ConsumerLaw.TOTAL, 2),
    _netstring(RaisesItsErrors, ConsumerLaw.TOTAL, 1),
    _netstring(FailsAndGoesOn, ConsumerLaw.TOTAL, 1),
    _netstring(PlacesTheErrorBeyond, ConsumerLaw.TOTAL, 1),
    _netstring(Strips, ConsumerLaw.ROUND_TRIP, 5),
    _netstring(Lowers, ConsumerLaw.ROUND_TRIP, 5),
    _netstring(IgnoresTheEnd, ConsumerLaw.END_OF_INPUT, 1),
    _netstring(EndsSilently, ConsumerLaw.END_OF_INPUT, 1),
    _netstring(MisplacesTheEnd, ConsumerLaw.END_OF_INPUT, 1),
    _netstring(MissesWhatNeverBegan, ConsumerLaw.END_OF_INPUT, 0),
    _netstring(SpoilsTheFinished, ConsumerLaw.END_OF_INPUT, 3),
    _line(KeepsTheCallersBuffer, ConsumerLaw.INTERFACE, 1),
    _line(TakesBytesOnly, ConsumerLaw.INTERFACE, 1),
    _line(ReturnsNothing, ConsumerLaw.INTERFACE, 1),
    _line(ReturnsTooMuch, ConsumerLaw.INTERFACE, 1),
]

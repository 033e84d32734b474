"""A consumer written in Python, for the laws: `5:hello,` (D. J. Bernstein, "Netstrings", 1997)."""

from __future__ import annotations

from zope.interface import implementer

from wiretask.errors import IncompleteMessageError, MalformedMessageError, ProtocolError
from wiretask.interfaces import IStreamConsumer


@implementer(IStreamConsumer)
class Netstring:
    """One netstring of at most 99 bytes."""

    def __init__(self, adj: object = None) -> None:
        self.completed = False
        self.error: ProtocolError | None = None
        self.value = b""
        self.empty = False
        self._digits = b""
        self._content = bytearray()
        self._length: int | None = None
        self._taken = 0

    def received(self, data: bytes | bytearray | memoryview) -> int:
        for taken, byte in enumerate(bytes(data)):
            if self.completed:
                return taken
            self._taken += 1
            self._take(byte)
        return len(data)

    def end_of_input(self) -> None:
        if self._taken and not self.completed:
            self._fail(IncompleteMessageError, "truncated")

    def _take(self, byte: int) -> None:
        if self._length is None:
            if byte == ord(":") and self._digits:
                self._length = int(self._digits)
            elif bytes([byte]).isdigit() and self._digits != b"0" and len(self._digits) < 2:
                self._digits += bytes([byte])
            else:
                self._fail(MalformedMessageError, "bad_length")
        elif len(self._content) < self._length:
            self._content.append(byte)
        elif byte == ord(","):
            self.value = bytes(self._content)
            self.completed = True
        else:
            self._fail(MalformedMessageError, "no_comma")

    def _fail(self, cls: type[ProtocolError], kind: str) -> None:
        self.error = cls(kind, kind=kind, offset_bytes=self._taken)
        self.completed = True


def encode_netstring(value: bytes) -> bytes:
    if len(value) > 99:
        raise ValueError("too long")
    return b"%d:%s," % (len(value), value)

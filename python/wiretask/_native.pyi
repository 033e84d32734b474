"""The extension module: what wiretask keeps in Rust. Import the public names from `wiretask`.

Written by hand; `mypy.stubtest` compares it with the module.
"""

from typing import Literal, Self, final

from typing_extensions import Buffer, disjoint_base

from wiretask.errors import ProtocolError

__all__ = [
    "ConsumerFactory",
    "Delimiter",
    "FixedStream",
    "LengthPrefixed",
    "Line",
    "StreamConsumer",
    "__version__",
    "protocol_error_examples",
]

__version__: str

@disjoint_base
class StreamConsumer:
    """What every native stream consumer does; made only as one of its subclasses.

    One object reads one message. One thread at a time per object; several are safe, but find the stream
    mixed. No method blocks. Source: `IStreamConsumer`.
    """

    def received(self, data: Buffer) -> int:
        """Take bytes from the stream and return how many were consumed.

        Args:
            data: the next bytes, in order; may be empty; any length. `bytes` is the fast path; any other
                contiguous buffer is copied in small pieces. It may be re-used after the call.
        Returns:
            0..len(data) bytes. Less than len(data) only once `completed` is true; 0 for data that is not
            empty only if `completed` was true before.
        Raises:
            TypeError: data is not bytes-like or not contiguous. A peer's error never raises: see `error`.
        After failure: `completed` is true, `error` is set, nothing more is consumed.
        """

    @property
    def completed(self) -> bool:
        """Whether it has all it needs, or has failed; nothing more is consumed then."""

    @property
    def error(self) -> ProtocolError | None:
        """The peer's fault, or None: a value to look at, which is raised by nobody.

        A new exception object at each access, so that raising one keeps nothing alive.
        """

    @property
    def value(self) -> bytes:
        """The message's content, without terminator or prefix: the same object at each access.

        Raises:
            RuntimeError: it is not completed, or there was an `error`.
        """

    @property
    def empty(self) -> bool:
        """Whether the completed message asks for nothing, so that a server skips it: a blank `Line`."""

    def end_of_input(self) -> None:
        """Tell it that the peer will send nothing more.

        In the middle of a message it is then completed with an `IncompleteMessageError`. Before the first
        byte of a message, and after completion, nothing changes.
        """

class FixedStream(StreamConsumer):
    """A consumer of exactly n bytes; with n = 0 it is completed from the start."""

    def __new__(cls, n: int) -> Self:
        """A fresh consumer.

        Args:
            n: the length in bytes, 0..2**64-1. Memory follows what arrives.
        Raises:
            TypeError, ValueError: n is no such number.
        """

    @classmethod
    def configured(cls, n: int) -> ConsumerFactory:
        """A native factory of such consumers, for use as `parser_class`.

        Raises:
            ValueError: n is less than 1: there would be messages without end between two bytes.
            TypeError: called on a subclass, whose objects a native factory cannot make.
        """

class Line(StreamConsumer):
    """A consumer of one line: a line feed ends it, one carriage return before that is not content either.

    A blank line is `empty`. A line too long is the error "line_too_long" as soon as max_bytes have come.
    """

    def __new__(cls, adj: object = None, /, *, max_bytes: int = 65536) -> Self:
        """A fresh consumer.

        Args:
            adj: what a server passes to its `parser_class`; ignored.
            max_bytes: the longest line in bytes of the stream, terminator included; at least 1.
        Raises:
            TypeError: a number, str or bytes was given as `adj`: meant as a limit, no doubt.
            ValueError: max_bytes is out of range.
        """

    @classmethod
    def configured(cls, *, max_bytes: int = 65536) -> ConsumerFactory:
        """A native factory of such consumers, for use as `parser_class`.

        Raises:
            ValueError: as the constructor. TypeError: called on a subclass.
        """

class Delimiter(StreamConsumer):
    """A consumer of everything up to the first occurrence of a delimiter, which is not part of the value.

    A message too long is the error "message_too_long" as soon as max_bytes have come. An empty message
    counts.
    """

    def __new__(cls, delimiter: bytes | bytearray, *, max_bytes: int = 65536) -> Self:
        """A fresh consumer.

        Args:
            delimiter: 1 to 1024 bytes.
            max_bytes: the longest message in bytes of the stream, delimiter included; at least its length.
        Raises:
            TypeError, ValueError: an argument is not that.
        """

    @classmethod
    def configured(cls, delimiter: bytes | bytearray, *, max_bytes: int = 65536) -> ConsumerFactory:
        """A native factory of such consumers, for use as `parser_class`; prepares the delimiter once for all.

        Raises:
            TypeError, ValueError: as the constructor. TypeError: called on a subclass.
        """

class LengthPrefixed(StreamConsumer):
    """A consumer of a length and that many bytes; the length is not part of the value.

    A length above the limit is the error "length_too_large" before any content is taken; a varint must be in
    its shortest form ("length_overlong") and fit into 64 bits ("length_overflow").
    """

    def __new__(
        cls,
        adj: object = None,
        /,
        *,
        size: Literal[1, 2, 4, 8, "varint"] = 4,
        byteorder: Literal["big", "little"] = "big",
        max_bytes: int = 1048576,
    ) -> Self:
        """A fresh consumer.

        Args:
            adj: what a server passes to its `parser_class`; ignored.
            size: how many bytes the length has, or "varint" for unsigned LEB128 of at most 10 bytes.
            byteorder: the byte order of the length; means nothing for 1 byte and for a varint.
            max_bytes: the longest message in bytes of the stream, length included; at least the length's own.
        Raises:
            TypeError: a number, str or bytes was given as `adj`: meant as a size, no doubt.
            ValueError: an argument is not that.
        """

    @classmethod
    def configured(
        cls,
        *,
        size: Literal[1, 2, 4, 8, "varint"] = 4,
        byteorder: Literal["big", "little"] = "big",
        max_bytes: int = 1048576,
    ) -> ConsumerFactory:
        """A native factory of such consumers, for use as `parser_class`.

        Raises:
            ValueError: as the constructor. TypeError: called on a subclass.
        """

@final
class ConsumerFactory:
    """Makes native consumers that are all alike; the value of `configured()`.

    Immutable, hashable, equal to a factory of the same kind with the same arguments.
    """

    def __call__(self, adj: object = None, /) -> StreamConsumer:
        """A fresh consumer; adj, which a server passes to its `parser_class`, is ignored."""

    def encode(self, value: Buffer) -> bytes:
        """The bytes from which one of its consumers reads `value` back.

        Raises:
            TypeError: value is not bytes-like.
            ValueError: no bytes would be read back as this value: it contains the terminator, is too long ...
        """

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

def protocol_error_examples() -> list[ProtocolError]:
    """One error of each kind that a native consumer can have: for tests that must know them all."""

"""The Redis protocol (RESP2): `RedisRequest` cuts a stream into requests, `encode_reply` makes replies.

Strategy: most requests are small and arrive whole, so `received` first tries to cut one out of the data with
a single `split`; whatever does not fit (large, in pieces, inline, wrong) goes through a state machine that
takes a line or a body at a time and remembers where it stopped. A peer's mistake becomes a value,
`protocol_error`, in Redis' own words, so that a task can answer it before the connection closes.
Must not know: sockets, threads, what any command means.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/; limits and wording of Redis 7.0.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from zope.interface import implementer

from wiretask import Adjustments
from wiretask.errors import IncompleteMessageError
from wiretask.interfaces import IStreamConsumer

__all__ = [
    "RedisRequest",
    "Reply",
    "SimpleString",
    "encode_error",
    "encode_reply",
    "maybe_integer",
    "split_inline",
]


class SimpleString(bytes):
    """A reply that is a status, such as `OK`, and no data. Holds no CR and no LF."""

    __slots__ = ()


Reply = None | int | bytes | Sequence["Reply"]


@implementer(IStreamConsumer)
class RedisRequest:
    """One request: an array of bulk strings, or a line of words ("inline command").

    Once `completed`, exactly one of these holds: `empty` (a blank line, `*0`: nothing to answer),
    `protocol_error` (the stream cannot be understood any further), `error` (the stream ended in the middle),
    or `arguments` has the command's name and its arguments.

    The limits are class attributes; a subclass sets its own, none below what the fast path takes unseen
    (16 KiB, 99 arguments). Nothing is allocated before it has arrived. Threads: one at a time per object.
    """

    max_line_bytes: ClassVar[int] = 64 * 1024
    """An inline command, or the line that holds a length; the line's end included."""
    max_arguments: ClassVar[int] = 1024 * 1024
    max_bulk_bytes: ClassVar[int] = 512 * 1024 * 1024
    max_request_bytes: ClassVar[int] = 1024 * 1024 * 1024
    """All arguments of one request together."""

    # Class attributes are the defaults: an object that takes the fast path sets two and no more.
    completed: bool = False
    empty: bool = False
    protocol_error: str | None = None
    error: IncompleteMessageError | None = None
    arguments: Sequence[bytes] = ()
    _assembly: "_Assembly | None" = None

    def __init_subclass__(cls) -> None:
        """Check the limits of a subclass. Raises ValueError for one that the fast path would not keep."""
        super().__init_subclass__()
        smallest_bytes = min(cls.max_line_bytes, cls.max_bulk_bytes, cls.max_request_bytes)
        if smallest_bytes < _PIECE_BYTES or cls.max_arguments < _FAST_ARGUMENTS:
            raise ValueError(
                f"{cls.__name__}: the limits must allow {_PIECE_BYTES} bytes and {_FAST_ARGUMENTS} arguments"
            )

    def __init__(self, adj: Adjustments | None = None) -> None:
        """Make a request that has received nothing. Every parser is given `adj`; this one ignores it."""

    def received(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes from the stream and return how many were consumed.

        Args:
            data: the next bytes, in order; may be empty; any length.
        Returns:
            0..len(data) bytes. Less than len(data) only once `completed` is true.
        Raises:
            TypeError: data is not bytes-like. A peer's mistake never raises: see `protocol_error`.
        After a protocol error: `completed` is true, nothing more is consumed.
        Blocking: never.
        """
        if self.completed:
            return 0
        if self._assembly is None and type(data) is bytes and len(data) <= _PIECE_BYTES:
            # `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n` splits into *2, $3, GET, $1, k and the rest. A value that holds
            # CRLF itself gives parts whose lengths do not fit, and goes the long way.
            part_count = _PART_COUNTS.get(data[:4]) or _PART_COUNTS.get(data[:5])
            if part_count is not None:
                parts = data.split(b"\r\n", part_count)
                if len(parts) > part_count:
                    arguments = parts[2:part_count:2]
                    for header, argument in zip(parts[1:part_count:2], arguments, strict=True):
                        if _LENGTHS.get(header) != len(argument):
                            break
                    else:
                        self.arguments = arguments
                        self.completed = True
                        return len(data) - len(parts[part_count])
        return self._assemble(data)

    def end_of_input(self) -> None:
        """Take note that the stream has ended: in the middle of a request that is an error, see `error`."""
        if self._assembly is not None and not self.completed:
            self.completed = True
            self.error = IncompleteMessageError(
                "the stream ended in the middle of a request",
                kind="truncated",
                offset_bytes=self._assembly.consumed_bytes,
                status=None,
            )

    def _assemble(self, data: bytes | bytearray | memoryview) -> int:
        view = memoryview(data).cast("B")
        if self._assembly is None and view:
            self._assembly = _Assembly(type(self))
        assembly = self._assembly
        if assembly is None:
            return 0
        consumed = 0
        # In pieces, so that a request at the head of much data never costs a copy of all of it.
        while consumed < len(view) and not assembly.completed:
            consumed += assembly.take(bytes(view[consumed : consumed + _PIECE_BYTES]))
        if assembly.completed:
            self._assembly = None
            self.completed = True
            self.arguments = assembly.arguments
            self.protocol_error = assembly.protocol_error
            self.empty = not assembly.arguments and assembly.protocol_error is None
        return consumed


def split_inline(line: bytes) -> list[bytes] | None:
    """Return the words of an inline command, or None if its quotes do not balance.

    In double quotes `\\n`, `\\r`, `\\t`, `\\b`, `\\a` and `\\xHH` mean what they do in C, and a backslash
    takes the meaning from any other byte; in single quotes only `\\'` is special. A closing quote must end
    the word.
    Source: sdssplitargs of Redis.
    """
    if b'"' not in line and b"'" not in line:
        return line.split()
    words = []
    position = 0
    line = line.rstrip()
    while position < len(line):
        match = _WORD.match(line, position)
        if match is None:
            return None
        bare, double_quoted, single_quoted = match.groups(default=b"")
        words.append(bare + _ESCAPE.sub(_unescape, double_quoted) + single_quoted.replace(b"\\'", b"'"))
        position = match.end()
    return words


def maybe_integer(text: bytes) -> int | None:
    """Return the signed 64-bit integer written in `text`, or None: no blanks, no plus, no leading zeros."""
    if _INTEGER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def encode_reply(reply: Reply) -> bytes:
    """Return `reply` as RESP2: None becomes the null bulk, bytes a bulk string, a sequence an array."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, SimpleString):
        return b"+%b\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    return b"*%d\r\n%b" % (len(reply), b"".join(map(encode_reply, reply)))


def encode_error(message: str) -> bytes:
    """Return an error reply. `message` begins with a code such as `ERR`; a peer's bytes are Latin-1 in it."""
    return b"-%b\r\n" % message.encode("latin-1", "replace").translate(_LINE_ENDS_TO_BLANKS)


class _Assembly:
    """A request that is taken line by line and body by body, within the limits of its class.

    Every byte is looked at once: a line that is incomplete is kept apart and searched no more, a body is only
    counted. So any cut of the stream gives the same result for the same work.
    """

    __slots__ = (
        "_body",
        "_body_bytes_due",
        "_bulks_due",
        "_bytes_allowed",
        "_limits",
        "_line",
        "arguments",
        "completed",
        "consumed_bytes",
        "protocol_error",
    )

    def __init__(self, limits: type[RedisRequest]) -> None:
        self.completed = False
        self.protocol_error: str | None = None
        self.arguments: list[bytes] = []
        self.consumed_bytes = 0
        self._limits = limits
        self._bytes_allowed = limits.max_request_bytes
        self._bulks_due = 0  # 0: the first line has not been seen
        self._line = bytearray()
        self._body = bytearray()
        self._body_bytes_due = 0  # with the CRLF behind it; 0: the next thing is a line

    def take(self, data: bytes) -> int:
        """Consume up to the end of the request or of `data`; return how many bytes that were."""
        position = 0
        while position < len(data) and not self.completed:
            take_part = self._take_body if self._body_bytes_due else self._take_line
            position = take_part(data, position)
        self.consumed_bytes += position
        return position

    def _take_line(self, data: bytes, start: int) -> int:
        limit = start + self._limits.max_line_bytes - len(self._line)
        newline = data.find(b"\n", start, limit)
        if newline >= 0:
            line = bytes(self._line) + data[start : newline + 1]
            self._line.clear()
            self._handle_line(line)
            return newline + 1
        self._line += data[start:limit]
        if len(data) >= limit:
            self._handle_line_too_big()
            return limit
        return len(data)

    def _take_body(self, data: bytes, start: int) -> int:
        piece = data[start : start + self._body_bytes_due]
        self._body += piece
        self._body_bytes_due -= len(piece)
        if self._body_bytes_due == 0:
            if not self._body.endswith(b"\r\n"):
                self._fail("invalid bulk length")
            else:
                del self._body[-2:]
                self._handle_bulk(bytes(self._body))
                self._body.clear()
        return start + len(piece)

    def _handle_line(self, line: bytes) -> None:
        if self._bulks_due:
            self._handle_bulk_header(line)
        elif line.startswith(b"*"):
            self._handle_array_header(line)
        else:
            self._handle_inline(line)

    def _handle_array_header(self, line: bytes) -> None:
        count = _maybe_length(line)
        if count is None or count > self._limits.max_arguments:
            self._fail("invalid multibulk length")
        elif count <= 0:
            self.completed = True
        else:
            self._bulks_due = count

    def _handle_bulk_header(self, line: bytes) -> None:
        if not line.startswith(b"$"):
            self._fail(f"expected '$', got '{chr(line[0])}'")
            return
        length = _maybe_length(line)
        if length is None or not 0 <= length <= min(self._limits.max_bulk_bytes, self._bytes_allowed):
            self._fail("invalid bulk length")
            return
        self._bytes_allowed -= length
        self._body_bytes_due = length + 2

    def _handle_bulk(self, body: bytes) -> None:
        self.arguments.append(body)
        self._bulks_due -= 1
        self.completed = not self._bulks_due

    def _handle_inline(self, line: bytes) -> None:
        words = split_inline(line)
        if words is None:
            self._fail("unbalanced quotes in request")
        else:
            self.arguments = words
            self.completed = True

    def _handle_line_too_big(self) -> None:
        if self._bulks_due:
            self._fail("too big bulk count string")
        elif self._line.startswith(b"*"):
            self._fail("too big mbulk count string")
        else:
            self._fail("too big inline request")

    def _fail(self, what: str) -> None:
        self.arguments = []
        self.protocol_error = "Protocol error: " + what
        self.completed = True


def _maybe_length(line: bytes) -> int | None:
    return maybe_integer(line[1:-2]) if line.endswith(b"\r\n") else None


def _unescape(match: re.Match[bytes]) -> bytes:
    hexadecimal, other = match.groups()
    return bytes.fromhex(hexadecimal.decode()) if hexadecimal else _ESCAPED.get(other, other)


# As many bytes as are split at once: more than a server hands over in one read, and little to copy in vain.
_PIECE_BYTES: Final = 16 * 1024
_FAST_ARGUMENTS: Final = 99
_PART_COUNTS: Final = {b"*%d\r\n" % count: 2 * count + 1 for count in range(1, _FAST_ARGUMENTS + 1)}
# Looking a length up takes half the time of int(), and refuses what int() would let pass, such as `$+3`.
_LENGTHS: Final = {b"$%d" % length: length for length in range(4096 + 1)}

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_WORD: Final = re.compile(
    rb"""\s*+ ([^\s"']*+)                      # what stands before a quote, or the whole word
    (?: "((?:\\.|[^"\\])*+)" | '((?:\\'|[^'])*+)' )?  (?=\s|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_LINE_ENDS_TO_BLANKS: Final = bytes.maketrans(b"\r\n", b"  ")

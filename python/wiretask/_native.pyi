"""The extension module: what wiretask keeps in Rust. Import the public names from `wiretask`.

Written by hand; `mypy.stubtest` compares it with the module.
"""

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Final, Literal, Protocol, Self, TypeVar, final, overload

from typing_extensions import Buffer, disjoint_base

from wiretask.errors import ProtocolError
from wiretask.tasks import DispatcherStats

__all__ = [
    "WORK_CLOSED",
    "WORK_END_OF_INPUT",
    "WORK_OPENED",
    "WORK_TASKS",
    "Channel",
    "ChannelOpening",
    "Chunked",
    "Connection",
    "ConsumerFactory",
    "Delimiter",
    "DisconnectProbe",
    "Exchange",
    "FixedStream",
    "HTTPHeaders",
    "HTTPRequest",
    "HTTPResponse",
    "LengthPrefixed",
    "Line",
    "Mailroom",
    "MessageReader",
    "Orphans",
    "QueueWatch",
    "Reactor",
    "Server",
    "StreamConsumer",
    "TaskQueue",
    "Worker",
    "__build_profile__",
    "__version__",
    "begin_exit",
    "claim_exit_hook",
    "close_descriptors_after_fork",
    "finish_exit",
    "is_exiting",
    "is_native_parser",
    "post_log",
    "protocol_error_examples",
    "reset_after_fork",
]

__build_profile__: Literal["debug", "release"]
"""How the module was compiled; one that was compiled for debugging is many times slower."""
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
class MessageReader:
    """Reads message after message of one kind: takes blocks of the stream, returns the messages that end in each.

    The same messages, and in the end the same error, as from a fresh consumer for each message in turn, without
    an object and a call for each. Between two blocks it holds the beginning of one message, within its limit.
    One thread at a time per object; several are safe, but find the stream mixed. No method blocks.
    """

    def __new__(cls, parser_class: type[Line] | type[LengthPrefixed] | ConsumerFactory, /) -> Self:
        """A reader at the beginning of a message.

        Args:
            parser_class: what a server takes as such: `Line`, `LengthPrefixed`, or what `configured()` of these
                two, of `Delimiter` or of `FixedStream` made.
        Raises:
            TypeError: it is something else. HTTP messages are more than a value, so they are not read like this.
        """

    def received_many(self, data: Buffer, /) -> list[bytes]:
        """Take the next bytes of the stream, and return the messages that they complete, in order.

        All of data is consumed, or all up to an `error`. Blank lines are messages too: b"".

        Args:
            data: the next bytes, in order; may be empty; any length. `bytes` is the fast path; any other
                contiguous buffer is copied in small pieces. It may be re-used after the call.
        Returns:
            The messages that came before the error too, if there is one; nothing ever after that.
        Raises:
            TypeError: data is not bytes-like or not contiguous. A peer's error never raises: see `error`.
        After failure: `error` is set, nothing more is consumed.
        """

    @property
    def error(self) -> ProtocolError | None:
        """The peer's fault, or None; a new exception object at each access.

        Its `offset_bytes` counts from the beginning of the message that it is in: as the consumer's own.
        """

    @property
    def consumed_bytes(self) -> int:
        """How many bytes of the stream were consumed in all; an `error` lies right before this place."""

    def end_of_input(self) -> None:
        """Tell it that the peer will send nothing more.

        In the middle of a message that is an `IncompleteMessageError`; between two messages nothing changes.
        """

_D = TypeVar("_D")

class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...

_BodySink = Callable[[bytes], object] | _Writable

@final
class HTTPHeaders(Mapping[str, str]):
    """The fields of a head or of trailers: immutable, ordered, names without regard to case.

    A mapping from each name, as it was first spelled, to its value; the values of a name that comes more than
    once are joined with ", ". All text is latin-1: a character for each byte. Strings are made when they are
    asked for. Only names of ASCII letters are ever equal to others.
    """

    def __getitem__(self, name: str, /) -> str: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...
    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...
    @overload
    def get(self, name: str, default: _D, /) -> str | _D: ...
    def get_all(self, name: str, /) -> list[str]:
        """The values of this name, one for each line, in order; empty if there is none."""

    def keys(self) -> KeysView[str]: ...
    def values(self) -> ValuesView[str]: ...
    def items(self) -> ItemsView[str, str]: ...
    @property
    def lines(self) -> list[tuple[str, str]]:
        """Name and value of each line, in order, as often as they were sent; a new list at each access."""

    @property
    def raw_lines(self) -> list[tuple[bytes, bytes]]:
        """The same as bytes."""

    @property
    def raw(self) -> bytes:
        """The lines as they came, up to and with the empty one."""

    def __eq__(self, other: object, /) -> bool:
        """Whether both have the same lines in the same order; names without regard to case."""

@disjoint_base
class HTTPRequest(StreamConsumer):
    """A consumer of one HTTP/1.1 or HTTP/1.0 request: its head, and the body that the head announces.

    Strict: what two parsers could read differently is an `error`, whose `status` is the answer it should get.
    What the head says can be asked as soon as `head_completed` is true, also when the body has an error; before
    that it is a RuntimeError. Nothing is decoded or normalised. Source: RFC 9110, RFC 9112.
    """

    def __new__(
        cls,
        adj: object = None,
        /,
        *,
        max_head_bytes: int = 262144,
        max_request_line_bytes: int = 16384,
        max_fields: int = 128,
        max_body_bytes: int = 1073741824,
        max_chunk_extension_bytes: int = 16384,
        max_trailer_bytes: int = 16384,
        body_sink: _BodySink | None = None,
    ) -> Self:
        """A fresh consumer.

        Args:
            adj: what a server passes to its `parser_class`; ignored.
            max_head_bytes: the longest head, from its first byte to the end of its empty line; at least 16.
            max_request_line_bytes: the longest request line, its end included; at least 14.
            max_fields: the most field lines of a head, and of trailers.
            max_body_bytes: the longest body, its content only.
            max_chunk_extension_bytes: the most that the extensions of all chunks of a body may take.
            max_trailer_bytes: the longest trailers, their empty line included; at least 2.
            body_sink: called (or its `write`) with each piece of the body, in the thread that calls `received`
                and before it returns; the body is then not held. None: it is held.
        Raises:
            TypeError: a limit was given as `adj`, or is no int; the sink is neither callable nor has `write`.
            ValueError: a limit is out of range.
        """

    @classmethod
    def configured(
        cls,
        *,
        max_head_bytes: int = 262144,
        max_request_line_bytes: int = 16384,
        max_fields: int = 128,
        max_body_bytes: int = 1073741824,
        max_chunk_extension_bytes: int = 16384,
        max_trailer_bytes: int = 16384,
    ) -> ConsumerFactory:
        """A native factory of such consumers, for use as `parser_class`.

        Raises:
            TypeError, ValueError: as the constructor. TypeError: called on a subclass.
        """

    def received(self, data: Buffer) -> int:
        """As every consumer's, and then feeds the sink, if there is one.

        Raises:
            Whatever the sink raises; after that every call is a RuntimeError, as the body is not whole. So is a
            call by the sink.
        """

    @property
    def head_completed(self) -> bool:
        """Whether the head is whole and without fault, so that the rest can be asked."""

    @property
    def head(self) -> bytes:
        """The head as it came, with its empty line; a new object at each access."""

    @property
    def method(self) -> str:
        """The method, as it is written: "get" is not "GET"."""

    @property
    def target(self) -> str:
        """The target, as it is written."""

    @property
    def path(self) -> str:
        """The path, not decoded; "*" if the whole server is meant, "" for CONNECT."""

    @property
    def query(self) -> str:
        """The query without its question mark, not decoded; "" if there is none."""

    @property
    def host(self) -> str:
        """Who is asked: the authority of an absolute target, or else the Host field; "" if neither says."""

    @property
    def version(self) -> str:
        """ "1.1" or "1.0"; a later minor version of 1 counts as 1.1."""

    @property
    def headers(self) -> HTTPHeaders:
        """The fields of the head; the same object at each access."""

    @property
    def trailers(self) -> HTTPHeaders:
        """The fields after a chunked body, else none; they change nothing of what the head said.

        Raises:
            RuntimeError: it is not completed, or there was an `error`.
        """

    @property
    def content_length(self) -> int | None:
        """The length of the body, 0 if there is none; None for a chunked one."""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow, as far as the client says.

        False after an error and before the head is whole.
        """

    @property
    def body(self) -> bytes:
        """The body: the same object at each access.

        Raises:
            RuntimeError: it is not completed, there was an `error`, or it went to `body_sink`.
        """

    @property
    def value(self) -> bytes:
        """The same as `body`."""

@disjoint_base
class HTTPResponse(StreamConsumer):
    """A consumer of one HTTP/1.1 or HTTP/1.0 answer, as strict as `HTTPRequest`. For clients and tests.

    An interim answer (status 100 to 199) is an answer of its own. Where the head gives no length, the body ends
    with the stream, and `end_of_input()` completes it. Source: RFC 9110, RFC 9112.
    """

    def __new__(
        cls,
        adj: object = None,
        /,
        *,
        request_method: str = "GET",
        max_head_bytes: int = 262144,
        max_fields: int = 128,
        max_body_bytes: int = 1073741824,
        max_chunk_extension_bytes: int = 16384,
        max_trailer_bytes: int = 16384,
        body_sink: _BodySink | None = None,
    ) -> Self:
        """A fresh consumer.

        Args:
            adj: as that of the others; ignored.
            request_method: what was asked: after HEAD there is no body, nor after a CONNECT that succeeds.
            max_head_bytes: the longest head, from its first byte to the end of its empty line; at least 16.
            max_fields: the most field lines of a head, and of trailers.
            max_body_bytes: the longest body, its content only.
            max_chunk_extension_bytes: the most that the extensions of all chunks of a body may take.
            max_trailer_bytes: the longest trailers, their empty line included; at least 2.
            body_sink: called (or its `write`) with each piece of the body, in the thread that calls `received`
                and before it returns; the body is then not held. None: it is held.
        Raises:
            TypeError: a limit was given as `adj`, or is no int; the sink is neither callable nor has `write`.
            ValueError: a limit is out of range.
        """

    @classmethod
    def configured(
        cls,
        *,
        request_method: str = "GET",
        max_head_bytes: int = 262144,
        max_fields: int = 128,
        max_body_bytes: int = 1073741824,
        max_chunk_extension_bytes: int = 16384,
        max_trailer_bytes: int = 16384,
    ) -> ConsumerFactory:
        """A native factory of such consumers.

        Raises:
            TypeError, ValueError: as the constructor. TypeError: called on a subclass.
        """

    def received(self, data: Buffer) -> int:
        """As every consumer's, and then feeds the sink, if there is one.

        Raises:
            Whatever the sink raises; after that every call is a RuntimeError, as the body is not whole. So is a
            call by the sink.
        """

    @property
    def head_completed(self) -> bool:
        """Whether the head is whole and without fault, so that the rest can be asked."""

    @property
    def head(self) -> bytes:
        """The head as it came, with its empty line; a new object at each access."""

    @property
    def status(self) -> int:
        """The status, 100 to 999."""

    @property
    def reason(self) -> str:
        """The reason, as it is written; often ""."""

    @property
    def version(self) -> str:
        """ "1.1" or "1.0"; a later minor version of 1 counts as 1.1."""

    @property
    def headers(self) -> HTTPHeaders:
        """The fields of the head; the same object at each access."""

    @property
    def trailers(self) -> HTTPHeaders:
        """The fields after a chunked body, else none; they change nothing of what the head said.

        Raises:
            RuntimeError: it is not completed, or there was an `error`.
        """

    @property
    def content_length(self) -> int | None:
        """The length of the body, 0 if there is none; None for a chunked one and one that ends with the stream."""

    @property
    def keep_alive(self) -> bool:
        """Whether another answer can come. False after an error and before the head is whole."""

    @property
    def body(self) -> bytes:
        """The body: the same object at each access.

        Raises:
            RuntimeError: it is not completed, there was an `error`, or it went to `body_sink`.
        """

    @property
    def value(self) -> bytes:
        """The same as `body`."""

@disjoint_base
class Chunked(StreamConsumer):
    """A consumer of one body in the chunked coding of HTTP/1.1, trailers included; its value is the content.

    Extensions are checked, counted and forgotten. Source: RFC 9112 section 7.1.
    """

    def __new__(
        cls,
        adj: object = None,
        /,
        *,
        max_body_bytes: int = 1073741824,
        max_fields: int = 128,
        max_chunk_extension_bytes: int = 16384,
        max_trailer_bytes: int = 16384,
        body_sink: _BodySink | None = None,
    ) -> Self:
        """A fresh consumer.

        Args:
            adj: what a server passes to its `parser_class`; ignored.
            max_fields: the most field lines of the trailers.
            max_body_bytes: the longest content.
            max_chunk_extension_bytes: the most that the extensions of all chunks of a body may take.
            max_trailer_bytes: the longest trailers, their empty line included; at least 2.
            body_sink: called (or its `write`) with each piece of the body, in the thread that calls `received`
                and before it returns; the body is then not held. None: it is held.
        Raises:
            TypeError: a limit was given as `adj`, or is no int; the sink is neither callable nor has `write`.
            ValueError: a limit is out of range.
        """

    @classmethod
    def configured(
        cls,
        *,
        max_body_bytes: int = 1073741824,
        max_fields: int = 128,
        max_chunk_extension_bytes: int = 16384,
        max_trailer_bytes: int = 16384,
    ) -> ConsumerFactory:
        """A native factory of such consumers, for use as `parser_class`.

        Raises:
            TypeError, ValueError: as the constructor. TypeError: called on a subclass.
        """

    def received(self, data: Buffer) -> int:
        """As every consumer's, and then feeds the sink, if there is one.

        Raises:
            Whatever the sink raises; after that every call is a RuntimeError, as the body is not whole. So is a
            call by the sink.
        """

    @property
    def value(self) -> bytes:
        """The content: the same object at each access.

        Raises:
            RuntimeError: it is not completed, there was an `error`, or it went to `body_sink`.
        """

    @property
    def trailers(self) -> HTTPHeaders:
        """The fields after the last chunk.

        Raises:
            RuntimeError: it is not completed, or there was an `error`.
        """

@final
class ConsumerFactory:
    """Makes native consumers that are all alike; the value of `configured()`.

    Immutable, hashable, equal to a factory of the same kind with the same arguments.
    """

    def __call__(self, adj: object = None, /) -> StreamConsumer:
        """A fresh consumer; adj, which a server passes to its `parser_class`, is ignored."""

    def encode(self, value: Buffer) -> bytes:
        """The bytes from which one of its consumers reads `value` back; of HTTP the plainest message with it.

        Raises:
            TypeError: value is not bytes-like.
            ValueError: no bytes would be read back as this value: it contains the terminator, is too long ...
        """

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

def protocol_error_examples() -> list[ProtocolError]:
    """One error of each kind that a native consumer can have: for tests that must know them all."""

def claim_exit_hook() -> bool:
    """True for the first caller in the process, who registers the exit hook."""

def is_exiting() -> bool:
    """Whether `begin_exit` was called: nothing new must be started, nothing waits any more."""

def begin_exit() -> None:
    """Begin the exit: from now on nobody starts to wait. The caller then wakes those who wait."""

def finish_exit(timeout_seconds: float) -> int:
    """Wait until no thread is outside the interpreter, and let nobody back after that.

    Returns how many were left outside; they never run again. Blocking: up to `timeout_seconds`.
    """

def reset_after_fork() -> None:
    """Forget, in the child of a fork, the threads of the parent; before any other thread is there."""

def post_log(level: int, message: str) -> None:
    """Put a log event into the mailbox, as native threads do. For tests."""

@final
class Mailroom:
    """The housekeeper's end of the mailbox; one at a time in a process, used by one thread."""

    @staticmethod
    def claim() -> Mailroom | None:
        """The mailbox's one end, or None while somebody else holds it."""

    @staticmethod
    def pending() -> int:
        """How many chores wait."""

    @property
    def cell(self) -> list[Any]:
        """One element: the chore at hand, a tuple, until the housekeeper has begun with it; then None."""

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for a chore and put it into `cell[0]`: True. False: time over, or the housekeeper must
        leave.
        """

@final
class TaskQueue:
    """A queue of tasks and the seats of its workers. Every method: any thread."""

    NEEDS_CARE: int
    FULL: int
    CLOSED: int
    MAX_WORKERS: int

    def __new__(cls, name: str, max_pending: int | None = None) -> Self: ...
    def belong_to(self, dispatcher: object) -> None:
        """Name the dispatcher, by a weak reference, that looks after the workers."""

    def push(self, task: object) -> int | None:
        """Queue a task: None when all is well, else `NEEDS_CARE` (queued), `FULL` or `CLOSED` (not
        queued).
        """

    def ask_for_care(self) -> None:
        """Have each `push` report `NEEDS_CARE` until `take_care`."""

    def take_care(self) -> bool:
        """Stop `push` reporting `NEEDS_CARE`; True if it did."""

    def set_target(self, count: int) -> None:
        """Set how many workers there shall be; more than 0 opens a queue that was shut."""

    def claim(self) -> Worker | None:
        """A seat for one more worker, or None when none is missing."""

    def close(self, *, drain: bool) -> None:
        """Take no more tasks: workers leave, now or (`drain`) when the queue is empty. See also `orphans`."""

    def orphans(self) -> Orphans:
        """The tasks of a closed queue, to be cancelled by the caller."""

    def wait_for_workers(self, rest: int, timeout_seconds: float) -> int:
        """Wait until at most `rest` workers are left or the time is over; returns how many are left."""

    def is_worker_thread(self) -> bool:
        """Whether the calling thread is one of the queue's workers."""

    def is_open(self) -> bool:
        """Whether tasks are taken."""

    def target(self) -> int:
        """How many workers there shall be."""

    def pending(self) -> int:
        """How many tasks wait."""

    def count_error(self) -> None:
        """Count an exception that came out of a task."""

    def stats(self) -> DispatcherStats:
        """All counters."""

    def watch(self) -> QueueWatch:
        """The watch that tells whether the queue keeps climbing; the housekeeper gets one by itself."""

@final
class Worker:
    """One worker's end of the queue, used by one thread. Dropped, it gives seat and task back."""

    @property
    def cell(self) -> list[Any]:
        """One element: the task at hand, until it is started; then None."""

    @property
    def index(self) -> int:
        """The worker's number: the lowest that was free."""

    @property
    def name(self) -> str:
        """The dispatcher's name."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any:
        """The next task; it is in `cell[0]` too. None: ask again, after a wait. The end: the worker must leave.

        A task that is still in the cell is given out again. Blocking: any time.
        """

    @property
    def attempts(self) -> int:
        """How often the task in the cell has been given out."""

    def leave(self) -> None:
        """Give the seat back, and a task that was not started to the queue. A second call does nothing."""

    def give_up(self, requested: int | None = None) -> None:
        """Give the seat back because no thread can be started; the target falls if it still is
        `requested`.
        """

    def count_error(self) -> None:
        """Count an exception that came out of a task."""

@final
class Orphans:
    """The tasks of a closed queue, one after the other; used by one thread."""

    @property
    def cell(self) -> list[Any]:
        """One element: the task at hand, until it is being cancelled; then None."""

    def next(self) -> bool:
        """Put the next task into `cell[0]`: True. False: none is left."""

@final
class QueueWatch:
    """Tells whether a queue keeps climbing; used by one thread."""

    @property
    def name(self) -> str:
        """The dispatcher's name."""

    def sample(self, now_seconds: float) -> tuple[int, int, float] | None:
        """Look at the queue: None, or (depth, growth, oldest wait in seconds); growth 0 means recovered."""

    def try_end(self) -> bool:
        """Whether the watch may end: the queue is short and the operator is owed nothing."""

@final
class Reactor:
    """Waits until descriptors are ready, level-triggered. Flags are those of `select.poll`.

    Any thread may watch, change and forget; one at a time waits. Changes take effect with the next wait. A
    descriptor that is closed while it is watched is reported as `POLLNVAL`, after a moment; one that cannot be
    polled (a regular file) is always ready. In the child of a fork it does nothing.

    Raises:
        OSError: when it is made: the descriptor table is full.
    """

    @property
    def is_own(self) -> bool:
        """Whether it was made in this process, and not in one that this was forked from."""

    def __new__(cls) -> Self: ...
    def __len__(self) -> int:
        """How many descriptors are watched."""

    def watch(self, descriptor: int, interest: int, /) -> int:
        """Watch a descriptor; return the token under which it is reported, which is never used again.

        Raises:
            RuntimeError: in the child of a fork. OverflowError: an interest that does not fit, or too many are
                watched.
        """

    def change(self, token: int, interest: int, /) -> None:
        """Watch for other flags; 0: for nothing. Nothing happens if the token is not known any more."""

    def forget(self, token: int, /) -> None:
        """Watch a descriptor no longer. To be called before it is closed."""

    def wait(self, timeout_seconds: float | None = None, /) -> tuple[list[int], list[tuple[int, int]]] | None:
        """Wait, without the interpreter, and return what is ready.

        Returns:
            The tokens of those that have nothing but input, and (token, flags) of the others. Both are empty if
            the time is over, or a signal came. None: nothing was done, as another thread waits, the process ends,
            or this is the child of a fork.
        Raises:
            OSError: the system has no memory for all that is watched.
        Blocking: at most `timeout_seconds`; None: until something happens.
        """

WORK_OPENED: Final[int]
WORK_END_OF_INPUT: Final[int]
WORK_TASKS: Final[int]
WORK_CLOSED: Final[int]

@final
class Connection:
    """The connected socket of one peer; `wiretask.Connection` is its public face. Made by a server."""

    @property
    def identity(self) -> int:
        """A number that no other open connection has."""

    @property
    def peer(self) -> Any:
        """The address of the peer, in the form of the socket's family."""

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""

    @property
    def client_disconnected(self) -> bool:
        """Whether the peer has ended its input or is gone."""

    @property
    def is_reading_paused(self) -> bool:
        """Whether `pause_reading` is in force."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def write(self, data: Buffer, /) -> int:
        """Take bytes for the peer and return how many: all of them. See `Channel.write`."""

    def try_write(self, data: Buffer, /) -> bool:
        """Take bytes for the peer without waiting for it; whether they were taken. See `Channel.try_write`."""

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait for the peer to take them, wherever they are kept."""

    @property
    def spooled_bytes(self) -> int:
        """How many of them wait in the temporary file."""

    def flush(self, block: bool, /) -> None:
        """Send what waits. See `Channel.flush`."""

    def close_when_done(self) -> None:
        """Close when the output is out."""

    def abort(self) -> None:
        """Close at once."""

    def cancel_queued(self) -> None:
        """Close, because the worker that was to run the channel never will."""

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""

    def duplicate(self) -> int:
        """A new descriptor for the socket, close-on-exec, which the caller has to close.

        Raises:
            OSError: the connection is closed (EBADF), or the descriptor table is full.
        """

@disjoint_base
class ChannelOpening:
    """What is queued for a connection without a channel object; a Python subclass makes the object."""

    def __new__(cls, connection: Connection, /) -> Self: ...
    @property
    def connection(self) -> Connection:
        """The connection."""

    @property
    def server(self) -> Any:
        """The Python server; ReferenceError once it has been collected."""

@final
class DisconnectProbe:
    """Tells an application whether its client is still there: `environ["wiretask.client_disconnected"]()`."""

    __call__: Callable[[], bool]
    """Return whether the client has gone, or sends nothing more. Threads: any, at any time."""

@final
class Exchange:
    """One request, and the answer to it."""

    def __call__(
        self, status: str, headers: list[tuple[str, str]], /, exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Begin the answer: it is its own `start_response`. Return WSGI's `write`. PEP 3333 has all arguments passed
        by position; `exc_info` is passed by name all the same, and other servers take it.

        Raises:
            TypeError: status, a name or a value is no str, or headers no list of tuples of two.
            ValueError: one of them cannot be sent as it is (a line break in it, say); the error names it.
            AssertionError: it was called before, and `exc_info` is not given.
            The exception in `exc_info`, if the head has been sent.
        After failure: as if it had not been called.
        """

    def write(self, data: bytes, /) -> None:
        """Send a part of the body; WSGI's `write`. What goes beyond the announced length is left out.

        Raises:
            TypeError: it is not bytes. AssertionError: `start_response` was not called.
            ClientDisconnectedError: the client has gone.
        """

    def pass_on(self, data: bytes, /) -> bool:
        """Send a part of the body, as `write` does; whether more of it would be sent, if there were more."""

    def note_client(self, address: str, /) -> None:
        """Note for the access log who asked, where a trusted proxy says so."""

    def finish(self, result: Any, /) -> bool:
        """Send the whole answer, if `result` is a list or tuple of nothing but bytes, and all is as announced;
        else False, and nothing was sent."""

    def expect_body(self, length: int, /) -> None:
        """Say how long the body will be, unless the application has."""

    def send_file(self, descriptor: int, offset: int, length: int, /) -> bool:
        """Send a part of a regular file as the whole body: `length` bytes from `offset` on, or as many of them as
        were announced. The descriptor is duplicated.

        False, and nothing was sent: the body has begun, more was announced than the file has, or no descriptor is
        left.

        Raises:
            AssertionError: `start_response` was not called.
            ClientDisconnectedError: the client has gone.
        """

    def end(self) -> None:
        """End the answer: nothing more comes. A body shorter than was announced makes it an error.

        Raises:
            AssertionError: `start_response` was not called.
            ValueError: the body is shorter than its Content-Length; the connection is closing.
        """

    def fail(self, status: str, text: bytes, /) -> None:
        """The application has failed: answer with this status and text, in place of whatever it began, and close;
        if the head has been sent, close so that the client sees that the answer is not whole."""

    @property
    def is_body_streamed(self) -> bool:
        """Whether the body of the request is to be taken by `receive_body`: it may still be coming."""

    def receive_body(self, max_bytes: int, /) -> bytes:
        """Return the next bytes of the body, at least one and `max_bytes` at most; none at its end.

        Raises:
            ClientDisconnectedError: the client has gone. TimeoutError: the body does not come in time.
            ProtocolError: it is malformed, or too large; the error has the status to answer with.
        Blocking: until some of it has come.
        """

    @property
    def fault_status(self) -> int | None:
        """The status that says what the client did wrong in the body, after `receive_body` has raised; else None."""

    @property
    def excess_bytes(self) -> int:
        """How many bytes the application gave beyond the Content-Length that it had announced."""

@disjoint_base
class Channel:
    """The base of `wiretask.ServerChannel`: its connection, and the output of its tasks."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self: ...
    @property
    def addr(self) -> Any:
        """The address of the peer, in the form of the socket's family."""

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""

    @property
    def client_disconnected(self) -> bool:
        """Whether the peer has ended its input (it may still read the answer) or is gone."""

    def write(self, data: Buffer) -> int:
        """Take bytes for the peer and return how many: all of them.

        What the task that runs writes leaves when it is done, on `flush`, or when `adj.send_bytes` wait; what
        another thread writes leaves at once.

        Raises:
            TypeError: data is not bytes-like.
            ClientDisconnectedError: the connection is closed, or closing.
        After failure: nothing of `data` will be sent, unless the connection was lost meanwhile.
        Threads: any. Blocking: for a short while when more than `adj.outbuf_high_watermark` bytes wait; longer
        only if what waits would be more than `adj.outbuf_overflow` and `adj.outbuf_spool_limit` together.
        """

    def try_write(self, data: Buffer) -> bool:
        """Take bytes for the peer without ever waiting for it: True. False, and nothing of `data` is taken, if more
        would wait than `adj.outbuf_overflow` and `adj.outbuf_spool_limit` together.

        For output to others than the peer of the running task, whose slowness is not to hold this task up.
        Otherwise like `write`; when none waits, `data` of any size is taken.

        Raises:
            TypeError: data is not bytes-like.
            ClientDisconnectedError: the connection is closed, or closing.
        Threads: any. Blocking: never for the peer; it may write to a temporary file.
        """

    def flush(self, block: bool = False) -> None:
        """Send what waits, as far as the socket takes it; with `block` wait until it has taken all.

        Raises:
            ClientDisconnectedError: the connection is closed, or was lost.
        Threads: any. Blocking: only with `block`, until the peer has read or `adj.write_timeout_seconds` is over.
        """

    def close_when_done(self) -> None:
        """Serve no further request, and close when the output is out. Any thread; twice is harmless."""

    def close(self) -> None:
        """Close like `close_when_done`."""

    @property
    def _connection(self) -> Connection: ...
    @property
    def _server(self) -> Any: ...
    @property
    def _is_closing(self) -> bool: ...
    def _bind(self, connection: Connection, channel: object, /) -> None: ...
    def _abort(self) -> None: ...
    def _check_bound(self) -> None: ...
    def _next_work(self) -> Any: ...
    def _tasks_queued(self) -> bool: ...
    def _tasks_left(self) -> bool: ...
    def _set_request_begun(self, has_begun: bool, /) -> None: ...
    def _flush_soon(self) -> None: ...
    def _give_up(self) -> None: ...
    def _cancel_queued(self) -> bool: ...
    @property
    def _is_queued(self) -> bool: ...

@final
class Server:
    """The loop threads of one server. They run as soon as it is made."""

    def __new__(
        cls,
        server: object,
        opening_class: type[ChannelOpening],
        queue: TaskQueue | None,
        descriptors: list[int],
        settings: dict[str, Any],
        /,
    ) -> Server: ...
    def drain(self) -> None:
        """Close the listeners, let connections come to their end."""

    def wait_drained(self, seconds: float, /) -> bool:
        """Whether all connections have ended within `seconds`."""

    def stop(self, seconds: float, /) -> bool:
        """Close everything and end the loops; whether they have ended within `seconds`."""

    def is_run_by_caller(self) -> bool:
        """Whether the calling thread runs a channel of this server."""

    def abandon(self) -> None:
        """Let everything go as it is: in the child of a fork, where the loops do not exist."""

    def accept(self, listener_index: int, /) -> Connection | None:
        """A new connection of a listener, or None if none waits.

        Raises:
            OSError: what accept(2) says.
        """

    @property
    def accepts(self) -> int:
        """How often `accept` was called."""

    def listen_again(self, listener_index: int, at_once: bool, /) -> None:
        """Report a listener again if connections wait: at once, or a little later."""

    def stats(self) -> dict[str, int]:
        """The server's counters by name."""

    def reopen_access_log(self) -> None:
        """Have the file of the access log opened anew by its name."""

    def take_access_lines(self) -> list[str]:
        """The lines that wait for a logger, oldest first, without their ends."""

    def end_access_log(self, seconds: float, /) -> bool:
        """Write what there is and log no more; whether that was done within `seconds`."""

def is_native_parser(parser_class: object, /) -> bool:
    """Whether a parser class runs on the loop.

    Raises:
        TypeError: it is native, but cannot be made from settings alone.
    """

def close_descriptors_after_fork() -> None:
    """Close the copies of the engine's descriptors that the child of a fork has got. Only there, once."""

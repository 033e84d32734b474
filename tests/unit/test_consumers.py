"""The native consumers as Python classes: arguments, buffers, values, errors, representations, factories."""

from __future__ import annotations

import array
import copy
import inspect
import pickle
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from zope.interface.verify import verifyClass

from wiretask import errors
from wiretask._native import protocol_error_examples
from wiretask.consumers import (
    Chunked,
    ConsumerFactory,
    Delimiter,
    FixedStream,
    HTTPRequest,
    HTTPResponse,
    LengthPrefixed,
    Line,
    StreamConsumer,
)
from wiretask.interfaces import IStreamConsumer

CLASSES = [FixedStream, Line, Delimiter, LengthPrefixed, Chunked, HTTPRequest, HTTPResponse]

# A fresh consumer, the bytes of one message, its value.
EXAMPLES: dict[str, tuple[Callable[[], StreamConsumer], bytes, bytes]] = {
    "fixed": (lambda: FixedStream(3), b"abc", b"abc"),
    "line, LF": (Line, b"abc\n", b"abc"),
    "line, CRLF": (Line, b"abc\r\n", b"abc"),
    "line, CR kept": (Line, b"a\rbc\r\r\n", b"a\rbc\r"),
    "line, blank": (Line, b"\r\n", b""),
    "delimiter": (lambda: Delimiter(b"--"), b"a-b--", b"a-b"),
    "delimiter, false start": (lambda: Delimiter(b"\r\n.\r\n"), b"a\r\n.\r.\r\n.\r\n", b"a\r\n.\r."),
    "delimiter, overlapping": (lambda: Delimiter(b"aab"), b"aaab", b"a"),
    "delimiter, bytearray": (lambda: Delimiter(bytearray(b";")), b"x;", b"x"),
    "prefix 1": (lambda: LengthPrefixed(size=1), b"\3abc", b"abc"),
    "prefix 2 big": (lambda: LengthPrefixed(size=2), b"\0\3abc", b"abc"),
    "prefix 2 little": (lambda: LengthPrefixed(size=2, byteorder="little"), b"\3\0abc", b"abc"),
    "prefix 4 by default": (LengthPrefixed, b"\0\0\0\3abc", b"abc"),
    "prefix 4 little": (lambda: LengthPrefixed(byteorder="little"), b"\3\0\0\0abc", b"abc"),
    "prefix 8 big": (lambda: LengthPrefixed(size=8), b"\0\0\0\0\0\0\0\3abc", b"abc"),
    "prefix 8 little": (
        lambda: LengthPrefixed(size=8, byteorder="little"),
        b"\3" + b"\0" * 7 + b"abc",
        b"abc",
    ),
    "varint": (lambda: LengthPrefixed(size="varint"), b"\3abc", b"abc"),
    "varint of two bytes": (lambda: LengthPrefixed(size="varint"), b"\xac\2" + b"x" * 300, b"x" * 300),
    "empty message": (LengthPrefixed, b"\0\0\0\0", b""),
    "chunked": (Chunked, b"1\r\na\r\n02;x=y\r\nbc\r\n0\r\nT: u\r\n\r\n", b"abc"),
    "request with a length": (HTTPRequest, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "request in chunks": (
        HTTPRequest,
        b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"abc",
    ),
    "request without a body": (HTTPRequest, b"GET / HTTP/1.0\r\n\r\n", b""),
    "answer with a length": (HTTPResponse, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "answer to HEAD": (
        lambda: HTTPResponse(request_method="HEAD"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        b"",
    ),
    "answer without a body": (HTTPResponse, b"HTTP/1.0 304\r\nContent-Length: 3\r\n\r\n", b""),
}

every_example = pytest.mark.parametrize(("make", "message", "value"), EXAMPLES.values(), ids=EXAMPLES.keys())


@every_example
def test_whole_message_is_read(make: Callable[[], StreamConsumer], message: bytes, value: bytes) -> None:
    consumer = make()
    assert not consumer.completed
    assert consumer.received(message) == len(message)
    assert (consumer.completed, consumer.error, consumer.value) == (True, None, value)


@every_example
def test_message_is_read_byte_by_byte(make: Callable[[], StreamConsumer], message: bytes, value: bytes) -> None:
    consumer = make()
    for index in range(len(message)):
        assert not consumer.completed
        assert consumer.received(message[index : index + 1]) == 1
    assert (consumer.completed, consumer.error, consumer.value) == (True, None, value)


@every_example
def test_trailing_bytes_are_left(make: Callable[[], StreamConsumer], message: bytes, value: bytes) -> None:
    consumer = make()
    assert consumer.received(message + b"\r\nnext") == len(message)
    assert consumer.received(b"next") == 0
    assert consumer.value == value


@every_example
@pytest.mark.parametrize("buffer_type", [bytearray, memoryview, lambda data: array.array("B", data)])
def test_any_contiguous_buffer_is_taken(
    buffer_type: Callable[[bytes], Any], make: Callable[[], StreamConsumer], message: bytes, value: bytes
) -> None:
    consumer = make()
    assert consumer.received(buffer_type(message + b"next")) == len(message)
    assert consumer.value == value


def test_buffer_longer_than_a_piece_is_taken_whole() -> None:
    content = bytes(range(256)) * 100
    consumer = FixedStream(len(content))
    assert consumer.received(bytearray(content + b"next")) == len(content)
    assert consumer.value == content


def test_buffer_of_other_elements_is_its_memory() -> None:
    consumer = FixedStream(6)
    assert consumer.received(memoryview(array.array("H", b"abcdef"))) == 6
    assert consumer.value == b"abcdef"


def test_buffer_may_be_used_again_after_the_call() -> None:
    buffer = bytearray(b"abc")
    consumer = FixedStream(4)
    consumer.received(buffer)
    buffer[:] = b"something longer"
    consumer.received(b"d")
    assert consumer.value == b"abcd"


@pytest.mark.parametrize(("data", "name"), [("text", "str"), (None, "NoneType"), (7, "int"), ([1], "list")])
def test_what_is_not_bytes_like_is_named(data: Any, name: str) -> None:
    consumer = Line()
    with pytest.raises(TypeError, match=f"bytes, bytearray or memoryview expected, not {name}"):
        consumer.received(data)
    assert not consumer.completed


def test_buffer_with_gaps_is_refused() -> None:
    with pytest.raises(TypeError, match="contiguous"):
        Line().received(memoryview(b"abcd")[::2])


def test_fixed_stream_of_zero_is_completed_from_the_start() -> None:
    consumer = FixedStream(0)
    assert (consumer.completed, consumer.value, consumer.received(b"a")) == (True, b"", 0)


def test_value_is_the_same_object_at_each_access() -> None:
    consumer = Line()
    consumer.received(b"abc\n")
    assert consumer.value is consumer.value


def test_value_too_early_is_an_error_that_says_so() -> None:
    consumer = Line()
    consumer.received(b"abc")
    with pytest.raises(RuntimeError, match="not complete"):
        _ = consumer.value


def test_value_after_an_error_is_an_error_that_says_why() -> None:
    consumer = Line(max_bytes=2)
    consumer.received(b"abc")
    with pytest.raises(RuntimeError, match="too long"):
        _ = consumer.value


@pytest.mark.parametrize("message", [b"\n", b"\r\n"])
def test_blank_line_is_empty(message: bytes) -> None:
    consumer = Line()
    assert not consumer.empty
    consumer.received(message)
    assert consumer.empty
    assert consumer.value == b""
    assert consumer.empty


def test_empty_message_of_the_others_is_not_empty() -> None:
    for consumer, message in [
        (Delimiter(b";"), b";"),
        (LengthPrefixed(size=1), b"\0"),
        (FixedStream(0), b""),
    ]:
        consumer.received(message)
        assert consumer.completed
        assert not consumer.empty


def out_of_memory() -> None:
    """Run in a process of its own: a consumer outlives memory that the system refuses."""
    script = textwrap.dedent("""
        import resource
        from wiretask.consumers import FixedStream
        in_use = 4096 * int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 64 * 2**20,) * 2)
        consumer = FixedStream(2**40)
        piece = bytes(2**20)
        for _ in range(1000):
            consumer.received(piece)
            if consumer.completed:
                break
        print(consumer.error.kind, consumer.error.limit_bytes == consumer.error.offset_bytes > 0)
    """)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.split() == ["out_of_memory", "True"]


GET = b"GET / HTTP/1.1\r\n"

# For each kind of error: its class, and what provokes it (None: see `out_of_memory`).
PROVOCATIONS: dict[str, tuple[type[errors.ProtocolError], Callable[[], StreamConsumer] | None, bytes]] = {
    "line_too_long": (errors.MessageTooLargeError, lambda: Line(max_bytes=3), b"abc"),
    "message_too_long": (errors.MessageTooLargeError, lambda: Delimiter(b";", max_bytes=3), b"abc"),
    "length_too_large": (errors.MessageTooLargeError, lambda: LengthPrefixed(max_bytes=10), b"\0\0\0\7"),
    "out_of_memory": (errors.MessageTooLargeError, None, b""),
    "length_overlong": (errors.MalformedMessageError, lambda: LengthPrefixed(size="varint"), b"\x80\0"),
    "length_overflow": (
        errors.MalformedMessageError,
        lambda: LengthPrefixed(size="varint"),
        b"\xff" * 9 + b"\2",
    ),
    "truncated": (errors.IncompleteMessageError, Line, b"abc"),
    "bad_request_line": (errors.MalformedMessageError, HTTPRequest, b"GET /\r\n"),
    "bad_status_line": (errors.MalformedMessageError, HTTPResponse, b"HTTP/1.1 2OO OK\r\n"),
    "bad_http_version": (errors.MalformedMessageError, HTTPRequest, b"GET / HTTP/1.32\r\n"),
    "unsupported_http_version": (errors.UnsupportedFeatureError, HTTPRequest, b"GET / HTTP/2.0\r\n"),
    "bad_target": (errors.MalformedMessageError, HTTPRequest, b"GET /#a HTTP/1.1\r\n"),
    "request_line_too_long": (
        errors.MessageTooLargeError,
        lambda: HTTPRequest(max_request_line_bytes=20),
        b"GET /" + b"x" * 15,
    ),
    "head_too_large": (errors.MessageTooLargeError, lambda: HTTPRequest(max_head_bytes=20), GET + b"Host"),
    "too_many_fields": (errors.MessageTooLargeError, lambda: HTTPRequest(max_fields=1), GET + b"A:\r\nB:\r\n"),
    "bare_line_feed": (errors.MalformedMessageError, HTTPRequest, b"GET / HTTP/1.1\n"),
    "folded_field_line": (errors.MalformedMessageError, HTTPRequest, GET + b"A: b\r\n "),
    "bad_field_name": (errors.MalformedMessageError, HTTPRequest, GET + b"A : b\r\n"),
    "bad_field_value": (errors.MalformedMessageError, HTTPRequest, GET + b"A: \0\r\n"),
    "missing_host": (errors.MalformedMessageError, HTTPRequest, GET + b"\r\n"),
    "repeated_host": (errors.MalformedMessageError, HTTPRequest, GET + b"Host: a\r\nhost: a\r\n"),
    "bad_host": (errors.MalformedMessageError, HTTPRequest, GET + b"Host: a b\r\n"),
    "unsupported_expectation": (
        errors.UnsupportedFeatureError,
        HTTPRequest,
        GET + b"Host: a\r\nExpect: x\r\n\r\n",
    ),
    "bad_content_length": (errors.MalformedMessageError, HTTPRequest, GET + b"Content-Length: +1\r\n"),
    "repeated_content_length": (
        errors.MalformedMessageError,
        HTTPRequest,
        GET + b"Content-Length: 1\r\nContent-Length: 1\r\n",
    ),
    "length_and_transfer_encoding": (
        errors.MalformedMessageError,
        HTTPRequest,
        GET + b"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "bad_transfer_encoding": (
        errors.MalformedMessageError,
        HTTPRequest,
        GET + b"Host: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    ),
    "unsupported_transfer_coding": (
        errors.UnsupportedFeatureError,
        HTTPRequest,
        GET + b"Host: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    ),
    "body_too_large": (
        errors.MessageTooLargeError,
        lambda: HTTPRequest(max_body_bytes=2),
        GET + b"Host: a\r\nContent-Length: 3\r\n\r\n",
    ),
    "bad_chunk_size": (errors.MalformedMessageError, Chunked, b"0x"),
    "bad_chunk_extension": (errors.MalformedMessageError, Chunked, b"1;a\n"),
    "chunk_extensions_too_large": (
        errors.MessageTooLargeError,
        lambda: Chunked(max_chunk_extension_bytes=3),
        b"1;abc",
    ),
    "bad_chunk_end": (errors.MalformedMessageError, Chunked, b"1\r\nab"),
    "trailers_too_large": (errors.MessageTooLargeError, lambda: Chunked(max_trailer_bytes=3), b"0\r\nA:b"),
}


@pytest.mark.parametrize("kind_example", protocol_error_examples(), ids=lambda error: error.kind)
def test_every_kind_of_error_has_an_example(kind_example: errors.ProtocolError) -> None:
    """Walks all kinds of the Rust side; a new kind fails here until it has a row in PROVOCATIONS."""
    expected, make, stream = PROVOCATIONS[kind_example.kind]
    assert type(kind_example) is expected
    if make is None:
        out_of_memory()
        return
    consumer = make()
    assert consumer.received(stream) == len(stream)
    if kind_example.kind == "truncated":
        assert not consumer.completed
        consumer.end_of_input()
    error = consumer.error
    assert type(error) is expected
    assert (error.kind, error.offset_bytes) == (kind_example.kind, len(stream))
    assert error.status == kind_example.status
    assert consumer.completed
    assert consumer.received(b"more") == 0


def test_error_is_a_fresh_exception_at_each_access() -> None:
    consumer = Line(max_bytes=1)
    consumer.received(b"a")
    assert consumer.error is not consumer.error


def test_too_large_tells_its_limit() -> None:
    consumer = Line(max_bytes=3)
    consumer.received(b"abcd")
    assert isinstance(consumer.error, errors.MessageTooLargeError)
    assert (consumer.error.limit_bytes, consumer.error.status) == (3, 413)
    assert str(consumer.error) == "the line is too long (limit 3 bytes), at byte 3"


def test_incomplete_message_is_an_eof_error() -> None:
    assert issubclass(errors.IncompleteMessageError, EOFError)


@pytest.mark.parametrize("error", protocol_error_examples(), ids=lambda error: error.kind)
@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_copy_and_pickle(
    copied: Callable[[errors.ProtocolError], errors.ProtocolError], error: errors.ProtocolError
) -> None:
    again = copied(error)
    assert (type(again), again.args, vars(again)) == (type(error), error.args, vars(error))


def test_length_of_two_to_the_sixty_takes_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    consumer = LengthPrefixed(size=8, max_bytes=2**64 - 1)
    consumer.received((2**60).to_bytes(8, "big") + b"abc")
    assert not consumer.completed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Line(max_bytes=0), ValueError, "max_bytes must be at least 1.*not 0"),
        (lambda: Line(max_bytes=-5), ValueError, "max_bytes must be between 0 and .*not -5"),
        (lambda: Line(max_bytes=2**64), ValueError, "max_bytes must be between 0 and"),
        (lambda: Line(max_bytes=1.5), TypeError, "max_bytes must be an int, not float"),
        (lambda: Line(max_bytes=None), TypeError, "max_bytes must be an int, not NoneType"),
        (lambda: Line(1000), TypeError, "by keyword: Line"),
        (lambda: LengthPrefixed(4), TypeError, "by keyword: LengthPrefixed"),
        (lambda: Line(limit=5), TypeError, "limit"),
        (lambda: FixedStream(), TypeError, "n"),
        (lambda: FixedStream("7"), TypeError, "n must be an int, not str"),
        (lambda: FixedStream(-1), ValueError, "n must be between 0 and"),
        (lambda: FixedStream.configured(0), ValueError, "n must be at least 1"),
        (lambda: Delimiter(b""), ValueError, "delimiter must not be empty"),
        (lambda: Delimiter(b"x" * 1025), ValueError, "delimiter must be at most 1024 bytes"),
        (lambda: Delimiter("\n"), TypeError, "delimiter must be bytes, not str"),
        (lambda: Delimiter(b"ab", max_bytes=1), ValueError, "max_bytes must be at least 2.*not 1"),
        (lambda: LengthPrefixed(size=3), ValueError, "size must be 1, 2, 4, 8 or 'varint', not 3"),
        (lambda: LengthPrefixed(size="leb"), ValueError, "size must be .*not 'leb'"),
        (lambda: LengthPrefixed(byteorder="middle"), ValueError, "byteorder must be 'big' or 'little'"),
        (lambda: LengthPrefixed(size=8, max_bytes=7), ValueError, "max_bytes must be at least 8.*not 7"),
        (lambda: StreamConsumer(), TypeError, "StreamConsumer"),
        (lambda: HTTPRequest(1000), TypeError, "by keyword: HTTPRequest"),
        (lambda: HTTPResponse("GET"), TypeError, "by keyword: HTTPResponse"),
        (lambda: Chunked(b""), TypeError, "by keyword: Chunked"),
        (lambda: HTTPRequest(max_head_bytes=15), ValueError, "max_head_bytes must be at least 16.*not 15"),
        (lambda: HTTPRequest(max_request_line_bytes=13), ValueError, "max_request_line_bytes must be at least 14"),
        (lambda: HTTPResponse(max_head_bytes=0), ValueError, "max_head_bytes must be at least 16"),
        (lambda: Chunked(max_trailer_bytes=1), ValueError, "max_trailer_bytes must be at least 2.*not 1"),
        (lambda: HTTPRequest(max_body_bytes=-1), ValueError, "max_body_bytes must be between 0 and"),
        (lambda: HTTPRequest(max_fields="9"), TypeError, "max_fields must be an int, not str"),
        (lambda: HTTPRequest.configured(max_head_bytes=15), ValueError, "max_head_bytes must be at least 16"),
        (lambda: HTTPRequest(body_sink=7), TypeError, "body_sink must be callable or have a write.*int"),
    ],
)
def test_bad_argument_is_named(call: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_consumers_are_made_as_a_server_makes_its_parsers() -> None:
    adj = object()
    assert type(Line(adj)) is Line
    assert type(LengthPrefixed(adj)) is LengthPrefixed
    assert type(FixedStream.configured(3)(adj)) is FixedStream
    assert type(Delimiter.configured(b";")(adj)) is Delimiter


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_keep_the_interface(cls: type[StreamConsumer]) -> None:
    assert verifyClass(IStreamConsumer, cls)
    names = list(inspect.signature(cls.received).parameters)
    assert names == ["self", "data"]


def test_factories_with_the_same_arguments_are_equal() -> None:
    factory = Delimiter.configured(b"--", max_bytes=10)
    assert factory == Delimiter.configured(b"--", max_bytes=10)
    assert hash(factory) == hash(Delimiter.configured(b"--", max_bytes=10))
    assert factory != Delimiter.configured(b"--", max_bytes=11)
    assert factory != Line.configured(max_bytes=10)
    assert factory != "--"


def test_factory_takes_no_new_attributes() -> None:
    factory: Any = Line.configured()
    with pytest.raises(AttributeError):
        factory.max_bytes = 5


def test_factory_encodes_what_its_consumers_read() -> None:
    assert Line.configured().encode(b"abc") == b"abc\n"
    assert Delimiter.configured(b"--").encode(bytearray(b"abc")) == b"abc--"
    assert LengthPrefixed.configured(size="varint").encode(b"x" * 300) == b"\xac\2" + b"x" * 300
    assert LengthPrefixed.configured(size=2, byteorder="little").encode(b"abc") == b"\3\0abc"
    assert FixedStream.configured(3).encode(memoryview(b"abc")) == b"abc"
    assert Chunked.configured().encode(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
    assert HTTPRequest.configured().encode(b"abc").endswith(b"\r\nContent-Length: 3\r\n\r\nabc")
    assert HTTPResponse.configured().encode(b"") == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("factory", "value"),
    [
        (Line.configured(), b"a\nb"),
        (Line.configured(), b"a\r"),
        (Line.configured(max_bytes=3), b"abc"),
        (Delimiter.configured(b"--"), b"a--b"),
        (Delimiter.configured(b"--"), b"a-"),
        (LengthPrefixed.configured(size=1), b"x" * 256),
        (FixedStream.configured(3), b"ab"),
        (HTTPRequest.configured(max_body_bytes=1), b"ab"),
        (HTTPRequest.configured(max_head_bytes=20), b""),
        (HTTPResponse.configured(request_method="HEAD"), b"ab"),
    ],
)
def test_what_would_not_be_read_back_is_not_encoded(factory: ConsumerFactory, value: bytes) -> None:
    with pytest.raises(ValueError, match="read back"):
        factory.encode(value)


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Line(), "<Line(max_bytes=65536) fresh>"),
        (FixedStream(3), "<FixedStream(n=3) fresh>"),
        (Delimiter(b"\r\n\xff'"), "<Delimiter(delimiter=b'\\r\\n\\xff\\'', max_bytes=65536) fresh>"),
        (LengthPrefixed(), "<LengthPrefixed(size=4, byteorder='big', max_bytes=1048576) fresh>"),
        (LengthPrefixed(size="varint"), "<LengthPrefixed(size='varint', max_bytes=1048576) fresh>"),
        (Line.configured(max_bytes=9), "Line.configured(max_bytes=9)"),
        (HTTPRequest(), "<HTTPRequest() fresh>"),
        (HTTPRequest.configured(max_fields=9), "HTTPRequest.configured(max_fields=9)"),
        (
            HTTPResponse.configured(request_method="HEAD", max_body_bytes=9),
            "HTTPResponse.configured(request_method='HEAD', max_body_bytes=9)",
        ),
        (Chunked(max_trailer_bytes=9), "<Chunked(max_trailer_bytes=9) fresh>"),
        (
            Delimiter.configured(b"x" * 17),
            f"Delimiter.configured(delimiter=b'{'x' * 16}'..., max_bytes=65536)",
        ),
    ],
)
def test_repr_shows_kind_and_limits(thing: object, text: str) -> None:
    assert repr(thing) == text


def test_repr_shows_progress_and_no_bytes_of_the_peer() -> None:
    consumer = Line(max_bytes=9)
    consumer.received(b"\x1b[2J")
    assert repr(consumer) == "<Line(max_bytes=9) started>"
    consumer.received(b"\n")
    assert repr(consumer) == "<Line(max_bytes=9) completed>"
    consumer = Line(max_bytes=1)
    consumer.received(b"\x1b")
    assert repr(consumer) == "<Line(max_bytes=1) line_too_long>"


class Shouting(Line):
    """A subclass with a constructor and a method of its own."""

    def __init__(self, adj: object) -> None:
        self.adj = adj

    def received(self, data: Any) -> int:
        return super().received(bytes(data).upper())


def test_subclass_works_as_a_python_parser() -> None:
    consumer = Shouting(object())
    assert consumer.received(b"abc\n") == 4
    assert consumer.value == b"ABC"
    assert repr(consumer).startswith("<Shouting(")


def test_subclass_makes_no_native_factory() -> None:
    with pytest.raises(TypeError, match="Shouting is a subclass"):
        Shouting.configured()


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_cannot_be_patched(cls: Any) -> None:
    """A server parses natively and would not see the patch."""
    with pytest.raises(TypeError, match="immutable"):
        cls.received = None

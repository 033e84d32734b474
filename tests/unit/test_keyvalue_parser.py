"""The keyvalue example's stream consumer, `RedisRequest`, against the laws of stream consumers.

Every example runs whole, byte by byte, cut in two at every place, and with bytes behind it; what Hypothesis adds
is in `tests/laws`. No server, no socket.
"""

import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyClass, verifyObject

from wiretask.examples.keyvalue.resp import RedisRequest, encode_reply, split_inline
from wiretask.interfaces import IStreamConsumer

MAX_LINE = RedisRequest.max_line_bytes

REQUESTS: dict[bytes, list[bytes]] = {
    b"*1\r\n$4\r\nPING\r\n": [b"PING"],
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n": [b"SET", b"key", b"value"],
    b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n": [b"GET", b""],
    b"*2\r\n$4\r\nECHO\r\n$6\r\n\r\na\r\n\r\r\n": [b"ECHO", b"\r\na\r\n\r"],
    b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n": [b"ECHO", b"\r\n\r\n"],
    b"*2\r\n$4\r\nECHO\r\n$8\r\n*1\r\n$1\r\n\r\n": [b"ECHO", b"*1\r\n$1\r\n"],
    b"*12\r\n" + b"$1\r\nx\r\n" * 12: [b"x"] * 12,
    b"*120\r\n" + b"$1\r\nx\r\n" * 120: [b"x"] * 120,
    b"*1\r\n$5000\r\n" + b"x" * 5000 + b"\r\n": [b"x" * 5000],
    b"PING\r\n": [b"PING"],
    b"PING\n": [b"PING"],
    b"  SET\tkey   value \r\n": [b"SET", b"key", b"value"],
    b'SET key "two words"\r\n': [b"SET", b"key", b"two words"],
    b"SET key 'two words'\r\n": [b"SET", b"key", b"two words"],
    b"$3\r\n": [b"$3"],
    b"\x00\xff\r\n": [b"\x00\xff"],
    b"x" * (MAX_LINE - 1) + b"\n": [b"x" * (MAX_LINE - 1)],
}

EMPTY_REQUESTS = [b"\r\n", b"\n", b" \t \r\n", b"*0\r\n", b"*-1\r\n", b"*-5\r\n"]

PROTOCOL_ERRORS: dict[bytes, str] = {
    b"*\r\n": "invalid multibulk length",
    b"*x\r\n": "invalid multibulk length",
    b"*+1\r\n": "invalid multibulk length",
    b"*01\r\n": "invalid multibulk length",
    b"* 1\r\n": "invalid multibulk length",
    b"*1_0\r\n": "invalid multibulk length",
    b"*1\n": "invalid multibulk length",
    b"*1048577\r\n": "invalid multibulk length",
    b"*99999999999999999999\r\n": "invalid multibulk length",
    b"*1\r\n:3\r\n": "expected '$', got ':'",
    b"*1\r\n\r\n": "expected '$', got '\r'",
    b"*1\r\n\xff\r\n": "expected '$', got 'ÿ'",
    b"*2\r\n$1\r\nx\r\nPING\r\n": "expected '$', got 'P'",
    b"*1\r\n$\r\n": "invalid bulk length",
    b"*1\r\n$-1\r\n": "invalid bulk length",
    b"*1\r\n$+1\r\n": "invalid bulk length",
    b"*1\r\n$1 \r\n": "invalid bulk length",
    b"*1\r\n$1\n": "invalid bulk length",
    b"*1\r\n$536870913\r\n": "invalid bulk length",
    b"*1\r\n$3\r\nPING\r": "invalid bulk length",
    b"*1\r\n$4\r\nPING\n\r": "invalid bulk length",
    b'GET "key\r\n': "unbalanced quotes in request",
    b"GET 'key\r\n": "unbalanced quotes in request",
    b'GET "key"x\r\n': "unbalanced quotes in request",
    b'GET "key\\\r\n': "unbalanced quotes in request",
    b' "\r\n': "unbalanced quotes in request",
    b"x" * MAX_LINE: "too big inline request",
    b"*" + b"1" * (MAX_LINE - 1): "too big mbulk count string",
    b"*1\r\n$" + b"1" * (MAX_LINE - 1): "too big bulk count string",
}

WORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=12)
Outcome = tuple[bool, bool, str | None, list[bytes], int]


def feed(pieces: Iterable[bytes | bytearray | memoryview]) -> Outcome:
    """Give the pieces to a new request as a server would; return what became of it, and how much it took."""
    request = RedisRequest(None)
    consumed = 0
    for piece in pieces:
        taken = request.received(piece)
        assert 0 <= taken <= len(piece)
        assert taken == len(piece) or request.completed
        consumed += taken
        if request.completed:
            assert request.received(b"PING\r\n") == 0
            break
    return request.completed, request.empty, request.protocol_error, list(request.arguments), consumed


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for place in sorted(place % (len(data) + 1) for place in places):
        yield data[start:place]
        start = place
    yield data[start:]


def single_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


ALL_EXAMPLES: list[tuple[bytes, Outcome]] = [
    *((data, (True, False, None, words, len(data))) for data, words in REQUESTS.items()),
    *((data, (True, True, None, [], len(data))) for data in EMPTY_REQUESTS),
    *((data, (True, False, f"Protocol error: {text}", [], len(data))) for data, text in PROTOCOL_ERRORS.items()),
]
every_example = pytest.mark.parametrize(
    ("data", "outcome"), ALL_EXAMPLES, ids=[repr(data[:30]) for data, _ in ALL_EXAMPLES]
)


@every_example
def test_whole_request_gives_its_outcome(data: bytes, outcome: Outcome) -> None:
    assert feed([data]) == outcome


@every_example
def test_request_byte_by_byte_gives_same_outcome(data: bytes, outcome: Outcome) -> None:
    assert feed(single_bytes(data)) == outcome


@every_example
def test_request_cut_in_two_gives_same_outcome(data: bytes, outcome: Outcome) -> None:
    places = range(len(data)) if len(data) < 2000 else [1, 2, 3, 4, 5, len(data) // 2, len(data) - 2, len(data) - 1]
    for place in places:
        assert feed([data[:place], data[place:]]) == outcome


@every_example
def test_bytes_behind_a_request_are_left(data: bytes, outcome: Outcome) -> None:
    for trailing in (b"*", b"\r\n", b"*1\r\n$4\r\nPING\r\n", b"x" * 100_000):
        assert feed([data + trailing]) == outcome
        assert feed([data[:3], data[3:] + trailing]) == outcome


@every_example
def test_every_bytes_like_type_gives_same_outcome(data: bytes, outcome: Outcome) -> None:
    assert feed([bytearray(data)]) == outcome
    assert feed([memoryview(data)]) == outcome


@given(st.lists(WORDS, min_size=1, max_size=5), st.lists(st.integers(min_value=0), max_size=8))
def test_pipelined_requests_under_any_cut_come_out_as_they_were(
    requests: list[list[bytes]], places: list[int]
) -> None:
    stream = b"".join(encode_reply(words) for words in requests)
    found: list[list[bytes]] = []
    request = RedisRequest(None)
    for piece in cut(stream, places):
        rest = piece
        while rest:
            rest = rest[request.received(rest) :]
            if request.completed:
                assert request.protocol_error is None
                found.append(list(request.arguments))
                request = RedisRequest(None)
    assert found == requests


@given(st.binary(max_size=200))
def test_quoted_argument_comes_out_as_it_was(word: bytes) -> None:
    hexadecimal = b'"' + b"".join(b"\\x%02x" % byte for byte in word) + b'"'
    assert split_inline(b"ECHO " + hexadecimal) == [b"ECHO", word]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (rb'"\n\r\t\b\a\q\\\""', [b'\n\r\t\b\aq\\"']),
        (rb'"\x41\xfF\xzz\x4"', [b"A\xffxzzx4"]),
        (rb"'it\'s' '\n'", [b"it's", rb"\n"]),
        (rb"""'a"b' "a'b" """, [b'a"b', b"a'b"]),
        (rb'a"b c" d', [b"ab c", b"d"]),
        (rb"a'b c' d", [b"ab c", b"d"]),
        (b"\"\" ''", [b"", b""]),
        (rb"a\b 'c'", [rb"a\b", b"c"]),
        (b"", []),
        (b'"a""b"', None),
        (rb"'\\'", None),
        (b'a "', None),
    ],
)
def test_inline_words_are_split_as_redis_splits_them(line: bytes, words: list[bytes] | None) -> None:
    assert split_inline(line) == words


def test_body_that_was_announced_takes_no_memory_before_it_comes() -> None:
    request = RedisRequest(None)
    tracemalloc.start()
    try:
        request.received(b"*1048576\r\n$536870912\r\nx")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not request.completed
    assert peak_bytes < 100_000


def test_arguments_of_one_request_are_limited_together() -> None:
    class Modest(RedisRequest):
        max_bulk_bytes = 20_000
        max_request_bytes = 30_000

    first = b"*3\r\n$20000\r\n" + b"x" * 20_000 + b"\r\n"
    request = Modest(None)
    assert request.received(first + b"$10000\r\n") == len(first) + 8
    assert not request.completed

    request = Modest(None)
    assert request.received(first + b"$10001\r\nx") == len(first) + 8
    assert request.protocol_error == "Protocol error: invalid bulk length"


@pytest.mark.parametrize(
    "limits",
    [{"max_line_bytes": 100}, {"max_bulk_bytes": 100}, {"max_request_bytes": 100}, {"max_arguments": 10}],
)
def test_limit_that_the_fast_path_would_not_keep_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="limits must allow"):
        type("TooModest", (RedisRequest,), limits)


def test_large_body_in_small_pieces_arrives_whole() -> None:
    body = bytes(range(256)) * 4096
    stream = encode_reply([b"SET", b"key", body])
    pieces = [stream[start : start + 1000] for start in range(0, len(stream), 1000)]
    assert feed(pieces) == (True, False, None, [b"SET", b"key", body], len(stream))


def test_caller_may_reuse_its_buffer() -> None:
    for size in (10, 100_000):
        buffer = bytearray(encode_reply([b"x" * size]))
        request = RedisRequest(None)
        request.received(memoryview(buffer))
        buffer[:] = bytes(len(buffer))
        assert request.arguments == [b"x" * size]


def test_empty_data_changes_nothing() -> None:
    request = RedisRequest(None)
    assert request.received(b"") == 0
    assert request.received(memoryview(b"")) == 0
    assert not request.completed


def test_str_raises_type_error() -> None:
    with pytest.raises(TypeError):
        RedisRequest(None).received("PING\r\n")  # type: ignore[arg-type]


@pytest.mark.parametrize("begun", [b"*", b"PING", b"*2\r\n$3\r\nGET\r\n", b"*1\r\n$4\r\nPI"])
def test_end_of_input_in_the_middle_is_an_error_with_its_offset(begun: bytes) -> None:
    for pieces in ([begun], single_bytes(begun)):
        request = RedisRequest(None)
        for piece in pieces:
            request.received(piece)
        request.end_of_input()
        assert request.completed
        assert request.error is not None
        assert request.error.kind == "truncated"
        assert request.error.offset_bytes == len(begun)
        assert request.received(b"x") == 0


def test_end_of_input_between_requests_is_no_error() -> None:
    untouched, finished = RedisRequest(None), RedisRequest(None)
    finished.received(b"PING\r\n")
    for request in (untouched, finished):
        request.end_of_input()
        assert request.error is None
    assert not untouched.completed


def test_class_and_objects_provide_the_interface() -> None:
    assert verifyClass(IStreamConsumer, RedisRequest)
    assert verifyObject(IStreamConsumer, RedisRequest(None))

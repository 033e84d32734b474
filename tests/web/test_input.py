"""`wsgi.input` does what `io.BytesIO` does, however the body came and wherever it is kept. Source: PEP 3333.

Strategy: an application in the server plays the same calls on its input and on a BytesIO with the same bytes, and
answers with the first difference. Kinds of body: in memory, in a temporary file, chunked, and read as it comes. A
body that comes with its head is in memory whatever the settings, so what is played comes behind a long part.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sites import Site

Serve = Callable[..., Site]
Call = tuple[str, Any]

KINDS: dict[str, dict[str, Any]] = {
    "memory": {"inbuf_overflow": 1 << 20},
    "file": {"inbuf_overflow": 10},
    "chunked": {"inbuf_overflow": 1 << 20},
    "chunked file": {"inbuf_overflow": 10},
    "streamed": {"stream_request_body": True},
    "streamed chunked": {"stream_request_body": True},
}
#: Longer than what a loop reads at once.
AHEAD = b"a line to be passed over\n" * 20_000
SIZES = st.one_of(st.none(), st.integers(-2, 70), st.sampled_from([8191, 8192, 8193, 100_000]))
LINES = st.lists(
    st.sampled_from([b"", b"a", b"\n", b"\r\n", b"line\n", b"long " * 40 + b"\n", b"\0\xff"]), max_size=40
)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "read1", "readline", "readlines"]), SIZES),
        st.tuples(st.sampled_from(["readinto", "readinto1"]), st.integers(0, 100)),
        st.tuples(st.sampled_from(["next", "read()", "readline()", "readlines()", "list", "read1()"]), st.none()),
    ),
    max_size=12,
)


def outcome(source: Any, call: Call) -> object:
    """Return what a call gives, comparable; an exception by its type."""
    name, argument = call
    try:
        match name:
            case "next":
                return next(source, None)
            case "list":
                return list(source)
            case "readinto" | "readinto1":
                target = bytearray(b"." * argument)
                return getattr(source, name)(target), bytes(target)
        return getattr(source, name[:-2])() if name.endswith("()") else getattr(source, name)(argument)
    except Exception as error:
        return type(error).__name__


def size_of(given: Any) -> int:
    """Return how many bytes `read1` or `readinto1` gave."""
    return len(given) if isinstance(given, bytes) else int(given[0])


def is_part(got: Any, wanted: Any) -> bool:
    """Return whether a call that may give less than there is gave less, but something."""
    match got, wanted:
        case bytes(), bytes():
            return b"" != got != wanted and wanted.startswith(got)
        case (int(size), bytes(data)), (int(most), bytes(whole)):
            return 0 < size < most and data[:size] == whole[:size]
    return False


def compare(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Play the calls of a header on the input, behind what comes ahead, and on a BytesIO with the rest of it."""
    source = environ["wsgi.input"]
    assert source.read(len(AHEAD)) == AHEAD
    model = io.BytesIO(bytes.fromhex(environ["HTTP_X_BODY"]))
    said = b"same" if type(source).__name__ == environ["HTTP_X_CLASS"] else repr(source).encode()
    for call in json.loads(environ["HTTP_X_CALLS"]):
        wanted, got = outcome(model, tuple(call)), outcome(source, tuple(call))
        if "1" in call[0] and is_part(got, wanted):
            model.seek(size_of(got) - size_of(wanted), io.SEEK_CUR)
        elif wanted != got:
            said = repr({"call": call, "BytesIO": wanted, "wsgi.input": got}).encode()
            break
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(said)))])
    return [said]


def chunked(body: bytes) -> bytes:
    """Return the body in chunks of several sizes."""
    pieces, start, size = [], 0, 1
    while start < len(body):
        piece = body[start : start + size]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        start, size = start + size, size * 3
    return b"".join(pieces) + b"0\r\n\r\n"


@pytest.fixture(params=KINDS)
def ask(request: Any, serving: Serve) -> Callable[[bytes, list[Call]], bytes]:
    """A function that has the calls played on a body of one kind."""
    peer = serving(compare, validated=False, **KINDS[request.param]).connect()
    name = "BytesIO" if request.param in ("memory", "chunked") else "BodyReader"

    def play(body: bytes, calls: list[Call]) -> bytes:
        headers = {"X-Class": name, "X-Body": body.hex(), "X-Calls": json.dumps(calls)}
        if "chunked" in request.param:
            headers["Transfer-Encoding"] = "chunked"
        whole = AHEAD + body
        return peer.ask("POST", headers=headers, body=chunked(whole) if "chunked" in request.param else whole).body

    return play


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(LINES.map(b"".join), CALLS)
@example(b"ab\ncd\n", [("readline", 0), ("readline", 2), ("readline", -1), ("readline", None), ("readline", None)])
@example(b"ab\ncd\nef", [("readlines", 4), ("readlines", 0), ("read", 0)])
@example(b"ab\ncd", [("readinto", 0), ("readinto", 3), ("read1", -1), ("read1()", None), ("readinto", 3)])
@example(b"", [("read", None), ("readline", None), ("readlines", None), ("next", None), ("read1", -1)])
@example(b"ab\ncd\nef\ngh\n", [("readlines", 3), ("readlines", 4), ("read", -2)])
@example(b"\n\n\n", [("next", None), ("read", 1), ("list", None), ("next", None)])
def test_every_way_of_reading_gives_what_bytesio_gives(ask: Any, body: bytes, calls: list[Call]) -> None:
    assert ask(body, calls).decode() == "same"


def test_a_large_body_is_read_alike_in_lines_and_in_blocks(serving: Serve) -> None:
    body = b"".join(b"%d " % number * (number % 50) + b"\n" for number in range(20_000))

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        source = environ["wsgi.input"]
        same = b"".join(source) == body if environ["PATH_INFO"] == "/lines" else source.read() == body
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"same" if same else b"not!"]

    for arguments in ({}, {"inbuf_overflow": 1000}, {"stream_request_body": True}):
        with serving(application, validated=False, **arguments).connect() as peer:
            assert [peer.ask("POST", path, body=body).body for path in ("/lines", "/blocks")] == [b"same"] * 2


@pytest.mark.parametrize("arguments", [{}, {"inbuf_overflow": 10}, {"stream_request_body": True}])
def test_wrong_arguments_raise_what_bytesio_raises(serving: Serve, arguments: dict[str, Any]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        differences = []
        for name, *values in (
            ("read", "x"),
            ("readline", 1.5),
            ("readlines", "x"),
            ("read", 1, 2),
            ("readinto", b""),
        ):
            kinds = []
            for source in (environ["wsgi.input"], io.BytesIO(b"x" * 500_000)):
                try:
                    getattr(source, name)(*values)
                    kinds.append("nothing")
                except Exception as error:
                    kinds.append(type(error).__name__)
            if kinds[0] != kinds[1]:
                differences.append((name, values, kinds))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr(differences).encode()]

    assert serving(application, validated=False, **arguments).ask("POST", body=b"x" * 500_000).body == b"[]"


@pytest.mark.parametrize("arguments", [{}, {"inbuf_overflow": 10}, {"stream_request_body": True}])
def test_standard_wrappers_and_tools_take_the_input_for_a_file(serving: Serve, arguments: dict[str, Any]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        source = environ["wsgi.input"]
        assert (source.readable(), source.closed) == (True, False)
        with io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8") as wrapper:
            text = wrapper.read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.upper().encode()]

    answer = serving(application, validated=False, **arguments).ask("POST", body="größer\n".encode() * 50_000)
    assert answer.body.decode() == "GRÖSSER\n" * 50_000


@pytest.mark.parametrize("arguments", [{}, {"inbuf_overflow": 10}])
def test_a_body_that_has_been_taken_can_be_read_again(serving: Serve, arguments: dict[str, Any]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        source = environ["wsgi.input"]
        assert source.seekable()
        first, end = source.read(), source.tell()
        assert source.seek(-5, io.SEEK_END) == end - 5
        last = source.read()
        assert source.seek(0) == 0
        again = source.read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"same" if (first == again, first[-5:]) == (True, last) else b"not"]

    assert serving(application, validated=False, **arguments).ask("POST", body=b"0123456789" * 50_000).body == b"same"


def test_what_an_application_leaves_unread_is_not_the_next_request(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        part = environ["wsgi.input"].read(3)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), b" ", part]

    trap = b"abcGET /evil HTTP/1.1\r\nHost: test\r\n\r\n"
    for arguments in ({}, {"inbuf_overflow": 1}, {"stream_request_body": True}):
        with serving(application, **arguments).connect() as peer:
            peer.send_request("POST", "/1", body=trap)
            peer.send_request("POST", "/2", headers={"Transfer-Encoding": "chunked"}, body=chunked(trap))
            peer.send_request("POST", "/3", body=b"end")
            assert [peer.read_answer().body for _ in range(3)] == [b"/1 abc", b"/2 abc", b"/3 end"]

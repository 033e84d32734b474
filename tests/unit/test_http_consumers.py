"""What the consumers of HTTP/1.1 can be asked: heads, headers, trailers, bodies, sinks.

What is refused stands in `tests/http/cases.json`; the laws in `tests/laws`.
"""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from wiretask.consumers import Chunked, HTTPHeaders, HTTPRequest, HTTPResponse
from wiretask.errors import MessageTooLargeError


def request(stream: bytes, **arguments: Any) -> HTTPRequest:
    consumer = HTTPRequest(**arguments)
    assert consumer.received(stream) == len(stream)
    return consumer


def answer(stream: bytes, **arguments: Any) -> HTTPResponse:
    consumer = HTTPResponse(**arguments)
    consumer.received(stream)
    return consumer


def headers(*lines: bytes) -> HTTPHeaders:
    return request(b"GET / HTTP/1.0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n").headers


def test_request_tells_what_its_head_says() -> None:
    head = b"POST /a%20b/c?d=e&f HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 2\r\n\r\n"
    consumer = request(head + b"xy")
    assert (consumer.method, consumer.target, consumer.version) == ("POST", "/a%20b/c?d=e&f", "1.1")
    assert (consumer.path, consumer.query, consumer.host) == ("/a%20b/c", "d=e&f", "a.example:80")
    assert (consumer.content_length, consumer.expects_continue, consumer.keep_alive) == (2, False, True)
    assert (consumer.head, consumer.body, consumer.value) == (head, b"xy", b"xy")
    assert consumer.body is consumer.body


@pytest.mark.parametrize(
    ("line", "path", "query", "host"),
    [
        (b"GET / HTTP/1.1", "/", "", "a"),
        (b"GET /? HTTP/1.1", "/", "", "a"),
        (b"GET //b/x HTTP/1.1", "//b/x", "", "a"),
        (b"GET http://b:1/x?y HTTP/1.1", "/x", "y", "b:1"),
        (b"GET http://b HTTP/1.1", "/", "", "b"),
        (b"GET http://b?y HTTP/1.1", "/", "y", "b"),
        (b"OPTIONS * HTTP/1.1", "*", "", "a"),
        (b"OPTIONS http://b HTTP/1.1", "*", "", "b"),
        (b"CONNECT b:443 HTTP/1.1", "", "", "b:443"),
        (b"GET / HTTP/1.9", "/", "", "a"),
    ],
)
def test_target_says_path_query_and_host(line: bytes, path: str, query: str, host: str) -> None:
    consumer = request(line + b"\r\nHost: a\r\n\r\n")
    assert (consumer.path, consumer.query, consumer.host) == (path, query, host)


def test_host_may_be_missing_or_empty() -> None:
    assert request(b"GET / HTTP/1.0\r\n\r\n").host == ""
    assert request(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").host == ""
    assert request(b"GET / HTTP/1.1\r\nHost: \t[::1]:80 \r\n\r\n").host == "[::1]:80"


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Upgrade,CLOSE\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive\r\nConnection: close\r\n", False),
    ],
)
def test_keep_alive_follows_version_and_connection(version: bytes, connection: bytes, keep_alive: bool) -> None:
    consumer = request(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + connection + b"\r\n")
    assert consumer.keep_alive is keep_alive


def test_head_can_be_asked_before_the_body_has_come() -> None:
    consumer = HTTPRequest()
    assert not consumer.head_completed
    for name in ("method", "headers", "head", "content_length", "body", "trailers"):
        with pytest.raises(RuntimeError, match="not complete"):
            getattr(consumer, name)
    consumer.received(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
    assert (consumer.head_completed, consumer.completed) == (True, False)
    assert (consumer.method, consumer.expects_continue, consumer.keep_alive) == ("PUT", True, True)
    with pytest.raises(RuntimeError, match="not complete"):
        _ = consumer.body


def test_expectation_means_nothing_in_the_older_version() -> None:
    consumer = request(b"PUT / HTTP/1.0\r\nExpect: 100-continue, magic\r\nContent-Length: 1\r\n\r\nx")
    assert (consumer.error, consumer.expects_continue) == (None, False)


def test_head_can_be_asked_after_an_error_in_the_body() -> None:
    consumer = request(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", max_body_bytes=8)
    assert isinstance(consumer.error, MessageTooLargeError)
    assert (consumer.path, consumer.keep_alive, consumer.completed) == ("/up", False, True)
    with pytest.raises(RuntimeError, match="too large"):
        _ = consumer.body


def test_head_cannot_be_asked_after_an_error_in_it() -> None:
    consumer = request(b"GET / HTTP/1.1\r\n\r\n")
    assert not consumer.head_completed
    with pytest.raises(RuntimeError, match="there is no head: there is no Host field"):
        _ = consumer.method


def test_too_many_fields_tell_their_limit() -> None:
    error = request(b"GET / HTTP/1.1\r\nA:\r\nB:\r\n", max_fields=1).error
    assert isinstance(error, MessageTooLargeError)
    assert (error.limit_fields, error.limit_bytes, error.status) == (1, None, 431)


def test_headers_are_an_ordered_mapping_without_regard_to_case() -> None:
    mapping = headers(b"Host: a", b"x-One: 1", b"Cookie:", b"X-ONE:  2 ", b"x-one: 3")
    assert isinstance(mapping, Mapping)
    assert dict(mapping) == {"Host": "a", "x-One": "1, 2, 3", "Cookie": ""}
    assert (len(mapping), list(mapping)) == (3, ["Host", "x-One", "Cookie"])
    assert (mapping["HOST"], mapping.get("X-oNe"), mapping.get("none"), mapping.get("none", 7)) == (
        "a",
        "1, 2, 3",
        None,
        7,
    )
    assert ("cookie" in mapping, "none" in mapping, 7 in mapping) == (True, False, False)
    assert (mapping.get_all("X-One"), mapping.get_all("none")) == (["1", "2", "3"], [])
    assert list(mapping.keys()) == ["Host", "x-One", "Cookie"]
    assert list(mapping.values()) == ["a", "1, 2, 3", ""]
    assert ("Host", "a") in mapping.items()
    with pytest.raises(KeyError, match="none"):
        mapping["none"]


def test_headers_have_their_lines_apart_as_text_and_as_bytes() -> None:
    mapping = headers(b"A: \xe4\t\xff", b"a:b")
    assert mapping.lines == [("A", "ä\t\xff"), ("a", "b")]
    assert mapping.raw_lines == [(b"A", b"\xe4\t\xff"), (b"a", b"b")]
    assert mapping.raw == b"A: \xe4\t\xff\r\na:b\r\n\r\n"
    assert mapping["A"] == "ä\t\xff, b"


def test_headers_are_equal_if_their_lines_are() -> None:
    assert headers(b"A: b", b"C: d") == headers(b"a:b", b"c: d ")
    assert headers(b"A: b") != headers(b"A: B")
    assert headers(b"A: b") != headers(b"A: b", b"A: b")
    assert headers(b"A: b") != {"A": "b"}


def test_headers_show_no_values() -> None:
    mapping = headers(b"Host: a", b"Authorization: secret", b"authorization: b")
    assert repr(mapping) == "<HTTPHeaders: Host, Authorization>"


def test_headers_are_the_same_object_at_each_access() -> None:
    consumer = request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert consumer.headers is consumer.headers


def test_trailers_are_apart_from_the_headers() -> None:
    consumer = request(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nHost: b\r\nContent-Length: 9\r\n\r\n"
    )
    assert (consumer.body, consumer.content_length) == (b"x", None)
    assert consumer.trailers.lines == [("Host", "b"), ("Content-Length", "9")]
    assert consumer.host == consumer.headers["host"] == "a"
    assert request(b"GET / HTTP/1.0\r\n\r\n").trailers.lines == []


def test_answer_tells_what_its_head_says() -> None:
    consumer = answer(b"HTTP/1.0 404 Not  Found\r\nContent-Length: 2\r\n\r\nxyz")
    assert (consumer.status, consumer.reason, consumer.version) == (404, "Not  Found", "1.0")
    assert (consumer.body, consumer.keep_alive, consumer.headers.lines) == (b"xy", False, [("Content-Length", "2")])
    assert answer(b"HTTP/1.1 204\r\n\r\n").reason == ""


def test_answer_without_a_length_ends_with_the_stream() -> None:
    consumer = answer(b"HTTP/1.1 200 OK\r\n\r\nabc")
    consumer.received(b"def")
    assert (consumer.completed, consumer.content_length, consumer.keep_alive) == (False, None, False)
    consumer.end_of_input()
    assert (consumer.completed, consumer.error, consumer.body) == (True, None, b"abcdef")


def test_answer_without_a_length_has_a_limit_too() -> None:
    consumer = answer(b"HTTP/1.1 200 OK\r\n\r\nabcd", max_body_bytes=4)
    assert consumer.error is None
    assert consumer.received(b"ef") == 1
    assert consumer.error is not None
    assert (consumer.error.kind, consumer.error.offset_bytes) == ("body_too_large", 24)


def test_interim_answer_is_an_answer_of_its_own() -> None:
    stream = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    interim, final = HTTPResponse(), HTTPResponse()
    taken = interim.received(stream)
    final.received(stream[taken:])
    assert (interim.status, interim.completed, final.status, final.completed) == (100, True, 200, True)


def test_sink_may_be_a_callable_or_a_file() -> None:
    stream = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    pieces: list[bytes] = []
    assert request(stream, body_sink=pieces.append).completed
    assert pieces == [b"abcde"]
    file = io.BytesIO()
    consumer = HTTPRequest(body_sink=file)
    for index in range(len(stream)):
        consumer.received(stream[index : index + 1])
    assert file.getvalue() == b"abcde"
    with pytest.raises(RuntimeError, match="went to body_sink"):
        _ = consumer.body
    with pytest.raises(RuntimeError, match="went to body_sink"):
        _ = consumer.value
    assert answer(b"HTTP/1.1 200 OK\r\n\r\nxy", body_sink=file).head_completed
    Chunked(body_sink=file).received(b"1\r\nz\r\n")
    assert file.getvalue() == b"abcdexyz"


def test_sink_is_not_called_for_a_body_of_no_bytes() -> None:
    pieces: list[bytes] = []
    assert request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", body_sink=pieces.append).completed
    assert pieces == []


def test_what_a_sink_raises_passes_through_and_ends_the_consumer() -> None:
    def full(piece: bytes) -> None:
        raise OSError("disk full")

    consumer = Chunked(body_sink=full)
    with pytest.raises(OSError, match="disk full"):
        consumer.received(b"2\r\nab")
    with pytest.raises(RuntimeError, match="the body is not whole"):
        consumer.received(b"\r\n0\r\n\r\n")
    assert not consumer.completed


def test_sink_cannot_feed_its_own_consumer() -> None:
    consumer = Chunked(body_sink=lambda piece: consumer.received(b"\r\n"))
    with pytest.raises(RuntimeError, match="at work"):
        consumer.received(b"2\r\nab")


def test_cycle_through_a_sink_is_collected() -> None:
    class Sink:
        consumer: HTTPRequest

        def write(self, piece: bytes) -> None:
            """Keep nothing."""

    sink = Sink()
    sink.consumer = HTTPRequest(body_sink=sink)
    seen = weakref.ref(sink)
    del sink
    gc.collect()
    assert seen() is None


class Shouting(HTTPRequest):
    """A subclass with a method of its own, as a Python parser."""

    @property
    def shouted(self) -> str:
        return self.path.upper()


def test_subclass_works_as_a_python_parser() -> None:
    consumer = Shouting(object())
    consumer.received(b"GET /abc HTTP/1.1\r\nHost: a\r\n\r\n")
    assert consumer.shouted == "/ABC"


def test_names_and_values_are_the_bytes_whatever_they_are() -> None:
    names = [b"Host", b"host", b"HOST", b"HOs", b"Hosts", b"X", b"sec-ch-ua", b"Sec-Ch-Ua", b"!#$%&'*+-.^_`|~09az"]
    value = bytes([*range(0x20, 0x7F), *range(0x80, 0x100)])
    lines = [(name, value.strip() if number % 2 else b"") for number, name in enumerate(names[3:])]
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"%b: %b\r\n" % line for line in lines) + b"\r\n"
    request = HTTPRequest()
    request.received(head)
    expected = [("Host", "a"), *((name.decode(), text.decode("latin-1")) for name, text in lines)]
    assert request.headers.lines == expected
    assert list(request.headers) == list({name.lower(): name for name, _ in reversed(expected)}.values())[::-1]
    for method in ("GET", "get", "G", "PROPFIND", "POST"):
        request = HTTPRequest()
        request.received(b"%b / HTTP/1.0\r\n\r\n" % method.encode())
        assert request.method == method


def test_str_of_a_name_that_is_in_nearly_every_head_is_shared() -> None:
    first, second = HTTPRequest(), HTTPRequest()
    for request in (first, second):
        request.received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert first.headers.lines[0][0] is second.headers.lines[0][0]
    assert first.method is second.method

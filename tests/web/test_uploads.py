"""Bodies of requests: `Expect`, chunks and trailers, memory and temporary files, and reading them as they come.

Source: RFC 9110 section 10.1.1 (Expect), RFC 9112 section 7 (chunks), the arguments of waitress.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from http_peer import CutShortError
from sites import Site, until

import wiretask.errors

Serve = Callable[..., Site]
TEXT = ("Content-Type", "text/plain")
CHUNKED = {"Transfer-Encoding": "chunked"}
STREAMED = pytest.mark.parametrize("arguments", [{}, {"stream_request_body": True}], ids=["taken", "streamed"])


def digest(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with length and hash of the body."""
    seen, size = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(65536):
        seen.update(block)
        size += len(block)
    answer = f"{size} {seen.hexdigest()}".encode()
    start_response("200 OK", [TEXT, ("Content-Length", str(len(answer)))])
    return [answer]


def said_of(body: bytes) -> bytes:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def ignore(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer without a look at the body."""
    start_response("200 OK", [TEXT, ("Content-Length", "7")])
    return [b"ignored"]


# ---- Expect ----


@STREAMED
@pytest.mark.parametrize("word", ["100-continue", "100-Continue"])
def test_100_is_sent_once_before_a_body_that_is_wanted(serving: Serve, arguments: Any, word: str) -> None:
    with serving(digest, **arguments).connect() as peer:
        for body in (b"first", b"second"):
            peer.send_request("POST", headers={"Expect": word, "Content-Length": str(len(body))})
            head = peer.read_head()
            assert (head.status, head.headers) == (100, [])
            peer.send(body)
            answer = peer.read_answer()
            assert (answer.interim, answer.body) == ([], said_of(body))


@STREAMED
def test_100_is_sent_for_a_chunked_body_too(serving: Serve, arguments: Any) -> None:
    with serving(digest, **arguments).connect() as peer:
        peer.send_request("POST", headers={"Expect": "100-continue"} | CHUNKED)
        assert peer.read_head().status == 100
        peer.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert peer.read_answer().body == said_of(b"abc")


def test_no_100_where_the_application_does_not_read(serving: Serve) -> None:
    with serving(ignore, stream_request_body=True).connect() as peer:
        peer.send_request("POST", headers={"Expect": "100-continue", "Content-Length": "1000000"})
        answer = peer.read_answer()
        assert (answer.interim, answer.status, answer.body) == ([], 200, b"ignored")
        # The client may send the body all the same, or not at all: the next request cannot be told from it.
        assert answer.ends_connection
        assert peer.is_closed_by_server()


def test_no_100_for_a_body_that_is_refused(serving: Serve) -> None:
    with serving(digest, max_request_body_size=10).connect() as peer:
        peer.send_request("POST", headers={"Expect": "100-continue", "Content-Length": "11"})
        answer = peer.read_answer()
        assert (answer.interim, answer.status) == ([], 413)
        assert peer.is_closed_by_server()


def test_no_100_where_there_is_no_body(serving: Serve) -> None:
    with serving(digest).connect() as peer:
        for headers in ({"Expect": "100-continue"}, {"Expect": "100-continue", "Content-Length": "0"}):
            answer = peer.ask("POST", headers=headers)
            assert (answer.interim, answer.status) == ([], 200)


def test_no_100_to_http_1_0(serving: Serve) -> None:
    with serving(digest).connect() as peer:
        peer.send_request("POST", headers={"Expect": "100-continue", "Content-Length": "3"}, version="1.0")
        peer.send(b"abc")
        answer = peer.read_answer()
        assert (answer.interim, answer.body) == ([], said_of(b"abc"))


@STREAMED
def test_at_most_one_100_where_the_body_comes_with_the_head(serving: Serve, arguments: Any) -> None:
    with serving(digest, **arguments).connect() as peer:
        for _ in range(3):
            answer = peer.ask("POST", headers={"Expect": "100-continue"}, body=b"abc")
            assert answer.interim in ([], [100])
            assert answer.body == said_of(b"abc")


def test_100_waits_for_the_answers_before(serving: Serve) -> None:
    release = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            release.wait(20)
        return digest(environ, start_response)

    with serving(application).connect() as peer:
        peer.send_request("GET", "/slow")
        peer.send_request("POST", headers={"Expect": "100-continue", "Content-Length": "3"})
        release.set()
        assert peer.read_answer().body == said_of(b"")
        assert peer.read_head().status == 100
        peer.send(b"abc")
        assert peer.read_answer().body == said_of(b"abc")


def test_an_unknown_expectation_is_answered_by_417(serving: Serve) -> None:
    with serving(digest).connect() as peer:
        assert peer.ask("POST", headers={"Expect": "a-miracle"}, body=b"abc").status == 417
        assert peer.is_closed_by_server()


# ---- chunks ----


@STREAMED
def test_chunks_in_any_cut_are_one_body(serving: Serve, arguments: Any) -> None:
    body = os.urandom(5000)
    stream = (
        b"".join(b'%X;ext="q"\r\n%s\r\n' % (len(p), p) for p in (body[:1], body[1:16], body[16:])) + b"000\r\n\r\n"
    )
    with serving(digest, **arguments).connect() as peer:
        for cut in (1, 7, 1000, len(stream)):
            peer.send_request("POST", headers=CHUNKED)
            for start in range(0, len(stream), cut if cut > 1 else len(stream) // 2):
                peer.send(stream[start : start + (cut if cut > 1 else len(stream) // 2)])
            assert peer.read_answer().body == said_of(body)


def test_a_chunked_body_has_a_length_once_it_has_been_taken(serving: Serve) -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(dict(environ))
        return digest(environ, start_response)

    answer = serving(application).ask("POST", headers=CHUNKED, body=b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert answer.body == said_of(b"abcdefg")
    assert seen[0]["CONTENT_LENGTH"] == "7"  # what Django and others go by
    assert seen[0]["wsgi.input_terminated"] is True


@STREAMED
def test_trailers_are_read_and_kept_from_the_environ(serving: Serve, arguments: Any) -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        answer = digest(environ, start_response)
        seen.append(dict(environ))
        return answer

    with serving(application, **arguments).connect() as peer:
        stream = b"3\r\nabc\r\n0\r\nX-Trailer: evil\r\nHost: evil\r\nContent-Length: 5\r\n\r\n"
        peer.send_request("POST", headers=CHUNKED, body=stream)
        answer = peer.read_answer()
        if answer.status == 200:  # both are right (RFC 9110 6.5.1): to ignore them, or to refuse these
            assert answer.body == said_of(b"abc")
            assert seen[0]["HTTP_HOST"] == "test"
            assert "HTTP_X_TRAILER" not in seen[0]
            assert peer.ask().status == 200
        else:
            assert answer.status == 400
            assert peer.is_closed_by_server()


@STREAMED
@pytest.mark.parametrize(
    "bad", [b"x\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n0\r\n\r\n", b"0x3\r\nabc\r\n"], ids=repr
)
def test_a_broken_chunk_ends_the_connection_and_is_no_end_of_the_body(
    serving: Serve, bad: bytes, arguments: Any
) -> None:
    completed = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        answer = digest(environ, start_response)
        completed.append(answer)
        return answer

    with serving(application, **arguments).connect() as peer:
        peer.send_request("POST", headers=CHUNKED)
        peer.send(b"2\r\nok\r\n" + bad + b"GET /evil HTTP/1.1\r\nHost: t\r\n\r\n")
        try:
            assert peer.read_answer().status in (400, 500)
        except (CutShortError, ConnectionError):
            assert arguments  # only where the application has begun
        else:
            assert peer.is_closed_by_server()
    assert completed == []


# ---- large bodies ----


def test_a_large_upload_is_kept_in_a_file_and_costs_little_memory(serving: Serve) -> None:
    from processes import resident_kilobytes

    block = os.urandom(1 << 20)
    count, highest, before = 96, 0, 0
    grown: list[int] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        grown.append(resident_kilobytes() - before)
        answer = digest(environ, start_response)
        grown.append(resident_kilobytes() - before)
        return answer

    wanted = hashlib.sha256()
    with serving(application, inbuf_overflow=200_000).connect() as peer:
        assert peer.ask("POST", body=block).status == 200
        grown.clear()
        before = resident_kilobytes()
        peer.send_request("POST", headers={"Content-Length": str(count << 20)})
        for _ in range(count):
            peer.send(block)
            wanted.update(block)
            highest = max(highest, resident_kilobytes() - before)
        assert peer.read_answer().body == f"{count << 20} {wanted.hexdigest()}".encode()
    assert max(highest, *grown) < 24 * 1024


def test_files_of_bodies_are_gone_when_the_answer_is(serving: Serve, tmp_path: Any) -> None:
    from processes import descriptors

    with serving(digest, inbuf_overflow=1000).connect() as peer:
        peer.ask("POST", body=b"x")
        before = len(descriptors())
        for _ in range(20):
            assert peer.ask("POST", body=b"x" * 5000).status == 200
        until(lambda: len(descriptors()) <= before, "the files to be closed")


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 65535, 65536, 65537, 300_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_of_every_size_arrive_whole(serving: Serve, size: int, framing: str) -> None:
    body = os.urandom(size)
    with serving(digest, inbuf_overflow=1000).connect() as peer:
        if framing == "length":
            answer = peer.ask("POST", body=body)
        else:
            chunk = b"%x\r\n%s\r\n" % (size, body) if size else b""
            answer = peer.ask("POST", headers=CHUNKED, body=chunk + b"0\r\n\r\n")
        assert answer.body == said_of(body)


def test_a_worker_is_used_only_once_the_body_is_there(serving: Serve) -> None:
    site = serving(digest, threads=1)
    peers = [site.connect() for _ in range(20)]
    for peer in peers:
        peer.send_request("POST", headers={"Content-Length": "6"})
        peer.send(b"abc")
    assert site.ask().status == 200
    for peer in peers:
        peer.send(b"def")
    assert {peer.read_answer().body for peer in peers} == {said_of(b"abcdef")}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_that_breaks_off_reaches_no_application(serving: Serve, framing: str) -> None:
    calls = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        return digest(environ, start_response)

    site = serving(application, threads=1)
    with site.connect() as peer:
        if framing == "length":
            peer.send_request("POST", "/broken", headers={"Content-Length": "100"})
            peer.send(b"half")
        else:
            peer.send_request("POST", "/broken", headers=CHUNKED, body=b"5\r\nhalf")
        peer.end_output()
        left = peer.read_to_end()
        assert left == b"" or b" 400 " in left.splitlines()[0]
    assert site.ask("GET", "/good").status == 200
    assert calls == ["/good"]


# ---- stream_request_body ----


def test_a_streamed_body_is_read_while_it_comes(serving: Serve) -> None:
    heard = threading.Semaphore(0)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        parts = []
        for _ in range(3):
            parts.append(environ["wsgi.input"].read(3))
            heard.release()
        parts.append(environ["wsgi.input"].read(3))
        start_response("200 OK", [TEXT])
        return [b"|".join(parts)]

    with serving(application, stream_request_body=True).connect() as peer:
        peer.send_request("POST", headers={"Content-Length": "9"})
        for part in (b"abc", b"def", b"ghi"):
            peer.send(part)
            assert heard.acquire(timeout=20)
        assert peer.read_answer().body == b"abc|def|ghi|"


def test_a_streamed_body_and_its_answer_can_take_turns(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT, ("Content-Length", "9")])
        for _ in range(3):
            yield environ["wsgi.input"].read(3).upper()

    with serving(application, stream_request_body=True).connect() as peer:
        peer.send_request("POST", headers={"Content-Length": "9"})
        peer.send(b"abc")
        peer.read_head()
        assert peer._take(3) == b"ABC"
        peer.send(b"def")
        assert peer._take(3) == b"DEF"
        peer.send(b"ghi")
        assert peer._take(3) == b"GHI"
        assert peer.ask("POST", body=b"123456789").body == b"123456789"


@pytest.mark.parametrize("kept", ["input", "what is below it"])
def test_the_input_of_an_answered_request_reads_nothing_of_the_next(serving: Serve, kept: str) -> None:
    inputs: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        if not inputs:
            inputs.append(stream if kept == "input" else stream.detach())
            body = b"first"
        else:
            with pytest.raises(ValueError, match=r"closed|answered"):
                inputs[0].read(3)
            body = stream.read()
        start_response("200 OK", [TEXT, ("Content-Length", "5")])
        return [body]

    with serving(application, validated=False, stream_request_body=True).connect() as peer:
        for parts in ((b"ab", b"cde"), (b"", b"mine!")):
            peer.send_request("POST", headers={"Content-Length": "5"})
            peer.send(parts[0])
            if parts[0]:
                assert peer.read_answer().body == b"first"
            peer.send(parts[1])
        assert peer.read_answer().body == b"mine!"


def test_an_application_that_does_not_read_holds_a_streaming_client_back(serving: Serve) -> None:
    release = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        release.wait(20)
        return digest(environ, start_response)

    body = os.urandom(1 << 20) * 64
    with serving(application, stream_request_body=True).connect() as peer:
        peer.send_request("POST", headers={"Content-Length": str(len(body))})
        peer.socket.settimeout(0.5)
        sent = send_until_it_stops(peer, body)
        assert sent < len(body) // 2
        release.set()
        peer.socket.settimeout(20)
        peer.send(body[sent:])
        assert peer.read_answer().body == said_of(body)


def send_until_it_stops(peer: Any, body: bytes) -> int:
    """Send until nothing more is taken; return how much was."""
    sent = 0
    while sent < len(body):
        try:
            sent += peer.socket.send(body[sent : sent + 262144])
        except TimeoutError:
            break
    return sent


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_streamed_body_that_breaks_off_is_an_error_and_no_end(serving: Serve, framing: str) -> None:
    seen: list[object] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            while block := environ["wsgi.input"].read(4):
                seen.append(block)
            seen.append("end")
        except OSError as error:
            seen.append(error)
            raise
        start_response("200 OK", [TEXT])
        return [b"never"]

    site = serving(application, stream_request_body=True)
    with site.connect() as peer:
        if framing == "length":
            peer.send_request("POST", headers={"Content-Length": "100"})
            peer.send(b"half")
        else:
            peer.send_request("POST", headers=CHUNKED, body=b"4\r\nhalf\r\n")
        until(lambda: seen == [b"half"], "the first half")
        peer.end_output()
        until(lambda: len(seen) == 2, "the error")
    assert isinstance(seen[1], OSError), seen


def test_an_answer_to_half_a_body_says_that_it_is_the_last_one(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with contextlib.suppress(wiretask.errors.ProtocolError):
            environ["wsgi.input"].read(99)
        start_response("200 OK", [TEXT])
        return [environ["PATH_INFO"].encode()]

    with serving(application, stream_request_body=True).connect() as peer:
        peer.send_request("POST", "/first", headers=CHUNKED | {"Expect": "100-continue"})
        assert peer.read_head().status == 100
        peer.send(b"1\r\na\r\nnonsense\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = peer.read_answer()
        assert (answer.body, answer.get("connection")) == (b"/first", "close")
        assert peer.is_closed_by_server()


def test_a_body_that_is_left_unread_and_is_long_ends_the_connection_or_is_skipped(serving: Serve) -> None:
    with serving(ignore, stream_request_body=True).connect() as peer:
        size = 1 << 20
        peer.send_request("POST", headers={"Content-Length": str(size)})
        answer = peer.read_answer()
        assert (answer.status, answer.body) == (200, b"ignored")
        try:
            peer.send(b"GET /evil HTTP/1.1\r\n\r\n".ljust(size, b"x"))
            peer.send_request()
            assert answer.ends_connection or peer.read_answer().body == b"ignored"
            if answer.ends_connection:
                assert peer.is_closed_by_server()
        except ConnectionError:
            assert answer.ends_connection


def test_two_requests_in_one_packet_keep_their_bodies_apart(serving: Serve) -> None:
    for arguments in ({}, {"stream_request_body": True}, {"inbuf_overflow": 1}):
        with serving(digest, **arguments).connect() as peer:
            one = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
            two = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
            peer.send((one + two) * 10)
            assert [peer.read_answer().body for _ in range(20)] == [said_of(b"abc"), said_of(b"de")] * 10


def test_the_client_may_send_before_the_connection_is_accepted(serving: Serve) -> None:
    with serving(digest).connect() as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        assert peer.ask("POST", body=b"x" * 100_000).body == said_of(b"x" * 100_000)

"""What the loop answers by itself, without the application, and even while every worker is busy.

The finer points of what is refused are cases of `tests/http`. Source: RFC 9110 section 15, RFC 9112.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from http_peer import Answer
from sites import Site

Serve = Callable[..., Site]

TOO_LONG = "x" * 5000
REFUSED: dict[str, tuple[int, bytes, dict[str, Any]]] = {
    "no HTTP": (400, b"hello there\r\n\r\n", {}),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n", {}),
    "two lengths": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", {}),
    "body too large": (
        413,
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 11\r\n\r\n",
        {"max_request_body_size": 10},
    ),
    "chunks too large": (
        413,
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n5\r\n",
        {"max_request_body_size": 10},
    ),
    "target too long": (414, f"GET /{TOO_LONG} HTTP/1.1\r\n".encode(), {"max_request_line_size": 1000}),
    "expectation": (417, b"POST / HTTP/1.1\r\nHost: t\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", {}),
    "head too large": (
        431,
        f"GET / HTTP/1.1\r\nHost: t\r\nX-A: {TOO_LONG}\r\n\r\n".encode(),
        {"max_request_header_size": 1000},
    ),
    "too many fields": (
        431,
        b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X-A: b\r\n" * 50 + b"\r\n",
        {"max_request_header_count": 20},
    ),
    "unknown coding": (501, b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", {}),
    "version": (505, b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", {}),
}


def never(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("the application was called")


def judge(answer: Answer, status: int) -> None:
    """Every refusal is a whole answer that can be shown, and ends the connection."""
    assert answer.status == status
    assert answer.reason
    assert answer.framing == "length"
    assert answer.ends_connection
    assert (answer.get("content-type") or "").startswith("text/plain")
    assert parsedate_to_datetime(answer.get("date") or "").year >= 2024


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_is_a_whole_answer_and_the_end(serving: Serve, kind: str) -> None:
    status, request, arguments = REFUSED[kind]
    with serving(never, ident="mine", **arguments).connect() as peer:
        peer.send(request)
        answer = peer.read_answer()
        judge(answer, status)
        assert answer.get("server") == "mine"
        assert peer.is_closed_by_server()


@pytest.mark.parametrize("kind", ["no Host", "body too large", "head too large"])
def test_r12_refusals_need_no_worker(serving: Serve, kind: str) -> None:
    status, request, arguments = REFUSED[kind]
    release, begun = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        begun.set()
        release.wait(20)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"late"]

    site = serving(application, threads=1, **arguments)
    with site.connect() as busy, site.connect() as peer:
        busy.send_request()
        assert begun.wait(20)
        peer.send(request)
        judge(peer.read_answer(), status)
        release.set()
        assert busy.read_answer().body == b"late"


def test_a_refusal_comes_after_the_answers_that_are_due(serving: Serve) -> None:
    release = threading.Event()
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        release.wait(20)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    with serving(application).connect() as peer:
        for path in ("/1", "/2"):
            peer.send_request("GET", path)
        peer.send(b"GET /bad HTTP/1.1\r\n\r\nGET /evil HTTP/1.1\r\nHost: t\r\n\r\n")
        release.set()
        assert [peer.read_answer().body for _ in range(2)] == [b"/1", b"/2"]
        judge(peer.read_answer(), 400)
        assert peer.is_closed_by_server()
    assert seen == ["/1", "/2"]


def test_the_answer_to_a_bad_request_survives_what_the_client_still_sends(serving: Serve) -> None:
    with serving(never, max_request_body_size=1000).connect() as peer:
        peer.send_request("POST", headers={"Content-Length": str(4 << 20)})
        try:
            for _ in range(64):
                peer.send(b"x" * 65536)
        except ConnectionError:
            pass
        judge(peer.read_answer(), 413)


def test_r7_a_head_that_is_not_finished_is_answered_by_408(serving: Serve) -> None:
    with serving(never, request_timeout_seconds=0.3).connect() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost:")
        judge(peer.read_answer(), 408)
        assert peer.is_closed_by_server()


def test_r7_a_body_that_is_not_finished_is_answered_by_408(serving: Serve) -> None:
    with serving(never, request_timeout_seconds=0.3).connect() as peer:
        peer.send_request("POST", headers={"Content-Length": "10"})
        peer.send(b"half")
        judge(peer.read_answer(), 408)
        assert peer.is_closed_by_server()


def test_an_idle_connection_is_closed_without_a_word(serving: Serve) -> None:
    site = serving(never, channel_timeout=0.3)
    with site.connect() as peer:
        assert peer.is_closed_by_server()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HEAD / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: t\r\nExpect: more\r\n\r\n", 417),
        (b"HEAD /" + 20_000 * b"x", 414),
        (b"HEAD / HTTP/1.1\r\n", 408),
    ],
)
def test_a_refusal_of_head_has_no_body(serving: Serve, sent: bytes, status: int) -> None:
    with serving(never, request_timeout_seconds=0.3).connect() as peer:
        peer.send(sent)
        answer = peer.read_head()
        assert (answer.status, int(answer.get("content-length") or 0) > 0) == (status, True)
        assert peer.read_to_end() == b""


def test_an_empty_line_behind_a_request_begins_none(serving: Serve) -> None:
    """It would have got a 408, which the client takes for the answer to its next request."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"answer"]

    with serving(application, request_timeout_seconds=0.2, channel_timeout=20).connect() as peer:
        for _ in range(2):
            peer.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n\r\n")
            assert peer.read_answer().body == b"answer"
            time.sleep(0.5)
        peer.send(b"GET / HT")
        judge(peer.read_answer(), 408)

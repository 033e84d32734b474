"""What an HTTP server answers without its application, read by `http.client`."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peers import Peer

from wiretask.wsgi.adjustments import WSGIAdjustments
from wiretask.wsgi.server import WSGIServer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
SMALL = {
    "max_request_header_size": 1000,
    "max_request_line_size": 100,
    "max_request_header_count": 5,
    "max_request_body_size": 50,
}

Serve = Callable[..., WSGIServer]


def _echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def serving_wsgi() -> Iterator[Serve]:
    """A function that starts a WSGI server with these settings; it is stopped at the end of the test."""
    with contextlib.ExitStack() as stopping:

        def serve(application: Any = _echo, **settings: Any) -> WSGIServer:
            adj = WSGIAdjustments(listen="127.0.0.1:0", **settings)
            server = WSGIServer(application, adj)
            stopping.callback(server.stop, 3.0)
            server.start()
            return server

        yield serve


def _answer(peer: Peer) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(peer.socket)
    response.begin()
    return response


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (GET + b"Content-Length: 51\r\n\r\n", 413),
        (GET + b"Content-Length: 51\r\nExpect: 100-continue\r\n\r\n", 413),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n33\r\n", 413),
        (b"GET /" + b"a" * 100, 414),
        (GET + b"Expect: 200-ok\r\n\r\n", 417),
        (GET + b"X: " + b"a" * 1000, 431),
        (GET + b"X: a\r\n" * 5, 431),
        (GET + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_a_refusal_is_an_answer_and_the_end(serving_wsgi: Serve, request_bytes: bytes, status: int) -> None:
    server = serving_wsgi(**SMALL)
    with contextlib.closing(Peer.of(server)) as peer:
        peer.send(request_bytes)
        answer = _answer(peer)
        text = answer.read()
        assert (answer.status, answer.getheader("connection")) == (status, "close")
        assert text.startswith(answer.reason.encode() + b": ")
        assert answer.getheader("content-type") == "text/plain; charset=utf-8"
        assert answer.getheader("server") == "wiretask"
        date = email.utils.parsedate_to_datetime(str(answer.getheader("date")))
        assert abs(date.timestamp() - time.time()) < 60
        assert peer.read_to_end() == b""


def test_a_refusal_names_no_server_that_is_not_to_be_named(serving_wsgi: Serve) -> None:
    server = serving_wsgi(ident=None)
    with contextlib.closing(Peer.of(server)) as peer:
        peer.send(b"GET\r\n\r\n")
        assert _answer(peer).getheader("server") is None


def test_a_request_that_is_never_complete_is_answered(serving_wsgi: Serve) -> None:
    server = serving_wsgi(request_timeout_seconds=0.2)
    with contextlib.closing(Peer.of(server)) as peer:
        peer.send(GET)
        assert _answer(peer).status == 408


def test_a_client_that_waits_before_its_body_is_let_go_on(serving_wsgi: Serve) -> None:
    server = serving_wsgi()
    with contextlib.closing(Peer.of(server)) as peer:
        for _ in range(3):
            peer.send(GET + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert peer.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            peer.send(b"body")
            assert _answer(peer).read() == b"body"

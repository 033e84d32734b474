"""HTTP requests through a server's native parser to tasks, and back to a client that reads with our own consumer."""

from __future__ import annotations

from typing import Any

import pytest
from peers import Peer

import wiretask
from wiretask.consumers import HTTPRequest, HTTPResponse


class Describe(wiretask.Task):
    """Answers with what was asked."""

    def service(self) -> None:
        request = self.request
        body = f"{request.method} {request.path} {request.headers['host']} {request.body!r}".encode()
        self.channel.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Channel(wiretask.ServerChannel):
    """One connection."""

    parser_class = HTTPRequest.configured(max_body_bytes=100)
    task_class = Describe


class DefaultLimitsChannel(Channel):
    """The same, with the class itself as the parser."""

    parser_class = HTTPRequest


def read_answers(peer: Peer, count: int) -> list[HTTPResponse]:
    """Return so many answers, fewer if the stream ends before."""
    answers, rest = [HTTPResponse()], b""
    while not (answers[-1].completed and len(answers) == count):
        if answers[-1].completed:
            answers.append(HTTPResponse())
        rest = rest or peer.socket.recv(65536)
        if not rest:
            break
        rest = rest[answers[-1].received(rest) :]
    return [answer for answer in answers if answer.completed]


@pytest.mark.parametrize("channel_class", [Channel, DefaultLimitsChannel])
def test_pipelined_requests_are_parsed_and_answered_in_order(
    serving: Any, connect: Any, channel_class: type[wiretask.ServerChannel]
) -> None:
    stream = (
        b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
        b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy"
        b"\r\nPUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    peer = connect(serving(channel_class))
    peer.send(stream)
    answers = read_answers(peer, 3)
    assert [answer.body for answer in answers] == [b"GET /a h b''", b"POST /b h b'xy'", b"PUT /c h b'x'"]


def test_nothing_after_a_framing_error_is_served(serving: Any, connect: Any) -> None:
    stream = (
        b"GET /good HTTP/1.1\r\nHost: h\r\n\r\n"
        b"POST /bad HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /evil HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    peer = connect(serving(Channel))
    peer.send(stream)
    answers = read_answers(peer, 3)
    assert peer.read_to_end() == b""
    assert [answer.body for answer in answers] == [b"GET /good h b''"]

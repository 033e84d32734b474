"""`client_disconnected`: an application can learn that nobody waits for its answer any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sites import Site, until

Serve = Callable[..., Site]
NAMES = ["wiretask.client_disconnected", "waitress.client_disconnected"]


class Watching:
    """An application that asks until the client has gone, or is told to go on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go_on, self.begun = threading.Event(), threading.Event()
        self.said: list[bool] = []
        self.asks: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        is_gone = environ[self.name]
        self.asks.append(is_gone)
        self.said.append(is_gone())
        self.begun.set()
        if environ["PATH_INFO"] == "/wait":
            until(lambda: is_gone() or self.go_on.is_set(), "the client to go")
            self.said.append(is_gone())
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
        return [b"answer"]


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_waits_is_there(serving: Serve, name: str) -> None:
    watching = Watching(name)
    with serving(watching, channel_request_lookahead=1).connect() as peer:
        assert [peer.ask().body for _ in range(3)] == [b"answer"] * 3
    assert watching.said == [False] * 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("arguments", [{}, {"stream_request_body": True}], ids=["taken", "streamed"])
def test_a_client_that_has_gone_is_gone_without_any_setting(
    serving: Serve, name: str, way: str, arguments: Any
) -> None:
    watching = Watching(name)
    with serving(watching, threads=1, **arguments).connect() as peer:
        peer.send_request("GET", "/wait")
        assert watching.begun.wait(20)
        getattr(peer, way)()
        until(lambda: len(watching.said) == 2, "the application to go on")
    assert watching.said == [False, True]


@pytest.mark.parametrize("name", NAMES)
def test_a_half_closed_client_is_answered_all_the_same(serving: Serve, name: str) -> None:
    watching = Watching(name)
    with serving(watching).connect() as peer:
        peer.send_request("GET", "/wait")
        assert watching.begun.wait(20)
        peer.end_output()
        assert peer.read_answer().body == b"answer"
    assert watching.said[0] is False


@pytest.mark.parametrize("name", NAMES)
def test_requests_in_the_pipeline_are_no_disconnect(serving: Serve, name: str) -> None:
    watching = Watching(name)
    with serving(watching).connect() as peer:
        peer.send_request("GET", "/wait")
        assert watching.begun.wait(20)
        for _ in range(5):
            peer.send_request()
        watching.go_on.set()
        assert [peer.read_answer().body for _ in range(6)] == [b"answer"] * 6
    assert watching.said == [False] * 7


@pytest.mark.parametrize("name", NAMES)
def test_it_may_be_asked_long_after_the_answer_and_from_any_thread(serving: Serve, name: str) -> None:
    watching = Watching(name)
    with serving(watching).connect() as peer:
        peer.ask()
        peer.ask()
    answers: list[bool] = []
    until(lambda: all(is_gone() for is_gone in watching.asks), "the client to be gone")
    thread = threading.Thread(target=lambda: answers.extend(is_gone() for is_gone in watching.asks))
    thread.start()
    thread.join()
    assert answers == [True, True]

"""A server in the map of dispatchers: `loop()` starts it, lives as long as it does, `close_all()` closes it."""

from __future__ import annotations

import threading
from typing import Any

from background import ended, in_thread
from peers import DEADLINE_SECONDS, until
from protocols import StoppingChannel, acting

import wiretask
from wiretask.examples.echo import EchoServer


def test_loop_starts_the_servers_in_the_map_and_returns_when_they_are_stopped(connect: Any) -> None:
    server = EchoServer("127.0.0.1", 0)
    assert wiretask.socket_map == {server.socket.fileno(): server}
    looper = in_thread(lambda: wiretask.loop(timeout=None))
    until(lambda: "running" in repr(server), "the server to run")
    assert connect(server).ask(b"x") == b"x"
    server.stop()
    assert ended(looper)
    assert wiretask.socket_map == {}


def test_loop_goes_on_until_the_server_has_stopped_though_it_listens_no_more(connect: Any) -> None:
    release, begun = threading.Event(), threading.Event()

    class Server(wiretask.Server):
        channel_class = acting(hang=lambda channel: (begun.set(), release.wait(DEADLINE_SECONDS)))

    server = Server("127.0.0.1", 0)
    states: list[str] = []

    def loop() -> None:
        wiretask.loop(timeout=None)
        states.append(repr(server))

    looper = in_thread(loop)
    until(lambda: "running" in repr(server), "the server to run")
    connect(server).send(b"hang\n")
    assert begun.wait(DEADLINE_SECONDS)
    stopper = in_thread(lambda: server.stop(DEADLINE_SECONDS))
    until(lambda: server.socket.fileno() < 0, "the listening socket to be closed")
    assert list(wiretask.socket_map.values()) == [server]
    release.set()
    assert ended(looper)
    assert ended(stopper)
    assert "stopped" in states[0]


def test_a_task_that_stops_the_server_ends_the_loop(connect: Any) -> None:
    class Server(wiretask.Server):
        channel_class = StoppingChannel

    server = Server("127.0.0.1", 0)
    looper = in_thread(lambda: wiretask.loop(timeout=None))
    until(lambda: "running" in repr(server), "the server to run")
    assert connect(server).ask(b"x") == b"False"
    assert ended(looper)


def test_close_all_closes_servers_started_or_not(connect: Any) -> None:
    started, fresh = EchoServer("127.0.0.1", 0), EchoServer("127.0.0.1", 0)
    started.start()
    peer = connect(started)
    assert peer.ask(b"x") == b"x"
    wiretask.close_all()
    assert wiretask.socket_map == {}
    assert peer.is_closed_by_server()
    assert [server.effective_listen for server in (started, fresh)] == [(), ()]

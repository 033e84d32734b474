"""More connections than `connection_limit`: those that are idle make room, nobody else does, nobody is forgotten."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, Peer, until
from protocols import Echo, PythonEcho, acting

import wiretask


def settings(limit: int, **changes: Any) -> wiretask.Adjustments:
    return wiretask.Adjustments(connection_limit=limit, **{"evict_idle_seconds": 0.001, **changes})


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_ten_idle_connections_do_not_keep_the_eleventh_out(serving, connect, base):
    """faults R11: the one that has been idle the longest is closed, told as usual, and only that one."""
    closed: list[Any] = []

    class Channel(base):
        def handle_close(self) -> None:
            closed.append(self.addr)

    server = serving(Channel, adj=settings(10))
    peers = [connect(server) for _ in range(10)]
    # Not in the order in which they came; each rests a little after the one before.
    order = [3, 0, 7, 1, 9, 2, 8, 4, 6, 5]
    for number in order:
        assert peers[number].ask(b"x") == b"x"
        threading.Event().wait(0.025)
    for evictions, number in enumerate(order[:4], start=1):
        eleventh = connect(server)
        assert eleventh.ask(b"served") == b"served"
        assert peers[number].is_closed_by_server()
        until(lambda: len(closed) == evictions)  # noqa: B023 (called here)
        assert closed[-1] == peers[number].socket.getsockname()
        assert server.stats()["evicted"] == evictions
        threading.Event().wait(0.025)
    for number in order[4:]:
        assert peers[number].ask(b"still here") == b"still here"


def test_the_operator_is_told_once(serving, connect, caplog):
    server = serving(Echo, adj=settings(2))
    for _ in range(20):
        assert connect(server).ask(b"x") == b"x"
    until(lambda: "connection_limit" in caplog.text)
    assert server.stats()["evicted"] == 18
    assert caplog.text.count("connection_limit") == 1


@pytest.mark.parametrize("io_threads", [1, 2])
def test_who_is_busy_is_never_closed(serving, connect, io_threads):
    """A task that runs, a request in the middle, output that waits, reading that the application has paused."""
    go = threading.Event()
    narrow = ((socket.SOL_SOCKET, socket.SO_SNDBUF, 8192),)

    class Channel(Echo):
        def handle_connect(self) -> None:
            self.write(b"welcome\n")

    channel_class = acting(
        Channel,
        wait=lambda channel: (go.wait(DEADLINE_SECONDS), channel.write(b"waited\n")),
        much=lambda channel: channel.write(b"x" * 3_000_000),
        pause=lambda channel: (channel.conn.pause_reading(), channel.write(b"paused\n")),
        ping=lambda channel: channel.write(b"pong\n"),
    )
    server = serving(channel_class, adj=settings(4, socket_options=narrow, io_threads=io_threads))
    running, half, slow, paused = (connect(server, receive_buffer_bytes=8192) for _ in range(4))
    running.send(b"wait\n")
    half.send(b"pi")
    slow.send(b"much\n")
    paused.send(b"pause\n")
    for peer in (running, half, slow, paused):
        assert peer.read_line() == b"welcome\n"
    assert paused.read_line() == b"paused\n"
    waiting = connect(server)
    waiting.send(b"ping\n")
    threading.Event().wait(0.2)
    assert server.stats()["evicted"] == 0
    assert server.stats()["connections"] == 4
    half.send(b"ng\n")
    assert half.read_line() == b"pong\n"
    # Now this one is idle, and makes room.
    assert waiting.read(13) == b"welcome\npong\n"
    assert half.is_closed_by_server()
    go.set()
    assert running.read_line() == b"waited\n"
    assert slow.read(3_000_000) == b"x" * 3_000_000
    assert not server.stats()["evicted"] > 1


def test_without_eviction_the_others_wait(serving, connect):
    server = serving(Echo, adj=settings(1, evict_idle_seconds=None))
    first, second = connect(server), connect(server)
    assert first.ask(b"x") == b"x"
    second.send(b"y\n")
    threading.Event().wait(0.1)
    assert first.ask(b"x") == b"x"
    first.close()
    assert second.read_line() == b"y\n"
    assert server.stats()["evicted"] == 0


def test_who_has_rested_for_a_short_time_only_is_waited_for(serving, connect):
    server = serving(Echo, adj=settings(1, evict_idle_seconds=0.3))
    first, second = connect(server), connect(server)
    second.send(b"y\n")
    until(lambda: server.stats()["connections"] == 1)
    assert first.ask(b"x") == b"x"
    assert server.stats()["evicted"] == 0
    assert second.read_line() == b"y\n"
    assert first.is_closed_by_server()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Descriptors for both ends of two thousand connections and more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 6000:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 6000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("io_threads", [1, 2])
def test_a_storm_on_two_thousand_idlers_is_served(serving, io_threads):
    server = serving(Echo, adj=settings(2000, io_threads=io_threads, backlog=4096))
    idlers = [Peer.of(server) for _ in range(2000)]
    failures: list[BaseException] = []
    try:
        until(lambda: server.stats()["connections"] == 2000)

        def client() -> None:
            try:
                for _ in range(100):
                    peer = Peer.of(server)
                    assert peer.ask(b"x") == b"x"
                    peer.close()
            except BaseException as error:
                failures.append(error)

        clients = [threading.Thread(target=client) for _ in range(8)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(60)
        assert failures == []
        stats = server.stats()
        assert stats["accepted"] == 2800
        assert 1 <= stats["evicted"] <= 800
    finally:
        for peer in idlers:
            peer.close()


def test_a_server_that_accepts_itself_is_told_when_there_is_room(serving, connect):
    class Server(wiretask.Server):
        channel_class = Echo

        def handle_accept(self) -> None:
            accepted = self.accept()
            if accepted is not None:
                connection, address = accepted
                self.channel_class(self, connection, address)

    server = serving(Server, adj=settings(2))
    for _ in range(6):
        assert connect(server).ask(b"x") == b"x"
    assert server.stats()["evicted"] == 4

"""Limits of connections and of time, and more than one loop."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, Peer, until
from protocols import Echo, PythonEcho, acting

import wiretask
from wiretask.adjustments import Adjustments
from wiretask.consumers import Line
from wiretask.examples.echo import EchoServer

no_limits: dict[str, Any] = {
    "channel_timeout": None,
    "request_timeout_seconds": None,
    "write_timeout_seconds": None,
}


each_parser = pytest.mark.parametrize("channel_class", [Echo, PythonEcho])


def is_silent(peer: Peer) -> bool:
    """Whether nothing comes for a moment."""
    peer.socket.settimeout(0.2)
    try:
        peer.socket.recv(1)
    except TimeoutError:
        return True
    finally:
        peer.socket.settimeout(DEADLINE_SECONDS)
    return False


@pytest.mark.parametrize("io_threads", [1, 3])
def test_connections_above_the_limit_wait_and_are_served_when_others_close(
    serving: Any, connect: Any, io_threads: int
) -> None:
    server = serving(EchoServer, adj=Adjustments(connection_limit=3, io_threads=io_threads, evict_idle_seconds=None))
    served = [connect(server) for _ in range(3)]
    for peer in served:
        assert peer.ask(b"x") == b"x"
    waiting = [connect(server) for _ in range(6)]
    for peer in waiting:
        peer.send(b"y\n")
    assert is_silent(waiting[0])
    assert server.stats()["connections"] == 3
    for leaving, coming in zip([*served, *waiting], waiting, strict=False):
        leaving.close()
        assert coming.read_line() == b"y\n"
    assert server.stats()["connections"] <= 3


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_limit_of_one_never_leaves_the_server_deaf(serving: Any, connect: Any, way: str) -> None:
    server = serving(EchoServer, adj=Adjustments(connection_limit=1))
    for number in range(200):
        peer = connect(server)
        assert peer.ask(b"%d" % number) == b"%d" % number
        getattr(peer, way)()


def test_a_limit_is_kept_and_nobody_forgotten_with_several_listeners_and_many_clients(serving: Any) -> None:
    server = serving(EchoServer, adj=Adjustments(connection_limit=4, listen="127.0.0.1:0", io_threads=2))
    addresses = [address.rpartition(":") for address in server.effective_listen]
    highest: list[int] = []
    failures: list[BaseException] = []

    def client(number: int) -> None:
        host, _, port = addresses[number % 2]
        try:
            for _ in range(25):
                peer = Peer((host, int(port)))
                assert peer.ask(b"x") == b"x"
                highest.append(server.stats()["connections"])
                peer.close()
        except BaseException as error:
            failures.append(error)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(60)
    assert failures == []
    assert max(highest) <= 4
    assert server.stats()["accepted"] == 300


@pytest.mark.parametrize("io_threads", [1, 2, 3])
def test_many_connections_are_served_by_any_number_of_loops(serving: Any, connect: Any, io_threads: int) -> None:
    server = serving(EchoServer, adj=Adjustments(io_threads=io_threads))
    peers = [connect(server) for _ in range(150)]
    for _ in range(3):
        for number, peer in enumerate(peers):
            peer.send(b"%d\n" % number * 4)
        for number, peer in enumerate(peers):
            expected = b"%d\n" % number * 4
            assert peer.read(len(expected)) == expected
    assert server.stats()["connections"] == 150
    assert server.stop() is True


@each_parser
def test_an_idle_connection_is_closed(serving: Any, connect: Any, channel_class: type) -> None:
    server = serving(channel_class, adj=Adjustments(**no_limits).replace(channel_timeout=0.2))
    silent, once = connect(server), connect(server)
    assert once.ask(b"x") == b"x"
    assert silent.is_closed_by_server()
    assert once.is_closed_by_server()
    until(lambda: server.stats()["timeouts"] == 2, "both to be counted")


@each_parser
def test_a_connection_at_work_is_not_idle(serving: Any, connect: Any, channel_class: type) -> None:
    release = threading.Event()

    class Task(wiretask.Task):
        def service(self) -> None:
            release.wait(DEADLINE_SECONDS)
            self.channel.write(self.request.value + b"\n")

    class Channel(channel_class):  # type: ignore[misc]
        task_class = Task

    server = serving(Channel, adj=Adjustments(**no_limits).replace(channel_timeout=0.5))
    silent, busy = connect(server), connect(server)
    busy.send(b"x\n")
    # By the time the one that was silent for so long is closed, the other has been at work for as long.
    assert silent.is_closed_by_server()
    release.set()
    assert busy.read_line() == b"x\n"


@each_parser
def test_a_request_that_is_begun_and_not_finished_is_closed(serving: Any, connect: Any, channel_class: type) -> None:
    server = serving(channel_class, adj=Adjustments(**no_limits).replace(request_timeout_seconds=0.2))
    silent, half = connect(server), connect(server)
    half.send(b"half a li")
    assert half.is_closed_by_server()
    assert silent.ask(b"x") == b"x"


@each_parser
def test_a_request_that_drips_in_is_closed_however_often_it_drips(
    serving: Any, connect: Any, channel_class: type
) -> None:
    server = serving(channel_class, adj=Adjustments(**no_limits).replace(request_timeout_seconds=0.3))
    peer = connect(server)
    dripped = threading.Event()

    def drip() -> None:
        try:
            while not dripped.wait(0.01):
                peer.send(b"x")
        except OSError:
            pass

    dripper = threading.Thread(target=drip)
    dripper.start()
    try:
        assert peer.is_closed_by_server()
    finally:
        dripped.set()
        dripper.join(DEADLINE_SECONDS)


def test_an_answer_that_is_not_taken_is_given_up_and_the_writer_told(serving: Any, connect: Any) -> None:
    outcomes: list[Any] = []

    class Task(wiretask.Task):
        def service(self) -> None:
            try:
                while True:
                    self.channel.write(b"x" * 100_000)
            except ConnectionError as error:
                outcomes.append(error)

    class Channel(wiretask.ServerChannel):
        parser_class = Line
        task_class = Task

    adj = Adjustments(**no_limits).replace(
        write_timeout_seconds=0.2, outbuf_high_watermark=200_000, outbuf_spool_limit=0
    )
    server = serving(Channel, adj=adj)
    peer = connect(server, receive_buffer_bytes=4096)
    peer.send(b"x\n")
    until(lambda: outcomes, "the writer to be told")
    assert isinstance(outcomes[0], wiretask.errors.ClientDisconnectedError)
    until(lambda: server.stats()["timeouts"] == 1, "it to be counted")


def test_a_slow_reader_is_not_given_up_while_it_reads(serving: Any, connect: Any) -> None:
    size = 3_000_000
    served = acting(large=lambda channel: channel.write(b"x" * size))
    server = serving(served, adj=Adjustments(**no_limits).replace(write_timeout_seconds=1.0))
    peer, silent = connect(server, receive_buffer_bytes=8192), connect(server, receive_buffer_bytes=4096)
    peer.send(b"large\n")
    silent.send(b"large\n")
    received = 0
    # As long as the one that reads nothing takes to be given up, and beyond.
    while server.stats()["timeouts"] == 0:
        received += len(peer.read(1000))
        threading.Event().wait(0.005)
    assert received + len(peer.read(size - received)) == size


def test_a_steady_reader_is_not_given_up_though_the_socket_has_no_room_for_long(serving: Any, connect: Any) -> None:
    # The system reports room only when a third of what it holds, which may be megabytes, has been read.
    size = 16_000_000
    served = acting(large=lambda channel: channel.write(b"x" * size))
    server = serving(served, adj=Adjustments(**no_limits).replace(write_timeout_seconds=1.0))
    peer = connect(server, receive_buffer_bytes=65536)
    peer.send(b"large\n")
    received = 0
    for _ in range(120):
        received += len(peer.read(10_000))
        threading.Event().wait(0.03)
    assert received + len(peer.read(size - received)) == size
    assert server.stats()["timeouts"] == 0


def test_without_limits_nothing_is_closed(serving: Any, connect: Any) -> None:
    server = serving(EchoServer, adj=Adjustments(**no_limits))
    peer = connect(server)
    peer.send(b"half")
    assert is_silent(peer)
    assert peer.ask(b" and half") == b"half and half"


def test_the_shortest_limits_close_at_once_and_the_server_lives(serving: Any, connect: Any) -> None:
    adj = Adjustments(channel_timeout=0.001, request_timeout_seconds=0.001, write_timeout_seconds=0.001)
    server = serving(EchoServer, adj=adj)
    for _ in range(20):
        assert connect(server).is_closed_by_server()
    assert server.stop() is True

"""What a stop owes to clients and tasks."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until

import wiretask
from wiretask.adjustments import Adjustments
from wiretask.consumers import Line
from wiretask.examples.echo import EchoChannel, EchoServer


class Gate:
    """A task class that waits in `service`, and notes what becomes of its tasks."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        self.outcomes: list[tuple[str, bytes]] = []
        gate = self

        class Task(wiretask.Task):
            def service(self) -> None:
                gate.begun.release()
                gate.release.wait(DEADLINE_SECONDS)
                gate.outcomes.append(("served", self.request.value))
                self.channel.write(self.request.value + b"\n")

            def cancel(self) -> None:
                gate.outcomes.append(("cancelled", self.request.value))
                super().cancel()

        class Channel(wiretask.ServerChannel):
            parser_class = Line
            task_class = Task

            def handle_request(self, request: Any) -> None:
                self.queue_task(self.task_class(self, request))

        self.channel_class = Channel


def stopping(server: wiretask.Server, timeout: float | None = None) -> tuple[threading.Thread, list[bool]]:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(server.stop(timeout)), daemon=True)
    thread.start()
    until(lambda: "stopp" in repr(server), "the stop to begin")
    return thread, answers


def is_refused(server: wiretask.Server) -> bool:
    try:
        socket.create_connection(server.addr, timeout=DEADLINE_SECONDS).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("io_threads", [1, 3])
def test_what_has_been_read_is_answered(serving: Any, connect: Any, io_threads: int) -> None:
    gate = Gate()
    server = serving(gate.channel_class, adj=Adjustments(threads=2, io_threads=io_threads))
    peers = [connect(server) for _ in range(6)]
    for peer in peers:
        peer.send(b"a\nb\nc\n")
    assert gate.begun.acquire(timeout=DEADLINE_SECONDS)
    until(lambda: server.stats()["bytes_received"] == 36, "everything to be read")
    thread, answers = stopping(server, DEADLINE_SECONDS)
    gate.release.set()
    assert [peer.read_to_end() for peer in peers] == [b"a\nb\nc\n"] * 6
    thread.join(DEADLINE_SECONDS)
    assert answers == [True]
    assert sorted(gate.outcomes) == sorted([("served", line) for line in (b"a", b"b", b"c")] * 6)


def test_an_idle_connection_is_closed_at_once(serving: Any, connect: Any) -> None:
    server = serving(EchoServer, adj=Adjustments(shutdown_timeout_seconds=3600))
    peer = connect(server)
    assert peer.ask(b"x") == b"x"
    peer.send(b"half a li")
    until(lambda: server.stats()["bytes_received"] == 11, "everything to be read")
    assert server.stop() is True
    assert peer.is_closed_by_server()


class LargeAnswer(wiretask.Task):
    SIZE = 8_000_000

    def service(self) -> None:
        self.channel.write(b"x" * self.SIZE)


class LargeChannel(wiretask.ServerChannel):
    parser_class = Line
    task_class = LargeAnswer


def test_a_large_answer_to_a_slow_reader_is_not_cut_short(serving: Any, connect: Any) -> None:
    server = serving(LargeChannel)
    peer = connect(server, receive_buffer_bytes=4096)
    peer.send(b"x\n")
    assert peer.read(1) == b"x"
    thread, answers = stopping(server, DEADLINE_SECONDS)
    received = 1
    while piece := peer.socket.recv(65536):
        received += len(piece)
    assert received == LargeAnswer.SIZE
    thread.join(DEADLINE_SECONDS)
    assert answers == [True]


def test_a_large_answer_is_not_cut_short_by_what_the_client_sends_meanwhile(serving: Any, connect: Any) -> None:
    server = serving(LargeChannel)
    peer = connect(server, receive_buffer_bytes=4096)
    peer.send(b"x\n")
    assert peer.read(1) == b"x"
    thread, _ = stopping(server, DEADLINE_SECONDS)
    until(lambda: is_refused(server), "connections to be refused")
    peer.send(b"one more, which nobody reads\n")
    received = 1
    while piece := peer.socket.recv(65536):
        received += len(piece)
    assert received == LargeAnswer.SIZE
    thread.join(DEADLINE_SECONDS)


def test_a_reader_that_takes_nothing_is_given_up_when_the_time_is_over(serving: Any, connect: Any) -> None:
    server = serving(LargeChannel)
    peer = connect(server, receive_buffer_bytes=4096)
    peer.send(b"x\n")
    assert peer.read(1) == b"x"
    assert server.stop(0.1) is False


def test_queued_tasks_are_cancelled_when_the_time_is_over(serving: Any, connect: Any) -> None:
    gate = Gate()
    server = serving(gate.channel_class, adj=Adjustments(threads=1))
    peers = [connect(server) for _ in range(5)]
    peers[0].send(b"runs\n")
    assert gate.begun.acquire(timeout=DEADLINE_SECONDS)
    for peer in peers[1:]:
        peer.send(b"waits\n")
    until(lambda: server.stats()["tasks"]["pending"] == 4, "the others to be queued")
    assert server.stop(0.1) is False
    assert all(peer.is_closed_by_server() for peer in peers)
    gate.release.set()
    until(lambda: gate.begun.acquire(blocking=False) is False, "nothing else to begin")


def test_tasks_queued_by_the_program_are_served_or_cancelled_each_once(serving: Any, connect: Any) -> None:
    gate = Gate()
    channels: list[wiretask.ServerChannel] = []

    class Channel(gate.channel_class):  # type: ignore[name-defined,misc]
        def handle_connect(self) -> None:
            channels.append(self)

    class Request:
        def __init__(self, value: bytes) -> None:
            self.value = value

    server = serving(Channel, adj=Adjustments(threads=1))
    connect(server), connect(server)
    until(lambda: len(channels) == 2, "two connections")
    for channel in channels:
        for number in range(3):
            channel.queue_task(channel.task_class(channel, Request(b"%d" % number)))
    assert gate.begun.acquire(timeout=DEADLINE_SECONDS)
    assert server.stop(0.1) is False
    gate.release.set()
    until(lambda: len(gate.outcomes) == 6, "every task to have its outcome")
    assert sorted(value for _, value in gate.outcomes) == [b"0", b"0", b"1", b"1", b"2", b"2"]


@pytest.mark.parametrize("timeout", [DEADLINE_SECONDS, 0])
def test_handle_close_is_called_once_for_each_connection_whatever_the_stop(
    serving: Any, connect: Any, timeout: float
) -> None:
    closed: list[Any] = []

    class Channel(EchoChannel):
        def handle_close(self) -> None:
            closed.append(self.addr)

    server = serving(Channel)
    peers = [connect(server) for _ in range(20)]
    for peer in peers:
        assert peer.ask(b"x") == b"x"
    server.stop(timeout)
    until(lambda: len(closed) >= 20, "every channel to be told")
    assert sorted(closed) == sorted(peer.socket.getsockname() for peer in peers)


def test_a_stop_with_less_time_hurries_the_one_that_is_under_way(serving: Any, connect: Any) -> None:
    gate = Gate()
    server = serving(gate.channel_class)
    peer = connect(server)
    peer.send(b"x\n")
    assert gate.begun.acquire(timeout=DEADLINE_SECONDS)
    thread, answers = stopping(server, 3600)
    assert server.stop(0) is False
    thread.join(DEADLINE_SECONDS)
    assert answers == [False]
    assert peer.is_closed_by_server()
    gate.release.set()


def test_a_dispatcher_of_the_programs_own_is_left_running(serving: Any, connect: Any) -> None:
    with wiretask.ThreadedTaskDispatcher(2, name="shared") as dispatcher:
        first = serving(EchoServer, task_dispatcher=dispatcher)
        second = serving(EchoServer, task_dispatcher=dispatcher)
        assert connect(first).ask(b"x") == b"x"
        assert first.stop() is True
        assert connect(second).ask(b"x") == b"x"
        assert second.stop() is True
        served = threading.Event()

        class Task(wiretask.Task):
            def service(self) -> None:
                served.set()

        dispatcher.addTask(Task(None, None))
        assert served.wait(DEADLINE_SECONDS)


def test_connections_are_refused_as_soon_as_the_stop_has_begun(serving: Any, connect: Any) -> None:
    gate = Gate()
    server = serving(gate.channel_class, adj=Adjustments(shutdown_timeout_seconds=3600))
    peer = connect(server)
    peer.send(b"x\n")
    assert gate.begun.acquire(timeout=DEADLINE_SECONDS)
    thread, _ = stopping(server)
    until(lambda: is_refused(server), "connections to be refused")
    assert "stopping" in repr(server)
    gate.release.set()
    assert peer.read_to_end() == b"x\n"
    thread.join(DEADLINE_SECONDS)

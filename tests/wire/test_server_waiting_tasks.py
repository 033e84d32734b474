"""What waits in a channel behind a task that never ends: cancelled, once, when the server gives up on it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from peers import until
from processes import Program

import wiretask
from wiretask import waiting_tasks
from wiretask.consumers import Line

SCRIPT = """
import os, socket, sys, threading
import wiretask
from wiretask.consumers import Line

begun = threading.Event()

class Numbered(wiretask.Task):
    number = 0
    def service(self):
        begun.set()
        threading.Event().wait()
    def cancel(self):
        os.write(1, b"cancel %d\\n" % self.number)

class Channel(wiretask.ServerChannel):
    parser_class = Line
    def handle_request(self, request):
        for number in range(3):
            task = Numbered(self, request)
            task.number = number
            self.queue_task(task)

class Server(wiretask.Server):
    channel_class = Channel

server = Server("127.0.0.1", 0)
server.start()
peer = socket.create_connection(server.addr)
peer.sendall(b"x\\n")
begun.wait()
"""


def test_stop_cancels_what_waits_behind_a_task_that_does_not_end(serving: Any, connect: Any) -> None:
    end = threading.Event()
    begun = threading.Event()
    outcomes: list[tuple[str, int]] = []

    class Numbered(wiretask.Task):
        number = 0

        def service(self) -> None:
            outcomes.append(("service", self.number))
            begun.set()
            end.wait(60)

        def cancel(self) -> None:
            outcomes.append(("cancel", self.number))

    class Channel(wiretask.ServerChannel):
        parser_class = Line

        def handle_request(self, request: Any) -> None:
            for number in range(3):
                task = Numbered(self, request)
                task.number = number
                self.queue_task(task)

    server = serving(Channel)
    peer = connect(server)
    peer.send(b"x\n")
    assert begun.wait(60)
    try:
        assert server.stop(0.1) is False
        assert outcomes == [("service", 0), ("cancel", 1), ("cancel", 2)]
    finally:
        end.set()
    server.task_dispatcher.shutdown(timeout=60)
    assert outcomes == [("service", 0), ("cancel", 1), ("cancel", 2)]


def test_the_end_of_the_process_cancels_what_waits_behind_a_task_that_does_not_end() -> None:
    with Program(SCRIPT) as program:
        assert [program.read_line(), program.read_line()] == ["cancel 1", "cancel 2"]
        assert program.finish() == (0, "")


def test_no_channel_is_remembered_for_tasks_that_have_had_their_outcome(serving: Any, connect: Any) -> None:
    class Quick(wiretask.Task):
        def service(self) -> None:
            self.channel.write(b"done\n")

    class Channel(wiretask.ServerChannel):
        parser_class = Line

        def handle_request(self, request: Any) -> None:
            self.queue_task(Quick(self, request))

    server = serving(Channel)
    for _ in range(5):
        assert connect(server).ask(b"x") == b"done"
    server.stop()
    assert remembered(Channel) == []


def test_no_channel_is_remembered_for_a_task_that_came_too_late(serving: Any, connect: Any) -> None:
    channels: list[Any] = []

    class Channel(wiretask.ServerChannel):
        parser_class = Line

        def handle_request(self, request: Any) -> None:
            channels.append(self)
            self.close_when_done()

    peer = connect(serving(Channel))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()
    until(lambda: channels[0].closed)
    with pytest.raises(wiretask.errors.ClientDisconnectedError):
        channels[0].queue_task(wiretask.Task(channels[0], None))
    assert remembered(Channel) == []


def remembered(kind: type) -> list[Any]:
    return [channel for channel in waiting_tasks._channels.values() if isinstance(channel, kind)]

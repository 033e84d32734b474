"""What is freed: channels, tasks and requests after the connection, sockets and threads after the server."""

from __future__ import annotations

import gc
import os
import threading
import warnings
import weakref
from typing import Any

import pytest
from peers import Peer, until
from protocols import Echo, EchoTask, PythonEcho, Tasks, acting

import wiretask


def is_collected(reference: weakref.ref) -> bool:
    gc.collect()
    return reference() is None


def descriptors() -> set[str]:
    # The listing has a descriptor of its own, which is closed by the time it is looked at.
    return {name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_cycle_of_channel_task_and_connection_is_collected_after_the_close(serving, connect, base):
    references: list[Any] = []

    class Cyclic(EchoTask):
        def service(self):
            self.channel.last_task = self
            self.channel.own_conn = self.channel.conn
            references.extend([weakref.ref(self), weakref.ref(self.channel), weakref.ref(self.channel.own_conn)])
            super().service()

    peer = connect(serving(type("Knotted", (base,), {"task_class": Cyclic})))
    peer.ask(b"x")
    assert references[1]() is not None
    peer.close()
    for reference in references:
        until(lambda reference=reference: is_collected(reference), "collection")


def test_served_task_is_not_kept_by_an_idle_worker(serving, connect):
    references: list[Any] = []

    class Noted(EchoTask):
        def service(self):
            references.append(weakref.ref(self))
            super().service()

    connect(serving(type("Noting", (Echo,), {"task_class": Noted}))).ask(b"x")
    until(lambda: references[0]() is None, "the task's end")


def test_cancelled_tasks_are_not_kept(serving, connect):
    kept: list[Any] = []
    tasks = Tasks()
    server = serving(acting(keep=lambda channel: (kept.append(channel), channel.write(b"kept\n"))))
    peer = connect(server)
    peer.ask(b"keep")
    peer.close()
    until(lambda: kept[0].closed)
    task = tasks.task("late")
    reference = weakref.ref(task)
    with pytest.raises(wiretask.errors.ClientDisconnectedError):
        kept[0].queue_task(task)
    del task
    until(lambda: is_collected(reference))


def alive(channel_class: type) -> int:
    gc.collect()
    return sum(type(thing) is channel_class for thing in gc.get_objects())


@pytest.mark.parametrize("hooks", [{}, {"handle_connect": lambda self: None, "handle_close": lambda self: None}])
@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_no_channel_lives_on_after_its_connection(serving, connect, base, hooks):
    passing = type("Passing", (base,), hooks)
    server = serving(passing)
    for number in range(100):
        peer = connect(server)
        peer.send(b"x\n" * (number % 3))
        peer.close() if number % 2 else peer.reset()
    until(lambda: server.stats()["accepted"] == 100 and not server.stats()["connections"])
    until(lambda: alive(passing) == 0)


def test_no_channel_lives_on_after_its_server(serving, connect):
    passing = type("Passing", (Echo,), {})
    server = serving(passing)
    peers = [connect(server) for _ in range(20)]
    for peer in peers:
        peer.ask(b"x")
    assert alive(passing) == 20
    server.stop()
    until(lambda: alive(passing) == 0)


def test_descriptors_are_as_before_after_the_server(connect):
    with type("Warm", (wiretask.Server,), {"channel_class": Echo})("127.0.0.1", 0):
        pass
    before = descriptors()
    with type("Tidy", (wiretask.Server,), {"channel_class": Echo})(
        "127.0.0.1", 0, adj=wiretask.Adjustments(io_threads=2)
    ) as server:
        peers = [Peer.of(server) for _ in range(20)]
        for peer in peers:
            peer.ask(b"x")
        for peer in peers[::2]:
            peer.close()
    for peer in peers:
        peer.close()
    until(lambda: descriptors() == before)


def test_threads_are_as_before_after_the_server():
    with type("Warm", (wiretask.Server,), {"channel_class": Echo})("127.0.0.1", 0):
        pass
    before = set(threading.enumerate())
    with type("Tidy", (wiretask.Server,), {"channel_class": Echo})("127.0.0.1", 0):
        assert len(threading.enumerate()) > len(before)
    until(lambda: set(threading.enumerate()) <= before)


def test_stopped_server_is_collected(connect):
    server = type("Passing", (wiretask.Server,), {"channel_class": Echo})("127.0.0.1", 0)
    with server:
        connect(server).ask(b"x")
    reference = weakref.ref(server)
    del server
    until(lambda: is_collected(reference))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_dropped_server_closes_its_sockets_where_warnings_are_errors(monkeypatch):
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda failure: unraisable.append(failure.exc_type))
    before = descriptors()
    server = type("Forgotten", (wiretask.Server,), {"channel_class": Echo})("127.0.0.1", 0)
    server.start()
    server.del_channel()
    reference = weakref.ref(server)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del server
        until(lambda: is_collected(reference))
    assert unraisable == [ResourceWarning]
    until(lambda: descriptors() == before)

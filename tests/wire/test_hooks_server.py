"""Hooks of a server: `handle_accept`, `addTask`, `readable`, `writable`, and dispatchers that are not ours."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from protocols import Echo, PythonEcho, Tasks, acting
from zope.interface import implementer

import wiretask
from wiretask.interfaces import ITaskDispatcher


def serving_by(**attributes: Any) -> Any:
    return type("Own", (wiretask.Server,), {"channel_class": Echo} | attributes)


# ---- readable and writable ------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["readable", "writable"])
def test_interest_overridden_on_a_channel_is_refused_at_start(serving, hook):
    channel_class = type("Asked", (Echo,), {hook: lambda self: True})
    with pytest.raises(TypeError, match=rf"Asked\.{hook} .*pause_reading.*resume_reading"):
        serving(channel_class)


@pytest.mark.parametrize("hook", ["readable", "writable"])
def test_interest_overridden_on_a_server_is_refused_at_start(serving, hook):
    with pytest.raises(TypeError, match=rf"Own\.{hook} .*connection_limit"):
        serving(serving_by(**{hook: lambda self: True}))


@pytest.mark.parametrize("channel_class", [object, None, int])
def test_channel_class_of_another_kind_is_refused_at_start(serving, channel_class):
    with pytest.raises(TypeError, match="channel_class is a subclass of ServerChannel"):
        serving(serving_by(channel_class=channel_class))


def test_missing_parser_class_is_refused_at_start(serving):
    with pytest.raises(TypeError, match="parser_class is not set"):
        serving(type("Bare", (wiretask.ServerChannel,), {}))


def test_parser_class_that_cannot_be_called_is_refused_at_start(serving):
    with pytest.raises(TypeError, match="parser_class is not callable"):
        serving(type("Odd", (Echo,), {"parser_class": 7}))


def test_task_class_that_cannot_be_called_is_refused_at_start(serving):
    with pytest.raises(TypeError, match="task_class is not callable"):
        serving(type("Odd", (Echo,), {"task_class": None}))


def test_hook_patched_into_an_instance_is_not_seen(serving, connect):
    server = wiretask.Server("127.0.0.1", 0)
    server.channel_class = Echo
    try:
        with pytest.raises(TypeError):
            server.start()
    finally:
        server.stop()


# ---- handle_accept --------------------------------------------------------------------------------------


def test_handle_accept_gets_connection_and_address_on_the_housekeeper(serving, connect):
    accepted: list[Any] = []

    class Accepting(wiretask.Server):
        channel_class = Echo

        def handle_accept(self):
            conn, addr = self.accept()
            accepted.append((type(conn), conn.getpeername(), addr, threading.current_thread().name))
            self.channel_class(self, conn, addr, self.adj)

    peer = connect(serving(Accepting))
    assert peer.ask(b"x") == b"x"
    address = peer.socket.getsockname()
    assert accepted == [(wiretask.Connection, address, address, "wiretask-housekeeper")]


def test_handle_accept_may_call_its_base(serving, connect):
    server = serving(serving_by(handle_accept=lambda self: wiretask.Server.handle_accept(self)))
    assert [connect(server).ask(b"x") for _ in range(5)] == [b"x"] * 5


def test_handle_accept_serves_many_connections_at_once(serving, connect):
    server = serving(serving_by(handle_accept=lambda self: wiretask.Server.handle_accept(self)))
    peers = [connect(server) for _ in range(50)]
    for peer in peers:
        peer.send(b"x\n")
    assert [peer.read_line() for peer in peers] == [b"x\n"] * 50


@pytest.mark.parametrize("channel_class", [Echo, PythonEcho])
def test_handle_connect_comes_with_an_accepted_connection_too(serving, connect, channel_class):
    greeting = type("Greeting", (channel_class,), {"handle_connect": lambda self: self.write(b"hello\n")})
    server = serving(
        serving_by(channel_class=greeting, handle_accept=lambda self: wiretask.Server.handle_accept(self))
    )
    peer = connect(server)
    assert peer.read_line() == b"hello\n"
    assert peer.ask(b"x") == b"x"


@pytest.mark.parametrize("greets", [False, True])
def test_handle_accept_may_refuse_with_a_message(serving, connect, greets):
    refused: list[Any] = []
    made: list[Any] = []

    class Refusing(wiretask.Server):
        def handle_accept(self):
            conn, _ = self.accept()
            conn.send(b"full\n")
            conn.close()
            refused.append(conn)

    Refusing.channel_class = type(
        "Noted", (Echo,), {"handle_connect": lambda self: made.append(self)} if greets else {}
    )
    server = serving(Refusing)
    assert connect(server).read_to_end() == b"full\n"
    until(lambda: refused[0].closed)
    assert made == []


def test_connection_that_is_accepted_and_dropped_is_closed(serving, connect):
    def drop(server: wiretask.Server) -> None:
        server.accept()

    assert connect(serving(serving_by(handle_accept=drop))).is_closed_by_server()


def test_aborted_refusal_closes_the_connection(serving, connect):
    kept: list[Any] = []

    def refuse(server: wiretask.Server) -> None:
        conn, _ = server.accept()
        conn.abort()
        kept.append(conn)

    assert connect(serving(serving_by(handle_accept=refuse))).is_closed_by_server()


def test_handle_accept_that_raises_is_logged_and_the_next_connection_served(serving, connect, caplog):
    class Moody(wiretask.Server):
        channel_class = Echo
        moods = 0

        def handle_accept(self):
            self.moods += 1
            if self.moods == 1:
                self.accept()
                raise LookupError("not today")
            super().handle_accept()

    server = serving(Moody)
    assert connect(server).is_closed_by_server()
    until(lambda: "not today" in caplog.text)
    assert connect(server).ask(b"x") == b"x"


def test_handle_accept_that_accepts_nothing_does_not_spin(serving, connect):
    asked: list[float] = []

    def ignore(server: wiretask.Server) -> None:
        asked.append(time.monotonic())

    server = serving(serving_by(handle_accept=ignore))
    connect(server)
    until(lambda: len(asked) >= 3)
    assert asked[-1] - asked[0] >= 0.2


def test_accept_of_a_running_server_gives_none_if_nobody_waits(serving):
    assert serving(serving_by(handle_accept=lambda self: None)).accept() is None


def test_connection_limit_holds_for_accepted_connections(serving, connect):
    server = serving(
        serving_by(handle_accept=lambda self: wiretask.Server.handle_accept(self)),
        adj=wiretask.Adjustments(connection_limit=2),
    )
    first, second = connect(server), connect(server)
    assert first.ask(b"1") == b"1"
    assert second.ask(b"2") == b"2"
    third = connect(server)
    third.send(b"3\n")
    first.close()
    assert third.read_line() == b"3\n"


# ---- addTask, and other dispatchers ---------------------------------------------------------------------


@implementer(ITaskDispatcher)
class FuturesDispatcher:
    """An ITaskDispatcher on the standard library's thread pool."""

    def __init__(self) -> None:
        self.pool = concurrent.futures.ThreadPoolExecutor(4)
        self.added = 0

    def setThreadCount(self, count: int) -> None:  # noqa: N802
        pass

    def addTask(self, task: Any) -> None:  # noqa: N802
        self.added += 1
        task.defer()
        self.pool.submit(task.service)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> int:
        self.pool.shutdown()
        return 0

    def getPendingTasksEstimate(self) -> int:  # noqa: N802
        return 0


class SynchronousDispatcher(FuturesDispatcher):
    def addTask(self, task: Any) -> None:  # noqa: N802
        task.defer()
        task.service()


@pytest.fixture(params=[FuturesDispatcher, SynchronousDispatcher])
def foreign_dispatcher(request) -> Iterator[Any]:
    dispatcher = request.param()
    yield dispatcher
    dispatcher.shutdown()


@pytest.mark.parametrize("channel_class", [Echo, PythonEcho])
def test_dispatcher_of_the_users_serves(serving, connect, foreign_dispatcher, channel_class):
    server = serving(channel_class, task_dispatcher=foreign_dispatcher)
    peers = [connect(server) for _ in range(10)]
    for number, peer in enumerate(peers * 3):
        assert peer.ask(b"%d" % number) == b"%d" % number


def test_dispatcher_of_the_users_is_told_of_the_close(serving, connect, foreign_dispatcher):
    closed = threading.Event()
    channel_class = type("Noted", (Echo,), {"handle_close": lambda self: closed.set()})
    peer = connect(serving(channel_class, task_dispatcher=foreign_dispatcher))
    peer.ask(b"x")
    peer.close()
    assert closed.wait(DEADLINE_SECONDS)


def test_dispatcher_of_the_users_stays_open_when_the_server_stops(serving):
    with concurrent.futures.ThreadPoolExecutor(1):
        dispatcher = FuturesDispatcher()
        serving(Echo, task_dispatcher=dispatcher).stop()
        dispatcher.pool.submit(int).result(DEADLINE_SECONDS)
        dispatcher.shutdown()


def test_task_dispatcher_that_is_shared_serves_both_servers(serving, connect):
    with wiretask.ThreadedTaskDispatcher(1) as dispatcher:
        first, second = (serving(Echo, task_dispatcher=dispatcher) for _ in range(2))
        assert connect(first).ask(b"1") == b"1"
        first.stop()
        assert connect(second).ask(b"2") == b"2"
        second.stop()


def test_dispatcher_without_threads_serves_once_it_gets_some(serving, connect):
    with wiretask.ThreadedTaskDispatcher() as dispatcher:
        server = serving(Echo, task_dispatcher=dispatcher)
        peer = connect(server)
        peer.send(b"x\n")
        until(lambda: dispatcher.getPendingTasksEstimate() == 1)
        dispatcher.setThreadCount(1)
        assert peer.read_line() == b"x\n"
        server.stop()


@pytest.mark.parametrize("cancels", [False, True])
def test_add_task_that_raises_is_logged_and_the_channel_cancelled_once(serving, connect, caplog, cancels):
    class Full(SynchronousDispatcher):
        def addTask(self, task):  # noqa: N802
            self.added += 1
            if self.added > 1:
                if cancels:
                    task.cancel()
                raise LookupError("no room")
            super().addTask(task)

    cancelled: list[Any] = []

    class Noted(Echo):
        def cancel(self):
            cancelled.append(self)
            super().cancel()

    server = serving(Noted, task_dispatcher=Full())
    peer = connect(server)
    # A request that comes while the one before is being finished is served without being queued.
    until(lambda: peer.ask(b"x") == b"")
    until(lambda: "no room" in caplog.text and not server.stats()["connections"])
    assert len(cancelled) == 1


def test_full_queue_closes_the_connection(serving, connect):
    go, began = threading.Event(), threading.Event()

    def wait(channel: Any) -> None:
        began.set()
        assert go.wait(DEADLINE_SECONDS)

    with wiretask.ThreadedTaskDispatcher(1, max_pending=1) as dispatcher:
        server = serving(acting(wait=wait), task_dispatcher=dispatcher)
        busy, queued, refused = (connect(server) for _ in range(3))
        busy.send(b"wait\n")
        assert began.wait(DEADLINE_SECONDS)
        queued.send(b"wait\n")
        until(lambda: dispatcher.getPendingTasksEstimate() == 1)
        refused.send(b"wait\n")
        assert refused.is_closed_by_server()
        go.set()
        server.stop()


def test_add_task_overridden_gets_the_channels_on_the_housekeeper(serving, connect):
    added: list[Any] = []

    class Adding(wiretask.Server):
        channel_class = Echo

        def addTask(self, task):  # noqa: N802
            added.append((threading.current_thread().name, wiretask.interfaces.ITask.providedBy(task)))
            super().addTask(task)

    peer = connect(serving(Adding))
    until(lambda: peer.ask(b"x") and len(added) == 2)
    assert added == [("wiretask-housekeeper", True)] * 2


def test_add_task_overridden_in_a_dispatcher_gets_the_channels(serving, connect):
    added: list[Any] = []

    class Adding(wiretask.ThreadedTaskDispatcher):
        def addTask(self, task):  # noqa: N802
            added.append(task)
            super().addTask(task)

    with Adding(1) as dispatcher:
        server = serving(Echo, task_dispatcher=dispatcher)
        connect(server).ask(b"x")
        assert len(added) == 1
        added.clear()
        server.stop()


def test_bare_tasks_of_the_servers_run_on_its_dispatcher(serving):
    tasks = Tasks()
    server = serving(Echo)
    server.addTask(tasks.task("bare"))
    until(lambda: ("served", "bare") in tasks.outcomes)
    assert tasks.outcomes == [("deferred", "bare"), ("served", "bare")]


def test_server_that_was_dropped_while_foreign_tasks_wait_cancels_them(connect):
    held: list[Any] = []

    class Holding(SynchronousDispatcher):
        def addTask(self, task):  # noqa: N802
            held.append(task)

    server = serving_by()("127.0.0.1", 0, task_dispatcher=Holding())
    with server:
        peer = connect(server)
        peer.send(b"x\n")
        until(lambda: held)
        server.stop(0.05)
        assert peer.is_closed_by_server()
    held.pop().cancel()
    gc.collect()

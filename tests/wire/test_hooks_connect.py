"""Hooks of a channel's beginning and end: `__init__`, `handle_connect`, `handle_close`, and who makes it when."""

from __future__ import annotations

import gc
import queue
import threading
import weakref
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from protocols import Echo, EchoTask, PythonEcho, acting

import wiretask


def channels_alive(channel_class: type) -> int:
    return sum(type(thing) is channel_class for thing in gc.get_objects())


class Greeter(Echo):
    def handle_connect(self) -> None:
        self.write(b"hello\n")


class EarlyGreeter(Echo):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.write(b"hello\n")


class Closings(Echo):
    """Notes each closing: the thread, whether the connection was closed, the peer."""

    closings: queue.SimpleQueue[Any]

    def handle_close(self) -> None:
        self.closings.put((threading.current_thread().name, self.closed, self.addr))


@pytest.fixture
def closing() -> Any:
    """A channel class that notes its closings in a queue of its own."""

    class Noted(Closings):
        closings = queue.SimpleQueue()

    return Noted


def the_only(closings: queue.SimpleQueue) -> Any:
    closing = closings.get(timeout=DEADLINE_SECONDS)
    assert closings.empty()
    return closing


def test_no_channel_object_before_the_first_complete_request(serving, connect):
    class Lazy(Echo):
        pass

    server = serving(Lazy)
    peer = connect(server)
    peer.send(b"begun")
    until(lambda: server.stats()["bytes_received"] == 5)
    assert channels_alive(Lazy) == 0
    assert peer.ask(b"") == b"begun"
    assert channels_alive(Lazy) == 1


def test_blank_lines_make_no_channel_object(serving, connect):
    class Lazy(Echo):
        pass

    server = serving(Lazy)
    connect(server).send(b"\n\r\n\n")
    until(lambda: server.stats()["bytes_received"] == 4)
    assert channels_alive(Lazy) == 0


def test_channel_lives_as_long_as_its_connection(serving, connect):
    made = []

    class Remembered(Echo):
        def handle_request(self, request):
            made.append(weakref.ref(self))
            super().handle_request(request)

    peer = connect(serving(Remembered))
    assert peer.ask(b"1") == b"1"
    gc.collect()
    assert made[0]() is not None
    peer.ask(b"2")
    assert made[1] == made[0]
    peer.close()
    until(lambda: gc.collect() is not None and made[0]() is None, "the channel's end")


@pytest.mark.parametrize("channel_class", [Greeter, EarlyGreeter])
def test_server_speaks_first(serving, connect, channel_class):
    assert connect(serving(channel_class)).read_line() == b"hello\n"


@pytest.mark.parametrize("channel_class", [Greeter, EarlyGreeter])
def test_greeting_comes_before_the_answer_to_early_input(serving, connect, channel_class):
    server = serving(channel_class)
    for _ in range(20):
        peer = connect(server)
        peer.send(b"early\n")
        assert peer.read(12) == b"hello\nearly\n"


def test_handle_connect_runs_on_a_worker_before_input_is_parsed(serving, connect):
    events: list[Any] = []

    class Ordered(PythonEcho):
        def handle_connect(self):
            events.append(("connect", threading.current_thread().name.startswith("wiretask-TestServer-")))

        def received(self, data):
            events.append(("received", data))
            super().received(data)

    assert connect(serving(Ordered)).ask(b"x") == b"x"
    assert events == [("connect", True), ("received", b"x\n")]


def test_request_waits_for_a_slow_handle_connect(serving, connect):
    go = threading.Event()

    class Slow(Echo):
        def handle_connect(self):
            assert go.wait(DEADLINE_SECONDS)
            self.write(b"connected\n")

    server = serving(Slow)
    peer = connect(server)
    peer.send(b"x\n")
    until(lambda: server.stats()["bytes_received"] == 2)
    go.set()
    assert peer.read(12) == b"connected\nx\n"


def test_init_may_refuse_the_connection(serving, connect):
    class Refuser(Echo):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.write(b"go away\n")
            self.close_when_done()

    assert connect(serving(Refuser)).read_to_end() == b"go away\n"


def test_init_that_raises_is_logged_and_closes_the_connection(serving, connect, caplog):
    class Broken(Echo):
        def __init__(self, *arguments):
            raise LookupError("no session")

    assert connect(serving(Broken)).is_closed_by_server()
    until(lambda: "no session" in caplog.text)


def test_init_that_forgets_its_base_is_logged_and_closes_the_connection(serving, connect, caplog):
    class Forgetful(Echo):
        def __init__(self, *arguments):
            pass

    peer = connect(serving(Forgetful))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()
    until(lambda: "ServerChannel.__init__ has not been called" in caplog.text)


def test_channel_gets_server_connection_address_and_settings(serving, connect):
    got: list[Any] = []

    class Curious(Echo):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            got.extend(arguments)

    adj = wiretask.Adjustments(threads=1)
    server = serving(Curious, adj=adj)
    peer = connect(server)
    peer.ask(b"x")
    assert got[0] is server
    assert isinstance(got[1], wiretask.Connection)
    assert got[2] == peer.socket.getsockname()
    assert got[3] is adj


def test_a_second_channel_for_a_connection_is_refused(serving, connect):
    class Twice(Echo):
        def handle_connect(self):
            with pytest.raises(RuntimeError, match="has a channel already"):
                Twice(self.server, self.conn, self.addr)
            self.write(b"refused\n")

    assert connect(serving(Twice)).read_line() == b"refused\n"


def test_conn_of_another_kind_is_refused(serving):
    server = serving(Echo)
    with pytest.raises(TypeError, match=r"wiretask\.Connection"):
        Echo(server, object(), None)


# ---- handle_close ---------------------------------------------------------------------------------------


def test_close_by_the_peer_is_told_once_on_a_worker(serving, connect, closing):
    peer = connect(serving(closing))
    peer.ask(b"x")
    address = peer.socket.getsockname()
    peer.close()
    thread, closed, addr = the_only(closing.closings)
    assert thread.startswith("wiretask-TestServer-")
    assert closed
    assert addr == address


def test_reset_is_told_once(serving, connect, closing):
    peer = connect(serving(closing))
    peer.ask(b"x")
    peer.reset()
    the_only(closing.closings)


def test_close_when_done_is_told_once(serving, connect, closing):
    class Ending(closing):
        task_class = type(
            "Closer", (EchoTask,), {"service": lambda self: (EchoTask.service(self), self.channel.close())}
        )

    peer = connect(serving(Ending))
    peer.send(b"x\n")
    assert peer.read_to_end() == b"x\n"
    the_only(Ending.closings)


def test_idle_timeout_is_told_once(serving, connect, closing):
    peer = connect(serving(closing, adj=wiretask.Adjustments(channel_timeout=0.5)))
    peer.ask(b"x")
    assert peer.is_closed_by_server()
    the_only(closing.closings)


def test_abort_is_told_once(serving, connect, closing):
    peer = connect(serving(acting(closing, abort=lambda channel: channel.conn.abort())))
    peer.send(b"abort\n")
    assert peer.is_closed_by_server()
    the_only(closing.closings)


def test_stop_of_the_server_tells_before_it_returns(serving, connect, closing):
    server = serving(closing)
    peers = [connect(server) for _ in range(10)]
    for peer in peers:
        peer.ask(b"x")
    assert server.stop()
    assert closing.closings.qsize() == 10


def test_immediate_stop_of_the_server_tells_once(serving, connect, closing):
    server = serving(closing)
    peers = [connect(server) for _ in range(10)]
    for peer in peers:
        peer.ask(b"x")
    server.close()
    until(lambda: closing.closings.qsize() >= 10)
    assert closing.closings.qsize() == 10


def test_close_while_a_task_runs_is_told_after_the_task(serving, connect, closing):
    events: list[str] = []
    began, go = threading.Event(), threading.Event()

    class Busy(closing):
        def handle_close(self):
            events.append("close")
            super().handle_close()

    def work(channel: Any) -> None:
        began.set()
        assert go.wait(DEADLINE_SECONDS)
        until(lambda: channel.closed)
        events.append("task ends")

    peer = connect(serving(acting(Busy, work=work)))
    peer.send(b"work\n")
    assert began.wait(DEADLINE_SECONDS)
    peer.reset()
    go.set()
    the_only(Busy.closings)
    assert events == ["task ends", "close"]


def test_close_without_any_request_is_told_to_a_channel_that_was_made(serving, connect):
    events: list[str] = []

    class Session(Echo):
        def handle_connect(self):
            events.append("connect")

        def handle_close(self):
            events.append("close")

    connect(serving(Session)).close()
    until(lambda: len(events) == 2)
    assert events == ["connect", "close"]


def test_connections_reset_at_once_get_as_many_handle_close_as_handle_connect(serving, connect):
    events: list[Any] = []

    class Session(Echo):
        def handle_connect(self):
            events.append((id(self), "connect"))

        def handle_close(self):
            events.append((id(self), "close"))

    server = serving(Session)
    for _ in range(200):
        connect(server).reset()
    until(lambda: server.stats()["accepted"] >= 200 and not server.stats()["connections"])
    server.stop()
    kinds = [kind for _, kind in events]
    assert kinds.count("connect") == kinds.count("close")
    assert kinds[:1] in ([], ["connect"])


def test_no_channel_is_made_only_to_be_closed(serving, connect, closing):
    server = serving(closing)
    connect(server).close()
    until(lambda: server.stats()["accepted"] == 1 and not server.stats()["connections"])
    assert server.stop()
    assert closing.closings.empty()


def test_exception_in_handle_close_is_logged_and_harmless(serving, connect, caplog):
    class Broken(Echo):
        def handle_close(self):
            raise LookupError("closing failed")

    server = serving(Broken)
    peer = connect(server)
    peer.ask(b"x")
    peer.close()
    until(lambda: "closing failed" in caplog.text)
    assert connect(server).ask(b"y") == b"y"

"""Calls that a loop makes: from other threads, due at a time, again and again; and how a loop is stopped."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from loop_entries import DEADLINE_SECONDS, Reader, joined, turn_until
from peers import Peer, until
from processes import run

import wiretask
from wiretask import EventLoop, ExitNow, WatchedMap, close_all
from wiretask.dispatcher import loop
from wiretask.timers import ScheduledCall


@pytest.fixture(params=[dict, WatchedMap])
def event_loop(request: pytest.FixtureRequest) -> Iterator[EventLoop]:
    """A loop over a map of the test's own, of both kinds."""
    event_loop = EventLoop(request.param())
    yield event_loop
    close_all(event_loop.map)


def turn_calls(event_loop: EventLoop, turns: int = 1) -> None:
    for _ in range(turns):
        event_loop.turn(0)


# ---- calls --------------------------------------------------------------------------------------


def test_calls_are_made_in_the_order_in_which_they_were_handed_over(event_loop: EventLoop) -> None:
    made: list[int] = []
    for number in range(5):
        (event_loop.call_soon if number % 2 else event_loop.call_soon_threadsafe)(made.append, number)
    assert made == []
    turn_calls(event_loop)
    assert made == [0, 1, 2, 3, 4]


def test_a_call_that_hands_over_another_does_not_keep_the_turn(event_loop: EventLoop) -> None:
    made: list[int] = []

    def again() -> None:
        made.append(1)
        event_loop.call_soon(again)

    event_loop.call_soon(again)
    turn_calls(event_loop, 3)
    assert made == [1, 1, 1]


def test_a_call_that_raises_is_logged_and_the_others_are_made(
    event_loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault R27."""
    made: list[int] = []
    event_loop.call_soon(made.append, 1)
    event_loop.call_soon(lambda: 1 / 0)
    event_loop.call_soon(made.append, 2)
    turn_calls(event_loop)
    assert made == [1, 2]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "wiretask.dispatcher"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("error", [ExitNow(), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_meant_to_end_the_loop_ends_it_and_no_call_is_lost(
    event_loop: EventLoop, error: BaseException
) -> None:
    made: list[int] = []

    def fail() -> None:
        raise error

    event_loop.call_soon(fail)
    event_loop.call_soon(made.append, 1)
    with pytest.raises(type(error)):
        event_loop.run_forever()
    assert made == []
    turn_calls(event_loop)
    assert made == [1]


def test_calls_come_due_in_their_order(event_loop: EventLoop) -> None:
    made: list[str] = []
    now = event_loop.time()
    event_loop.call_at(now + 0.02, made.append, "third")
    event_loop.call_at(now + 0.01, made.append, "first")
    event_loop.call_at(now + 0.01, made.append, "second")
    event_loop.call_later(0.03, event_loop.stop)
    event_loop.run_forever()
    assert made == ["first", "second", "third"]


def test_no_call_is_made_before_its_time(event_loop: EventLoop) -> None:
    made: list[float] = []
    call = event_loop.call_later(0.05, lambda: made.append(time.monotonic()))
    while not made:
        event_loop.turn(DEADLINE_SECONDS)
    assert made[0] >= call.when()


def test_a_cancelled_call_is_not_made(event_loop: EventLoop) -> None:
    made: list[int] = []
    calls = [event_loop.call_soon(made.append, number) for number in range(3)]
    assert "append" in repr(calls[1])
    calls[1].cancel()
    calls[1].cancel()
    assert [call.cancelled() for call in calls] == [False, True, False]
    assert "cancelled" in repr(calls[1])
    turn_calls(event_loop)
    calls[0].cancel()
    assert made == [0, 2]


def test_cancelled_calls_are_not_kept(event_loop: EventLoop) -> None:
    calls = [event_loop.call_later(3600, print) for _ in range(10_000)]
    turn_calls(event_loop)
    for call in calls[1:]:
        call.cancel()
    turn_calls(event_loop)
    assert len(event_loop._timers) < 100


def test_a_repeated_call_goes_on_until_it_is_cancelled(
    event_loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[float] = []

    def work() -> None:
        made.append(event_loop.time())
        if len(made) == 2:
            raise ValueError("goes on")
        if len(made) == 4:
            call.cancel()
            event_loop.call_later(0.05, event_loop.stop)

    begun = event_loop.time()
    call = event_loop.call_every(0.01, work)
    event_loop.run_forever()
    assert len(made) == 4
    assert "goes on" in caplog.text
    # None before its time; on a busy machine later.
    assert all(moment >= begun + 0.01 * number for number, moment in enumerate(made, 1))


def test_calls_that_were_missed_are_not_made_up_for(event_loop: EventLoop) -> None:
    made: list[int] = []
    call = event_loop.call_every(0.01, made.append, 1)
    time.sleep(0.1)
    turn_calls(event_loop, 3)
    assert made == [1]
    assert call.when() > event_loop.time() - 0.01
    call.cancel()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("call_later", -1, print), ValueError),
        (("call_later", float("nan"), print), ValueError),
        (("call_later", "1", print), TypeError),
        (("call_at", float("nan"), print), ValueError),
        (("call_every", 0, print), ValueError),
        (("call_soon", 5), TypeError),
    ],
)
def test_a_call_that_cannot_be_is_refused(event_loop: EventLoop, arguments: Any, error: type[Exception]) -> None:
    name, *rest = arguments
    with pytest.raises(error):
        getattr(event_loop, name)(*rest)
    assert len(event_loop._timers) == 0


# ---- other threads and signals ------------------------------------------------------------------


def test_another_thread_ends_the_wait_with_a_call(event_loop: EventLoop) -> None:
    made: list[int] = []
    with joined(Reader, event_loop.map):
        waiting = threading.Event()

        def hand_over() -> None:
            waiting.wait()
            until(lambda: event_loop._is_waiting)
            event_loop.call_soon_threadsafe(made.append, threading.get_ident())
            event_loop.call_soon_threadsafe(lambda: made.append(threading.get_ident()))

        thread = threading.Thread(target=hand_over)
        thread.start()
        begun = time.monotonic()
        waiting.set()
        while len(made) < 2:
            event_loop.turn(DEADLINE_SECONDS)
        assert time.monotonic() - begun < DEADLINE_SECONDS / 2
        assert made == [thread.ident, threading.get_ident()]
        thread.join()


def test_calls_from_many_threads_are_all_made(event_loop: EventLoop) -> None:
    made: list[int] = []

    def hand_over() -> None:
        for number in range(500):
            event_loop.call_soon(made.append, number)
            event_loop.call_later(0.0001, made.append, number)

    threads = [threading.Thread(target=hand_over) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(made) < 4000:
        assert time.monotonic() < deadline
        event_loop.turn(0.1)
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(list(range(500)) * 8)


def test_an_entry_from_another_thread_is_served_at_once() -> None:
    entries = WatchedMap()
    event_loop = EventLoop.of(entries)
    readers: list[Reader] = []
    ours, theirs = socket.socketpair()
    theirs.sendall(b"x")

    def put_in() -> None:
        until(lambda: event_loop._is_waiting)
        readers.append(Reader(ours, entries))

    with joined(Reader, entries), theirs:
        thread = threading.Thread(target=put_in)
        thread.start()
        begun = time.monotonic()
        while not (readers and readers[0].data):
            event_loop.turn(DEADLINE_SECONDS)
        assert time.monotonic() - begun < DEADLINE_SECONDS / 2
        thread.join()
        readers[0].close()


def test_a_signal_handler_runs_at_once_and_the_loop_goes_on(event_loop: EventLoop) -> None:
    handled: list[int] = []
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
    try:
        with joined(Reader, event_loop.map) as (reader, peer):
            timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
            timer.start()
            begun = time.monotonic()
            while not handled:
                event_loop.turn(DEADLINE_SECONDS)
            assert time.monotonic() - begun < DEADLINE_SECONDS / 2
            peer.sendall(b"x")
            turn_until(event_loop.map, lambda: reader.data)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_a_signal_handler_may_hand_over_a_call_and_stop(event_loop: EventLoop) -> None:
    made: list[int] = []

    def handle(number: int, frame: object) -> None:
        event_loop.call_soon(made.append, number)
        event_loop.call_soon(event_loop.stop)

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
        timer.start()
        event_loop.run_forever()
        timer.join()
        assert made == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_the_wake_up_descriptor_of_the_program_is_kept(event_loop: EventLoop) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with joined(Reader, event_loop.map):
            event_loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
            event_loop.run(timeout=0.05, count=2)
        assert os.read(reader, 10) == bytes([signal.SIGUSR1])
    finally:
        assert signal.set_wakeup_fd(before) == writer
        signal.signal(signal.SIGUSR1, previous)
        os.close(reader)
        os.close(writer)


# ---- stopping -----------------------------------------------------------------------------------


def test_stop_ends_the_innermost_loop(event_loop: EventLoop) -> None:
    ended: list[str] = []

    def inner() -> None:
        event_loop.call_soon(event_loop.stop)
        event_loop.run_forever()
        ended.append("inner")
        event_loop.call_soon(event_loop.stop)

    event_loop.call_soon(inner)
    event_loop.run_forever()
    ended.append("outer")
    assert ended == ["inner", "outer"]


def test_stop_from_another_thread_ends_the_wait(event_loop: EventLoop) -> None:
    with joined(Reader, event_loop.map):
        timer = threading.Timer(0.1, event_loop.stop)
        timer.start()
        begun = time.monotonic()
        event_loop.run(timeout=DEADLINE_SECONDS)
        assert time.monotonic() - begun < DEADLINE_SECONDS / 2
        timer.join()


def test_a_stop_before_the_run_is_not_lost(event_loop: EventLoop) -> None:
    event_loop.stop()
    event_loop.run_forever()


def test_calls_that_wait_do_not_keep_a_loop_going(event_loop: EventLoop) -> None:
    made: list[int] = []
    event_loop.call_soon(made.append, 1)
    event_loop.run()
    assert made == []
    turn_calls(event_loop)
    assert made == [1]


def test_a_map_has_one_loop() -> None:
    entries = WatchedMap()
    event_loop = EventLoop.of(entries)
    assert EventLoop.of(entries) is event_loop
    assert EventLoop.of() is EventLoop.of(wiretask.socket_map)
    with pytest.raises(ValueError, match="has a loop already"):
        EventLoop(entries)
    with pytest.raises(TypeError, match="WatchedMap"):
        EventLoop.of({})
    assert "0 entries" in repr(event_loop)


def test_the_loop_function_makes_the_calls_of_the_loop_of_its_map() -> None:
    entries = WatchedMap()
    made: list[int] = []
    with joined(Reader, entries):
        EventLoop.of(entries).call_soon(made.append, 1)
        loop(timeout=0, map=entries, count=1)
        assert made == [1]


def test_a_call_says_when_it_is_due(event_loop: EventLoop) -> None:
    call = event_loop.call_at(5.0, print)
    assert isinstance(call, ScheduledCall)
    assert call.when() == 5.0
    call.cancel()


# ---- servers beside dispatchers -----------------------------------------------------------------


def test_a_server_and_dispatchers_share_a_loop() -> None:
    source = """
        import signal, socket, threading
        import wiretask
        import wiretask.asyncore as asyncore
        from wiretask.consumers import Line
        class Task(wiretask.Task):
            def service(self):
                self.channel.write(b"server " + self.request.value + b"\\n")
        class Channel(wiretask.ServerChannel):
            parser_class = Line
            task_class = Task
        class Server(wiretask.Server):
            channel_class = Channel
        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                if data := self.recv(100):
                    self.send(b"dispatcher " + data)
        class Listener(asyncore.dispatcher):
            def handle_accepted(self, sock, addr):
                Echo(sock)
        listener = Listener()
        listener.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        server = Server("127.0.0.1", 0)
        ports = server.effective_port, listener.socket.getsockname()[1]
        def ask():
            answers = []
            for port in ports:
                with socket.create_connection(("127.0.0.1", port), 20) as client:
                    client.sendall(b"x\\n")
                    answers.append(client.makefile("rb").readline())
            assert answers == [b"server x\\n", b"dispatcher x\\n"], answers
            # The loop goes on for the server, and ends when both are gone.
            wiretask.EventLoop.of().call_soon(listener.close)
            with socket.create_connection(("127.0.0.1", ports[0]), 20) as client:
                client.sendall(b"y\\n")
                assert client.makefile("rb").readline() == b"server y\\n"
            server.stop(5)
            done.append(1)
        done = []
        thread = threading.Thread(target=ask)
        thread.start()
        asyncore.loop(timeout=30)
        thread.join()
        assert done == [1]
        assert not asyncore.socket_map
    """
    assert run(source) == (0, "")


def test_a_loop_in_a_thread_serves_what_another_thread_registers() -> None:
    entries = WatchedMap()
    event_loop = EventLoop.of(entries)
    seen = threading.Event()
    thread = threading.Thread(target=event_loop.run_forever, daemon=True)
    thread.start()

    class Echo(Reader):
        def handle_read(self) -> None:
            self.send(self.recv(100))

    class Listener(Reader):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            Echo(sock, entries)

    listener = Listener(None, entries)
    listener.create_socket(socket.AF_INET, socket.SOCK_STREAM)
    # The loop sees a socket that neither listens nor is connected: a hang-up, if it is asked.
    for _ in range(3):
        seen.clear()
        event_loop.call_soon_threadsafe(seen.set)
        assert seen.wait(DEADLINE_SECONDS)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    assert listener.calls == []
    assert listener.socket is not None
    for _ in range(3):
        peer = Peer(listener.socket.getsockname())
        peer.send(b"x")
        assert peer.read(1) == b"x"
        peer.close()
    event_loop.call_soon_threadsafe(close_all, entries)
    event_loop.stop()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    turn_calls(event_loop)

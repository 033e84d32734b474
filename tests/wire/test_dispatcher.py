"""`Dispatcher` and `loop`, with real sockets."""

from __future__ import annotations

import errno
import logging
import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from typing import Any

import pytest
from loop_entries import DEADLINE_SECONDS, Reader, turn_until
from zope.interface.verify import verifyClass, verifyObject

from wiretask.dispatcher import Dispatcher, ExitNow, SocketMap, close_all, loop, socket_map
from wiretask.interfaces import IDispatcher


class Recorder(Reader):
    """Notes the connection too."""

    def handle_connect(self) -> None:
        self.calls.append("connect")


class Echo(Recorder):
    """Sends back what it reads."""

    def __init__(self, sock: socket.socket | None = None, map: SocketMap | None = None) -> None:
        super().__init__(sock, map)
        self.waiting = b""

    def handle_read(self) -> None:
        self.waiting += self.recv(4096)

    def writable(self) -> bool:
        return bool(self.waiting)

    def handle_write(self) -> None:
        self.waiting = self.waiting[self.send(self.waiting) :]


class Listener(Recorder):
    """Makes an `Echo` of each connection."""

    def __init__(self, entries: SocketMap) -> None:
        super().__init__(None, entries)
        self.entries = entries
        self.accepted: list[Echo] = []
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(16)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.accepted.append(Echo(sock, self.entries))

    def address(self) -> Any:
        assert self.socket is not None
        return self.socket.getsockname()


def pair_of(kind: type[Dispatcher], entries: SocketMap) -> tuple[Any, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_SECONDS)
    return kind(ours, entries), theirs


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_it_provides_idispatcher() -> None:
    assert verifyClass(IDispatcher, Dispatcher)
    assert verifyObject(IDispatcher, Dispatcher())


def test_an_echo_server_and_a_client_in_one_loop(entries: SocketMap) -> None:
    listener = Listener(entries)
    client = Recorder(None, entries)
    client.create_socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(listener.address())
    turn_until(entries, lambda: client.connected and listener.accepted)
    assert client.send(b"hello") == 5
    turn_until(entries, lambda: client.data == b"hello")
    assert client.calls[0] == "connect"
    assert client.calls.count("connect") == 1
    client.close()
    turn_until(entries, lambda: not listener.accepted[0].connected)
    assert list(entries.values()) == [listener]


def test_a_refused_connection_is_an_error_and_closes(entries: SocketMap, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = Recorder(None, entries)
        client.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect(bound.getsockname())
        turn_until(entries, lambda: not entries)
    assert client.calls == ["error", "close"]
    assert "ConnectionRefusedError" in caplog.text


def test_the_end_of_the_stream_calls_handle_close_once(entries: SocketMap) -> None:
    dispatcher, peer = pair_of(Recorder, entries)
    peer.close()
    turn_until(entries, lambda: not entries)
    assert dispatcher.calls == ["read", "close"]


def test_input_before_a_hang_up_is_not_lost(entries: SocketMap) -> None:
    dispatcher, peer = pair_of(Recorder, entries)
    peer.sendall(b"x" * 10_000)
    peer.close()
    turn_until(entries, lambda: not entries)
    assert dispatcher.data == b"x" * 10_000


def test_a_reset_calls_handle_close_and_not_handle_error(entries: SocketMap) -> None:
    listener = Listener(entries)
    with socket.create_connection(listener.address(), DEADLINE_SECONDS) as client:
        turn_until(entries, lambda: listener.accepted)
        reset(client)
    [accepted] = listener.accepted
    turn_until(entries, lambda: "close" in accepted.calls)
    assert accepted.calls == ["close"]


def test_recv_and_send_on_a_lost_connection_call_handle_close(entries: SocketMap) -> None:
    listener = Listener(entries)
    for lost in (lambda accepted: accepted.recv(10) == b"", lambda accepted: accepted.send(b"x") == 0):
        with socket.create_connection(listener.address(), DEADLINE_SECONDS) as client:
            turn_until(entries, lambda: listener.accepted)
            accepted = listener.accepted.pop()
            reset(client)
            arrived = select.poll()
            arrived.register(accepted.socket, 0)
            assert arrived.poll(DEADLINE_SECONDS * 1000), "the reset has not arrived"
            assert lost(accepted)
            assert accepted.calls == ["close"]


def test_recv_with_nothing_there_and_send_without_room(entries: SocketMap) -> None:
    dispatcher, peer = pair_of(Recorder, entries)
    with peer:
        with pytest.raises(BlockingIOError):
            dispatcher.recv(10)
        while dispatcher.send(b"x" * 65536):
            pass
        assert dispatcher.calls == []


def test_accept_without_a_connection_is_none(entries: SocketMap) -> None:
    assert Listener(entries).accept() is None


def test_a_listener_survives_running_out_of_descriptors(entries: SocketMap, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(entries)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(listener.address(), DEADLINE_SECONDS) as client:
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            for _ in range(3):
                loop(timeout=0.05, map=entries, count=1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert listener.accepting
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
        turn_until(entries, lambda: listener.accepted)
        client.sendall(b"still here")
        assert client.getpeername()


class Failing(Recorder):
    """Raises what it is given, on its first input."""

    error: BaseException

    def handle_read(self) -> None:
        self.recv(10)
        raise self.error


@pytest.mark.parametrize("error", [ExitNow(), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_meant_to_end_the_loop_ends_it(entries: SocketMap, error: BaseException) -> None:
    dispatcher, peer = pair_of(Failing, entries)
    dispatcher.error = error
    with peer:
        peer.sendall(b"x")
        with pytest.raises(type(error)):
            loop(map=entries)
    assert dispatcher.calls == []
    assert list(entries.values()) == [dispatcher]


@pytest.mark.parametrize("error", [ExitNow(), KeyboardInterrupt(), SystemExit(3)])
def test_handle_error_passes_on_what_is_meant_to_end_the_loop(error: BaseException) -> None:
    dispatcher = Dispatcher()

    def fail() -> None:
        try:
            raise error
        except BaseException:
            dispatcher.handle_error()

    with pytest.raises(type(error)):
        fail()


@pytest.mark.parametrize("error", [ValueError("seven"), GeneratorExit("seven"), OSError(errno.EIO, "seven")])
def test_another_exception_is_logged_with_its_traceback_and_closes_that_one(
    entries: SocketMap, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    dispatcher, peer = pair_of(Failing, entries)
    other, other_peer = pair_of(Recorder, entries)
    dispatcher.error = error
    with peer, other_peer:
        peer.sendall(b"x")
        other_peer.sendall(b"y")
        turn_until(entries, lambda: other.data == b"y" and not dispatcher.connected)
    assert dispatcher.calls == ["error", "close"]
    assert list(entries.values()) == [other]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "wiretask.dispatcher"
    assert "seven" in caplog.text
    assert "Traceback" in caplog.text


def test_a_handle_error_that_fails_ends_its_own_dispatcher_only(
    entries: SocketMap, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Failing):
        error = ValueError("first")

        def handle_error(self) -> None:
            raise RuntimeError("second")

    broken, peer = pair_of(Broken, entries)
    other, other_peer = pair_of(Recorder, entries)
    with peer, other_peer:
        peer.sendall(b"x")
        other_peer.sendall(b"y")
        turn_until(entries, lambda: other.data == b"y" and broken not in entries.values())
    assert broken.socket is not None
    assert broken.socket.fileno() == -1
    assert "second" in capsys.readouterr().err


def test_a_handle_error_that_raises_the_same_exception_again_passes_it_on(entries: SocketMap) -> None:
    class Strict(Failing):
        error = ValueError("first")

        def handle_error(self) -> None:
            raise

    _, peer = pair_of(Strict, entries)
    with peer:
        peer.sendall(b"x")
        with pytest.raises(ValueError, match="first"):
            loop(map=entries)


def test_a_repr_that_fails_does_not_disturb_handle_error(
    entries: SocketMap, caplog: pytest.LogCaptureFixture
) -> None:
    class Unprintable(Failing):
        error = ValueError("first")

        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    _, peer = pair_of(Unprintable, entries)
    with peer:
        peer.sendall(b"x")
        turn_until(entries, lambda: not entries)
    assert "first" in caplog.text


def test_an_error_in_readable_is_handled_like_one_in_a_handler(
    entries: SocketMap, caplog: pytest.LogCaptureFixture
) -> None:
    class Undecided(Recorder):
        def readable(self) -> bool:
            raise ValueError("undecided")

    undecided, peer = pair_of(Undecided, entries)
    with peer:
        turn_until(entries, lambda: not entries)
    assert undecided.calls == ["error", "close"]
    assert "undecided" in caplog.text


def test_no_event_is_handled_after_del_channel_in_the_same_turn(entries: SocketMap) -> None:
    class Murderer(Recorder):
        victims: list[Recorder]

        def handle_read(self) -> None:
            super().handle_read()
            for victim in self.victims:
                if victim is not self:
                    victim.close()

    first, first_peer = pair_of(Murderer, entries)
    second, second_peer = pair_of(Murderer, entries)
    first.victims = second.victims = [first, second]
    with first_peer, second_peer:
        first_peer.sendall(b"x")
        second_peer.sendall(b"y")
        turn_until(entries, lambda: len(entries) == 1)
    assert sorted([first.calls, second.calls]) == [[], ["read"]]


def test_a_handler_may_run_a_nested_loop_and_close_all(entries: SocketMap) -> None:
    class Nesting(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            if len(self.data) == 1:
                loop(timeout=0, map=entries, count=1)
                close_all(entries)

    dispatcher, peer = pair_of(Nesting, entries)
    with peer:
        peer.sendall(b"x")
        loop(map=entries)
    assert dispatcher.data == b"x"


def test_the_default_writable_does_not_keep_the_loop_busy(entries: SocketMap) -> None:
    dispatcher, peer = pair_of(Recorder, entries)
    with peer:
        assert dispatcher.writable() is True
        started = time.monotonic()
        loop(timeout=0.2, map=entries, count=1)
        assert time.monotonic() - started >= 0.2


def test_an_entry_without_interest_keeps_the_loop_alive_without_spinning(entries: SocketMap) -> None:
    class Silent(Recorder):
        def readable(self) -> bool:
            return False

        def writable(self) -> bool:
            return False

    silent, peer = pair_of(Silent, entries)
    with peer:
        peer.sendall(b"x")
        processor_before, before = time.process_time(), time.monotonic()
        loop(timeout=0.1, map=entries, count=5)
        assert time.monotonic() - before >= 0.5
        assert time.process_time() - processor_before < 0.25
        assert silent.calls == []


def test_start_in_loop_is_called_before_the_first_turn(entries: SocketMap) -> None:
    events: list[str] = []

    class Server(Recorder):
        def start_in_loop(self) -> None:
            events.append("start")

        def readable(self) -> bool:
            events.append("turn")
            return False

    server, peer = pair_of(Server, entries)
    with peer:
        loop(timeout=0, map=entries, count=2)
        assert events == ["start", "turn", "turn"]
        server.close()
        loop(map=entries)
        assert events == ["start", "turn", "turn"]


def test_what_start_in_loop_raises_reaches_the_caller(entries: SocketMap) -> None:
    class Server(Recorder):
        def start_in_loop(self) -> None:
            raise OSError(errno.EADDRINUSE, "taken")

    _, peer = pair_of(Server, entries)
    with peer, pytest.raises(OSError, match="taken"):
        loop(map=entries)


def test_loop_ends_when_the_map_is_empty_and_counts_turns(entries: SocketMap) -> None:
    loop(map={})
    dispatcher, peer = pair_of(Recorder, entries)
    with peer:
        loop(timeout=0, use_poll=True, map=entries, count=3)
        assert dispatcher.calls == []
        loop(timeout=0, map=entries, count=0)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        loop(timeout=timeout)


def test_the_default_map_is_socket_map() -> None:
    dispatcher, peer = pair_of(Recorder, socket_map)
    with peer:
        assert dispatcher in socket_map.values()
        close_all()
    assert socket_map == {}


def test_close_all_tries_every_entry_then_raises_the_first_error(entries: SocketMap) -> None:
    class Stubborn(Recorder):
        def close(self) -> None:
            super().close()
            raise ValueError("stubborn")

    pairs = [pair_of(Stubborn, entries) for _ in range(3)]
    with pytest.raises(ValueError, match="stubborn"):
        close_all(entries)
    assert entries == {}
    for dispatcher, peer in pairs:
        assert dispatcher.socket.fileno() == -1
        peer.close()


def test_close_all_can_ignore_all_errors(entries: SocketMap) -> None:
    class Stubborn(Recorder):
        error: BaseException = ValueError("stubborn")

        def close(self) -> None:
            super().close()
            raise self.error

    stubborn, peer = pair_of(Stubborn, entries)
    with peer:
        close_all(entries, ignore_all=True)
        assert entries == {}
        entries[0] = stubborn
        stubborn.error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            close_all(entries, ignore_all=True)


def test_closing_twice_is_harmless_and_later_operations_fail(entries: SocketMap) -> None:
    dispatcher, peer = pair_of(Recorder, entries)
    with peer:
        dispatcher.close()
        dispatcher.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            dispatcher.listen(1)
    with pytest.raises(OSError, match="no socket yet"):
        Dispatcher(map=entries).bind(("127.0.0.1", 0))


def test_del_channel_leaves_the_newer_owner_of_the_descriptor(entries: SocketMap) -> None:
    older, peer = pair_of(Recorder, entries)
    with peer:
        assert older.socket is not None
        newer = Recorder(older.socket, entries)
        older.del_channel()
        assert list(entries.values()) == [newer]
        newer.close()


def test_an_unusable_socket_is_not_registered(entries: SocketMap) -> None:
    closed = socket.socket()
    closed.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        Dispatcher(closed, entries)
    assert entries == {}


def test_an_accepted_connection_nobody_wants_is_closed(entries: SocketMap, caplog: pytest.LogCaptureFixture) -> None:
    listener = Dispatcher(None, entries)
    listener.create_socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    assert listener.socket is not None
    with socket.create_connection(listener.socket.getsockname(), DEADLINE_SECONDS) as client:
        turn_until(entries, lambda: "unhandled accepted event" in caplog.text)
        assert client.recv(1) == b""
    assert listener.accepting


def test_an_event_without_handler_is_warned_about_once(entries: SocketMap, caplog: pytest.LogCaptureFixture) -> None:
    _, peer = pair_of(Dispatcher, entries)
    with peer:
        peer.sendall(b"x")
        loop(timeout=0.05, map=entries, count=3)
    assert caplog.text.count("unhandled read event") == 1


def test_urgent_data_is_an_exceptional_event(entries: SocketMap) -> None:
    urgent: list[str] = []
    listener = Listener(entries)
    with socket.create_connection(listener.address(), DEADLINE_SECONDS) as client:
        turn_until(entries, lambda: listener.accepted)
        [accepted] = listener.accepted
        accepted.handle_expt = lambda: urgent.append("urgent")  # type: ignore[method-assign]
        client.send(b"!", socket.MSG_OOB)
        turn_until(entries, lambda: urgent)


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("debug", logging.DEBUG),
        ("info", logging.INFO),
        ("warning", logging.WARNING),
        ("error", logging.ERROR),
        ("strange", logging.INFO),
    ],
)
def test_log_info_has_the_level_its_type_names(caplog: pytest.LogCaptureFixture, kind: str, level: int) -> None:
    caplog.set_level(logging.DEBUG, "wiretask.dispatcher")
    Dispatcher().log_info("100 %s", kind)
    [record] = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("wiretask.dispatcher", level, "100 %s")


def test_log_logs_a_hit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wiretask.dispatcher")
    Dispatcher().log("GET /")
    assert [record.getMessage() for record in caplog.records] == ["GET /"]


def test_a_loop_in_another_thread_serves(entries: SocketMap) -> None:
    listener = Listener(entries)
    thread = threading.Thread(target=loop, kwargs={"timeout": 0.05, "map": entries})
    thread.start()
    with socket.create_connection(listener.address(), DEADLINE_SECONDS) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
    listener.close()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def test_a_signal_ends_a_waiting_loop(entries: SocketMap) -> None:
    _, peer = pair_of(Recorder, entries)
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    with peer:
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            loop(timeout=DEADLINE_SECONDS, map=entries)
        assert time.monotonic() - started < DEADLINE_SECONDS / 2
        timer.join()

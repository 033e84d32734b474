"""`TLSDispatcher` against itself and against the sockets of the `ssl` module."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import client_context, server_context
from loop_entries import DEADLINE_SECONDS, Noting, turn_until

from wiretask import Dispatcher, TLSDispatcher
from wiretask.dispatcher import SocketMap, loop


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """The context of the server."""
    return server_context(tmp_path)


class Talker(Noting, TLSDispatcher):
    """Sends what is in `waiting`, keeps what it reads."""

    read_size = 65536
    is_open = True

    def __init__(self, sock: socket.socket | None = None, map: SocketMap | None = None, **options: Any) -> None:
        self.data = b""
        self.waiting = b""
        super().__init__(sock, map, **options)

    def readable(self) -> bool:
        return self.is_open

    def writable(self) -> bool:
        return bool(self.waiting)

    def handle_connect(self) -> None:
        self.calls.append("connect")

    def handle_write(self) -> None:
        self.waiting = self.waiting[self.send(self.waiting) :]

    def handle_read(self) -> None:
        self.data += self.recv(self.read_size)


class Quiet(TLSDispatcher):
    """Overrides neither `readable` nor `writable`, and so is not asked: sends back what it reads."""

    def handle_read(self) -> None:
        if data := self.recv(100):
            self.send(data)


def talking(entries: SocketMap, context: ssl.SSLContext, kind: Any = Talker) -> tuple[Any, Talker]:
    """Return a server and a client that are connected, but have not shaken hands."""
    ours, theirs = socket.socketpair()
    server = kind(ours, entries, context=context, server_side=True)
    return server, Talker(theirs, entries, context=client_context(), server_hostname="localhost")


@contextlib.contextmanager
def against_blocking(entries: SocketMap, context: ssl.SSLContext, work: Any, kind: Any = Talker) -> Iterator[Any]:
    """A server in the loop, and a client of the `ssl` module in a thread, which does `work(client)`."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_SECONDS)
    results: list[Any] = []

    def talk() -> None:
        with theirs:
            client = client_context().wrap_socket(
                theirs, server_hostname="localhost", suppress_ragged_eofs=False, do_handshake_on_connect=True
            )
            with client:
                results.append(work(client))

    server = kind(ours, entries, context=context, server_side=True)
    server.results = results
    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield server
    finally:
        thread.join(DEADLINE_SECONDS)


def read_all(client: ssl.SSLSocket) -> bytes:
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def test_both_sides_shake_hands_and_talk(entries: SocketMap, context: ssl.SSLContext) -> None:
    server, client = talking(entries, context)
    client.waiting, server.waiting = b"c" * 300_000, b"s" * 300_000
    turn_until(entries, lambda: len(server.data) == len(client.data) == 300_000)
    assert (server.data, client.data) == (b"c" * 300_000, b"s" * 300_000)
    assert (server.calls, client.calls) == (["connect"], ["connect"])
    assert client.is_secured
    assert client.tls.version() in ("TLSv1.2", "TLSv1.3")
    client.close()
    turn_until(entries, lambda: not entries)
    assert server.calls == ["connect", "close"]
    assert not server.is_truncated


def test_it_connects_over_tcp(entries: SocketMap, context: ssl.SSLContext) -> None:
    servers: list[Quiet] = []

    class Listener(Dispatcher):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            servers.append(Quiet(sock, entries, context=context, server_side=True))

    listener = Listener(None, entries)
    listener.create_socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    assert listener.socket is not None
    client = Talker(None, entries, context=client_context(), server_hostname="localhost")
    for _ in range(2):
        # The second time with the same dispatcher.
        client.data, client.waiting = b"", b"x" * 50_000
        client.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect(listener.socket.getsockname())
        turn_until(entries, lambda: len(client.data) == 50_000)
        client.close()
    turn_until(entries, lambda: len(entries) == 1)
    assert client.calls == ["connect"] * 2


def test_input_that_waits_in_the_tls_engine_is_reported(entries: SocketMap, context: ssl.SSLContext) -> None:
    server, client = talking(entries, context)
    turn_until(entries, lambda: server.is_secured and client.is_secured)
    client.read_size = 1
    assert server.send(b"0123456789") == 10
    turn_until(entries, lambda: client.data == b"0123456789")


def test_input_that_waits_is_reported_when_it_is_wanted_again(entries: SocketMap, context: ssl.SSLContext) -> None:
    server, client = talking(entries, context)
    turn_until(entries, lambda: server.is_secured and client.is_secured)
    client.read_size = 1
    assert server.send(b"ab") == 2
    turn_until(entries, lambda: client.data == b"a")
    client.is_open = False
    begun = time.monotonic()
    loop(timeout=0.05, map=entries, count=3)
    assert time.monotonic() - begun >= 0.15
    assert client.data == b"a"
    client.is_open = True
    turn_until(entries, lambda: client.data == b"ab")


def test_a_quiet_one_is_not_asked_and_works(entries: SocketMap, context: ssl.SSLContext) -> None:
    def work(client: ssl.SSLSocket) -> bytes:
        answers = b""
        for number in range(20):
            client.sendall(b"x" * 1000)
            while len(answers) < 1000 * (number + 1):
                answers += client.recv(1000)
        client.unwrap().close()
        return answers

    with against_blocking(entries, context, work, Quiet) as server:
        turn_until(entries, lambda: server.results and not entries)
    assert server.results == [b"x" * 20_000]


def test_what_was_sent_before_a_close_arrives_and_so_does_the_farewell(
    entries: SocketMap, context: ssl.SSLContext
) -> None:
    class Last(Talker):
        sent = 0

        def handle_connect(self) -> None:
            # More than the socket takes, so that a part of the last record waits here.
            while taken := self.send(b"z" * 16384):
                self.sent += taken
            self.close()

    def work(client: ssl.SSLSocket) -> bytes:
        time.sleep(0.1)
        # Raises at an end without a farewell.
        return read_all(client)

    with against_blocking(entries, context, work, Last) as server:
        turn_until(entries, lambda: server.results)
    assert server.sent > 16384
    assert server.results == [b"z" * server.sent]
    turn_until(entries, lambda: not entries)


def test_an_end_without_farewell_is_told(entries: SocketMap, context: ssl.SSLContext) -> None:
    server, client = talking(entries, context)
    turn_until(entries, lambda: server.is_secured and client.is_secured)
    assert client.send(b"last") == 4
    assert client.socket is not None
    client.del_channel()
    client.socket.close()
    turn_until(entries, lambda: not entries)
    assert (server.data, server.is_truncated, server.calls) == (b"last", True, ["connect", "close"])


def test_a_certificate_that_is_not_trusted_is_an_error_of_that_one(
    entries: SocketMap, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = socket.socketpair()
    server = Talker(ours, entries, context=context, server_side=True)
    client = Talker(theirs, entries, server_hostname="localhost")
    other_server, other_client = talking(entries, context)
    turn_until(entries, lambda: not client.connected and not server.connected and other_client.is_secured)
    assert client.calls == ["error", "close"]
    assert server.calls == ["error", "close"]
    assert "SSLCertVerificationError" in caplog.text
    assert other_server.connected


def test_garbage_instead_of_a_handshake_is_an_error_of_that_one(
    entries: SocketMap, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        server = Talker(ours, entries, context=context, server_side=True)
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        turn_until(entries, lambda: not entries)
    assert server.calls == ["error", "close"]
    assert "SSLError" in caplog.text


def test_nothing_is_sent_before_the_handshake(entries: SocketMap, context: ssl.SSLContext) -> None:
    server, client = talking(entries, context)
    assert (server.send(b"x"), client.send(b"x")) == (0, 0)
    with pytest.raises(BlockingIOError):
        client.recv(1)


def test_arguments_that_do_not_go_together_are_refused(entries: SocketMap) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ValueError, match="certificate"):
            TLSDispatcher(ours, entries, server_side=True)
        with pytest.raises(ValueError, match="server_hostname"):
            TLSDispatcher(theirs, entries)
    assert not entries

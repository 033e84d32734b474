"""`wiretask.asyncore` on every Python: its names, and what differs from `wiretask.Dispatcher`.

The standard library's own tests (tests/contract) cover the same ground on the Pythons that have them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loop_entries import DEADLINE_SECONDS, turn_until
from zope.interface.verify import verifyClass

import wiretask
import wiretask.asynchat as asynchat
import wiretask.asyncore as asyncore
from wiretask.interfaces import IDispatcher

#: What `from asyncore import *` gave on Python 3.11.
PUBLIC_NAMES = [
    "EAGAIN",
    "EALREADY",
    "EBADF",
    "ECONNABORTED",
    "ECONNRESET",
    "EINPROGRESS",
    "EINVAL",
    "EISCONN",
    "ENOTCONN",
    "EPIPE",
    "ESHUTDOWN",
    "EWOULDBLOCK",
    "ExitNow",
    "close_all",
    "compact_traceback",
    "dispatcher",
    "dispatcher_with_send",
    "errorcode",
    "file_dispatcher",
    "file_wrapper",
    "loop",
    "os",
    "poll",
    "poll2",
    "poll3",
    "read",
    "readwrite",
    "select",
    "socket",
    "socket_map",
    "sys",
    "time",
    "warnings",
    "write",
]
NAMES = [*PUBLIC_NAMES, "_DISCONNECTED", "_exception", "_reraised_exceptions", "_strerror"]
MEMBERS = [
    "debug",
    "connected",
    "accepting",
    "connecting",
    "closing",
    "addr",
    "ignore_log_types",
    "add_channel",
    "del_channel",
    "create_socket",
    "set_socket",
    "set_reuse_addr",
    "readable",
    "writable",
    "listen",
    "bind",
    "connect",
    "accept",
    "send",
    "recv",
    "close",
    "log",
    "log_info",
    "handle_read_event",
    "handle_connect_event",
    "handle_write_event",
    "handle_expt_event",
    "handle_error",
    "handle_expt",
    "handle_read",
    "handle_write",
    "handle_connect",
    "handle_accept",
    "handle_accepted",
    "handle_close",
]


@pytest.fixture
def entries() -> Iterator[Any]:
    """A map of the test's own, closed at its end."""
    entries = wiretask.WatchedMap()
    yield entries
    asyncore.close_all(entries, ignore_all=True)


def pair(kind: Any, entries: Any) -> tuple[Any, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_SECONDS)
    return kind(ours, entries), theirs


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    assert hasattr(asyncore, name)


def test_an_import_of_everything_gives_what_it_gave() -> None:
    assert sorted(asyncore.__all__) == PUBLIC_NAMES
    assert sorted(asynchat.__all__) == ["async_chat", "asyncore", "deque", "find_prefix_at_end", "simple_producer"]
    assert asyncore.EWOULDBLOCK == errno.EWOULDBLOCK


def test_a_connection_that_is_made_at_once_looks_like_any_other(entries: Any, tmp_path: Path) -> None:
    seen = []

    class Client(asyncore.dispatcher):
        def handle_connect(self) -> None:
            seen.append((self.connected, self.connecting))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        client = Client(map=entries)
        client.create_socket(socket.AF_UNIX)
        client.connect(str(tmp_path / "socket"))
    # As asyncore had it.
    assert seen == [(False, True)]
    assert (client.connected, client.connecting) == (True, False)


def test_listen_takes_its_argument_by_name(entries: Any) -> None:
    listener = asyncore.dispatcher(map=entries)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(num=1)
    assert listener.accepting


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_of_a_dispatcher_is_there(name: str) -> None:
    assert hasattr(asyncore.dispatcher, name)


def test_it_is_a_dispatcher_of_ours() -> None:
    assert issubclass(asyncore.dispatcher, wiretask.Dispatcher)
    assert verifyClass(IDispatcher, asyncore.dispatcher)
    assert asyncore.socket_map is wiretask.socket_map
    assert asyncore.ExitNow is wiretask.ExitNow
    assert asyncore.poll3 is asyncore.poll2


def test_a_new_dispatcher_has_the_attributes_of_old() -> None:
    dispatcher = asyncore.dispatcher()
    assert (dispatcher.socket, dispatcher.addr, dispatcher._fileno) == (None, None, None)
    assert dispatcher._map is asyncore.socket_map
    assert [getattr(dispatcher, name) for name in ("connected", "accepting", "connecting", "closing")] == [False] * 4
    assert repr(dispatcher) == f"<asyncore.dispatcher at {id(dispatcher):#x}>"


def test_create_socket_has_defaults(entries: Any) -> None:
    dispatcher = asyncore.dispatcher(map=entries)
    dispatcher.create_socket()
    assert dispatcher.family_and_type == (socket.AF_INET, socket.SOCK_STREAM)
    dispatcher.bind(("127.0.0.1", 0))
    dispatcher.listen(5)
    assert "listening 127.0.0.1:0" in repr(dispatcher)


def test_log_and_log_info_write_to_the_standard_streams(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = asyncore.dispatcher()
    dispatcher.log("a hit")
    dispatcher.log_info("an info")
    dispatcher.log_info("ignored", "warning")
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == ("log: a hit\n", "info: an info\n")


def test_handle_error_prints_where_it_was_and_closes(entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ValueError("seven")

    failing, peer = pair(Failing, entries)
    with peer:
        peer.sendall(b"x")
        turn_until(entries, lambda: not entries)
    out = capsys.readouterr().out
    assert out.startswith("error: uncaptured python exception, closing channel <test_asyncore.")
    assert "(<class 'ValueError'>:seven [" in out
    assert out.rstrip().endswith("])")
    assert failing.socket.fileno() == -1


def test_compact_traceback_needs_an_exception() -> None:
    with pytest.raises(AssertionError):
        asyncore.compact_traceback()
    with contextlib.suppress(ValueError):
        try:
            raise ValueError("eight")
        finally:
            (file, function, line), kind, value, text = asyncore.compact_traceback()
    assert (file, function) == (__file__, "test_compact_traceback_needs_an_exception")
    assert value is not None
    assert value.__traceback__ is not None
    assert (kind, line) == (ValueError, str(value.__traceback__.tb_lineno))
    assert text == f"[{file}|{function}|{line}]"


@pytest.mark.parametrize("error", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("call", [asyncore.read, asyncore.write, asyncore._exception])
def test_what_ends_the_loop_passes_through(call: Any, error: type[BaseException]) -> None:
    class Ending:
        def handle_read_event(self) -> None:
            raise error

        handle_write_event = handle_expt_event = handle_read_event

    with pytest.raises(error):
        call(Ending())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (select.POLLIN | select.POLLOUT | select.POLLPRI, ["read", "write", "expt"]),
        (select.POLLIN | select.POLLHUP, ["read", "close"]),
        (select.POLLERR, ["close"]),
        (select.POLLNVAL, ["close"]),
    ],
)
def test_readwrite_calls_the_handlers_in_their_order(flags: int, expected: list[str]) -> None:
    class Noting:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def handle_read_event(self) -> None:
            self.calls.append("read")

        def handle_write_event(self) -> None:
            self.calls.append("write")

        def handle_expt_event(self) -> None:
            self.calls.append("expt")

        def handle_close(self) -> None:
            self.calls.append("close")

    noting = Noting()
    asyncore.readwrite(noting, flags)
    assert noting.calls == expected


@pytest.mark.parametrize(("number", "expected"), [(errno.EPIPE, "close"), (errno.EIO, "error")])
def test_readwrite_takes_a_lost_connection_for_a_close(number: int, expected: str) -> None:
    calls: list[str] = []

    class Failing:
        def handle_read_event(self) -> None:
            raise OSError(number, "lost")

        def handle_close(self) -> None:
            calls.append("close")

        def handle_error(self) -> None:
            calls.append("error")

    asyncore.readwrite(Failing(), select.POLLIN)
    assert calls == [expected]


@pytest.mark.parametrize("poll", [asyncore.poll, asyncore.poll2, asyncore.poll3])
@pytest.mark.parametrize("kind", [dict, wiretask.WatchedMap])
def test_poll_has_one_turn(poll: Any, kind: Any) -> None:
    entries = kind()
    poll(DEADLINE_SECONDS, entries)
    reads: list[bytes] = []

    class Reader(asyncore.dispatcher):
        def handle_read(self) -> None:
            reads.append(self.recv(1))

    reader, peer = pair(Reader, entries)
    with peer:
        peer.sendall(b"xy")
        poll(DEADLINE_SECONDS, entries)
        assert reads == [b"x"]
        poll(DEADLINE_SECONDS, entries)
        assert reads == [b"x", b"y"]
        poll(0, entries)
        poll(map=entries)
        reader.close()


def test_another_map_may_be_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    entries: dict[int, Any] = {}
    monkeypatch.setattr(asyncore, "socket_map", entries)
    ours, theirs = socket.socketpair()
    with theirs:
        dispatcher = asyncore.dispatcher(ours)
        assert list(entries.values()) == [dispatcher]
        asyncore.loop(timeout=0, count=1)
        asyncore.close_all()
    assert entries == {}


def test_dispatcher_with_send_sends_everything(entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sender, peer = pair(asyncore.dispatcher_with_send, entries)
    with peer:
        sender.debug = True
        sender.send(b"abc")
        assert capsys.readouterr().out == "info: sending b'abc'\n"
        sender.debug = False
        sender.send(b"x" * 3_000_000)
        assert sender.out_buffer
        received = 0
        peer.setblocking(False)
        while received < 3_000_003:
            asyncore.loop(timeout=0.01, map=entries, count=1)
            try:
                received += len(peer.recv(65536))
            except BlockingIOError:
                continue
        assert sender.out_buffer == b""


def test_an_out_buffer_that_is_filled_by_hand_is_sent(entries: Any) -> None:
    sender, peer = pair(asyncore.dispatcher_with_send, entries)
    with peer:
        asyncore.loop(timeout=0, map=entries, count=2)
        sender.out_buffer += b"abc"
        asyncore.loop(timeout=DEADLINE_SECONDS, map=entries, count=1)
        assert peer.recv(10) == b"abc"


def test_a_file_wrapper_has_what_dispatchers_need(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    descriptor = os.open(tmp_path / "file", os.O_RDWR)
    wrapper = asyncore.file_wrapper(descriptor)
    os.close(descriptor)
    assert (wrapper.recv(2), wrapper.read(2)) == (b"ab", b"cd")
    assert wrapper.send(b"!") == wrapper.write(b"?") == 1
    assert wrapper.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    with pytest.raises(NotImplementedError):
        wrapper.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    wrapper.close()
    wrapper.close()
    assert wrapper.fileno() == -1


def test_a_file_wrapper_that_was_not_closed_is_warned_about(tmp_path: Path) -> None:
    held: list[Any] = []
    with (tmp_path / "file").open("wb") as file:
        held.append(asyncore.file_wrapper(file.fileno()))
    with pytest.warns(ResourceWarning, match="unclosed file"):
        held.clear()


def test_a_connection_that_nobody_reads_ends_with_a_hang_up(entries: Any) -> None:
    listener = asyncore.dispatcher(map=entries)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    closed: list[int] = []

    class Deaf(asyncore.dispatcher):
        def handle_close(self) -> None:
            closed.append(1)
            self.close()

    with socket.create_connection(listener.socket.getsockname()) as client:
        pair_ = None
        while pair_ is None:
            pair_ = listener.accept()
        Deaf(pair_[0], entries)
        listener.close()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    turn_until(entries, lambda: closed)
    assert closed == [1]


def test_it_can_stand_in_for_the_removed_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncore", asyncore)
    import asyncore as found

    assert found is asyncore

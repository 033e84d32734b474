"""`Connection`, the ISocket that a channel gets: during the connection and after it."""

from __future__ import annotations

import errno
import pickle
import socket
import threading
from typing import Any

import pytest
from peers import until
from protocols import Echo, acting
from zope.interface.verify import verifyObject

import wiretask
from wiretask.errors import ClientDisconnectedError
from wiretask.interfaces import IServerChannel, ISocket, ITask


class Kept:
    """A channel and its connection, its peer and its server."""

    def __init__(self, serving: Any, connect: Any, **options: Any) -> None:
        channels: list[Any] = []

        def keep(channel: Any) -> None:
            channels.append(channel)
            channel.write(b"kept\n")

        self.server = serving(acting(keep=keep), **options)
        self.peer = connect(self.server)
        self.peer.ask(b"keep")
        self.channel = channels[0]
        self.conn = self.channel.conn

    def close(self) -> None:
        self.peer.close()
        until(lambda: self.conn.fileno() == -1)


@pytest.fixture
def kept(serving, connect) -> Kept:
    return Kept(serving, connect)


def test_connection_and_channel_provide_their_interfaces(kept):
    assert verifyObject(ISocket, kept.conn)
    assert verifyObject(IServerChannel, kept.channel)
    assert verifyObject(ITask, kept.channel)


def test_names_of_both_ends(kept):
    assert kept.conn.getpeername() == kept.peer.socket.getsockname() == kept.channel.addr
    assert kept.conn.getsockname() == kept.peer.socket.getpeername()


def test_names_over_ipv6(serving, connect):
    kept = Kept(serving, connect, ip="::1")
    assert kept.conn.getpeername() == kept.peer.socket.getsockname()


def test_names_over_a_unix_socket(serving, connect, tmp_path):
    path = str(tmp_path / "socket")
    kept = Kept(serving, connect, ip=f"unix:{path}", port=None)
    assert kept.conn.getpeername() == ""
    assert kept.conn.getsockname() == path


def test_options_are_those_of_the_socket(kept):
    assert kept.conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    kept.conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert kept.conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert kept.conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 4)[:1] == b"\1"


def test_descriptor_is_that_of_the_connection(kept):
    with socket.fromfd(kept.conn.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        assert same.getpeername() == kept.conn.getpeername()


def test_objects_for_one_connection_are_equal(kept):
    assert kept.channel.conn == kept.channel.conn
    assert hash(kept.channel.conn) == hash(kept.channel.conn)


def test_objects_for_different_connections_are_not_equal(kept, serving, connect):
    assert Kept(serving, connect).conn != kept.conn
    assert kept.conn != kept.channel
    assert kept.conn is not None


def test_repr_tells_peer_and_state(kept):
    assert repr(kept.conn) == f"<wiretask.Connection from {kept.channel.addr!r}, open>"
    kept.close()
    assert repr(kept.conn).endswith("closed>")
    assert repr(kept.channel.addr) in repr(kept.channel)


def test_send_takes_everything_and_sends_it(kept):
    assert kept.conn.send(bytearray(b"hello\n")) == 6
    assert kept.peer.read_line() == b"hello\n"


def test_close_sends_what_waits(kept):
    kept.conn.send(b"last words\n")
    kept.conn.close()
    kept.conn.close()
    assert kept.peer.read_to_end() == b"last words\n"
    until(lambda: kept.conn.closed)


def test_abort_closes_at_once(kept):
    kept.conn.abort()
    assert kept.conn.closed
    assert kept.peer.is_closed_by_server()


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda conn: conn.listen(1), errno.EINVAL),
        (lambda conn: conn.bind(("127.0.0.1", 0)), errno.EINVAL),
        (lambda conn: conn.connect(("127.0.0.1", 1)), errno.EISCONN),
        (lambda conn: conn.accept(), errno.EINVAL),
    ],
)
def test_what_a_connected_socket_cannot_do_fails_as_it_would(kept, call, number):
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        call(kept.conn)
    assert caught.value.errno == number


# ---- reading by hand ------------------------------------------------------------------------------------


def test_recv_needs_reading_to_be_paused(kept):
    with pytest.raises(RuntimeError, match=r"pause_reading\(\)"):
        kept.conn.recv(10)


def test_paused_connection_is_read_by_hand_then_by_the_loop_again(kept):
    kept.conn.pause_reading()
    kept.peer.send(b"by hand")
    data = bytearray()
    while len(data) < 7:
        try:
            data += kept.conn.recv(100)
        except BlockingIOError:
            continue
    assert data == b"by hand"
    kept.conn.resume_reading()
    assert kept.peer.ask(b"keep") == b"kept"


def test_paused_connection_leaves_input_unread(kept):
    before = kept.server.stats()["bytes_received"]
    kept.conn.pause_reading()
    kept.peer.send(b"keep\n")
    kept.conn.send(b"not read yet\n")
    assert kept.peer.read_line() == b"not read yet\n"
    assert kept.server.stats()["bytes_received"] == before
    kept.conn.resume_reading()
    assert kept.peer.read_line() == b"kept\n"


def test_recv_never_waits(kept):
    previous = socket.getdefaulttimeout()
    kept.conn.pause_reading()
    socket.setdefaulttimeout(30)
    try:
        with pytest.raises(BlockingIOError):
            kept.conn.recv(1)
    finally:
        socket.setdefaulttimeout(previous)


def test_reset_of_a_paused_connection_is_seen(kept):
    kept.conn.pause_reading()
    kept.peer.reset()
    until(lambda: kept.conn.closed)


def test_end_of_a_paused_connection_is_seen_when_it_is_read_again(kept):
    kept.conn.pause_reading()
    kept.peer.close()
    kept.conn.resume_reading()
    until(lambda: kept.conn.closed)


# ---- after the end --------------------------------------------------------------------------------------


def test_closed_connection_still_knows_its_peer(kept):
    address = kept.conn.getpeername()
    kept.close()
    assert kept.conn.getpeername() == kept.channel.addr == address
    assert kept.conn.closed
    assert kept.conn.client_disconnected
    assert kept.conn.fileno() == -1


@pytest.mark.parametrize(
    "call",
    [
        lambda conn: conn.getsockname(),
        lambda conn: conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        lambda conn: conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        lambda conn: (conn.pause_reading(), conn.recv(1)),
    ],
    ids=["getsockname", "getsockopt", "setsockopt", "recv"],
)
def test_what_needs_the_descriptor_fails_with_ebadf_after_the_close(kept, call):
    kept.close()
    with pytest.raises(OSError, match="closed") as caught:
        call(kept.conn)
    assert caught.value.errno == errno.EBADF


def test_send_after_the_close_raises(kept):
    kept.close()
    with pytest.raises(ClientDisconnectedError):
        kept.conn.send(b"x")


def test_ending_a_closed_connection_is_harmless(kept):
    kept.close()
    for end in (kept.conn.close, kept.conn.abort, kept.conn.resume_reading, kept.channel.close_when_done):
        end()


# ---- nonsense -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [None, 7, "socket", object()])
def test_connection_is_not_made_by_hand(native):
    with pytest.raises(TypeError, match="made by a server"):
        wiretask.Connection(native)


@pytest.mark.parametrize("name", ["conn", "channel"])
def test_connections_and_channels_cannot_be_pickled(kept, name):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(getattr(kept, name), protocol)


@pytest.mark.parametrize("size", [-1, "many", None, 1.5])
def test_recv_refuses_a_nonsensical_size(kept, size):
    kept.conn.pause_reading()
    with pytest.raises((TypeError, ValueError)):
        kept.conn.recv(size)


def test_methods_may_be_called_from_many_threads_while_it_closes(serving, connect):
    for _ in range(20):
        kept = Kept(serving, connect)
        failures: list[BaseException] = []

        def use(conn=kept.conn, failures=failures) -> None:
            try:
                while not conn.closed:
                    conn.getsockname()
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    conn.pause_reading()
                    conn.resume_reading()
                    conn.send(b"x")
            except OSError:
                pass
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        kept.peer.close()
        for thread in threads:
            thread.join(20)
        assert failures == []
        kept.server.stop()


def test_channel_without_a_connection_says_so():
    class Loose(Echo):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match=r"ServerChannel\.__init__ has not been called"):
        Loose().write(b"x")

"""Where a server listens and what it sets on its sockets, with real clients."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from ipv6 import needs_ipv6
from peers import Peer, until
from processes import descriptors

import wiretask
from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.examples.echo import EchoChannel, EchoServer


def answer_at(address: Any) -> bytes:
    peer = Peer(address)
    try:
        return peer.ask(b"hello")
    finally:
        peer.close()


def reachable(spelling: str) -> Any:
    """What a client connects to for an address of `effective_listen`."""
    address = ListenAddress.parse(spelling)
    if address.kind == "unix":
        return address.path
    return ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host), address.port)


class WatchingChannel(EchoChannel):
    """Notes its connection."""

    seen: list[wiretask.Connection]

    def handle_connect(self) -> None:
        type(self).seen.append(self.conn)


@pytest.fixture
def watching() -> type[WatchingChannel]:
    return type("Watching", (WatchingChannel,), {"seen": []})


def test_ipv4_with_port_0_serves_on_the_port_it_reports(serving: Any) -> None:
    server = serving(EchoServer, "127.0.0.1", 0)
    assert server.effective_host == "127.0.0.1"
    assert server.effective_port > 0
    assert server.addr == ("127.0.0.1", server.effective_port)
    assert answer_at(("127.0.0.1", server.effective_port)) == b"hello"


@needs_ipv6
def test_ipv6_serves(serving: Any) -> None:
    server = serving(EchoServer, "::1", 0)
    assert server.effective_listen == (f"[::1]:{server.effective_port}",)
    assert answer_at(("::1", server.effective_port)) == b"hello"


@needs_ipv6
@pytest.mark.parametrize("ip", ["", "*"])
def test_every_interface_serves_both_families_on_one_port(serving: Any, ip: str) -> None:
    server = serving(EchoServer, ip, 0)
    port = server.effective_port
    assert len(server.effective_listen) == 2
    assert answer_at(("::1", port)) == answer_at(("127.0.0.1", port)) == b"hello"


def test_a_unix_socket_serves_with_its_permission_bits_and_goes_with_the_server(
    serving: Any, directory: Path
) -> None:
    path = directory / "s"
    server = serving(EchoServer, f"unix:{path}", None, adj=Adjustments(unix_socket_perms=0o640))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (server.effective_host, server.effective_port) == (str(path), 0)
    assert answer_at(str(path)) == b"hello"
    assert server.stop() is True
    assert not path.exists()


def test_several_addresses_are_all_served(serving: Any, directory: Path) -> None:
    listen = ("127.0.0.1:0", f"unix:{directory / 'a'}", "127.0.0.1:0", f"unix:{directory / 'b'}")
    server = serving(EchoServer, "127.0.0.1", 0, adj=Adjustments(listen=listen, io_threads=2))
    assert len(set(server.effective_listen)) == 5
    assert [answer_at(reachable(spelling)) for spelling in server.effective_listen] == [b"hello"] * 5


def test_sockets_bound_elsewhere_are_served_and_closed_at_the_stop(serving: Any, directory: Path) -> None:
    inet = socket.socket()
    inet.bind(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(directory / "s"))
    server = serving(EchoServer, None, None, adj=Adjustments(sockets=(inet, unix)))
    assert answer_at(inet.getsockname()) == answer_at(str(directory / "s")) == b"hello"
    server.stop()
    assert (inet.fileno(), unix.fileno()) == (-1, -1)


def test_nowhere_to_listen_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nowhere to listen"):
        EchoServer(None, None)


def test_an_address_in_use_is_named_and_nothing_is_left_open(directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        name = f"127.0.0.1:{taken.getsockname()[1]}"
        before = descriptors(), dict(wiretask.socket_map)
        with pytest.raises(OSError, match=name) as caught:
            EchoServer("127.0.0.1", 0, adj=Adjustments(listen=[f"unix:{directory / 's'}", name]))
        assert caught.value.errno == errno.EADDRINUSE
        assert (descriptors(), dict(wiretask.socket_map)) == before
        assert list(directory.iterdir()) == []


def test_a_server_that_is_not_to_start_is_bound_but_refuses_connections() -> None:
    server = EchoServer("127.0.0.1", 0, start=False)
    address = ("127.0.0.1", server.effective_port)
    try:
        assert server.accepting is False
        with pytest.raises(ConnectionRefusedError):
            Peer(address)
        server.accept_connections()
        assert server.accepting is True
        with contextlib.closing(Peer(address)) as waiting:
            server.start()
            assert waiting.ask(b"patience") == b"patience"
    finally:
        server.stop()


def test_start_listens_if_the_constructor_did_not() -> None:
    with EchoServer("127.0.0.1", 0, start=False) as server:
        assert answer_at(("127.0.0.1", server.effective_port)) == b"hello"


def test_connections_made_before_the_start_are_served_and_have_the_socket_options(
    watching: type[WatchingChannel],
) -> None:
    options = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    )
    server_class = type("Early", (wiretask.Server,), {"channel_class": watching})
    server = server_class("127.0.0.1", 0, adj=Adjustments(socket_options=options))
    try:
        early = Peer.of(server)
        server.start()
        late = Peer.of(server)
        assert early.ask(b"1") == b"1"
        assert late.ask(b"2") == b"2"
        until(lambda: len(watching.seen) == 2, "both connections")
        for conn in watching.seen:
            for level, option, value in options:
                assert conn.getsockopt(level, option) == value, conn
        early.close()
        late.close()
    finally:
        server.stop()


@pytest.mark.parametrize("value", [0, 1])
def test_socket_options_are_set_on_accepted_connections(
    serving: Any, connect: Any, watching: type[WatchingChannel], value: int
) -> None:
    options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, value), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, value))
    server = serving(watching, adj=Adjustments(socket_options=options))
    assert connect(server).ask(b"x") == b"x"
    assert [watching.seen[0].getsockopt(level, option) for level, option, _ in options] == [value, value]


def test_socket_options_leave_unix_sockets_alone(serving: Any, connect: Any, directory: Path) -> None:
    server = serving(EchoServer, f"unix:{directory / 's'}", None)
    assert connect(server).ask(b"x") == b"x"


def test_a_socket_option_the_system_refuses_is_an_error_of_the_constructor() -> None:
    before = descriptors()
    with pytest.raises(OSError, match="socket option"):
        EchoServer("127.0.0.1", 0, adj=Adjustments(socket_options=((socket.SOL_SOCKET, 9999, 1),)))
    assert descriptors() == before


def test_reuse_port_lets_two_servers_share_a_port(serving: Any) -> None:
    adj = Adjustments(reuse_port=True)
    first = serving(EchoServer, adj=adj)
    second = serving(EchoServer, "127.0.0.1", first.effective_port, adj=adj)
    address = ("127.0.0.1", first.effective_port)
    until(
        lambda: answer_at(address) and first.stats()["accepted"] and second.stats()["accepted"],
        "both servers to get connections",
    )
    first.stop()
    assert [answer_at(address) for _ in range(20)] == [b"hello"] * 20


def test_a_path_that_was_unlinked_does_not_hurt_the_other_listeners(
    serving: Any, connect: Any, directory: Path
) -> None:
    path = directory / "s"
    server = serving(EchoServer, "127.0.0.1", 0, adj=Adjustments(listen=f"unix:{path}"))
    path.unlink()
    assert connect(server).ask(b"x") == b"x"
    assert server.stop() is True


class AcceptingServer(EchoServer):
    """Its connections are accepted in Python."""

    def handle_accept(self) -> None:
        super().handle_accept()


@pytest.mark.parametrize("server_class", [EchoServer, AcceptingServer])
def test_a_listener_that_is_shut_down_under_the_server_is_logged_once_and_does_not_hurt_the_others(
    serving: Any, connect: Any, caplog: pytest.LogCaptureFixture, server_class: type
) -> None:
    broken = socket.socket()
    broken.bind(("127.0.0.1", 0))
    server = serving(server_class, "127.0.0.1", 0, adj=Adjustments(sockets=(broken,)))
    assert connect(server).ask(b"x") == b"x"
    broken.shutdown(socket.SHUT_RDWR)
    until(lambda: "a listener is lost" in caplog.text, "the log message")
    for _ in range(3):
        assert connect(server).ask(b"x") == b"x"
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert server.stop() is True


def test_a_listener_whose_descriptor_was_closed_under_the_server_does_not_spoil_the_stop(
    serving: Any, connect: Any
) -> None:
    given = socket.socket()
    given.bind(("127.0.0.1", 0))
    server = serving(EchoServer, "127.0.0.1", 0, adj=Adjustments(sockets=(given,)))
    assert connect(server).ask(b"x") == b"x"
    os.close(given.fileno())
    assert server.stop() is True
    assert "stopped" in repr(server)


@pytest.mark.parametrize(
    ("ip", "port", "error"),
    [
        (b"127.0.0.1", 0, TypeError),
        (1, 0, TypeError),
        ("127.0.0.1", "80", TypeError),
        ("127.0.0.1", None, TypeError),
        ("127.0.0.1", True, TypeError),
        ("127.0.0.1", -1, ValueError),
        ("127.0.0.1", 65536, ValueError),
        ("127.0.0.300", 0, ValueError),
        ("a b", 0, ValueError),
        (None, 80, TypeError),
        ("unix:/tmp/x", 80, ValueError),
        ("unix:", None, ValueError),
    ],
)
def test_a_bad_address_is_an_error_of_the_constructor(ip: Any, port: Any, error: type[Exception]) -> None:
    before = descriptors()
    with pytest.raises(error):
        EchoServer(ip, port)
    assert descriptors() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"adj": {}},
        {"adj": "x"},
        {"task_dispatcher": object()},
        {"task_dispatcher": 4},
        {"task_dispatcher": wiretask.ThreadedTaskDispatcher},
        {"hit_log": 5},
        {"hit_log": logging.StreamHandler},
    ],
)
def test_a_bad_argument_is_a_type_error_and_opens_nothing(arguments: dict[str, Any]) -> None:
    before = descriptors()
    with pytest.raises(TypeError):
        EchoServer("127.0.0.1", 0, **arguments)
    assert descriptors() == before


def test_a_path_without_its_prefix_is_answered_with_the_right_spelling() -> None:
    with pytest.raises(TypeError, match='"unix:/run/x"'):
        EchoServer("/run/x", None)


def test_a_server_behaves_as_a_listening_socket_does_when_it_is_read_written_or_connected(serving: Any) -> None:
    server = serving(EchoServer)
    for misuse in (
        lambda: server.recv(1),
        lambda: server.send(b"x"),
        lambda: server.connect(server.addr),
        lambda: server.bind(("127.0.0.1", 0)),
    ):
        with pytest.raises(OSError, match=r"Errno"):
            misuse()
    assert server.connected is False
    assert answer_at(server.addr) == b"hello"


def test_where_a_server_listened_is_still_known_when_it_has_stopped(serving: Any) -> None:
    server = serving(EchoServer)
    address = server.addr
    server.stop()
    assert (server.effective_host, server.effective_port) == address
    assert server.effective_listen == ()

"""Listening, with real sockets and files."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ipv6 import needs_ipv6

from wiretask.addresses import ListenAddress, parse_listen
from wiretask.adjustments import Adjustments
from wiretask.listeners import bind_listeners, close_listeners


@contextlib.contextmanager
def listening(listen: str | list[str], **settings: object) -> Iterator[list[socket.socket]]:
    listeners = bind_listeners(parse_listen(listen), Adjustments().replace(**settings))
    try:
        yield listeners
    finally:
        close_listeners(listeners)


def assert_connects(listener: socket.socket, address: object) -> None:
    with socket.socket(listener.family, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(address)  # type: ignore[arg-type]
        listener.settimeout(10)
        accepted, _ = listener.accept()
        accepted.close()


def open_descriptors() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}


def _is_open(fd: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return False


def test_ipv4_with_port_0_reports_the_real_port() -> None:
    with listening("127.0.0.1:0") as [listener]:
        address = ListenAddress.of_socket(listener)
        assert address.port > 0
        assert_connects(listener, (address.host, address.port))


@needs_ipv6
def test_ipv6_is_ipv6_only() -> None:
    with listening("[::1]:0") as [listener]:
        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert_connects(listener, listener.getsockname())


@needs_ipv6
@pytest.mark.parametrize("spelling", ["*:0", ":0"])
def test_every_interface_means_both_families_on_the_same_port(spelling: str) -> None:
    with listening(spelling) as listeners:
        assert [listener.family for listener in listeners] == [socket.AF_INET6, socket.AF_INET]
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        for listener, host in zip(listeners, ("::1", "127.0.0.1"), strict=True):
            assert_connects(listener, (host, listener.getsockname()[1]))


def test_a_family_can_be_switched_off() -> None:
    with listening("*:0", ipv6=False) as listeners:
        assert [listener.family for listener in listeners] == [socket.AF_INET]
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:0: it has no IPv6 address, and the other"):
        bind_listeners(parse_listen("127.0.0.1:0"), Adjustments(ipv4=False))


def test_a_name_is_resolved() -> None:
    with listening("localhost:0") as listeners:
        assert listeners
        assert len({listener.getsockname()[1] for listener in listeners}) == 1


def test_several_at_once_in_the_given_order(directory: Path) -> None:
    spelling = ["127.0.0.1:0", f"unix:{directory}/a", "127.0.0.1:0"]
    with listening(spelling) as listeners:
        assert [listener.family for listener in listeners] == [socket.AF_INET, socket.AF_UNIX, socket.AF_INET]


def test_listeners_do_not_block_and_are_not_inherited() -> None:
    with listening("127.0.0.1:0") as [listener]:
        assert listener.getblocking() is False
        assert listener.get_inheritable() is False
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("value", [True, False])
def test_reuse_options_are_set_as_asked(value: bool) -> None:
    with listening("127.0.0.1:0", reuse_address=value, reuse_port=value) as [listener]:
        assert bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is value
        assert bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) is value


def test_reuse_port_lets_two_listen_on_one_port() -> None:
    with listening("127.0.0.1:0", reuse_port=True) as [first]:
        port = first.getsockname()[1]
        with listening(f"127.0.0.1:{port}", reuse_port=True) as [second]:
            assert second.getsockname() == first.getsockname()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_port_that_is_taken_is_named_and_everything_else_closed(directory: Path) -> None:
    with listening("127.0.0.1:0") as [taken]:
        address = ListenAddress.of_socket(taken)
        before = open_descriptors()
        with pytest.raises(OSError, match=f"cannot listen on {address}: ") as caught:
            bind_listeners(parse_listen(["127.0.0.1:0", f"unix:{directory}/a", str(address)]), Adjustments())
        assert caught.value.errno == errno.EADDRINUSE
        assert open_descriptors() == before
        assert not (directory / "a").exists()


def test_a_name_that_does_not_exist_is_named() -> None:
    with pytest.raises(socket.gaierror, match=r"cannot listen on no-such-host\.invalid:1: ") as caught:
        bind_listeners(parse_listen("no-such-host.invalid:1"), Adjustments())
    assert caught.value.errno != 0


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: ") as caught:
        bind_listeners(parse_listen("192.0.2.1:0"), Adjustments())
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_without_listen_nobody_can_connect_yet() -> None:
    [bound] = bind_listeners(parse_listen("127.0.0.1:0"), Adjustments(), listen=False)
    with bound, socket.socket() as client:
        assert client.connect_ex(bound.getsockname()) == errno.ECONNREFUSED


@pytest.mark.parametrize("permissions", [0o600, 0o666, 0o640])
def test_a_unix_socket_has_the_permission_bits_whatever_the_umask(directory: Path, permissions: int) -> None:
    path = directory / "s"
    umask = os.umask(0o077)
    try:
        with listening(f"unix:{path}", unix_socket_perms=permissions) as [listener]:
            assert stat.S_IMODE(path.stat().st_mode) == permissions
            assert_connects(listener, str(path))
    finally:
        os.umask(umask)


def test_the_file_of_a_unix_socket_goes_when_it_is_closed(directory: Path) -> None:
    path = directory / "s"
    with listening(f"unix:{path}"):
        assert path.is_socket()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(directory: Path) -> None:
    path = directory / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with listening(f"unix:{path}") as [listener]:
        assert_connects(listener, str(path))


def test_a_unix_socket_somebody_listens_on_is_left_alone(directory: Path) -> None:
    path = directory / "s"
    with listening(f"unix:{path}") as [first]:
        with pytest.raises(OSError, match=f"unix:{path}: somebody listens there") as caught:
            bind_listeners(parse_listen(f"unix:{path}"), Adjustments())
        assert caught.value.errno == errno.EADDRINUSE
        assert_connects(first, str(path))


def test_a_full_backlog_is_not_taken_for_a_stale_socket(directory: Path) -> None:
    path = directory / "s"
    with listening(f"unix:{path}", backlog=1), contextlib.ExitStack() as clients:
        while True:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(str(path)) != 0:
                break
        with pytest.raises(OSError, match="somebody listens there"):
            bind_listeners(parse_listen(f"unix:{path}"), Adjustments())


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_is_never_removed(directory: Path, kind: str) -> None:
    path = directory / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(directory / "nowhere")
    with pytest.raises(FileExistsError, match=f"unix:{path}: there is a file that is no socket"):
        bind_listeners(parse_listen(f"unix:{path}"), Adjustments())
    assert os.path.lexists(path)


def test_a_file_that_is_no_longer_ours_stays(directory: Path) -> None:
    path = directory / "s"
    with listening(f"unix:{path}"):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_a_child_of_a_fork_does_not_remove_the_file(directory: Path) -> None:
    path = directory / "s"
    script = (
        "import os, sys\n"
        "from wiretask.addresses import parse_listen\n"
        "from wiretask.adjustments import Adjustments\n"
        "from wiretask.listeners import bind_listeners, close_listeners\n"
        "listeners = bind_listeners(parse_listen(['unix:' + sys.argv[1]]), Adjustments())\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    close_listeners(listeners)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(os.path.exists(sys.argv[1]))\n"
        "close_listeners(listeners)\n"
        "print(os.path.exists(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout.split(), run.stderr) == (["True", "False"], "")


def test_a_directory_that_is_missing_is_named(directory: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"cannot listen on unix:{directory}/no/s: "):
        bind_listeners(parse_listen(f"unix:{directory}/no/s"), Adjustments())


def test_sockets_bound_elsewhere_come_last_and_listen(directory: Path) -> None:
    with socket.socket() as inet, socket.socket(socket.AF_UNIX) as unix:
        inet.bind(("127.0.0.1", 0))
        unix.bind(str(directory / "s"))
        with listening("127.0.0.1:0", sockets=[inet, unix]) as listeners:
            assert listeners[1:] == [inet, unix]
            assert_connects(inet, inet.getsockname())
            assert_connects(unix, unix.getsockname())


def test_sockets_bound_elsewhere_survive_a_failure() -> None:
    with socket.socket() as given, listening("127.0.0.1:0") as [taken]:
        given.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="cannot listen"):
            bind_listeners([ListenAddress.of_socket(taken)], Adjustments(sockets=[given]))
        assert given.fileno() >= 0
        assert given.getblocking() is True


def test_unfit_sockets_are_refused_by_name() -> None:
    left, right = socket.socketpair()
    closed = socket.socket()
    closed.close()
    with left, right, socket.socket() as unbound, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", 0))
        for unfit, reason in (
            (left, "is connected"),
            (closed, "is closed"),
            (unbound, "is not bound"),
            (datagram, "is no stream socket"),
        ):
            with pytest.raises(ValueError, match=rf"^sockets\[0\] {reason}: <socket"):
                Adjustments(sockets=[unfit])
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(ValueError, match=r"^sockets\[1\] is in sockets twice"):
                Adjustments(sockets=[bound, bound])
    for wrong in ([3], ["a"], 3, left):
        with pytest.raises(TypeError, match=r"^sockets"):
            Adjustments(sockets=wrong)  # type: ignore[arg-type]

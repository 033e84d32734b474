"""Every setting is checked at once, and an error says which, what and what else."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import socket
from pathlib import Path

import pytest

from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments

DEFAULTS: dict[str, object] = {
    "threads": 4,
    "io_threads": 1,
    "max_pending": None,
    "listen": (),
    "sockets": (),
    "unix_socket_perms": 0o600,
    "backlog": 1024,
    "reuse_address": True,
    "reuse_port": False,
    "ipv4": True,
    "ipv6": True,
    "socket_options": ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
    "recv_bytes": 8192,
    "send_bytes": 65536,
    "connection_limit": 10000,
    "evict_idle_seconds": 1.0,
    "max_pipelined_requests": 256,
    "max_pipelined_bytes": 1048576,
    "log_socket_errors": True,
    "outbuf_overflow": 1048576,
    "outbuf_spool_limit": 268435456,
    "outbuf_high_watermark": 16777216,
    "outbuf_wait_seconds": 1.0,
    "spool_directory": None,
    "channel_timeout": 120.0,
    "request_timeout_seconds": 60.0,
    "write_timeout_seconds": 60.0,
    "shutdown_timeout_seconds": 5.0,
}


def test_the_settings_and_their_defaults() -> None:
    assert dataclasses.asdict(Adjustments()) == DEFAULTS


def test_the_signature_shows_the_settings() -> None:
    parameters = inspect.signature(Adjustments).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == DEFAULTS


def test_the_class_docstring_explains_every_setting() -> None:
    doc = inspect.getdoc(Adjustments) or ""
    assert [name for name in DEFAULTS if name not in doc] == []


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("threads", 1, 4096),
        ("io_threads", 1, 64),
        ("max_pending", 1, 2**62),
        ("unix_socket_perms", 0, 0o777),
        ("backlog", 1, 65535),
        ("recv_bytes", 1, 2**30),
        ("send_bytes", 1, 2**30),
        ("outbuf_high_watermark", 1, 2**40),
        ("outbuf_overflow", 1, 2**40),
        ("outbuf_spool_limit", 0, 2**40),
        ("outbuf_wait_seconds", 0, 31536000),
        ("evict_idle_seconds", 0, 31536000),
        ("max_pipelined_bytes", 1, 2**40),
        ("connection_limit", 1, 10_000_000),
        ("max_pipelined_requests", 1, 65536),
        ("channel_timeout", 0.001, 31536000),
        ("request_timeout_seconds", 0.001, 31536000),
        ("write_timeout_seconds", 0.001, 31536000),
        ("shutdown_timeout_seconds", 0, 31536000),
    ],
)
def test_a_number_has_a_range(name: str, lowest: float, highest: float) -> None:
    for value in (lowest, highest):
        assert getattr(Adjustments(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in (lowest - 1, highest + 1):
        with pytest.raises(ValueError, match=f"^{name} is .* from .* to ") as caught:
            Adjustments(**{name: value})  # type: ignore[arg-type]
        assert (oct(int(value)) if name == "unix_socket_perms" else repr(value)) in str(caught.value)
    for wrong in ("4", b"4", True, [4], 4j):
        with pytest.raises(TypeError, match=f"^{name} is .* from .* to .*not "):
            Adjustments(**{name: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_time_out_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="channel_timeout"):
        Adjustments(channel_timeout=value)


def test_none_is_no_limit_where_that_makes_sense() -> None:
    without = Adjustments(
        channel_timeout=None, request_timeout_seconds=None, write_timeout_seconds=None, max_pending=None
    )
    assert without.channel_timeout is None
    for name in ("shutdown_timeout_seconds", "threads", "backlog"):
        with pytest.raises(TypeError, match=name):
            Adjustments(**{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["reuse_address", "reuse_port", "ipv4", "ipv6", "log_socket_errors"])
@pytest.mark.parametrize("value", [0, 1, None, "true"])
def test_a_flag_is_true_or_false(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name} is True or False, not "):
        Adjustments(**{name: value})  # type: ignore[arg-type]


def test_a_directory_is_a_path() -> None:
    assert Adjustments(spool_directory=Path("/var/tmp")).spool_directory == "/var/tmp"
    assert Adjustments(spool_directory="here").spool_directory == "here"
    for wrong in (b"/tmp", 4, True, ["/tmp"]):
        with pytest.raises(TypeError, match=r"^spool_directory is the path of a directory"):
            Adjustments(spool_directory=wrong)  # type: ignore[arg-type]
    for value in ("", "/tmp/\0"):
        with pytest.raises(ValueError, match=r"^spool_directory is the path of a directory"):
            Adjustments(spool_directory=value)


def test_one_family_must_be_on() -> None:
    assert not Adjustments(ipv6=False).ipv6
    with pytest.raises(ValueError, match="ipv4 and ipv6"):
        Adjustments(ipv4=False, ipv6=False)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("thread", "threads"),
        ("conection_limit", "connection_limit"),
        ("channel_timeout_seconds", "channel_timeout"),
        ("socket", "sockets"),
        ("unix_socket_permissions", "unix_socket_perms"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(TypeError, match=f"no setting '{name}'; did you mean '{nearest}'"):
        Adjustments(**{name: 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"did you mean '{nearest}'"):
        Adjustments().replace(**{name: 1})


def test_an_unknown_name_that_is_like_none_is_answered_with_all() -> None:
    with pytest.raises(TypeError, match="there are: threads, io_threads, "):
        Adjustments(zzzzzz=1)  # type: ignore[call-arg]


def test_settings_are_given_by_name_only() -> None:
    with pytest.raises(TypeError, match="by name"):
        Adjustments(4)  # type: ignore[misc]


def test_listen_takes_one_str_or_several() -> None:
    assert Adjustments(listen="*:80 [::1]:81").listen == ("*:80", "[::1]:81")
    adj = Adjustments(listen=["unix:/a b", ":0"])
    assert adj.listen_addresses == (ListenAddress("unix", path="/a b"), ListenAddress("any", "", 0))


@pytest.mark.parametrize(("listen", "error"), [("localhost", ValueError), (80, TypeError), ([80], TypeError)])
def test_a_wrong_listen_names_the_setting(listen: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^listen: "):
        Adjustments(listen=listen)


def test_sockets_are_checked_at_once() -> None:
    with socket.socket() as bound, socket.socket() as unbound:
        bound.bind(("127.0.0.1", 0))
        assert Adjustments(sockets=[bound]).sockets == (bound,)
        with pytest.raises(ValueError, match=r"^sockets\[1\] is not bound"):
            Adjustments(sockets=[bound, unbound])


@pytest.mark.parametrize(
    "options", [1, "abc", [(1, 2)], [(1, 2, 3, 4)], [("a", 2, 3)], [(1, 2, None)], [(1, 2, 1.5)], [3]]
)
def test_socket_options_are_triples(options: object) -> None:
    with pytest.raises(TypeError, match=r"^socket_options is a sequence of "):
        Adjustments(socket_options=options)  # type: ignore[arg-type]


def test_a_socket_option_fits_into_an_int() -> None:
    assert Adjustments(socket_options=[(1, 2, b"x")]).socket_options == ((1, 2, b"x"),)
    with pytest.raises(ValueError, match="socket_options"):
        Adjustments(socket_options=[(1, 2, 2**31)])


def test_replace_makes_a_checked_copy() -> None:
    first = Adjustments(threads=2)
    second = first.replace(backlog=7)
    assert (first.threads, first.backlog, second.threads, second.backlog) == (2, 1024, 2, 7)
    with pytest.raises(ValueError, match="backlog"):
        first.replace(backlog=0)


def test_adjustments_are_frozen_comparable_hashable_and_can_be_pickled() -> None:
    adj = Adjustments(listen=":0")
    with pytest.raises(dataclasses.FrozenInstanceError):
        adj.threads = 5  # type: ignore[misc]
    assert adj == Adjustments(listen=[":0"])
    assert hash(adj) == hash(Adjustments(listen=[":0"]))
    assert pickle.loads(pickle.dumps(adj)) == adj

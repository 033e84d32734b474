"""What the strings of `listen` mean, and which are refused."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretask.addresses import MAX_UNIX_PATH_BYTES, ListenAddress, parse_listen


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("127.0.0.1:80", ListenAddress("inet", "127.0.0.1", 80)),
        ("0.0.0.0:0", ListenAddress("inet", "0.0.0.0", 0)),
        ("[::1]:8080", ListenAddress("inet6", "::1", 8080)),
        ("[fe80::1%eth0]:1", ListenAddress("inet6", "fe80::1%eth0", 1)),
        ("localhost:65535", ListenAddress("any", "localhost", 65535)),
        ("my-host.example:1", ListenAddress("any", "my-host.example", 1)),
        ("*:80", ListenAddress("any", "*", 80)),
        (":80", ListenAddress("any", "", 80)),
        ("unix:/run/a.sock", ListenAddress("unix", path="/run/a.sock")),
        ("unix:a b", ListenAddress("unix", path="a b")),
        ("unix:/a:b", ListenAddress("unix", path="/a:b")),
    ],
)
def test_parse_and_str_are_inverse(spelling: str, expected: ListenAddress) -> None:
    assert ListenAddress.parse(spelling) == expected
    assert str(expected) == spelling


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ("", "no port"),
        ("localhost", "no port"),
        ("localhost:", "the port"),
        ("localhost:http", "the port"),
        ("localhost:65536", "the port"),
        ("localhost:-1", "the port"),
        ("localhost:+80", "the port"),
        ("localhost:080", "the port"),
        ("localhost:8_0", "the port"),
        ("localhost:\uff18\uff10", "the port"),
        ("localhost:80\n", "the port"),
        ("::1:80", "in brackets"),
        ("[::1]", "the port"),
        ("[127.0.0.1]:80", "no IPv6 address"),
        ("[]:80", "no IPv6 address"),
        ("1.2.3:80", "no IPv4 address"),
        ("1.2.3.256:80", "no IPv4 address"),
        ("a b:80", "neither an address nor a name"),
        ("a/b:80", "neither an address nor a name"),
        ("**:80", "neither an address nor a name"),
        ("http://host:80", "in brackets"),
        ("unix:", "no path"),
        ("unix:a\0b", "zero bytes"),
        ("unix:" + "x" * (MAX_UNIX_PATH_BYTES + 1), f"at most {MAX_UNIX_PATH_BYTES} bytes"),
        ("unix:" + "\u00e4" * MAX_UNIX_PATH_BYTES, f"at most {MAX_UNIX_PATH_BYTES} bytes"),
    ],
)
def test_a_wrong_spelling_is_named_with_the_reason(spelling: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        ListenAddress.parse(spelling)
    assert repr(spelling) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_an_address_that_spells_itself_or_a_value_error(spelling: str) -> None:
    try:
        address = ListenAddress.parse(spelling)
    except ValueError:
        return
    assert str(address) == spelling


@pytest.mark.parametrize("value", [None, 80, b"*:80", ("a", 80)])
def test_only_a_str_is_parsed(value: object) -> None:
    with pytest.raises(TypeError, match="listen address"):
        ListenAddress.parse(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "spelling"),
    [("", ":1"), ("*", "*:1"), ("::", "[::]:1"), ("10.0.0.1", "10.0.0.1:1"), ("localhost", "localhost:1")],
)
def test_of_host_takes_addresses_without_brackets(host: str, spelling: str) -> None:
    assert str(ListenAddress.of_host(host, 1)) == spelling


@pytest.mark.parametrize(
    ("host", "port", "error"),
    [
        (None, 1, TypeError),
        ("a", "1", TypeError),
        ("a", True, TypeError),
        ("a", -1, ValueError),
        ("a", 65536, ValueError),
        ("a b", 1, ValueError),
    ],
)
def test_of_host_refuses_what_is_no_host_or_port(host: str, port: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        ListenAddress.of_host(host, port)


def test_of_socket_reports_the_real_port() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert ListenAddress.of_socket(bound) == ListenAddress("inet", "127.0.0.1", bound.getsockname()[1])


def test_a_str_is_split_at_white_space_and_a_sequence_is_not() -> None:
    assert [str(address) for address in parse_listen(" *:80\n[::1]:81 ")] == ["*:80", "[::1]:81"]
    assert parse_listen(["unix:/a b"]) == (ListenAddress("unix", path="/a b"),)
    assert parse_listen("") == ()


@pytest.mark.parametrize("listen", [b"*:80", 80, None, [80]])
def test_listen_of_another_type_is_refused(listen: str) -> None:
    with pytest.raises(TypeError, match="listen"):
        parse_listen(listen)

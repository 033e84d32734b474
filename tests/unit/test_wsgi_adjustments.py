"""The settings of a WSGI server: waitress's names, values also as text, every mistake named at once."""

from __future__ import annotations

import dataclasses
import inspect
import ipaddress
import logging
import os
import pickle
import socket
import typing
from pathlib import Path

import pytest

from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.errors import UnknownSettingError
from wiretask.wsgi import WSGIAdjustments
from wiretask.wsgi.settings import Settings

# waitress 3.0.2: its arguments and defaults, as far as ours are the same.
WAITRESS_DEFAULTS: dict[str, object] = {
    "ipv4": True,
    "ipv6": True,
    "threads": 4,
    "log_untrusted_proxy_headers": False,
    "clear_untrusted_proxy_headers": True,
    "url_scheme": "http",
    "url_prefix": "",
    "backlog": 1024,
    "recv_bytes": 8192,
    "outbuf_overflow": 1048576,
    "outbuf_high_watermark": 16777216,
    "inbuf_overflow": 524288,
    "cleanup_interval": 30,
    "channel_timeout": 120,
    "log_socket_errors": True,
    "max_request_header_size": 262144,
    "max_request_body_size": 1073741824,
    "expose_tracebacks": False,
    "asyncore_loop_timeout": 1,
    "asyncore_use_poll": False,
    "unix_socket": None,
    "unix_socket_perms": 0o600,
    "channel_request_lookahead": 0,
    "trusted_proxy_count": None,
    "trusted_proxy_headers": frozenset(),
    "sockets": (),
}
OTHER_WAITRESS_ARGUMENTS = {
    "host",
    "port",
    "listen",
    "ident",
    "connection_limit",
    "send_bytes",
    "server_name",
    "trusted_proxy",
}


def adjusted(**settings: object) -> WSGIAdjustments:
    return WSGIAdjustments(**settings)  # type: ignore[arg-type]


def test_every_waitress_argument_is_there_with_its_default() -> None:
    adj = WSGIAdjustments()
    assert {name: getattr(adj, name) for name in WAITRESS_DEFAULTS} == WAITRESS_DEFAULTS
    names = {field.name for field in dataclasses.fields(adj)}
    assert names >= OTHER_WAITRESS_ARGUMENTS
    assert adj.listen_addresses == (ListenAddress("inet", "0.0.0.0", 8080),)


def test_it_has_all_settings_of_any_server_with_the_same_defaults_but_one() -> None:
    ours, base = WSGIAdjustments(), Adjustments()
    names = [field.name for field in dataclasses.fields(base)]
    assert [name for name in names if getattr(ours, name) != getattr(base, name)] == ["shutdown_timeout_seconds"]


def test_the_class_docstrings_explain_every_setting() -> None:
    docs = (inspect.getdoc(WSGIAdjustments) or "") + (inspect.getdoc(Adjustments) or "")
    assert [field.name for field in dataclasses.fields(WSGIAdjustments) if field.name not in docs] == []


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("threads", "8", 8),
        ("threads", " 8 ", 8),
        ("port", "0", 0),
        ("max_pending", "none", None),
        ("channel_timeout", "1.5", 1.5),
        ("channel_timeout", "None", None),
        ("ipv6", "no", False),
        ("ipv6", "OFF", False),
        ("ipv6", "0", False),
        ("expose_tracebacks", "true", True),
        ("expose_tracebacks", "1", True),
        ("expose_tracebacks", "Yes", True),
        ("unix_socket_perms", "660", 0o660),
        ("unix_socket_perms", "0o660", 0o660),
        ("unix_socket_perms", "0660", 0o660),
        ("url_scheme", "HTTPS", "https"),
        ("access_log_format", "json", "json"),
        ("access_log", "true", True),
        ("access_log", "off", None),
        ("access_log", "-", "-"),
        ("access_log", "/var/log/access.log", "/var/log/access.log"),
        ("ident", "", None),
        ("ident", "none", None),
        ("ident", "shop 2", "shop 2"),
        ("trusted_proxy", "10.0.0.1, 192.168.0.0/16\nunix", ("10.0.0.1", "192.168.0.0/16", "unix")),
        ("trusted_proxy", "none", ()),
        ("listen", "*:80 [::1]:81", ("*:80", "[::1]:81")),
        ("spool_directory", "/var/tmp", "/var/tmp"),
        ("unix_socket", "/run/shop.sock", "/run/shop.sock"),
    ],
)
def test_values_may_be_text(name: str, text: str, value: object) -> None:
    assert getattr(adjusted(**{name: text}), name) == value
    assert getattr(WSGIAdjustments.from_strings({name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("threads", "eight"),
        ("threads", "8.0"),
        ("threads", ""),
        ("threads", "0x8"),
        ("threads", "\u0668"),
        ("threads", "0"),
        ("port", "65536"),
        ("channel_timeout", "soon"),
        ("channel_timeout", "nan"),
        ("channel_timeout", "1e3"),
        ("ipv6", "maybe"),
        ("ipv6", "2"),
        ("unix_socket_perms", "rw"),
        ("unix_socket_perms", "800"),
        ("url_scheme", "htps"),
        ("access_log_format", "common"),
        ("socket_options", "6 1 1"),
        ("sockets", "upstart"),
    ],
)
def test_text_that_cannot_be_read_names_the_setting_and_itself(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}[: ]") as caught:
        adjusted(**{name: text})
    if name != "socket_options":
        assert text in str(caught.value) or repr(text) in str(caught.value)


def test_a_flag_may_be_0_or_1_and_no_other_number() -> None:
    assert adjusted(ipv6=0, expose_tracebacks=1) == WSGIAdjustments(ipv6=False, expose_tracebacks=True)
    with pytest.raises(ValueError, match="ipv6 is true or false"):
        adjusted(ipv6=2)
    with pytest.raises(TypeError, match="ipv6 is True or False"):
        adjusted(ipv6=None)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("thread", "threads"), ("max_body_size", "max_request_body_size"), ("trusted_proxies", "trusted_proxy")],
)
def test_an_unknown_name_is_a_type_error_and_a_value_error_with_the_nearest_name(name: str, nearest: str) -> None:
    for error in (UnknownSettingError, TypeError, ValueError):
        with pytest.raises(error, match=f"no setting '{name}'; did you mean '{nearest}'"):
            adjusted(**{name: 1})
        with pytest.raises(error, match=f"did you mean '{nearest}'"):
            WSGIAdjustments.from_strings({name: "1"})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"listen": "*:80", "host": "a"}, "listen and host"),
        ({"listen": "*:80", "port": 1}, "listen and port"),
        ({"listen": "*:80", "unix_socket": "/s"}, "listen and unix_socket"),
        ({"unix_socket": "/s", "host": "a"}, "unix_socket and host"),
        ({"unix_socket": "/s", "port": 80}, "unix_socket and port"),
    ],
)
def test_places_to_listen_exclude_each_other(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} exclude each other"):
        adjusted(**settings)


def test_sockets_exclude_every_other_place_to_listen() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert adjusted(sockets=[bound]).listen_addresses == ()
        for other in ({"host": "a"}, {"port": 1}, {"listen": "*:80"}, {"unix_socket": "/s"}):
            with pytest.raises(ValueError, match="exclude each other"):
                adjusted(sockets=[bound], **other)


def test_a_descriptor_as_text_is_a_copy_of_the_socket() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        adj = adjusted(sockets=f"fd:{bound.fileno()}")
        with adj.sockets[0] as copy:
            assert copy.getsockname() == bound.getsockname()
            assert copy.fileno() != bound.fileno()
        assert bound.getsockname()[1]


def test_sockets_of_a_service_manager_are_only_taken_by_the_process_they_are_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    with pytest.raises(ValueError, match="sockets: no sockets were passed"):
        adjusted(sockets="systemd")


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({"host": "127.0.0.1"}, ["127.0.0.1:8080"]),
        ({"port": "81"}, ["0.0.0.0:81"]),
        ({"host": "::1", "port": 81}, ["[::1]:81"]),
        ({"host": "[::1]", "port": 81}, ["[::1]:81"]),
        ({"host": "*", "port": 81}, ["*:81"]),
        ({"host": "localhost"}, ["localhost:8080"]),
        ({"listen": "127.0.0.1 [::1] *:81"}, ["127.0.0.1:8080", "[::1]:8080", "*:81"]),
        ({"listen": ["localhost:82"]}, ["localhost:82"]),
        ({"unix_socket": Path("/run/s")}, ["unix:/run/s"]),
    ],
)
def test_where_it_listens(settings: dict[str, object], addresses: list[str]) -> None:
    assert [str(address) for address in adjusted(**settings).listen_addresses] == addresses


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"host": "1.2.3"}, r"^host: .*'1.2.3' is no IPv4 address"),
        ({"host": "a b"}, "^host is an address"),
        ({"listen": "a:b"}, "^listen: .*the port is a number"),
        ({"unix_socket": "/" + "x" * 200}, "^unix_socket: .*at most"),
        ({"url_prefix": "/a?b"}, "^url_prefix is a path"),
        ({"url_prefix": "/a/../b"}, "^url_prefix is a path"),
        ({"url_prefix": "/a\udce9"}, "^url_prefix is a path"),
        ({"ident": "a\r\nb"}, "^ident is visible ASCII or None"),
        ({"ident": "caf\u00e9"}, "^ident is visible ASCII or None"),
        ({"server_name": "a b"}, "^server_name is a host name"),
        ({"trusted_proxy": "10.0.0.256"}, "^trusted_proxy is an address"),
        ({"trusted_proxy": "proxy.example"}, "^trusted_proxy is an address"),
        ({"trusted_proxy": "10.0.0.1/8"}, "^trusted_proxy: .*did you mean '10.0.0.0/8'"),
        ({"trusted_proxy": "*", "trusted_proxy_headers": "x-forwarded-fro"}, "did you mean 'x-forwarded-for'"),
        ({"trusted_proxy": "*", "trusted_proxy_headers": "forwarded x-forwarded-for"}, "exclude each other"),
        ({"trusted_proxy": "*", "trusted_proxy_count": 0}, "^trusted_proxy_count is an int from 1"),
        ({"trusted_proxy_count": 1}, "^trusted_proxy_count has no meaning without trusted_proxy"),
        ({"trusted_proxy_headers": "forwarded"}, "^trusted_proxy_headers has no meaning without trusted_proxy"),
        ({"access_log": "  "}, "^access_log is None, True"),
        ({"access_log_format": "jsn"}, "^access_log_format is 'combined' or 'json', not 'jsn'; did you mean 'json'"),
    ],
)
def test_a_bad_value_names_its_setting(settings: dict[str, object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        adjusted(**settings)


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "listen",
        "url_prefix",
        "url_scheme",
        "ident",
        "server_name",
        "trusted_proxy",
        "unix_socket",
        "access_log",
    ],
)
def test_a_value_of_a_wrong_type_names_its_setting(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name}(:| is) "):
        adjusted(**{name: 4.5})


@pytest.mark.parametrize(
    ("given", "kept"), [("", ""), ("/", ""), ("shop", "/shop"), ("//a/b//", "/a/b"), (" /a ", "/a")]
)
def test_slashes_of_the_prefix_are_put_right(given: str, kept: str) -> None:
    assert WSGIAdjustments(url_prefix=given).url_prefix == kept


def test_trusted_proxies_may_be_addresses_of_the_standard_library() -> None:
    adj = WSGIAdjustments(
        trusted_proxy=[ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8"), "[fe80::1]"]
    )
    assert adj.trusted_proxy == ("::1", "10.0.0.0/8", "fe80::1")


def test_header_names_are_kept_in_lower_case() -> None:
    adj = WSGIAdjustments(trusted_proxy="*", trusted_proxy_headers={"X-Forwarded-For", "x-forwarded-prefix"})
    assert adj.trusted_proxy_headers == {"x-forwarded-for", "x-forwarded-prefix"}


def test_a_logger_may_be_the_access_log() -> None:
    logger = logging.getLogger("a.b")
    assert WSGIAdjustments(access_log=logger).access_log is logger
    assert WSGIAdjustments(access_log=False).access_log is None


def test_graceful_timeout_is_another_name() -> None:
    assert WSGIAdjustments().graceful_timeout == 30
    for settings in ({"graceful_timeout": 7}, {"shutdown_timeout_seconds": 7}):
        for adj in (adjusted(**settings), WSGIAdjustments().replace(**settings)):
            assert (adj.graceful_timeout, adj.shutdown_timeout_seconds) == (7, 7)


def test_replace_pickle_and_hash() -> None:
    adj = WSGIAdjustments(host="::1", trusted_proxy="unix", trusted_proxy_headers=["forwarded"])
    assert adj.replace(threads="7").threads == 7
    assert adj.replace(threads="7").replace(threads=4) == adj
    assert pickle.loads(pickle.dumps(adj)) == adj
    assert hash(adj) == hash(adj.replace())


def test_type_checkers_are_told_of_the_same_names_and_of_text_besides() -> None:
    kept, taken = typing.get_type_hints(WSGIAdjustments), typing.get_type_hints(Settings)
    names = [field.name for field in dataclasses.fields(WSGIAdjustments)]
    assert list(taken) == names
    without_text = {"socket_options"}
    for name in names:
        assert taken[name] == (kept[name] if name in without_text else kept[name] | str), name

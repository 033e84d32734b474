"""The environ of a request, key by key. Source: PEP 3333, RFC 3875, RFC 9112 section 3."""

from __future__ import annotations

import io
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sites import SERVER_MODULE, Site

Serve = Callable[..., Site]


class Keep:
    """An application that keeps each environ."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.seen.append(dict(environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"kept"]


def environ_of(serving: Serve, target: str = "/", *, raw: bytes | None = None, **arguments: Any) -> dict[str, Any]:
    keep = Keep()
    with serving(keep, **arguments).connect() as peer:
        peer.send(raw or f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode("latin-1"))
        assert peer.read_answer().status == 200
    return keep.seen[0]


def test_every_key_that_the_pep_demands_is_there_with_its_type(serving: Serve) -> None:
    environ = environ_of(serving, "/a?b=c")
    assert type(environ) is dict
    for key in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT"):
        assert type(environ[key]) is str, key
    assert (environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("GET", "", "/a")
    assert (environ["QUERY_STRING"], environ["SERVER_PROTOCOL"]) == ("b=c", "HTTP/1.1")
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.multithread"] is True
    assert environ["wsgi.multiprocess"] is False
    assert environ["wsgi.run_once"] is False
    for method in ("write", "writelines", "flush"):
        assert callable(getattr(environ["wsgi.errors"], method))
    assert callable(environ["wsgi.file_wrapper"])
    assert environ["wsgi.input_terminated"] is True


def test_all_text_is_latin_1_in_a_str_of_its_own_kind(serving: Serve) -> None:
    raw = b"GET /%E2%82%AC/\xc3\xa9?q=%E2%82%AC HTTP/1.1\r\nHost: test\r\nX-Name: caf\xc3\xa9\r\n\r\n"
    raw = raw.replace(b"/\xc3\xa9", b"/%C3%A9")
    environ = environ_of(serving, raw=raw)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/€/é"
    assert environ["QUERY_STRING"] == "q=%E2%82%AC"
    assert environ["HTTP_X_NAME"].encode("latin-1").decode() == "café"
    assert all(type(key) is str for key in environ)


def test_the_environ_is_the_applications_own_to_change(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        fresh = "mine" not in environ
        environ["mine"] = 1
        environ.pop("wsgi.version")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"fresh" if fresh else b"used"]

    with serving(application, validated=False).connect() as peer:
        assert [peer.ask().body for _ in range(3)] == [b"fresh"] * 3


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b/", "/a/b/", ""),
        ("/a%2Fb", "/a/b", ""),
        ("/a%2fb%3Fc", "/a/b?c", ""),
        ("/a%25b", "/a%b", ""),
        ("/a%252Fb", "/a%2Fb", ""),
        ("/a+b", "/a+b", ""),
        ("/a?", "/a", ""),
        ("/a?x=1&y=%20?/", "/a", "x=1&y=%20?/"),
        ("/[a]|b?p=C:\\dir&q[]={1}^`", "/[a]|b", "p=C:\\dir&q[]={1}^`"),
        ("/%00", "/\0", ""),
        ("http://test/abs?q", "/abs", "q"),
        ("http://test", "/", ""),
        ("http://test?q", "/", "q"),
    ],
)
def test_the_target_is_decoded_once_and_kept_raw(serving: Serve, target: str, path: str, query: str) -> None:
    environ = environ_of(serving, target)
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["REQUEST_URI"] == target


def test_options_of_the_whole_server_has_the_path_of_an_asterisk(serving: Serve) -> None:
    environ = environ_of(serving, raw=b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", validated=False)
    assert (environ["REQUEST_METHOD"], environ["REQUEST_URI"]) == ("OPTIONS", "*")
    assert environ["PATH_INFO"] in ("*", "", "/")


@pytest.mark.parametrize(
    ("target", "script", "path"),
    [
        ("/app/x", "/app", "/x"),
        ("/app/", "/app", "/"),
        ("/app", "/app", ""),
        ("/app/a%2Fb?c", "/app", "/a/b"),
    ],
)
@pytest.mark.parametrize("prefix", ["/app", "/app/", "app"])
def test_url_prefix_moves_from_the_path_to_the_script_name(
    serving: Serve, prefix: str, target: str, script: str, path: str
) -> None:
    environ = environ_of(serving, target, url_prefix=prefix)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)
    assert environ["REQUEST_URI"] == target


def test_url_prefix_is_no_prefix_of_half_a_segment(serving: Serve) -> None:
    assert environ_of(serving, "/apple", url_prefix="/app")["PATH_INFO"] == "/apple"


@pytest.mark.parametrize("target", ["/pre/fixa", "/", "//pre/fix/a", "/Pre/fix"])
def test_a_path_that_is_not_below_the_prefix_stays_whole(serving: Serve, target: str) -> None:
    """waitress has it so, too, and takes `//pre/fix` for one below."""
    environ = environ_of(serving, target, url_prefix="/pre/fix")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/pre/fix", target)


@pytest.mark.parametrize("prefix", ["/\u20ac", "/caf\xe9/\u65e5\u672c", "/\U0001f40d"])
def test_a_prefix_beyond_ascii_is_utf_8_a_character_for_each_byte(serving: Serve, prefix: str) -> None:
    """PEP 3333: the strings of an environ have no character above U+00FF. Such a SCRIPT_NAME fails in Werkzeug."""
    keep = Keep()
    with serving(keep, url_prefix=prefix).connect() as peer:
        assert [peer.ask(target=quote(prefix) + rest).status for rest in ("/x", "/%C3%A9")] == [200, 200]
        assert peer.ask(target="/x").status == 200
    below, also_below, outside = keep.seen
    assert {environ["SCRIPT_NAME"].encode("latin-1").decode() for environ in keep.seen} == {prefix}
    assert (below["PATH_INFO"], outside["PATH_INFO"]) == ("/x", "/x")
    assert also_below["PATH_INFO"].encode("latin-1").decode() == "/\xe9"


def test_headers_become_keys_and_repeated_ones_are_joined(serving: Serve) -> None:
    raw = (
        b"POST / HTTP/1.1\r\nhOsT: test:80\r\nContent-Type: text/x; a=b\r\nContent-Length: 2\r\nX-Many: 1\r\n"
        b"x-many:\t2 \r\nAccept: a\r\nX-Empty:\r\nX-Under-Score: dash\r\nX_Under_Score: underscore\r\n\r\nhi"
    )
    environ = environ_of(serving, raw=raw)
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/x; a=b", "2")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()
    assert (environ["HTTP_HOST"], environ["HTTP_ACCEPT"], environ["HTTP_X_EMPTY"]) == ("test:80", "a", "")
    assert re.fullmatch("1, ?2", environ["HTTP_X_MANY"])
    assert environ["HTTP_X_UNDER_SCORE"] == "dash"  # a name with underscores could pass itself off as another


def test_names_that_clients_make_up_are_not_kept_for_good(serving: Serve) -> None:
    """CPython 3.12 never lets an interned str go, so that a client could fill the memory."""
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.extend(key for key in environ if key.startswith("HTTP_X_"))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    with serving(application).connect() as peer:
        for number in range(10):
            assert peer.ask(headers={f"X-{number}-{other}": "a" for other in range(100)}).status == 200
        peer.ask(headers={f"X-{'long' * 20}": "a"})
    # Of a copy of an interned str the interned one is returned.
    interned = [key for key in seen if sys.intern("".join([*key])) is key]
    assert len(seen) == 1001
    assert len(interned) <= 512
    assert seen[-1] not in interned


def test_a_long_name_that_is_repeated_is_one_key(serving: Serve) -> None:
    lines = b"".join(b"%s: %d\r\n" % (b"X-" + b"long" * 20, number) for number in range(5))
    environ = environ_of(serving, raw=b"GET / HTTP/1.1\r\nHost: test\r\n" + lines + b"X-Other: a\r\n\r\n")
    assert environ["HTTP_X_" + "LONG" * 20] == "0, 1, 2, 3, 4"
    assert environ["HTTP_X_OTHER"] == "a"


def test_the_value_of_a_field_is_that_of_its_own_request(serving: Serve) -> None:
    values = ["a", "a", "b", "a", "\xe9", "\xe9", "e", "", "a", "x" * 300, "x" * 301, "x" * 300, "a"]
    fields = ["Accept", "X-Mine", "Cookie"]
    keep = Keep()
    with serving(keep).connect() as peer:
        for at, value in enumerate(values):
            others = dict.fromkeys(fields, value if at % 2 else value + "1")
            lines = "".join(f"{name}: {other}\r\n" for name, other in others.items())
            peer.send(f"GET / HTTP/1.1\r\nHost: test\r\n{lines}User-Agent: {value}\r\n\r\n".encode("latin-1"))
            assert peer.read_answer().status == 200
            seen = keep.seen[-1]
            assert seen["HTTP_USER_AGENT"] == value
            assert {name: seen["HTTP_" + name.upper().replace("-", "_")] for name in fields} == others


def test_no_header_can_take_the_place_of_another_key(serving: Serve) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: test\r\nRemote-Addr: 1.2.3.4\r\nScript-Name: /x\r\nwsgi.input: x\r\n\r\n"
    environ = environ_of(serving, raw=raw)
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert not isinstance(environ["wsgi.input"], str)
    assert environ["SCRIPT_NAME"] == ""


def test_a_request_without_a_body_has_no_length_and_an_empty_input(serving: Serve) -> None:
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(
            (environ.get("CONTENT_LENGTH", ""), environ.get("CONTENT_TYPE", ""), environ["wsgi.input"].read(9))
        )
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    serving(application).ask()
    assert seen in ([("", "", b"")], [("0", "", b"")])


def test_peer_and_server_are_named_by_their_addresses(serving: Serve) -> None:
    keep = Keep()
    site = serving(keep, server_name="example.org")
    with site.connect() as peer:
        own = peer.socket.getsockname()
        peer.ask()
    environ = keep.seen[0]
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (own[0], str(own[1]))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.org", str(site.port))


def test_a_peer_by_ipv6_has_its_address_without_brackets(serving: Serve) -> None:
    keep = Keep()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    site = serving(keep, listen="[::1]:0")
    with site.connect(host="::1") as peer:
        assert peer.ask().status == 200
    assert keep.seen[0]["REMOTE_ADDR"] == "::1"
    assert keep.seen[0]["SERVER_PORT"] == str(site.port)


def test_a_peer_by_unix_socket_is_called_localhost(serving: Serve) -> None:
    keep = Keep()
    with tempfile.TemporaryDirectory(prefix="wt") as directory:
        path = f"{directory}/s"
        site = serving(keep, unix_socket=path)
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert site.ask().status == 200
    environ = keep.seen[0]
    assert environ["REMOTE_ADDR"] == "localhost"  # as waitress has it: a trusted_proxy is compared with it
    for key in ("SERVER_NAME", "SERVER_PORT"):
        assert type(environ[key]) is str
        assert environ[key], f"{key} can never be empty (PEP 3333)"


def test_the_scheme_is_that_of_the_argument(serving: Serve) -> None:
    assert environ_of(serving, url_scheme="https")["wsgi.url_scheme"] == "https"


def test_the_software_is_named_and_the_ident_can_be_chosen(serving: Serve) -> None:
    keep = Keep()
    assert serving(keep, ident="mine/1").ask().get("server") == "mine/1"
    assert serving(keep, ident=None).ask().get("server") is None
    assert serving(keep, ident="").ask().get("server") is None
    assert SERVER_MODULE in (serving(keep).ask().get("server") or "")
    assert all(type(environ["SERVER_SOFTWARE"]) is str for environ in keep.seen)


def test_the_version_of_the_request_is_told(serving: Serve) -> None:
    raw = b"GET / HTTP/1.0\r\n\r\n"
    environ = environ_of(serving, raw=raw)
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert "HTTP_HOST" not in environ


def test_what_is_written_to_errors_is_logged_or_printed(serving: Serve, capsys: Any, caplog: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("oh dear é\n")
        environ["wsgi.errors"].writelines(["one\n", "two\n"])
        environ["wsgi.errors"].flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    serving(application).ask()
    shown = capsys.readouterr().err + caplog.text
    assert "oh dear é" in shown
    assert "two" in shown


def test_input_and_errors_are_no_text(serving: Serve) -> None:
    environ = environ_of(serving, validated=False)
    assert environ["wsgi.input"].read() == b""
    assert not isinstance(environ["wsgi.input"], io.TextIOBase)

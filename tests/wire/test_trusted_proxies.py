"""What a server makes of forwarding headers that come over the wire."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

import wiretask

DEADLINE_SECONDS = 30

SHOWN = ("REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "wsgi.url_scheme")


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    lines = [f"{key}={value}" for key, value in sorted(environ.items()) if key in SHOWN or "FORWARDED" in key]
    body = "\n".join(lines).encode("latin-1")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def answers_to(requests: list[dict[str, str]], **settings: Any) -> list[tuple[int, dict[str, str]]]:
    """Send requests with these headers on one connection, and return the statuses and what the application saw."""
    settings = settings if "unix_socket" in settings else {"host": "127.0.0.1", "port": 0, **settings}
    found = []
    with wiretask.create_server(application, threads=2, **settings) as server:
        family = socket.AF_UNIX if server.adj.unix_socket else socket.AF_INET
        address: Any = server.effective_host if server.adj.unix_socket else ("127.0.0.1", server.effective_port)
        with socket.socket(family) as client:
            client.settimeout(DEADLINE_SECONDS)
            client.connect(address)
            stream = client.makefile("rb")
            for headers in requests:
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                client.sendall(f"GET / HTTP/1.1\r\nHost: inner:81\r\n{lines}\r\n".encode("latin-1"))
                status = int(stream.readline().split()[1])
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = stream.read(length).decode("latin-1")
                found.append((status, dict(line.split("=", 1) for line in body.splitlines() if "=" in line)))
                if status != 200:
                    break
    return found


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=6.6.6.6",
}


def test_nobody_is_believed_by_default_and_nothing_reaches_the_application() -> None:
    plain, forged, again = answers_to([{}, FORGED, {"x-FORWARDED-anything": "1", "X-Forwarded_For": "6.6.6.6"}])
    assert plain[1]["REMOTE_ADDR"] == "127.0.0.1"
    assert forged == plain == again


def test_a_trusted_proxy_is_believed_what_is_named() -> None:
    headers = FORGED | {"X-Forwarded-For": "6.6.6.6, [2001:db8::7]:99", "X-Forwarded-Host": "shop.example"}
    believed = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
    (status, seen), (_, plain) = answers_to(
        [headers, {}], trusted_proxy="127.0.0.0/8", trusted_proxy_headers=believed
    )
    assert status == 200
    assert seen == {
        "REMOTE_ADDR": "2001:db8::7",
        "REMOTE_HOST": "2001:db8::7",
        "REMOTE_PORT": "99",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "443",
        "HTTP_HOST": "shop.example",
        "HTTP_X_FORWARDED_FOR": "[2001:db8::7]:99",
        "HTTP_X_FORWARDED_HOST": "shop.example",
        "HTTP_X_FORWARDED_PROTO": "https",
        "wsgi.url_scheme": "https",
    }
    assert (plain["REMOTE_ADDR"], plain["wsgi.url_scheme"], plain["HTTP_HOST"]) == ("127.0.0.1", "http", "inner:81")


def test_several_headers_of_one_name_are_one_list() -> None:
    """A client cannot hide its own entry behind the proxy's by sending the header twice."""
    first = {"X-Forwarded-For": "192.0.2.1", "x-forwarded-for": "192.0.2.2"}
    settings: dict[str, Any] = {"trusted_proxy": "127.0.0.1", "trusted_proxy_headers": "x-forwarded-for"}
    assert answers_to([first], **settings)[0][1]["REMOTE_ADDR"] == "192.0.2.2"
    assert answers_to([first], **settings, trusted_proxy_count=2)[0][1]["REMOTE_ADDR"] == "192.0.2.1"


def test_a_proxy_behind_a_unix_socket_is_trusted_as_such(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "unix_socket": str(tmp_path / "s"),
        "trusted_proxy_headers": "forwarded",
    }
    header = {"Forwarded": 'for="[2001:db8::7]";proto=https;host="shop.example:444"'}
    for trusted in ("unix", "localhost", "*"):
        ((_, seen),) = answers_to([header], trusted_proxy=trusted, **settings)
        assert (seen["REMOTE_ADDR"], seen["SERVER_PORT"], seen["HTTP_HOST"]) == (
            "2001:db8::7",
            "444",
            "shop.example:444",
        )
    ((_, seen),) = answers_to([header], trusted_proxy="127.0.0.1", **settings)
    assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"], seen["wsgi.url_scheme"]) == ("localhost", "inner:81", "http")
    assert "HTTP_FORWARDED" not in seen


@pytest.mark.parametrize(
    ("names", "header"),
    [
        ("x-forwarded-for", {"X-Forwarded-For": "<script>"}),
        ("x-forwarded-proto", {"X-Forwarded-Proto": "gopher"}),
        ("x-forwarded-proto", {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"}),
        ("x-forwarded-host", {"X-Forwarded-Host": "a b"}),
        ("x-forwarded-port", {"X-Forwarded-Port": "99999"}),
        ("forwarded", {"Forwarded": 'for="1.1.1.1'}),
    ],
)
def test_a_trusted_header_that_cannot_be_read_is_answered_with_400(names: str, header: dict[str, str]) -> None:
    assert answers_to([{}, header], trusted_proxy="127.0.0.1", trusted_proxy_headers=names)[1:] == [(400, {})]
    assert answers_to([header, {}], trusted_proxy="127.0.0.2", trusted_proxy_headers=names)[0][0] == 200


def test_the_headers_are_the_applications_if_they_are_not_to_be_cleared() -> None:
    ((_, seen),) = answers_to([FORGED], clear_untrusted_proxy_headers=False)
    assert seen["HTTP_X_FORWARDED_FOR"] == seen["REMOTE_ADDR"].replace("127.0.0.1", "6.6.6.6")
    assert seen["HTTP_FORWARDED"] == "for=6.6.6.6"
    assert seen["wsgi.url_scheme"] == "http"


def test_what_is_cleared_is_logged_if_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "wiretask.server"):
        answers_to([FORGED, {}], log_untrusted_proxy_headers=True)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "X-Forwarded-For" in message
    assert "127.0.0.1" in message

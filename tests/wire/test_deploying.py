"""The configuration files of docs/deploying.md work as they stand there, but for the paths and the port.

nginx and systemd-analyze are used where they are installed.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import DEADLINE_SECONDS, serve

DOCUMENT = (Path(__file__).parents[2] / "docs/deploying.md").read_text()

SHOP = """
import json
from wsgiref.util import request_uri

def app(environ, start_response):
    body = json.dumps({
        "uri": request_uri(environ),
        "client": environ["REMOTE_ADDR"],
        "forwarding": sorted(key for key in environ if "FORWARDED" in key),
        "length": len(environ["wsgi.input"].read()),
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def block(language: str, number: int = 0) -> str:
    """The content of a fenced block of the document."""
    found = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(found[number])


@pytest.fixture
def port_behind_nginx(tmp_path: Path) -> Iterator[int]:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "wiretask.toml").write_text(block("toml").replace("/run/shop/", f"{tmp_path}/"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    site = block("nginx").replace("/run/shop/", f"{tmp_path}/").replace("listen 80;", f"listen 127.0.0.1:{port};")
    temporary = "\n".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; worker_processes 1;\n"
        f"{'user root;' if os.getuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{site}\n}}\n"
    )
    with serve("--config", "wiretask.toml", folder=tmp_path) as command:
        command.banner()
        proxy = subprocess.Popen(
            [nginx, "-p", str(tmp_path), "-e", f"{tmp_path}/error.log", "-c", str(tmp_path / "nginx.conf")]
        )
        try:
            _wait_until_it_listens(port, proxy)
            yield port
        finally:
            proxy.send_signal(signal.SIGQUIT)
            proxy.wait(DEADLINE_SECONDS)
        command.process.send_signal(signal.SIGTERM)
        assert command.finish() == (0, "", "")


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx does not listen on port {port}; it ended with {process.poll()}")


def test_behind_nginx_the_application_sees_the_client_and_its_url(port_behind_nginx: int) -> None:
    port = port_behind_nginx
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    forged = {
        "Host": f"shop.example:{port}",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=6.6.6.6",
    }
    for _ in range(3):
        connection.request("POST", "/a?b=1", body=b"x" * 200_000, headers=forged)
        answer = connection.getresponse()
        seen = json.loads(answer.read())
        assert answer.status == 200
        assert seen == {
            "uri": f"http://shop.example:{port}/a?b=1",
            "client": "127.0.0.1",
            "forwarding": ["HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PROTO"],
            "length": 200_000,
        }
    connection.close()


def test_the_configuration_file_is_right(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "wiretask.toml").write_text(block("toml"))
    with serve("--config", "wiretask.toml", "--check", folder=tmp_path) as command:
        status, out, errors = command.finish()
    assert (status, errors) == (0, "")
    assert out == "would serve shop:app on unix:/run/shop/wiretask.sock with 8 worker threads\n"
    assert tomllib.loads(block("toml"))["serve"]["trusted_proxy"] == "unix"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    service = (
        block("ini", 0).replace("/srv/shop/venv/bin/wiretask", "/bin/true").replace("User=shop\nGroup=shop\n", "")
    )
    (tmp_path / "shop.service").write_text(service)
    (tmp_path / "shop.socket").write_text(block("ini", 1))
    for name in ("shop.service", "shop.socket"):
        command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
        complaints = [line for line in done.stderr.splitlines() if "shop." in line]
        assert complaints == [], done.stderr


def test_the_service_may_write_where_the_page_has_it_write() -> None:
    """With ProtectSystem=strict, only there."""
    unit = block("ini", 0)
    own = {kind: re.findall(rf"^{kind}Directory=(.+)$", unit, re.MULTILINE) for kind in ("Runtime", "Logs")}
    assert own == {"Runtime": ["shop"], "Logs": ["shop"]}
    written = re.findall(r"/(?:run|var/log)/[\w.-]+/[\w.-]+", DOCUMENT)
    assert {os.path.dirname(path) for path in written} == {"/run/shop", "/var/log/shop"}

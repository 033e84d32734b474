"""Applications of real frameworks, asked by real clients: curl, http.client, requests and wrk.

Long tier: `.ci/long`, or `pytest -m long tests/frameworks` where `pip install '.[frameworks]'` has been done. curl
and wrk are Debian's.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from answers import content
from served_sites import Served

pytestmark = pytest.mark.long

SITES = ["flask", "falcon", "django", "pyramid"]
LARGE_BYTES = 20_000_003


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(request.param, tmp_path_factory.mktemp(request.param)) as served:
        yield served
        assert served.stop() == 0, served.log.read_text()[-3000:]


@pytest.fixture(scope="module")
def zope(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served("zope", tmp_path_factory.mktemp("zope")) as served:
        yield served
        assert served.stop() == 0, served.log.read_text()[-3000:]


def curl(*arguments: str) -> bytes:
    """Return what curl prints; fails where curl does."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=90).stdout


def said_of(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def test_one_connection_is_kept_for_everything(site: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    sockets = set()
    for number in range(30):
        connection.request("GET" if number % 3 else "HEAD", f"/echo?x={number}")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read() == (str(number).encode() if number % 3 else b"")
        assert not answer.will_close
        sockets.add(connection.sock.getsockname())
    assert len(sockets) == 1
    connection.close()


@pytest.mark.parametrize("options", [[], ["--http1.0"], ["-H", "Expect: 100-continue"]], ids=["1.1", "1.0", "expect"])
def test_curl_uploads_a_file(site: Served, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "upload.bin"
    file.write_bytes(os.urandom(5_000_001))
    assert curl(*options, "-F", f"file=@{file}", f"{site.url}/upload").decode() == said_of(file.read_bytes())


@pytest.mark.parametrize("options", [[], ["--http1.0"]], ids=["1.1", "1.0"])
@pytest.mark.parametrize("way", ["download", "stream"])
@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES])
def test_curl_gets_every_byte(site: Served, way: str, size: int, options: list[str]) -> None:
    assert curl(*options, f"{site.url}/{way}?size={size}") == content(size)


def test_curl_uses_one_connection_for_several_urls(site: Served) -> None:
    urls = [f"{site.url}/echo?x={number}" for number in range(10)]
    said = curl(*urls, "-w", " %{num_connects}\n").decode().split()
    assert said[0::2] == [str(number) for number in range(10)]
    assert said[1::2] == ["1"] + ["0"] * 9


def test_curl_resumes_nothing_that_was_not_offered(site: Served) -> None:
    assert curl("-r", "0-9", f"{site.url}/echo?x=abc") == b"abc"


def test_requests_upload_and_download_over_a_session(site: Served) -> None:
    requests = pytest.importorskip("requests")
    data = os.urandom(1_000_000)
    with requests.Session() as session:
        for _ in range(5):
            answer = session.post(f"{site.url}/upload", files={"file": ("name", data)}, timeout=20)
            assert answer.text == said_of(data)
            answer = session.get(f"{site.url}/stream", params={"size": 300_000}, timeout=20)
            assert answer.content == content(300_000)


def test_many_clients_at_once_get_what_each_asked_for(site: Served) -> None:
    def ask(number: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        right = True
        for turn in range(10):
            size = (number * 7919 + turn * 104_729) % 200_000
            connection.request("GET", f"/stream?size={size}")
            right &= connection.getresponse().read() == content(size)
        connection.close()
        return right

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(ask, range(48)))


def test_an_application_that_fails_says_500_and_serves_on(site: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    connection.request("GET", "/fail")
    answer = connection.getresponse()
    assert answer.status == 500
    answer.read()
    connection.request("GET", "/")  # on a new connection, if the last one was closed
    assert connection.getresponse().read() == b"hello"
    connection.close()


@pytest.mark.parametrize("target", ["/", "/stream?size=100000"], ids=["hello", "stream"])
def test_wrk_sees_no_error(site: Served, target: str) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("no wrk here")
    command = ["wrk", "-t1", "-c32", "-d2", "--timeout", "20s", f"{site.url}{target}"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    found = re.search(r"(\d+) requests in", said)
    assert found, said
    assert int(found[1]) > 0
    assert "Socket errors" not in said, said
    assert "Non-2xx" not in said, said


# ---- what only one of them has ----


def test_django_admin_and_its_static_files(tmp_path: Path) -> None:
    with Served("django", tmp_path) as site:
        jar = tmp_path / "cookies"
        page = curl("-c", str(jar), f"{site.url}/admin/login/").decode()
        styles = re.findall(r'href="(/static/[^"]+\.css)"', page)
        assert styles
        for style in styles:
            answer = curl("-w", "%{json}", "-o", str(tmp_path / "style"), f"{site.url}{style}")
            said = json.loads(answer)
            assert said["http_code"] == 200
            assert said["content_type"].startswith("text/css")
            assert (tmp_path / "style").stat().st_size == said["size_download"] > 500
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = ["-d", f"csrfmiddlewaretoken={token[1]}", "-d", "username=admin", "-d", "password=password"]
        login = ["-b", str(jar), "-c", str(jar), "-L", *form, f"{site.url}/admin/login/?next=/admin/"]
        assert b"Site administration" in curl(*login)
        assert b"Select user to change" in curl("-b", str(jar), f"{site.url}/admin/auth/user/")
        # What has not changed is 304, which has no body, and keeps the connection.
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        connection.request("GET", styles[0])
        answer = connection.getresponse()
        answer.read()
        stamp = answer.headers["Last-Modified"]
        for _ in range(3):
            connection.request("GET", styles[0], headers={"If-Modified-Since": stamp})
            answer = connection.getresponse()
            assert (answer.status, answer.read(), answer.will_close) == (304, b"", False)
        connection.close()
        assert site.stop() == 0


def test_zope_serves_its_pages_and_takes_files(zope: Served, tmp_path: Path) -> None:
    assert b"Zope" in curl("-L", f"{zope.url}/")
    file = tmp_path / "upload.bin"
    file.write_bytes(os.urandom(3_000_001))
    who = ["-u", "admin:password"]
    manage = curl(*who, f"{zope.url}/manage_main")
    assert b"<" in manage
    added = curl(*who, "-w", "%{http_code}", "-o", os.devnull, "-F", "id=file", "-F", f"file=@{file}",
                 f"{zope.url}/manage_addProduct/OFSP/manage_addFile")  # fmt: skip
    assert added in (b"302", b"200")
    for options in ([], ["--http1.0"]):
        assert curl(*options, f"{zope.url}/file") == file.read_bytes()


def test_zope_keeps_a_connection(zope: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", zope.port, timeout=20)
    authorization = base64.b64encode(b"admin:password").decode()
    for _ in range(10):
        connection.request("GET", "/manage_main", headers={"Authorization": f"Basic {authorization}"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(answer.read()) > 1000
        assert not answer.will_close
    connection.close()


def test_wrk_sees_no_error_of_zope(zope: Served) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("no wrk here")
    said = subprocess.run(
        ["wrk", "-t1", "-c16", "-d2", "--timeout", "20s", f"{zope.url}/"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    ).stdout
    assert "Socket errors" not in said, said

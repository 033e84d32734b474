"""The access log, as requests of every kind and fate leave it. What becomes of its file: test_access_log_file.py."""

from __future__ import annotations

import base64
import datetime
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from access_lines import combined, lines_of, of_json, wait_for_lines
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sites import Site, until

Serve = Callable[..., Site]
HEADERS = [("Content-Type", "text/plain")]


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers with as many bytes as the query says."""
    start_response("200 OK", HEADERS)
    return [b"x" * int(environ["QUERY_STRING"] or 5)]


class Log:
    """A log in a directory of its own."""

    def __init__(self, directory: Path, form: str) -> None:
        self.path, self.form = directory / "access.log", form

    @property
    def settings(self) -> dict[str, Any]:
        return {"access_log": self.path, "access_log_format": self.form}

    def records(self, count: int) -> list[dict[str, Any]]:
        """Return the records, once there are so many.

        Those of several connections come in any order: they are made when an answer has left, which may be after the
        client has it.
        """
        read = combined if self.form == "combined" else of_json
        return [read(line) for line in wait_for_lines(self.path, count)]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """A log of JSON objects."""
    return Log(tmp_path, "json")


@pytest.fixture
def combined_log(tmp_path: Path) -> Log:
    """A log in the combined format."""
    return Log(tmp_path, "combined")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_combined_is_the_format_of_nginx_and_apache(serving: Serve, combined_log: Log) -> None:
    site = serving(plain, **combined_log.settings)
    credentials = base64.b64encode(b"ann b:secret").decode()
    fields = {"Referer": "http://a/", "User-Agent": 'x"\\y', "Authorization": f"Basic {credentials}"}
    begin = now() - datetime.timedelta(seconds=1)
    site.ask("GET", "/a?12", headers=fields)
    combined_log.records(1)
    site.ask("POST", "/b?3", body=b"body", version="1.0")
    first, second = combined_log.records(2)
    assert begin <= first.pop("time") <= second.pop("time") <= now()
    common = {"peer": b"127.0.0.1", "status": 200}
    assert first == common | {
        "user": b"ann b",
        "request": b"GET /a?12 HTTP/1.1",
        "bytes": 12,
        "referer": b"http://a/",
        "agent": b'x"\\y',
    }
    assert second == common | {
        "user": None,
        "request": b"POST /b?3 HTTP/1.0",
        "bytes": 3,
        "referer": None,
        "agent": None,
    }
    line = lines_of(combined_log.path)[0]
    assert line.startswith(r"127.0.0.1 - ann\x20b [")
    assert line.endswith(r'"GET /a?12 HTTP/1.1" 200 12 "http://a/" "x\x22\x5Cy"')


def test_json_has_a_time_to_the_microsecond_and_a_duration(serving: Serve, log: Log) -> None:
    site = serving(plain, **log.settings)
    begin = now()
    site.ask("GET", "/a?7", headers={"User-Agent": "me"})
    (record,) = log.records(1)
    assert begin <= record.pop("time") <= now()
    duration = record.pop("duration_us")
    assert 0 <= duration <= (now() - begin) / datetime.timedelta(microseconds=1)
    assert record == {
        "remote_addr": b"127.0.0.1",
        "remote_user": None,
        "method": b"GET",
        "target": b"/a?7",
        "protocol": b"HTTP/1.1",
        "status": 200,
        "body_bytes": 7,
        "complete": True,
        "referer": None,
        "user_agent": b"me",
    }


def test_requests_of_a_connection_are_recorded_in_order_pipelined_or_not(serving: Serve, log: Log) -> None:
    with serving(plain, **log.settings).connect() as peer:
        for size in range(10):
            peer.ask("GET", f"/?{size}")
        peer.send(b"".join(b"GET /?%d HTTP/1.1\r\nHost: a\r\n\r\n" % size for size in range(10, 100)))
        for _ in range(90):
            peer.read_answer()
    assert [record["body_bytes"] for record in log.records(100)] == list(range(100))


def test_every_request_of_many_connections_has_one_record(serving: Serve, log: Log) -> None:
    site = serving(plain, **log.settings)

    def ask(name: int) -> None:
        with site.connect() as peer:
            for number in range(50):
                peer.ask("GET", f"/{name}/{number}")

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    targets = [record["target"].decode() for record in log.records(400)]
    for name in range(8):
        assert [target for target in targets if target.startswith(f"/{name}/")] == [f"/{name}/{n}" for n in range(50)]
    assert site.server.figures()["access_log_records"] == 400
    assert site.server.figures()["access_log_dropped"] == 0


def test_the_bytes_are_those_of_the_body_however_it_is_framed(serving: Serve, log: Log, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1234)

    def many(environ: dict[str, Any], start_response: Any) -> Any:
        kind = environ["PATH_INFO"]
        start_response({"/204": "204 No Content", "/304": "304 Not Modified"}.get(kind, "200 OK"), HEADERS)
        if kind == "/chunked":
            return iter([b"abc", b"", b"de"])
        if kind == "/file":
            return environ["wsgi.file_wrapper"](file.open("rb"))
        return [b"x" * 300_000] if kind == "/large" else [b"", b"abc"] if kind == "/plain" else []

    site = serving(many, validated=False, **log.settings)
    for count, (method, target, version, status, body_bytes) in enumerate(
        [
            ("GET", "/plain", "1.1", 200, 3),
            ("GET", "/chunked", "1.1", 200, 5),
            ("GET", "/chunked", "1.0", 200, 5),
            ("GET", "/large", "1.1", 200, 300_000),
            ("HEAD", "/plain", "1.1", 200, 0),
            ("GET", "/204", "1.1", 204, 0),
            ("GET", "/304", "1.1", 304, 0),
            ("GET", "/file", "1.1", 200, 1234),
        ],
        start=1,
    ):
        site.ask(method, target, version=version)
        record = log.records(count)[-1]
        assert (record["status"], record["body_bytes"], record["complete"]) == (status, body_bytes, True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_failures_of_the_application_are_recorded_as_what_the_client_saw(serving: Serve, log: Log) -> None:
    def failing(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/before":
            raise ValueError("before")
        if environ["PATH_INFO"] == "/short":
            start_response("200 OK", [("Content-Length", "10")])
            return [b"abc"]
        start_response("200 OK", HEADERS)
        return part()

    def part() -> Any:
        yield b"abc"
        raise ValueError("in the middle")

    site = serving(failing, validated=False, **log.settings)
    apology = site.ask("GET", "/before")
    log.records(1)
    with site.connect() as peer:
        peer.send_request("GET", "/middle")
        peer.read_to_end()
    log.records(2)
    with site.connect() as peer:
        peer.send_request("GET", "/short")
        peer.read_to_end()
    found = [(record["status"], record["body_bytes"], record["complete"]) for record in log.records(3)]
    assert found == [(500, len(apology.body), True), (200, 3, False), (200, 3, False)]


@pytest.mark.parametrize(
    ("sent", "status", "asked", "line"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", 400, (b"GET", b"/a", b"HTTP/1.1"), b"GET /a HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, None, b"\x16"),
        (
            b"PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 51\r\n\r\n",
            413,
            (b"PUT", b"/b", b"HTTP/1.1"),
            b"PUT /b HTTP/1.1",
        ),
        (b"GET /c HTTP/2.0\r\nHost: a\r\n\r\n", 505, None, b"GET /c HTTP/2.0"),
        (b"GET /" + 16_384 * b"d" + b" HTTP/1.1\r\n\r\n", 414, None, b"GET /" + 1019 * b"d"),
        (b"\r\nGET /e HTTP/1.0\r\n", 408, (b"GET", b"/e", b"HTTP/1.0"), b"GET /e HTTP/1.0"),
        (b"GET /f", 408, None, b"GET /f"),
    ],
)
def test_what_the_loop_refuses_is_recorded_with_its_reason_and_how_it_began(
    serving: Serve, tmp_path: Path, sent: bytes, status: int, asked: tuple[bytes, bytes, bytes] | None, line: bytes
) -> None:
    for form in ("json", "combined"):
        log = Log(tmp_path / form, form)
        log.path.parent.mkdir()
        site = serving(plain, max_request_body_size=50, request_timeout_seconds=0.3, **log.settings)
        with site.connect() as peer:
            peer.ask("GET", "/first")
            peer.send(sent)
            answer = peer.read_answer()
        assert answer.status == status
        first, refused = log.records(2)
        assert (first["status"], refused["status"]) == (200, status)
        if form == "json":
            assert refused["body_bytes"] == len(answer.body)
            assert refused["refusal"] in answer.body
            found = (refused["method"], refused["target"], refused["protocol"], refused["duration_us"])
            assert found == (*(asked or (None, None, None)), None)
            if asked is None:
                assert refused["request_line"] == line
        else:
            assert refused["request"] == line
            assert refused["bytes"] == len(answer.body)


def test_a_client_that_goes_before_its_answer_is_recorded_as_gone(serving: Serve, log: Log) -> None:
    begun = threading.Event()

    def waiting(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        begun.set()
        until(environ["wiretask.client_disconnected"], "the client to go")
        start_response("200 OK", HEADERS)
        return [b"answer"]

    with serving(waiting, **log.settings).connect() as peer:
        peer.send_request()
        assert begun.wait(20)
        peer.reset()
        (record,) = log.records(1)
    assert (record["status"], record["body_bytes"], record["complete"]) == (499, 0, False)


def test_an_answer_that_is_cut_off_is_recorded_with_what_was_handed_over(serving: Serve, log: Log) -> None:
    def endless(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        while True:
            yield b"x" * 1000

    with serving(endless, validated=False, **log.settings).connect() as peer:
        peer.send_request()
        assert peer.read_head().status == 200
        peer.reset()
        (record,) = log.records(1)
    assert (record["status"], record["complete"]) == (200, False)
    assert record["body_bytes"] % 1000 == 0
    assert record["body_bytes"] >= 1000


def test_an_exchange_that_a_lost_worker_leaves_behind_is_recorded(serving: Serve, log: Log) -> None:
    def leaving(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise SystemExit

    site = serving(leaving, validated=False, **log.settings)
    answer = site.ask()
    (record,) = log.records(1)
    assert (record["status"], record["body_bytes"]) == (answer.status, len(answer.body)) == (500, len(answer.body))


@pytest.mark.parametrize("form", ["json", "combined"])
def test_peers_have_the_address_of_their_family(serving: Serve, tmp_path: Path, form: str) -> None:
    log = Log(tmp_path, form)
    name = "remote_addr" if form == "json" else "peer"
    path = str(tmp_path / "s")
    serving(plain, unix_socket=path, **log.settings).ask()
    assert log.records(1)[0][name] == b"unix:"
    log.path.unlink()
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        site = serving(plain, sockets=[listener], **log.settings)
        with site.connect(host="::1") as peer:
            peer.ask()
        assert log.records(1)[0][name] == b"::1"


@pytest.mark.parametrize(("trusted", "name"), [("127.0.0.1", b"192.0.2.7"), ("192.0.2.1", b"127.0.0.1")])
def test_a_trusted_proxy_says_who_asks(serving: Serve, log: Log, trusted: str, name: bytes) -> None:
    site = serving(plain, trusted_proxy=trusted, trusted_proxy_headers="x-forwarded-for", **log.settings)
    assert site.ask("GET", "/", headers={"X-Forwarded-For": "192.0.2.7"}).status == 200
    assert log.records(1)[0]["remote_addr"] == name


def test_a_logger_gets_a_message_for_each_request(serving: Serve, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    own = logging.getLogger("tests.access")
    for target, name in [(True, "wiretask.access"), (own, "tests.access")]:
        caplog.clear()
        site = serving(plain, access_log=target)
        with site.connect() as peer:
            for size in range(20):
                peer.ask("GET", f"/?{size}")
        site.close()
        messages = [record.getMessage() for record in caplog.records if record.name == name]
        assert [combined(message)["bytes"] for message in messages] == list(range(20))


def test_a_logger_gets_its_lines_while_the_server_runs(serving: Serve, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "wiretask.access")
    site = serving(plain, access_log=True)
    for count in range(1, 4):
        site.ask()
        until(lambda count=count: len(caplog.messages) == count, "the message")


class _Slow(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.begun, self.count = threading.Event(), 0

    def filter(self, record: logging.LogRecord) -> bool:
        self.begun.set()
        time.sleep(0.01)
        self.count += 1
        return True


def test_a_server_that_has_stopped_has_handed_over_what_the_logger_was_still_at(serving: Serve) -> None:
    logger, slow = logging.getLogger("tests.slow"), _Slow()
    logger.setLevel(logging.INFO)
    logger.addFilter(slow)
    try:
        site = serving(plain, access_log=logger)
        with site.connect() as peer:
            peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 30)
            for _ in range(30):
                peer.read_answer()
        assert slow.begun.wait(20)
        site.close()
        assert slow.count == 30
    finally:
        logger.removeFilter(slow)


class _Failing(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if "/bad" in record.getMessage():
            raise ValueError("the filter fails")
        return True


def test_a_logger_that_fails_loses_one_line_and_is_told(serving: Serve, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("tests.failing")
    failing = _Failing()
    logger.addFilter(failing)
    try:
        site = serving(plain, access_log=logger)
        for target in ("/a", "/bad", "/b"):
            site.ask("GET", target)
        site.close()
    finally:
        logger.removeFilter(failing)
    messages = [record.getMessage() for record in caplog.records if record.name == "tests.failing"]
    assert [combined(message)["request"].split()[1] for message in messages] == [b"/a", b"/b"]
    assert "the logger of the access log failed" in caplog.messages


def test_without_a_log_nothing_is_counted(serving: Serve) -> None:
    site = serving(plain)
    site.ask()
    assert not [name for name in site.server.figures() if name.startswith("access_log")]
    site.server.reopen_access_log()


# ---- whatever a client sends ---------------------------------------------------------------------

field_values = st.binary(max_size=60).map(
    lambda value: bytes(byte for byte in value if byte == 9 or 32 <= byte != 127).strip(b" \t")
)
targets = st.binary(max_size=60).map(
    lambda value: b"/" + bytes(byte for byte in value if 33 <= byte < 127 and byte != 63)
)


@pytest.mark.parametrize("form", ["combined", "json"])
def test_every_request_is_one_line_that_tells_it_back(form: str, serving: Serve, tmp_path: Path) -> None:
    log = Log(tmp_path, form)
    site = serving(plain, validated=False, **log.settings)
    count = 0

    def logged(value: bytes) -> bytes | None:
        return None if form == "combined" and value == b"-" else value

    @settings(suppress_health_check=list(HealthCheck))
    @given(targets, field_values, field_values, st.binary(max_size=60))
    @example(b"/", b'" 200 0 "-" "-"', b"\\", b"a - [x] \n\x1b[2J")
    @example(b"/", b"\xc2\x9b2J", b"a\t\xff", b"-")
    def check(target: bytes, referer: bytes, agent: bytes, credentials: bytes) -> None:
        nonlocal count
        count += 1
        basic = base64.b64encode(credentials)
        with site.connect() as peer:
            peer.send(
                b"GET %s HTTP/1.1\r\nHost: a\r\nReferer: %s\r\nuser-agent:%s\r\nAuthorization: Basic %s\r\n"
                b"Connection: close\r\n\r\n" % (target, referer, agent, basic)
            )
            status = peer.read_answer().status
        record = log.records(count)[-1]
        assert record["status"] == status
        if status != 200:
            return  # What is no target has no request.
        user = credentials.partition(b":")[0]
        if form == "combined":
            assert record["request"] == b"GET %s HTTP/1.1" % target
            found = (record["user"], record["referer"], record["agent"])
        else:
            assert record["target"] == target
            found = (record["remote_user"], record["referer"], record["user_agent"])
        assert found == (logged(user) if user else None, logged(referer), logged(agent))

    check()


@settings(suppress_health_check=list(HealthCheck))
@given(sent=st.binary(min_size=1, max_size=80))
@example(sent=b'GET / HTTP/1.1" 200 0 "-" "-"\r\n\r\n')
def test_whatever_is_refused_is_one_line(serving: Serve, tmp_path_factory: Any, sent: bytes) -> None:
    log = Log(tmp_path_factory.mktemp("log"), "combined")
    site = serving(plain, validated=False, **log.settings)
    with site.connect() as peer:
        peer.send(sent)
        peer.end_output()
        answered = peer.read_to_end().count(b"HTTP/1.1 ")
    site.close()
    assert len(lines_of(log.path)) == answered
    for line in lines_of(log.path):
        combined(line)

"""`wiretask serve` as an operator meets it: started as a program, spoken to over HTTP, ended by signals."""

from __future__ import annotations

import contextlib
import html.parser
import importlib.metadata
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import DEADLINE_SECONDS, Command, answer_of, serve

import wiretask

SHOP = """
import os, threading

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        os.write(1, b"waiting\\n")
        import time
        time.sleep(1)
    if path == "/hang":
        os.write(1, b"hanging\\n")
        threading.Event().wait()
    body = f"{environ['SCRIPT_NAME']}|{path}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

def make():
    return app
"""

ERRING = r"""
def app(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("oh dear \u20ac \udce9\n")
    print("oh dear", file=errors, flush=True)
    errors.writelines(["a", "b"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"stream %d" % id(errors)]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


# ---- the demonstration ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Iterator[int]:
    with serve("--port", "0", "--threads", "3") as command:
        yield command.port()
        command.process.send_signal(signal.SIGTERM)
        assert command.finish() == (0, "", "")


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_and_all_it_needs_are_served(demo: int) -> None:
    answer, body = answer_of(demo)
    assert (answer.status, answer.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    links = _Links()
    links.feed(body.decode())
    assert {"page.css", "page.js", "figures.json"} <= set(links.found)
    for link in links.found:
        assert ":" not in link, "the page uses nothing from elsewhere"
        answer, body = answer_of(demo, f"/{link}")
        assert (answer.status, bool(body)) == (200, True)
        assert b"http://" not in body or link.endswith(".json")
    assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")


def test_the_figures_are_the_servers_own(demo: int) -> None:
    before = json.loads(answer_of(demo, "/figures.json")[1])
    after = json.loads(answer_of(demo, "/figures.json")[1])
    assert before["facts"]["wiretask"] == wiretask.__version__
    assert f":{demo}" in before["facts"]["listens on"]
    assert after["server"]["accepted"] == before["server"]["accepted"] + 1
    assert after["server"]["tasks_threads_alive"] == 3
    assert after["process"]["uptime_seconds"] >= before["process"]["uptime_seconds"] > 0
    assert after["process"]["memory_bytes"] > 1_000_000
    numbers = [value for part in ("server", "process") for value in after[part].values()]
    assert [value for value in numbers if not isinstance(value, (int, float))] == []


def test_requests_are_counted_one_by_one_though_they_are_sent_together(demo: int) -> None:
    before = json.loads(answer_of(demo, "/figures.json")[1])["server"]["requests"]
    with socket.create_connection(("127.0.0.1", demo), timeout=DEADLINE_SECONDS) as client:
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 19 + b"GET /hello HTTP/1.0\r\n\r\n")
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    assert answers.count(b"Hello, world!\n") == 20
    assert json.loads(answer_of(demo, "/figures.json")[1])["server"]["requests"] == before + 21


def test_the_demonstration_answers_nothing_else(demo: int) -> None:
    assert answer_of(demo, "/hello")[1] == b"Hello, world!\n"
    assert answer_of(demo, "/nothing")[0].status == 404
    assert answer_of(demo, "/../page.css")[0].status in (400, 404)
    answer, body = answer_of(demo, "/", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.getheader("Content-Length") or 0) > 1000
    answer, _ = answer_of(demo, "/", "POST")
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")


# ---- applications --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_an_application_until_a_signal_and_exits_with_0(folder: Path, number: signal.Signals) -> None:
    with serve("shop:app", "--host", "127.0.0.1", "--port", "0", "--url-prefix", "/shop", folder=folder) as command:
        lines = command.banner()
        assert lines[0] == f"wiretask {wiretask.__version__} serves shop:app"
        link = re.fullmatch(r"  http://127\.0\.0\.1:(\d+)/shop", lines[1])
        assert link
        assert f"4 worker threads, process {command.process.pid}" in lines[2]
        assert answer_of(int(link[1]), "/shop/a")[1] == b"/shop|/a"
        command.process.send_signal(number)
        assert command.finish() == (0, "", "")


def test_a_request_that_runs_is_answered_before_it_exits(folder: Path) -> None:
    with serve("shop:make()", "--host", "127.0.0.1", "--port", "0", folder=folder) as command:
        port = command.port()
        answers: list[bytes] = []
        client = threading.Thread(target=lambda: answers.append(answer_of(port, "/wait")[1]))
        client.start()
        assert command.said() == "waiting"
        command.process.send_signal(signal.SIGTERM)
        assert command.finish() == (0, "", "")
        client.join(DEADLINE_SECONDS)
        assert answers == [b"|/wait"]


def test_a_request_that_hangs_does_not_keep_it_longer_than_it_may_and_a_long_stop_says_why(folder: Path) -> None:
    for seconds, is_told in (("0.2", False), ("2.5", True)):
        with (
            serve("shop:app", "--port", "0", "--graceful-timeout", seconds, folder=folder) as command,
            socket.create_connection(("127.0.0.1", command.port())) as client,
        ):
            client.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            assert command.said() == "hanging"
            command.process.send_signal(signal.SIGTERM)
            status, _, errors = command.finish()
        *waiting, given_up = errors.splitlines()
        assert (status, "still running" in given_up) == (0, True)
        assert ["requests are still being answered" in line for line in waiting] == [True] * is_told


LOADING = """
import os, resource, time
os.write(1, b"loading\\n")
time.sleep(float(os.environ["SECONDS"]))

def app(environ, start_response):
    start_response("200 OK", [])
    return [str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).encode()]
"""


def test_log_rotation_while_the_application_is_loaded_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(LOADING)
    with serve("slow:app", "--port", "0", folder=tmp_path, SECONDS="0.5") as command:
        assert command.said() == "loading"
        command.process.send_signal(signal.SIGUSR1)
        assert answer_of(command.port())[0].status == 200


def test_sigterm_ends_the_first_process_of_a_container_while_the_application_is_loaded(tmp_path: Path) -> None:
    """The system does not do to it what signals do by default."""
    (tmp_path / "slow.py").write_text(LOADING)
    first = "import os, sys; os.getpid = lambda: 1; import wiretask.command_line as c; sys.exit(c.main(sys.argv[1:]))"
    with Command(sys.executable, "-c", first, "serve", "slow:app", folder=tmp_path, SECONDS="3600") as command:
        assert command.said() == "loading"
        command.process.send_signal(signal.SIGTERM)
        assert command.finish() == (128 + signal.SIGTERM, "", "")


def test_more_idle_connections_than_descriptors_keep_nobody_out(folder: Path) -> None:
    arguments = [sys.executable, "-m", "wiretask", "serve", "shop:app", "--port", "0", "--evict-idle-seconds", "0"]
    with (
        Command("sh", "-c", 'ulimit -n 100; exec "$@"', "sh", *arguments, folder=folder) as command,
        contextlib.ExitStack() as crowd,
    ):
        port = command.port()
        for _ in range(150):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port)))
        for _ in range(3):
            assert answer_of(port, "/late")[1] == b"|/late"


def test_it_has_as_many_descriptors_as_its_connections_need(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(LOADING)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1000:
        pytest.skip("this system gives no more")
    arguments = [sys.executable, "-m", "wiretask", "serve", "slow:app", "--port", "0", "--connection-limit", "300"]
    with Command("sh", "-c", 'ulimit -Sn 100; exec "$@"', "sh", *arguments, folder=tmp_path, SECONDS="0") as command:
        assert int(answer_of(command.port())[1]) >= 400


def test_the_configuration_file_says_it_all(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "shop.py").rename(folder / "src/shop.py")
    path = folder / "server.sock"
    (folder / "wiretask.toml").write_text(
        '[serve]\napplication = "shop:app"\napp_dir = "src"\nthreads = 2\n'
        f'unix_socket = "{path}"\nunix_socket_perms = 0o660\n'
    )
    with serve("--config", "wiretask.toml", folder=folder) as command:
        assert f"  unix:{path}" in command.banner()
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_SECONDS)
            client.connect(str(path))
            client.sendall(b"GET /a HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.endswith(b"|/a")
        command.process.send_signal(signal.SIGTERM)
        assert command.finish()[0] == 0
    assert not path.exists()


def test_the_installed_command_is_the_same(folder: Path) -> None:
    command = Path(sys.executable).with_name("wiretask")
    entry_points = importlib.metadata.entry_points(group="console_scripts", name="wiretask")
    if not command.exists() and not entry_points:
        pytest.skip("wiretask is not installed, but found in a folder")
    with Command(str(command), "serve", "shop:app", "--check", folder=folder) as check:
        status, out, errors = check.finish()
        assert (status, errors) == (0, "")
        assert (
            out
            == "would serve shop:app on http://127.0.0.1:8080/ (and every other interface) with 4 worker threads\n"
        )


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--thread", "8"], 2, "no option --thread; did you mean '--threads'?"),
        (["shop:ap"], 1, "shop has no 'ap'; did you mean 'app'?"),
        (["shopp:app"], 1, "no module 'shopp'"),
        (["shop:app", "--config", "nowhere.toml"], 1, "cannot read nowhere.toml"),
        (["shop:app", "--host", "192.0.2.1"], 1, "this machine has no such address"),
        (
            ["shop:app", "--spool-directory", "/nowhere/at/all"],
            1,
            "cannot make files in the spool_directory: No such file or directory: /nowhere/at/all; "
            "choose another with --spool-directory",
        ),
        (
            ["shop:app", "--port", "0", "--access-log", "/nowhere/at/all"],
            1,
            "open the access log: No such file or directory: /nowhere/at/all; choose another with --access-log",
        ),
        (
            ["shop:app", "--unix-socket", "/nowhere/at/all"],
            1,
            "No such file or directory; its directory must be there",
        ),
        (["shop:app", "--host", "nobody.invalid"], 1, "choose another with --host or --listen"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, arguments: list[str], status: int, said: str) -> None:
    with serve(*arguments, folder=folder) as command:
        code, out, errors = command.finish()
    assert (code, out) == (status, "")
    assert said in errors
    assert errors.count("\n") == 1, errors


def test_a_port_that_is_in_use_is_named_with_a_remedy(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serve("shop:app", "--host", "127.0.0.1", "--port", str(port), folder=folder) as command:
            code, out, errors = command.finish()
    assert (code, out) == (1, "")
    assert errors == (
        f"wiretask serve: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "stop what listens there, or choose another with --port or --listen\n"
    )


def test_an_address_of_a_family_that_is_switched_off_is_named_with_a_remedy(folder: Path) -> None:
    with serve("shop:app", "--listen", "127.0.0.1:0", "--no-ipv4", folder=folder) as command:
        assert command.finish() == (
            1,
            "",
            "wiretask serve: cannot listen on 127.0.0.1:0: it has no IPv6 address, and the other family is "
            "switched off; choose another with --host or --listen\n",
        )


def test_a_log_to_a_standard_output_that_is_closed_is_refused(folder: Path) -> None:
    """The number 1 goes to the next file that is opened, which would be written to."""
    wiretask_serve = [sys.executable, "-m", "wiretask", "serve", "shop:app", "--port", "0", "--access-log", "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *wiretask_serve],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "wiretask serve: cannot write the access log to the standard output, which is closed; "
        "choose another with --access-log\n",
    )


def test_an_application_can_write_errors_though_standard_error_is_closed(folder: Path) -> None:
    """PEP 3333: `wsgi.errors` is a stream that text can be written to. Python's `sys.stderr` is None then."""
    (folder / "shop.py").write_text(ERRING)
    port = _free_port()
    arguments = ["shop:app", "--host", "127.0.0.1", "--port", str(port)]
    wiretask_serve = [sys.executable, "-m", "wiretask", "serve", *arguments]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" 2>&-', "sh", *wiretask_serve], cwd=folder)
    try:
        first, second = _first_answer(port, process), answer_of(port, "/")[1]
        assert first == second, "each request has a stream of its own"
        assert first.startswith(b"stream ")
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


CLOSED = """
import os, sys

def app(environ, start_response):
    start_response("200 OK", [])
    nowhere = os.stat(os.devnull)
    print("written to nobody")
    return [str([os.path.samestat(os.fstat(number), nowhere) for number in (0, 1, 2)]).encode()]
"""


def test_no_socket_stands_where_a_standard_stream_is_closed(folder: Path) -> None:
    """What is written there, by a library in C say, would be in the middle of an answer."""
    (folder / "shop.py").write_text(CLOSED)
    port = _free_port()
    arguments = ["shop:app", "--host", "127.0.0.1", "--port", str(port)]
    wiretask_serve = [sys.executable, "-m", "wiretask", "serve", *arguments]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *wiretask_serve], cwd=folder)
    try:
        assert _first_answer(port, process) == b"[True, True, True]"
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_a_banner_that_cannot_be_written_does_not_keep_it_from_serving(folder: Path) -> None:
    port = _free_port()
    arguments = ["shop:app", "--host", "127.0.0.1", "--port", str(port)]
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([sys.executable, "-m", "wiretask", "serve", *arguments], cwd=folder, stderr=full)
    try:
        assert _first_answer(port, process, "/a") == b"|/a"
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_what_goes_wrong_is_told_though_the_application_has_loggers_disabled(folder: Path) -> None:
    """`dictConfig` disables all loggers that it does not name, unless it is told not to."""
    (folder / "quiet.py").write_text("""
import logging.config
logging.config.dictConfig({"version": 1})

def app(environ, start_response):
    raise ZeroDivisionError("as always")
""")
    with serve("quiet:app", "--host", "127.0.0.1", "--port", "0", folder=folder) as command:
        assert answer_of(command.port())[0].status == 500
        command.process.send_signal(signal.SIGTERM)
        code, _, errors = command.finish()
    assert code == 0
    assert "ZeroDivisionError: as always" in errors


@pytest.mark.parametrize("log", ["none", "-", "yes", "access.log"])
def test_log_rotation_does_not_end_it(folder: Path, log: str) -> None:
    with serve("shop:app", "--host", "127.0.0.1", "--port", "0", "--access-log", log, folder=folder) as command:
        port = command.port()
        command.process.send_signal(signal.SIGUSR1)  # at once, when the main thread may not wait for signals yet
        assert answer_of(port, "/before")[1] == b"|/before"
        command.process.send_signal(signal.SIGUSR1)
        assert answer_of(port, "/after")[1] == b"|/after"
        command.process.send_signal(signal.SIGTERM)
        code, out, errors = command.finish()
    assert code == 0
    file = folder / "access.log"
    lines = out + errors + (file.read_text() if file.exists() else "")
    assert [path in lines for path in ("GET /before", "GET /after")] == [log != "none"] * 2


# ---- sockets of a service manager -----------------------------------------------------------------


def test_it_serves_a_socket_it_inherited(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        os.set_inheritable(bound.fileno(), True)
        with serve(
            "shop:app", "--sockets", f"fd:{bound.fileno()}", folder=folder, descriptors=[bound.fileno()]
        ) as command:
            assert command.port() == bound.getsockname()[1]
            assert answer_of(bound.getsockname()[1], "/a")[1] == b"|/a"
            command.process.send_signal(signal.SIGTERM)
            assert command.finish()[0] == 0


AS_SYSTEMD_DOES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "wiretask", "serve", *sys.argv[2:]])
"""


def test_it_serves_the_sockets_of_systemd(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port, number = bound.getsockname()[1], bound.fileno()
        words = [sys.executable, "-c", AS_SYSTEMD_DOES, str(number), "shop:app", "--sockets", "systemd"]
        with Command(*words, folder=folder, descriptors=[number]) as command:
            assert command.port() == port
            assert answer_of(port, "/a")[1] == b"|/a"
            command.process.send_signal(signal.SIGTERM)
            assert command.finish()[0] == 0


# ---- PasteDeploy ---------------------------------------------------------------------------------


PASTE = """
import importlib.metadata, os, signal, sys, threading
from shop import app
points = importlib.metadata.entry_points(group=sys.argv[1], name="main")
(point,) = [point for point in points if point.value.startswith("wiretask.")]
settings = {"host": "127.0.0.1", "port": sys.argv[2], "threads": "2", "clear_untrusted_proxy_headers": "false"}
if sys.argv[1] == "paste.server_runner":
    sys.exit(point.load()(app, {"here": "/"}, **settings))
sys.exit(point.load()({"here": "/"}, **settings)(app))
"""


@pytest.mark.parametrize("group", ["paste.server_runner", "paste.server_factory"])
def test_ini_files_find_it_by_its_entry_points(folder: Path, group: str) -> None:
    points = importlib.metadata.entry_points(group=group, name="main")
    if not [point for point in points if point.value.startswith("wiretask.")]:
        pytest.skip("wiretask is not installed, but found in a folder")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Command(sys.executable, "-c", PASTE, group, str(port), folder=folder, PYTHONPATH=str(folder)) as command:
        assert _eventually_answers(port, command)
        command.process.send_signal(signal.SIGTERM)
        assert command.finish() == (0, "", "")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _first_answer(port: int, process: subprocess.Popen[bytes], path: str = "/") -> bytes:
    """Return the body that is answered as soon as the process listens; fails if it ends instead."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return answer_of(port, path)[1]
        except ConnectionRefusedError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _eventually_answers(port: int, command: Command) -> bool:
    while command.process.poll() is None:
        try:
            return answer_of(port, "/a")[1] == b"|/a"
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
    return False

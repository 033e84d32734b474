"""What becomes of the file of an access log: moved, deleted, full, at the end of the server and of the process."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from access_lines import combined, lines_of, wait_for_lines
from processes import Program, descriptors, resident_kilobytes, run, threads, wait_for_exit
from sites import Site, create_server, until

Serve = Callable[..., Site]

PROLOGUE = """
import os, signal, sys, threading, time
import http.client
import wiretask

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

def make(**settings):
    return wiretask.create_server(application, listen="127.0.0.1:0", **settings)

def ask(server, count):
    client = http.client.HTTPConnection("127.0.0.1", server.effective_port)
    for number in range(count):
        client.request("GET", "/%d" % number)
        client.getresponse().read()
    client.close()

path = sys.argv[1]
"""


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log is to be."""
    return tmp_path / "access.log"


@contextlib.contextmanager
def asking(site: Site, limit: int = 1_000_000) -> Iterator[list[int]]:
    """Ask again and again meanwhile; the list is how often, in the end."""
    is_over, counts = threading.Event(), [0]

    def ask() -> None:
        with site.connect() as peer:
            while not is_over.is_set() and counts[0] < limit:
                peer.ask("GET", f"/{counts[0]}")
                counts[0] += 1

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield counts
    finally:
        is_over.set()
        asker.join()


def numbers(*paths: Path) -> list[int]:
    """Return the number that each request of some logs asked for."""
    lines = [line for path in paths for line in lines_of(path)]
    return [int(combined(line)["request"].split()[1][1:]) for line in lines]


# ---- moved ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["moved", "replaced", "reopened"])
def test_a_log_that_is_moved_goes_on_in_a_new_file_and_loses_nothing(serving: Serve, path: Path, way: str) -> None:
    site = serving(plain, access_log=path)
    old = [path.with_suffix(f".{number}") for number in range(2)]
    with asking(site) as counts:
        for moved in old:
            until(lambda: path.exists() and path.stat().st_size, "the first lines")
            path.rename(moved)
            if way == "replaced":
                path.touch()
            elif way == "reopened":
                site.server.reopen_access_log()
        until(lambda: path.exists() and path.stat().st_size, "the last file")
    site.close()
    assert numbers(*old, path) == list(range(counts[0]))


def test_a_log_that_is_deleted_goes_on_in_a_new_file(serving: Serve, path: Path) -> None:
    site = serving(plain, access_log=path)
    with asking(site):
        until(lambda: path.exists() and path.stat().st_size, "the first lines")
        path.unlink()
        until(lambda: path.exists() and path.stat().st_size, "the new file")
    site.close()
    found = numbers(path)
    assert found == list(range(found[0], found[-1] + 1))


@pytest.mark.parametrize("pause_seconds", [0, 1.1])  # with or without a look at the name when it writes
def test_a_log_that_was_moved_in_a_quiet_hour_goes_on_in_a_new_file_after_one_request(
    serving: Serve, path: Path, pause_seconds: float
) -> None:
    site = serving(plain, access_log=path)
    site.ask("GET", "/0")
    wait_for_lines(path, 1)
    moved = path.with_suffix(".moved")
    path.rename(moved)
    time.sleep(pause_seconds)
    site.ask("GET", "/1")
    until(path.exists, "the new file")
    site.ask("GET", "/2")
    wait_for_lines(path, 1)
    assert (numbers(moved), numbers(path)) == ([0, 1], [2])


def test_a_log_that_is_cut_off_goes_on_at_its_beginning(serving: Serve, path: Path) -> None:
    site = serving(plain, access_log=path)
    site.ask("GET", "/1")
    wait_for_lines(path, 1)
    os.truncate(path, 0)
    site.ask("GET", "/2")
    wait_for_lines(path, 1)
    assert numbers(path) == [2]


def test_a_log_that_cannot_be_opened_anew_is_written_on(serving: Serve, path: Path, caplog: Any) -> None:
    directory = path.parent / "logs"
    directory.mkdir()
    inside = directory / "access.log"
    site = serving(plain, access_log=inside)
    site.ask("GET", "/0")
    directory.rename(path.parent / "moved")
    directory.touch()  # no directory any more
    site.server.reopen_access_log()
    until(lambda: "cannot open the access log" in caplog.text, "the message")
    site.ask("GET", "/1")
    site.close()
    assert numbers(path.parent / "moved" / "access.log") == [0, 1]
    assert str(inside) in caplog.text


def test_a_file_that_is_there_is_added_to(serving: Serve, path: Path) -> None:
    for number in range(3):
        site = serving(plain, access_log=path)
        site.ask("GET", f"/{number}")
        site.close()
    assert numbers(path) == [0, 1, 2]


# ---- signals -------------------------------------------------------------------------------------

RUN = (
    PROLOGUE
    + """
server = make(access_log=path)
def drive():
    ask(server, 3)
    while not os.path.exists(path) or open(path).read().count("\\n") < 3:
        time.sleep(0.01)
    os.rename(path, path + ".1")
    print("moved")
    sys.stdin.readline()
    ask(server, 2)
    print("asked")
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=drive, daemon=True).start()
"""
)


def test_sigusr1_opens_the_log_anew(path: Path) -> None:
    over = "assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL\nprint('over')"
    with Program(f"{RUN}\nserver.run()\n{over}", str(path)) as program:
        assert program.read_line() == "moved"
        assert not path.exists()
        program.signal(signal.SIGUSR1)
        until(path.exists, "the new file")
        program.send("ask")
        assert program.read_line() == "asked"
        wait_for_lines(path, 2)
        program.send("end")
        assert program.read_line() == "over"
        assert program.finish() == (0, "")
    assert numbers(path.with_suffix(".log.1"), path) == [0, 1, 2, 0, 1]


def test_a_handler_of_the_programs_own_for_sigusr1_is_left_alone(path: Path) -> None:
    own = "signal.signal(signal.SIGUSR1, lambda *_: print('own'))"
    with Program(f"{RUN}\n{own}\nserver.run()", str(path)) as program:
        assert program.read_line() == "moved"
        program.signal(signal.SIGUSR1)
        assert program.read_line() == "own"
        assert not path.exists()


def test_without_a_file_sigusr1_is_not_ours(path: Path) -> None:
    check = """
for target in (None, True, "-"):
    server = make(access_log=target)
    def look():
        while "running" not in repr(server):
            time.sleep(0.001)
        handler = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
        server.stop()
        assert handler[0] is not signal.SIG_DFL and handler[1] is signal.SIG_DFL, handler
        seen.append(target)
    seen = []
    thread = threading.Thread(target=look)
    thread.start()
    server.run()
    thread.join()
    assert seen == [target]
"""
    assert run(PROLOGUE + check, str(path)) == (0, "")


# ---- full ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_holds_up_nobody_is_told_once_and_counted(serving: Serve, caplog: Any) -> None:
    site = serving(plain, access_log="/dev/full")
    with site.connect() as peer:
        for _ in range(100):
            assert peer.ask().body == b"hello"
    until(lambda: site.server.figures()["access_log_errors"] >= 2, "another attempt")
    assert site.server.figures()["access_log_records"] == 100
    site.close()
    assert site.server.figures()["access_log_dropped"] == 100
    told = [record.getMessage() for record in caplog.records if "access log" in record.getMessage()]
    assert len(told) == 2, told
    assert "/dev/full" in told[0]
    assert "No space left on device" in told[0]
    assert told[1] == "the access log lacks 100 of 100 requests"


def test_a_file_that_may_not_grow_is_left_with_whole_lines_once_there_is_another(path: Path) -> None:
    grow = """
import logging, resource
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
server = make(access_log=path)
server.start()
ask(server, 20)
while not server.figures()["access_log_errors"]:
    time.sleep(0.01)
ask(server, 3)
os.rename(path, path + ".1")
open(path, "x").close()
while open(path).read().count("\\n") < 9:
    time.sleep(0.01)
server.stop()
figures = server.figures()
print(figures["access_log_records"], figures["access_log_dropped"])
"""
    with Program(PROLOGUE + grow, str(path)) as program:
        records, dropped = map(int, program.read_line().split())
        code, errors = program.finish()
    assert code == 0
    assert records == 23
    assert dropped <= 1  # the line that was in the middle
    old = path.with_suffix(".log.1").read_bytes()
    assert len(old) == 1000
    whole = old[: old.rindex(b"\n") + 1].decode().splitlines()
    assert len(whole) + len(numbers(path)) == records - dropped
    assert [combined(line)["request"] for line in whole] == [b"GET /%d HTTP/1.1" % n for n in range(len(whole))]
    assert errors.count("File too large") == 1, errors
    assert errors.count(f'can be written to "{path}" again; {dropped} records are lost') == 1, errors


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_not_for_ever(serving: Serve, path: Path, caplog: Any) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        site = serving(plain, access_log=path)
        with site.connect() as peer:
            for _ in range(20):
                peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: %b\r\n\r\n" % (b"x" * 8000))
                assert peer.read_answer().body == b"hello"
        site.close()
        figures = site.server.figures()
        assert 0 < figures["access_log_dropped"] < 20
        assert "the access log lacks" in caplog.text
    finally:
        os.close(reader)


# ---- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 0])
def test_a_server_that_has_stopped_has_written_everything(path: Path, timeout: float | None) -> None:
    for round in range(1, 6):
        server = create_server(plain, access_log=path)
        server.start()
        with contextlib.closing(_peer(server)) as peer:
            for _ in range(200):
                peer.ask()
        server.stop(timeout)
        assert len(lines_of(path)) == 200 * round


def _peer(server: Any) -> Any:
    from http_peer import HTTPPeer

    return HTTPPeer(("127.0.0.1", server.effective_port))


@pytest.mark.parametrize(
    "end", ["", "sys.exit(0)", "server.stop()", "server.close()", "del server", "os.kill(os.getpid(), signal.SIGINT)"]
)
@pytest.mark.parametrize("target", ["file", "logger"])
def test_a_program_that_ends_has_written_everything(path: Path, end: str, target: str) -> None:
    setting = f"{str(path)!r}" if target == "file" else "True"
    program = f"""
import logging
logging.basicConfig(filename=path if {target == "logger"} else os.devnull, level=logging.INFO, format="%(message)s")
server = make(access_log={setting})
server.start()
ask(server, 100)
{end}
"""
    code, errors = run(PROLOGUE + program, str(path), options=("-W", "ignore"))
    assert (code, errors) == (0, "") or "KeyboardInterrupt" in errors
    assert numbers(path) == list(range(100))


def test_the_standard_output_is_a_log_too(path: Path) -> None:
    program = """
server = make(access_log="-")
with server:
    ask(server, 3)
"""
    with Program(PROLOGUE + program, str(path)) as running:
        lines = [running.read_line() for _ in range(3)]
        assert running.finish() == (0, "")
    assert [combined(line)["request"] for line in lines] == [b"GET /%d HTTP/1.1" % n for n in range(3)]


def test_the_child_of_a_fork_leaves_the_log_alone_and_may_have_its_own(path: Path) -> None:
    program = """
server = make(access_log=path)
server.start()
ask(server, 5)
child = os.fork()
if child == 0:
    assert path not in [os.readlink("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd")
                        if os.path.exists("/proc/self/fd/" + name)]
    server.reopen_access_log()
    server.figures()
    with make(access_log=path + ".child") as other:
        ask(other, 3)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
ask(server, 5)
server.stop()
"""
    assert run(PROLOGUE + program, str(path), options=("-W", "ignore")) == (0, "")
    assert numbers(path) == [*range(5), *range(5)]
    assert numbers(path.with_suffix(".log.child")) == list(range(3))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_application_that_forks_is_recorded_once(serving: Serve, path: Path) -> None:
    def forking(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        if (child := os.fork()) == 0:
            # The exchange is let go here too, by a request that answers nobody.
            with contextlib.suppress(BaseException):
                start_response.fail("500 Failed", b"")
            os._exit(0)
        assert wait_for_exit(child) == 0
        return [b"hello"]

    site = serving(forking, validated=False, access_log=path)
    site.ask()
    site.close()
    assert len(lines_of(path)) == 1


# ---- what it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing/access.log", "."])
def test_a_log_that_cannot_be_opened_is_an_error_of_the_start(tmp_path: Path, name: str) -> None:
    server = create_server(plain, access_log=tmp_path / name)
    before = threads()
    try:
        with pytest.raises(OSError, match="cannot open the access log") as caught:
            server.start()
        assert caught.value.filename == str(tmp_path / name)
        assert "os error" not in str(caught.value)  # the number is said by Python
        # A thread that was joined may still be at its very end.
        until(lambda: threads() == before, "the end of the threads")
        if name != ".":
            (tmp_path / "missing").mkdir()
            server.start()
            with contextlib.closing(_peer(server)) as peer:
                peer.ask()
    finally:
        server.close()
    if name != ".":
        assert len(lines_of(tmp_path / name)) == 1


def test_a_pipe_without_a_reader_is_an_error_and_no_wait(path: Path) -> None:
    os.mkfifo(path)
    server = create_server(plain, access_log=path)
    try:
        with pytest.raises(OSError, match="cannot open the access log"):
            server.start()
    finally:
        server.close()


def test_servers_that_come_and_go_leave_no_thread_and_no_descriptor(path: Path) -> None:
    def live() -> None:
        server = create_server(plain, access_log=path)
        server.start()
        until(lambda: "wiretask-log" in threads(), "the thread")
        server.close()

    live()
    gc.collect()
    before = set(descriptors().values())
    for _ in range(5):
        live()
    gc.collect()
    until(lambda: "wiretask-log" not in threads(), "the end of the threads")
    assert str(path) not in descriptors().values()
    assert set(descriptors().values()) <= before


def test_many_requests_take_no_memory(serving: Serve, path: Path) -> None:
    site = serving(plain, validated=False, access_log=path, access_log_format="json")
    batch = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 400) * 100

    def ask(batches: int) -> None:
        with site.connect() as peer:
            for _ in range(batches):
                peer.send(batch)
                for _ in range(100):
                    peer.read_answer()

    ask(20)
    before = resident_kilobytes()
    ask(100)
    assert resident_kilobytes() - before < 4000  # the lines are 6 MB
    site.close()
    assert len(lines_of(path)) == 12_000

"""How a WSGI server ends: signals, `close()`, `with`, and forks before it began (faults R36, R37)."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from http_peer import CutShortError, HTTPPeer
from sites import Site, create_server, until

Serve = Callable[..., Site]
WEB = str(Path(__file__).parent)

SERVER = """
import logging, sys, threading, time
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.ERROR)
import wiretask

def say(word):
    sys.stdout.write(word + "\\n")  # at once, whole: several threads say something
    sys.stdout.flush()

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hang":
        say("begun")
        time.sleep(3600)
    if path == "/slow":
        say("begun")
        time.sleep(0.5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/blocks":
        say("begun")
        return blocks()
    if path == "/large":
        return [b"x" * 3_000_000]
    return [b"hello"]

def blocks():
    for number in range(20):
        yield b"%d " % number
        time.sleep(0.03)

server = wiretask.create_server(application, host="127.0.0.1", port=0, threads=4, graceful_timeout={timeout})
print(server.effective_port, flush=True)
server.run()
print("over", flush=True)
"""
BLOCKS = b"".join(b"%d " % number for number in range(20))


def program(timeout: float = 20) -> Any:
    from processes import Program

    return Program(SERVER.format(timeout=timeout))


def connected(port: str) -> HTTPPeer:
    return HTTPPeer(("127.0.0.1", int(port)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_r36_what_is_being_answered_when_the_signal_comes_is_answered_whole(number: signal.Signals) -> None:
    with program() as running:
        port = running.read_line()
        with connected(port) as blocks, connected(port) as slow, connected(port) as idle, connected(port) as late:
            assert idle.ask().body == b"hello"
            blocks.send_request("GET", "/blocks")
            slow.send_request("GET", "/slow")
            assert [running.read_line() for _ in range(2)] == ["begun"] * 2
            running.signal(number)
            assert blocks.read_answer().body == BLOCKS
            assert slow.read_answer().body == b"hello"
            assert idle.is_closed_by_server()
            assert late.is_closed_by_server()
        assert running.read_line() == "over"
        assert running.finish() == (0, "")


def test_r36_a_reader_that_still_takes_its_answer_gets_all_of_it() -> None:
    with program() as running:
        peer = HTTPPeer(("127.0.0.1", int(running.read_line())), receive_buffer_bytes=65536)
        with peer:
            peer.send_request("GET", "/large")
            assert peer.read_head().status == 200
            running.signal(signal.SIGTERM)
            assert peer._take(3_000_000) == b"x" * 3_000_000
        assert running.read_line() == "over"
        assert running.finish() == (0, "")


def test_r36_a_signal_under_load_cuts_no_answer_short() -> None:
    counts = {"whole": 0, "none": 0}
    wrong: list[object] = []
    lock = threading.Lock()
    stopping = threading.Event()

    def ask_on(port: str) -> None:
        while True:
            try:
                with connected(port) as peer:
                    while True:
                        begun = time.monotonic()
                        peer.send_request("GET", "/large" if begun % 0.1 < 0.01 else "/")
                        answer = peer.read_answer()
                        with lock:
                            counts["whole"] += 1
                            if answer.body not in (b"hello", b"x" * 3_000_000):
                                wrong.append(answer.body[:100])
                        if answer.ends_connection:
                            break
            except (CutShortError, ConnectionError) as error:
                # Between two answers a connection may end; within one it may not.
                with lock:
                    counts["none"] += 1
                    if isinstance(error, CutShortError) and (error.part or "b''" not in str(error)):
                        wrong.append(error)
                if stopping.is_set():
                    return
                if isinstance(error, ConnectionRefusedError):
                    return

    with program() as running:
        port = running.read_line()
        clients = [threading.Thread(target=ask_on, args=(port,)) for _ in range(8)]
        for client in clients:
            client.start()
        until(lambda: counts["whole"] > 200, "some answers")
        stopping.set()
        running.signal(signal.SIGTERM)
        for client in clients:
            client.join(30)
        assert running.read_line() == "over"
        assert running.finish() == (0, "")
    assert wrong == []


def test_r36_what_takes_longer_than_the_graceful_timeout_is_left() -> None:
    with program(0.3) as running, connected(running.read_line()) as peer:
        peer.send_request("GET", "/hang")
        assert running.read_line() == "begun"
        running.signal(signal.SIGTERM)
        assert running.read_line() == "over"
        code, errors = running.finish()
    assert code == 0
    assert "Traceback" not in errors


def test_r37_a_second_signal_does_not_wait() -> None:
    with program(3600) as running, connected(running.read_line()) as peer:
        peer.send_request("GET", "/hang")
        assert running.read_line() == "begun"
        running.signal(signal.SIGTERM)
        until(lambda: is_refused(peer), "the stop to begin")
        running.signal(signal.SIGTERM)
        assert running.read_line() == "over"
        assert running.finish()[0] == 0


def is_refused(peer: HTTPPeer) -> bool:
    try:
        socket.create_connection(peer.socket.getpeername(), timeout=5).close()
    except ConnectionError:
        return True
    return False


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def test_close_from_another_thread_ends_run(serving: Serve) -> None:
    site = serving(hello)
    with site.connect() as peer:
        assert peer.ask().body == b"hello"
        site.server.close()
        site._thread.join(20)
        assert not site._thread.is_alive()
        assert peer.is_closed_by_server()
    assert is_refused_at(site.port)
    site.server.close()


def is_refused_at(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return True
    return False


def test_close_waits_for_the_answers_under_way(serving: Serve) -> None:
    begun = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        begun.set()
        time.sleep(0.2)
        return hello(environ, start_response)

    site = serving(application)
    with site.connect() as peer:
        peer.send_request()
        assert begun.wait(20)
        site.server.close()
        assert peer.read_answer().body == b"hello"


def test_a_server_may_close_itself_in_a_request(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        site.server.close()
        return hello(environ, start_response)

    site = serving(application)
    assert site.ask().body == b"hello"
    site._thread.join(20)
    assert not site._thread.is_alive()


def test_a_with_block_closes_what_it_created() -> None:
    with create_server(hello) as server:
        port = int(server.effective_port)
        with HTTPPeer(("127.0.0.1", port)) as peer:
            assert peer.ask().body == b"hello"
    assert is_refused_at(port)


def test_a_with_block_that_never_ran_closes_its_sockets_too() -> None:
    from processes import descriptors

    before = set(descriptors())
    server = create_server(hello)
    server.close()
    assert set(descriptors()) <= before


def test_a_created_server_listens_and_has_started_no_thread() -> None:
    from processes import threads

    before = threads()
    server = create_server(hello)
    try:
        with HTTPPeer(("127.0.0.1", int(server.effective_port))) as peer:
            peer.send_request()  # it waits in the kernel
            assert threads() == before
            thread = threading.Thread(target=server.run)
            thread.start()
            assert peer.read_answer().body == b"hello"
            server.close()
            thread.join(20)
            assert not thread.is_alive()
    finally:
        server.close()


FORK = """
import os, sys, time
sys.path.append({web!r})
import wiretask

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

server = wiretask.create_server(application, host="127.0.0.1", port=0)
children = [os.fork() for _ in range(1)]
if 0 in children:
    server.run()
    os._exit(0)
print(server.effective_port, children[0], flush=True)
sys.stdin.readline()
server.close()
os.kill(children[0], 15)
_, status = os.waitpid(children[0], 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"""


def test_create_then_fork_serves_in_the_child() -> None:
    from processes import Program

    with Program(FORK.format(web=WEB)) as running:
        port, child = running.read_line().split()
        for _ in range(3):
            with connected(port) as peer:
                assert peer.ask().body == child.encode()
        running.send("end")
        assert running.read_line() == "0"
        assert running.finish() == (0, "")

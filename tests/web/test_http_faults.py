"""Faults of production at the level of HTTP, each named after its row in docs/faults.md: real sockets and processes.

R16 to R21 and R55 stand with what they are about, in test_answers.py and test_file_wrapper.py.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from http_peer import CutShortError
from sites import Site, create_server, errors_of, until

Serve = Callable[..., Site]
TEXT = ("Content-Type", "text/plain")


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "5")])
    return [b"hello"]


def large(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """`/large` answers with 4 MiB in one piece, `/blocks` in many, everything else with five bytes."""
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [TEXT, ("Content-Length", str(4 << 20))])
        return [b"x" * (4 << 20)]
    if environ["PATH_INFO"] == "/blocks":
        start_response("200 OK", [TEXT])
        return [b"x" * 65536] * 64
    return hello(environ, start_response)


@pytest.mark.parametrize("path", ["/large", "/blocks"])
def test_r6_more_slow_readers_than_workers_leave_others_their_answer(serving: Serve, path: str) -> None:
    site = serving(large, threads=2)
    slow = [site.connect(receive_buffer_bytes=4096) for _ in range(12)]
    for peer in slow:
        peer.send_request("GET", path)
        assert peer.read_head().status == 200
    for _ in range(5):
        assert site.ask().body == b"hello"
    body = slow[3]._take(4 << 20) if path == "/large" else slow[3]._take_chunks()
    assert body == b"x" * (4 << 20)


def test_r6_slow_readers_cost_little_memory(serving: Serve) -> None:
    from processes import resident_kilobytes

    site = serving(large, threads=2, outbuf_overflow=65536)
    site.ask("GET", "/large")
    before = resident_kilobytes()
    slow = [site.connect(receive_buffer_bytes=4096) for _ in range(20)]
    for peer in slow:
        peer.send_request("GET", "/blocks")
        assert peer.read_head().status == 200
    assert site.ask().body == b"hello"
    assert resident_kilobytes() - before < 40 * 1024  # of 80 MiB


def test_r6_a_reader_that_takes_nothing_is_given_up(serving: Serve) -> None:
    closed = threading.Event()

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 65536

        def close(self) -> None:
            closed.set()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        return Endless()

    site = serving(
        application, validated=False, write_timeout_seconds=0.5, outbuf_spool_limit=1 << 20, outbuf_overflow=65536
    )
    with site.connect(receive_buffer_bytes=4096) as peer:
        peer.send_request()
        peer.read_head()
        assert closed.wait(20)


def test_r7_dripping_clients_hold_no_worker_and_are_served_in_the_end(serving: Serve) -> None:
    site = serving(large, threads=1)
    dripping = [site.connect() for _ in range(100)]
    request = b"POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
    for index in range(len(request) - 1):
        for peer in dripping:
            peer.send(request[index : index + 1])
        if index % 20 == 0:
            assert site.ask().body == b"hello"
    for peer in dripping:
        peer.send(request[-1:])
    assert {peer.read_answer().body for peer in dripping} == {b"hello"}


def test_r7_dripping_clients_are_closed_at_the_timeout(serving: Serve) -> None:
    site = serving(hello, request_timeout_seconds=0.5)
    dripping = [site.connect() for _ in range(20)]
    end = time.monotonic() + 20
    alive = dripping
    while alive and time.monotonic() < end:
        for peer in alive:
            with contextlib.suppress(ConnectionError):
                peer.send(b"G")
        time.sleep(0.1)
        alive = [peer for peer in alive if not is_answered(peer)]
    assert alive == []


def is_answered(peer: Any) -> bool:
    peer.socket.setblocking(False)
    try:
        return peer.socket.recv(1) in (b"", b"H")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        peer.socket.settimeout(20)


def test_r11_at_the_connection_limit_the_one_idle_longest_makes_room(serving: Serve) -> None:
    site = serving(hello, connection_limit=10, evict_idle_seconds=0.0)
    idle = [site.connect() for _ in range(10)]
    for peer in idle:
        assert peer.ask().body == b"hello"
        time.sleep(0.02 if peer is idle[0] else 0)  # the others are younger, for a clock that counts in milliseconds
    assert site.ask().body == b"hello"
    assert idle[0].is_closed_by_server()
    assert idle[9].ask().body == b"hello"


def test_r12_more_than_may_wait_is_answered_by_503_and_retry_after(serving: Serve) -> None:
    release, begun = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        begun.set()
        release.wait(20)
        return hello(environ, start_response)

    site = serving(application, threads=1, max_pending=2)
    peers = [site.connect() for _ in range(8)]
    peers[0].send_request()
    assert begun.wait(20)
    for peer in peers[1:]:
        peer.send_request()
    refused = []
    for peer in peers[1:]:
        if is_readable(peer, 2.0 if len(refused) < 5 else 0.0):
            answer = peer.read_answer()
            assert answer.status == 503
            assert int(answer.get("retry-after") or "") >= 1
            refused.append(peer)
    release.set()
    served = [peer.read_answer().body for peer in peers if peer not in refused]
    assert served == [b"hello"] * len(served)
    assert len(refused) >= 4
    assert site.ask().body == b"hello"


def is_readable(peer: Any, seconds: float) -> bool:
    import select

    return bool(select.select([peer.socket], [], [], seconds)[0])


def test_r28_an_application_that_never_ends_stops_no_other(serving: Serve) -> None:
    release = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/forever":
            start_response("200 OK", [TEXT])
            return forever()
        return hello(environ, start_response)

    def forever() -> Iterator[bytes]:
        yield b"begun"
        release.wait(20)

    site = serving(application, threads=3)
    stuck = [site.connect() for _ in range(2)]
    for peer in stuck:
        peer.send_request("GET", "/forever")
        peer.read_head()
    assert [site.ask().body for _ in range(5)] == [b"hello"] * 5
    release.set()
    assert stuck[0]._take_chunks() == b"begun"


def test_r29_endless_recursion_is_a_recursion_error_and_a_500(serving: Serve, caplog: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return deeper(environ) if environ["PATH_INFO"] == "/deep" else hello(environ, start_response)

    def deeper(environ: dict[str, Any]) -> list[bytes]:
        return [*deeper(environ), b""]

    site = serving(application, threads=1)
    assert site.ask("GET", "/deep").status == 500
    assert site.ask().body == b"hello"
    assert any("RecursionError" in text for text in errors_of(caplog))


def test_r30_programs_and_children_of_an_application_inherit_no_socket(serving: Serve) -> None:
    listing = "import processes; print([to for number, to in processes.descriptors().items() if int(number) > 2])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "wire")}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        command = [sys.executable, "-c", listing]
        said = subprocess.run(command, capture_output=True, close_fds=False, check=True, env=environment).stdout
        start_response("200 OK", [TEXT])
        return [said]

    site = serving(application)
    with site.connect() as peer, site.connect() as other:
        other.send(b"GET ")
        assert b"socket" not in peer.ask().body
        assert b"socket" not in peer.ask().body


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_r30_an_application_may_fork_and_the_child_hurts_nobody(serving: Serve) -> None:
    from processes import wait_for_exit

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/fork":
            pid = os.fork()
            if pid == 0:
                os._exit(7)
            code = wait_for_exit(pid)
            start_response("200 OK", [TEXT])
            return [str(code).encode()]
        return hello(environ, start_response)

    site = serving(application, threads=2)
    with site.connect() as other:
        for _ in range(5):
            assert site.ask("GET", "/fork").body == b"7"
            assert other.ask().body == b"hello"


def test_r54_a_server_that_nobody_closed_warns_and_closes_its_socket() -> None:
    server = create_server(hello)
    port = int(server.effective_port)
    server.del_channel()  # its map holds it, as asyncore's did
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del server
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    import socket

    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_r56_idle_keep_alive_connections_cost_little_memory(serving: Serve) -> None:
    from processes import resident_kilobytes

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, (hard - 200) // 2)
    if soft < 2 * count + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    site = serving(hello, connection_limit=count + 100)
    first = [site.connect() for _ in range(100)]
    for peer in first:
        peer.ask()
    before = resident_kilobytes()
    more = [site.connect() for _ in range(count - 100)]
    for peer in more:
        peer.ask()
    # What the clients of this very process hold is in it too.
    assert (resident_kilobytes() - before) * 1024 / len(more) < 6144
    assert first[0].ask().body == b"hello"


FULL_DISK = """
    import hashlib, logging, resource, sys, threading
    sys.path.append({web!r})
    from http_peer import CutShortError, HTTPPeer
    from sites import Site

    logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    def application(environ, start_response):
        size = len(environ["wsgi.input"].read())
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"x" * 65536] * 200
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(size).encode()]

    site = Site(application, validated=False, threads=2, inbuf_overflow=10_000, outbuf_overflow=65536,
        outbuf_wait_seconds=0.0)
    other = site.connect()
    assert other.ask("POST", body=b"x" * 500_000).body == b"500000"
    statuses = []
    for _ in range(4):
        peer = site.connect()
        try:
            peer.send_request("POST", body=b"x" * 5_000_000)
        except ConnectionError:
            pass  # it need not take what it cannot keep
        try:
            statuses.append(peer.read_answer().status)
        except (CutShortError, ConnectionError):
            statuses.append(0)
    assert set(statuses) <= {{0, 500, 503, 507}}, statuses
    for _ in range(4):
        slow = site.connect(receive_buffer_bytes=4096)
        slow.send_request("GET", "/large")
        try:
            assert len(slow.read_to_end()) < 13_000_000
        except ConnectionError:
            pass
    assert other.ask("POST", body=b"x" * 500_000).body == b"500000"
    site.close()
    print(statuses, flush=True)
"""


def test_r57_a_full_disk_costs_the_request_and_nobody_else() -> None:
    from processes import Program

    with Program(FULL_DISK.format(web=str(Path(__file__).parent))) as program:
        statuses = program.read_line()
        code, errors = program.finish()
    assert code == 0, errors
    assert "507" in statuses or "500" in statuses, "a client whose upload cannot be kept is told so"
    assert "File too large" in errors
    assert "Traceback" not in errors


def test_r57_a_directory_for_files_that_is_gone_costs_the_request(
    serving: Serve, tmp_path: Path, caplog: Any
) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    site = serving(hello, inbuf_overflow=1000, spool_directory=directory)
    assert site.ask("POST", body=b"x" * 300_000).status == 200
    directory.rmdir()
    with site.connect() as peer, contextlib.suppress(CutShortError, ConnectionError):
        assert peer.ask("POST", body=b"x" * 300_000).status in (500, 503, 507)
    assert until(lambda: [record for record in caplog.records if "file" in record.getMessage()], "the message")
    assert site.ask("POST", body=b"x" * 500).body == b"hello"

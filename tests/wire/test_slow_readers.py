"""Peers that read slowly or not at all: they stop nobody, whatever their number and whatever they asked for."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from processes import Program, descriptors, resident_kilobytes
from protocols import Echo, PythonEcho, acting

import wiretask
from wiretask.errors import ClientDisconnectedError

MEGABYTE = 1 << 20
NARROW = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_SNDBUF, 8192))
#: A page of the answer: no two of its lines are the same.
PAGE = b"".join(b"%015d\n" % number for number in range(65536))


def settings(**changes: Any) -> wiretask.Adjustments:
    """Two workers; little memory, a large file; writers are held back for as long as nobody needs them."""
    return wiretask.Adjustments(
        **{
            "threads": 2,
            "socket_options": NARROW,
            "outbuf_overflow": 262_144,
            "outbuf_high_watermark": MEGABYTE,
            "outbuf_wait_seconds": DEADLINE_SECONDS,
            **changes,
        }
    )


def big(channel: Any) -> None:
    """Send four pages, in pieces."""
    for _ in range(4):
        for begin in range(0, len(PAGE), 50_000):
            channel.write(PAGE[begin : begin + 50_000])


def ping(channel: Any) -> None:
    channel.write(b"pong\n")


def ask_big(connect: Any, server: Any) -> Any:
    peer = connect(server, receive_buffer_bytes=8192)
    peer.send(b"big\n")
    return peer


def spooled(server: Any) -> int:
    figures: dict[str, int] = server.stats()
    return figures["spooled_bytes"]


@pytest.mark.parametrize("base", [Echo, PythonEcho])
@pytest.mark.parametrize("io_threads", [1, 2])
def test_more_slow_readers_than_workers_stop_nobody_and_get_everything(serving, connect, base, io_threads):
    """faults R6."""
    server = serving(acting(base, big=big, ping=ping), adj=settings(io_threads=io_threads))
    slow = [ask_big(connect, server) for _ in range(7)]
    fast = connect(server)
    for _ in range(50):
        assert fast.ask(b"ping") == b"pong"
    until(lambda: spooled(server) > 7 * 2 * MEGABYTE, "all answers to be written")
    for peer in slow:
        assert peer.read(4 * len(PAGE)) == PAGE * 4
        assert peer.ask(b"ping") == b"pong"
    assert spooled(server) == 0


def test_any_dispatcher_has_its_workers_back_after_a_short_while(serving, connect):
    """Nobody can see whether tasks wait in a dispatcher of somebody else's."""

    class Foreign(wiretask.ThreadedTaskDispatcher):
        def addTask(self, task: Any) -> None:  # noqa: N802
            super().addTask(task)

    dispatcher = Foreign(2)
    server = serving(acting(big=big, ping=ping), adj=settings(outbuf_wait_seconds=0.05), task_dispatcher=dispatcher)
    slow = [ask_big(connect, server) for _ in range(5)]
    assert connect(server).ask(b"ping") == b"pong"
    for peer in slow:
        assert peer.read(4 * len(PAGE)) == PAGE * 4


def test_memory_of_a_server_full_of_slow_readers_stays_bounded(serving, connect):
    """What is held in memory for each is bounded by a setting, not by what it asked for."""
    poured: list[Any] = []

    def pour(channel: Any) -> None:
        for _ in range(16):
            channel.write(PAGE)
        poured.append(channel)

    server = serving(acting(pour=pour), adj=settings(outbuf_wait_seconds=0.0))
    gc.collect()
    before = resident_kilobytes()
    peers = [connect(server, receive_buffer_bytes=8192) for _ in range(20)]
    for peer in peers:
        peer.send(b"pour\n")
    until(lambda: len(poured) == 20, "all answers to be written")
    assert spooled(server) > 20 * 14 * MEGABYTE
    for channel in poured:
        assert channel.conn.unsent_bytes - channel.conn.spooled_bytes <= 262_144 + 2 * 131_072
    # 320 MB were written, of which 10 MB may be in memory; the rest is room for the allocator.
    assert resident_kilobytes() - before < 64 * 1024
    assert peers[0].read(16 * len(PAGE)) == PAGE * 16


def test_a_task_that_writes_to_many_never_waits_for_one_of_them(serving, connect):
    """A chat: `try_write` takes everything or nothing, at once."""
    members: list[Any] = []
    refused: list[Any] = []

    def join(channel: Any) -> None:
        members.append(channel)
        channel.write(b"joined\n")

    def say(channel: Any) -> None:
        refused.extend(member for member in members if not member.try_write(PAGE))
        channel.write(b"said\n")

    server = serving(acting(join=join, say=say), adj=settings(threads=1, outbuf_spool_limit=3 * MEGABYTE))
    deaf = connect(server, receive_buffer_bytes=8192)
    assert deaf.ask(b"join") == b"joined"
    speaker = connect(server)
    for _ in range(10):
        assert speaker.ask(b"say") == b"said"
    # Some were taken, the others not at all.
    taken = 10 - len(refused)
    assert 2 <= taken <= 4
    assert deaf.read(taken * len(PAGE)) == PAGE * taken
    assert members[0].try_write(b"again") is True
    assert deaf.read(5) == b"again"


def test_try_write_refuses_what_write_refuses(serving, connect):
    kept: list[Any] = []
    peer = connect(serving(acting(keep=lambda channel: (kept.append(channel), channel.write(b"kept\n")))))
    assert peer.ask(b"keep") == b"kept"
    channel = kept[0]
    for wrong in ("text", None, 7):
        with pytest.raises(TypeError, match="bytes, bytearray or memoryview"):
            channel.try_write(wrong)
    assert channel.try_write(memoryview(b"a.b.")[::2]) is True
    assert channel.conn.try_write(bytearray(b"c")) is True
    assert peer.read(3) == b"abc"
    # Whoever sent it may not have noted so yet.
    assert until(lambda: (channel.conn.unsent_bytes, channel.conn.spooled_bytes) == (0, 0))
    channel.close_when_done()
    with pytest.raises(ClientDisconnectedError):
        channel.try_write(b"late")


def test_beyond_memory_and_file_a_writer_waits_and_its_peer_is_given_up_in_the_end(serving, connect):
    outcomes: list[Any] = []

    def pour(channel: Any) -> None:
        try:
            while True:
                channel.write(PAGE[:100_000])
        except ClientDisconnectedError as error:
            outcomes.append(error)

    adj = settings(outbuf_wait_seconds=0.0, outbuf_spool_limit=MEGABYTE, write_timeout_seconds=0.3)
    server = serving(acting(pour=pour), adj=adj)
    slow = connect(server, receive_buffer_bytes=8192)
    slow.send(b"pour\n")
    until(lambda: spooled(server) > MEGABYTE // 2)
    until(lambda: outcomes, "the writer to be told")
    until(lambda: server.stats()["connections"] == 0)
    assert spooled(server) == 0
    assert server.stats()["timeouts"] == 1


def test_a_peer_that_drips_cannot_keep_a_writer_beyond_the_write_timeout(serving, connect):
    """It reads something all the time, so that sending makes progress, and never enough to make room."""
    outcomes: list[Any] = []

    def pour(channel: Any) -> None:
        try:
            channel.write(PAGE)
            channel.write(PAGE)
        except ClientDisconnectedError as error:
            outcomes.append(error)

    adj = settings(threads=1, outbuf_spool_limit=MEGABYTE, outbuf_wait_seconds=0.0, write_timeout_seconds=0.5)
    server = serving(acting(pour=pour), adj=adj)
    slow = connect(server, receive_buffer_bytes=4096)
    slow.send(b"pour\n")
    while not outcomes:
        slow.socket.recv(64)
        threading.Event().wait(0.005)
    assert isinstance(outcomes[0], ClientDisconnectedError)


# ---- peers that go ------------------------------------------------------------------------------------------


def test_a_reset_in_the_middle_of_an_answer_frees_worker_and_file_and_tells_the_task(serving, connect):
    """faults R4."""
    errors: list[Any] = []
    released: list[bool] = []

    def endless(channel: Any) -> None:
        try:
            while True:
                channel.write(PAGE)
        except ClientDisconnectedError as error:
            errors.append(error)
        finally:
            released.append(True)

    server = serving(acting(endless=endless, ping=ping), adj=settings(threads=1, outbuf_spool_limit=4 * MEGABYTE))
    before = len(descriptors())
    peer = connect(server, receive_buffer_bytes=8192)
    peer.send(b"endless\n")
    peer.read(1000)
    until(lambda: spooled(server) > 0)
    peer.reset()
    until(lambda: released)
    assert (len(errors), released) == (1, [True])
    assert connect(server).ask(b"ping") == b"pong"
    until(lambda: spooled(server) == 0)
    # The peer of `ping`, both ends, and nothing else.
    until(lambda: len(descriptors()) <= before + 2)


def test_a_half_close_behind_a_request_does_not_cost_its_large_answer(serving, connect):
    """faults R5."""
    server = serving(acting(big=big), adj=settings(outbuf_wait_seconds=0.0))
    peer = ask_big(connect, server)
    peer.end_output()
    until(lambda: spooled(server) > 0)
    assert peer.read_to_end() == PAGE * 4


def test_what_the_kernel_takes_in_small_parts_arrives_whole(serving, connect):
    """faults R10: partial writes and EAGAIN."""
    options = ((socket.SOL_SOCKET, socket.SO_SNDBUF, 1024),)
    server = serving(acting(big=big), adj=settings(socket_options=options, outbuf_overflow=1000))
    peer = ask_big(connect, server)
    received = bytearray()
    while len(received) < 4 * len(PAGE):
        received += peer.socket.recv(4999)
    assert received == PAGE * 4


def test_a_slow_reader_on_a_unix_socket_gets_everything(serving, connect, tmp_path):
    channel_class = acting(big=big, ping=ping)
    server = serving(channel_class, f"unix:{tmp_path}/socket", None, adj=settings(outbuf_wait_seconds=0.0))
    slow = [ask_big(connect, server) for _ in range(3)]
    assert connect(server).ask(b"ping") == b"pong"
    until(lambda: spooled(server) > 3 * 2 * MEGABYTE)
    for peer in slow:
        assert peer.read(4 * len(PAGE)) == PAGE * 4


def test_stopping_does_not_wait_for_those_who_do_not_read(serving, connect):
    server = serving(acting(big=big), adj=settings(outbuf_wait_seconds=0.0, shutdown_timeout_seconds=0.1))
    before = len(descriptors())
    peers = [ask_big(connect, server) for _ in range(4)]
    until(lambda: spooled(server) > 4 * 2 * MEGABYTE)
    server.stop()
    for peer in peers:
        peer.close()
    until(lambda: len(descriptors()) <= before)


# ---- disks that are full, or not there --------------------------------------------------------------------------

FULL_DISK = """
    import logging, resource, socket, sys
    from protocols import acting
    from peers import Peer, until
    import wiretask

    logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    def big(channel):
        for _ in range(400):
            channel.write(b"x" * 10_000)

    adj = wiretask.Adjustments(threads=2, outbuf_overflow=65536, outbuf_wait_seconds=0.0,
        socket_options=((socket.SOL_SOCKET, socket.SO_SNDBUF, 8192),))
    class Server(wiretask.Server):
        channel_class = acting(big=big, ping=lambda channel: channel.write(b"pong\\n"))

    with Server("127.0.0.1", 0, adj=adj) as server:
        other = Peer.of(server)
        assert other.ask(b"ping") == b"pong"
        for _ in range(6):
            slow = Peer.of(server, receive_buffer_bytes=8192)
            slow.send(b"big\\n")
            try:
                received = len(slow.read_to_end())
            except ConnectionError:
                received = 0
            assert received < 4_000_000, received
        assert other.ask(b"ping") == b"pong"
        until(lambda: server.stats()["spool_failures"] == 6)
        assert server.stats()["spooled_bytes"] == 0
    print("done", flush=True)
"""


def test_a_full_disk_costs_the_connection_and_nobody_else():
    """faults R57, with the real thing: the limit of the process for the size of a file."""
    with Program(FULL_DISK) as program:
        assert program.read_line() == "done"
        code, errors = program.finish()
    assert code == 0
    lines = [line for line in errors.splitlines() if "temporary file" in line]
    assert len(lines) == 1, errors
    assert lines[0].startswith("ERROR wiretask.server closing a connection")
    assert "File too large" in lines[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=DEADLINE_SECONDS)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing may be mounted here: {error}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True, timeout=DEADLINE_SECONDS)


def test_a_disk_without_space_costs_the_connection_and_is_free_again_afterwards(serving, connect, small_disk, caplog):
    """faults R57: ENOSPC."""

    def some(channel: Any) -> None:
        channel.write(PAGE[:600_000])

    server = serving(acting(big=big, some=some, ping=ping), adj=settings(spool_directory=small_disk))
    other = connect(server)
    for failures in (1, 2, 3):
        slow = ask_big(connect, server)
        until(lambda: server.stats()["spool_failures"] == failures)  # noqa: B023 (called here)
        assert other.ask(b"ping") == b"pong"
        slow.close()
    until(lambda: "No space left on device" in caplog.text)
    assert caplog.text.count("temporary file") == 1
    # What the others had taken is free: what fits is kept.
    modest = connect(server, receive_buffer_bytes=8192)
    modest.send(b"some\n")
    until(lambda: spooled(server) > 0)
    assert modest.read(600_000) == PAGE[:600_000]


def test_a_directory_that_is_gone_costs_the_connection_and_is_logged(serving, connect, tmp_path, caplog):
    """faults R57."""
    directory = tmp_path / "spool"
    directory.mkdir()
    server = serving(acting(big=big, ping=ping), adj=settings(spool_directory=directory, outbuf_wait_seconds=0))
    other, slow = connect(server), ask_big(connect, server)
    # All of it is written: nothing needs a second file once the first is empty.
    until(lambda: spooled(server) > 0 and server.stats()["tasks"]["threads_busy"] == 0)
    assert list(directory.iterdir()) == []
    directory.rmdir()
    # Who has a file goes on.
    assert slow.read(4 * len(PAGE)) == PAGE * 4
    late = ask_big(connect, server)
    until(lambda: server.stats()["spool_failures"] == 1)
    until(lambda: "temporary file" in caplog.text)
    assert str(directory) in caplog.text
    assert other.ask(b"ping") == b"pong"
    late.close()


def test_a_directory_without_files_is_refused_when_the_server_starts(tmp_path):
    class Server(wiretask.Server):
        channel_class = Echo

    a_file = tmp_path / "file"
    a_file.touch()
    for path, error in [(tmp_path / "missing", FileNotFoundError), (a_file, NotADirectoryError)]:
        server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(spool_directory=path))
        with pytest.raises(error):
            server.start()
        server.close()
    without = Server("127.0.0.1", 0, adj=wiretask.Adjustments(spool_directory=a_file, outbuf_spool_limit=0))
    with without:
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_refused_when_the_server_starts(tmp_path: Path):
    class Server(wiretask.Server):
        channel_class = Echo

    tmp_path.chmod(0o500)
    server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(spool_directory=tmp_path))
    with pytest.raises(PermissionError):
        server.start()
    server.close()


def test_a_forked_child_keeps_no_temporary_file(serving, connect, tmp_path):
    server = serving(acting(big=big), adj=settings(spool_directory=tmp_path, outbuf_wait_seconds=0.0))
    slow = ask_big(connect, server)
    until(lambda: spooled(server) > 2 * MEGABYTE)
    assert any(str(tmp_path) in target for target in descriptors().values())
    pid = os.fork()
    if pid == 0:
        has_one = any(str(tmp_path) in target for target in descriptors().values())
        os._exit(1 if has_one else 0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert slow.read(4 * len(PAGE)) == PAGE * 4

"""Descriptors, threads and memory: all come back, and running out of them is survived."""

from __future__ import annotations

import errno
import gc
import itertools
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, Peer, until
from processes import Program, cpu_seconds, descriptors, resident_kilobytes, run, threads

import wiretask
from wiretask import running_server
from wiretask.adjustments import Adjustments
from wiretask.examples.echo import EchoChannel, EchoServer


@pytest.fixture
def descriptor_limit() -> Iterator[Any]:
    """A function that lets the process open so many descriptors more, None: as many as at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(spare: int | None) -> None:
        if spare is None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            return
        used = {int(number) for number in descriptors()}
        unused = itertools.filterfalse(used.__contains__, itertools.count())
        resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(unused, spare, None)), hard))

    yield limit
    limit(None)


def own_threads() -> list[str]:
    """The threads of servers; the housekeeper stays, one a process."""
    return [name for name in threads() if "Echo" in name or "-io-" in name]


def python_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "Echo" in thread.name]


def warm_up() -> None:
    """Have what stays for the life of the process made: the housekeeper, modules, a pool of memory."""
    with EchoServer("127.0.0.1", 0) as server:
        peer = Peer.of(server)
        assert peer.ask(b"x") == b"x"
        peer.close()


@pytest.mark.parametrize("io_threads", [1, 3])
def test_everything_is_given_back_at_the_stop_although_the_server_is_kept(io_threads: int) -> None:
    warm_up()
    before = descriptors()
    server = EchoServer("127.0.0.1", 0, adj=Adjustments(io_threads=io_threads))
    server.start()
    peers = [Peer.of(server) for _ in range(10)]
    for peer in peers:
        assert peer.ask(b"x") == b"x"
    assert server.stop() is True
    for peer in peers:
        peer.close()
    assert descriptors() == before
    assert python_threads() == []
    until(lambda: own_threads() == [], "the end of all threads")
    assert server.stats()["accepted"] == 10


def test_everything_is_given_back_although_a_connection_is_kept(serving: Any) -> None:
    warm_up()
    kept: list[Any] = []

    class Channel(EchoChannel):
        def handle_connect(self) -> None:
            kept.extend((self, self.conn))

    before = descriptors()
    server = serving(Channel)
    peer = Peer.of(server)
    assert peer.ask(b"x") == b"x"
    server.stop()
    peer.close()
    assert descriptors() == before
    assert (kept[0].closed, kept[1].closed, kept[1].fileno()) == (True, True, -1)


def test_200_servers_one_after_the_other_cost_no_memory_descriptors_or_threads() -> None:
    def cycle() -> None:
        server = EchoServer("127.0.0.1", 0, adj=Adjustments(threads=2))
        server.start()
        peer = Peer.of(server)
        assert peer.ask(b"x") == b"x"
        peer.close()
        assert server.stop() is True

    for _ in range(50):
        cycle()
    gc.collect()
    before, memory = descriptors(), resident_kilobytes()
    for _ in range(200):
        cycle()
    gc.collect()
    assert descriptors() == before
    assert python_threads() == []
    until(lambda: own_threads() == [], "the end of all threads")
    # 200 leaks of a stack, a read buffer or a poll would be ten times this.
    assert resident_kilobytes() - memory < 3000


@pytest.mark.parametrize("spare", range(7))  # one for the copy of the listener, two for each loop
def test_a_start_that_runs_out_of_descriptors_leaves_nothing_and_can_be_tried_again(
    descriptor_limit: Any, spare: int
) -> None:
    warm_up()
    server = EchoServer("127.0.0.1", 0, adj=Adjustments(io_threads=3))
    before = descriptors()
    descriptor_limit(spare)
    with pytest.raises(OSError, match="open files") as caught:
        server.start()
    descriptor_limit(None)
    assert caught.value.errno == errno.EMFILE
    assert (descriptors(), server.task_dispatcher) == (before, None)
    until(lambda: own_threads() == [], "the end of all threads")
    server.start()
    peer = Peer.of(server)
    assert peer.ask(b"x") == b"x"
    peer.close()
    assert server.stop() is True


def test_a_start_that_gets_no_threads_leaves_nothing_and_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up()
    server = EchoServer("127.0.0.1", 0)
    before = descriptors()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        server.start()
    monkeypatch.undo()
    assert (descriptors(), python_threads(), server.task_dispatcher) == (before, [], None)
    server.start()
    peer = Peer.of(server)
    assert peer.ask(b"x") == b"x"
    peer.close()
    assert server.stop() is True


def test_loops_that_get_no_threads_leave_nothing_behind() -> None:
    source = """
    import ctypes, errno, os, resource, threading, time
    import wiretask
    from wiretask.examples.echo import EchoServer

    # Address space is to be missing for stacks and not for what little is allocated beside them: that is had
    # from one heap (M_ARENA_MAX), which has 32 MB in reserve (M_TOP_PAD) and keeps them (M_TRIM_THRESHOLD).
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    for option, value in ((-8, 1), (-2, 32_000_000), (-1, 1_000_000_000), (-3, 1_000_000_000)):
        assert libc.mallopt(option, value) == 1
    libc.free(libc.malloc(10_000_000))
    with wiretask.ThreadedTaskDispatcher(1) as dispatcher, EchoServer("127.0.0.1", 0, task_dispatcher=dispatcher):
        pass
    dispatcher.setThreadCount(1)
    server = EchoServer("127.0.0.1", 0, task_dispatcher=dispatcher, adj=wiretask.Adjustments(io_threads=60))
    before = os.listdir("/proc/self/fd")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 40_000_000, limits[1]))
    try:
        server.start()
        raise AssertionError("there was memory for 60 stacks")
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.ENOMEM), error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert os.listdir("/proc/self/fd") == before
    server.start()
    assert server.stop() is True
    """
    assert run(source) == (0, "")


def test_an_interrupt_in_the_middle_of_a_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up()
    server = EchoServer("127.0.0.1", 0)
    before = descriptors()

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running_server, "_native_settings", interrupt)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    monkeypatch.undo()
    assert descriptors() == before
    assert server.task_dispatcher is None
    server.start()
    assert server.stop() is True


class AcceptingServer(EchoServer):
    """Its connections are accepted in Python."""

    def handle_accept(self) -> None:
        super().handle_accept()


@pytest.mark.parametrize("server_class", [EchoServer, AcceptingServer])
def test_a_server_without_descriptors_waits_and_recovers(
    serving: Any, connect: Any, descriptor_limit: Any, caplog: pytest.LogCaptureFixture, server_class: type
) -> None:
    """Fault R1: the ones that are served do not notice, nothing spins, and the others get their turn."""
    server = serving(server_class)
    old = connect(server)
    assert old.ask(b"x") == b"x"
    waiting = [socket.socket() for _ in range(20)]
    # What the clients need is open already: only the server runs short.
    descriptor_limit(5)
    for peer in waiting:
        peer.settimeout(DEADLINE_SECONDS)
        peer.connect(server.addr)
        peer.sendall(b"y\n")
    until(lambda: server.stats()["accept_errors"] > 2, "the server to run short a few times")
    assert old.ask(b"still here") == b"still here"
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert ["cannot accept" in message for message in messages] == [True]
    descriptor_limit(None)
    for peer in waiting:
        assert peer.recv(10) == b"y\n"
        peer.close()


def test_a_server_without_descriptors_uses_little_cpu() -> None:
    source = """
    import os, resource, threading, time
    from wiretask.examples.echo import EchoServer
    server = EchoServer("127.0.0.1", 0)
    def limit():
        while "running" not in repr(server):
            time.sleep(0.001)
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 6, used + 100))
        print(server.effective_port)
    threading.Thread(target=limit, daemon=True).start()
    server.run()
    """
    with Program(source) as program:
        port = int(program.read_line())
        peers = [socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) for _ in range(20)]
        # One quiet second proves it; the machine may be busy with other things in the others.
        least = float("inf")
        for _ in range(10):
            before = cpu_seconds(program.pid)
            time.sleep(1.0)
            least = min(least, cpu_seconds(program.pid) - before)
            if least < 0.05:
                break
        assert least < 0.05
        for peer in peers:
            peer.close()
        program.signal(signal.SIGTERM)
        code, errors = program.finish()
        assert (code, errors.count("cannot accept")) == (0, 1)


def reset_at_once(address: Any) -> None:
    with socket.socket() as peer:
        peer.settimeout(DEADLINE_SECONDS)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.connect(address)


@pytest.mark.parametrize("io_threads", [1, 3])
def test_2000_connections_that_are_reset_at_once_leave_nothing(serving: Any, connect: Any, io_threads: int) -> None:
    """Faults R2, R3."""
    server = serving(EchoServer, adj=Adjustments(io_threads=io_threads))
    assert connect(server).ask(b"x") == b"x"
    before = len(descriptors())
    for _ in range(2000):
        reset_at_once(server.addr)
    peer = connect(server)
    assert peer.ask(b"y") == b"y"
    peer.close()
    until(lambda: server.stats()["connections"] == 1, "all to be closed")
    assert len(descriptors()) == before


def test_a_descriptor_that_was_another_connections_a_moment_ago_is_not_mistaken_for_it(
    serving: Any, connect: Any
) -> None:
    """Fault R9: connections that close and come in the same turn share numbers, and nothing else."""

    class Task(wiretask.Task):
        def service(self) -> None:
            self.channel.write(self.request.value + b"\n")
            self.channel.close_when_done()

    class Channel(EchoChannel):
        task_class = Task

    server = serving(Channel, adj=Adjustments(io_threads=2))
    failures: list[Any] = []

    def churn(name: int) -> None:
        try:
            for number in range(150):
                line = b"%d-%d" % (name, number)
                peer = Peer.of(server)
                assert peer.ask(line) == line
                if number % 3:
                    assert peer.is_closed_by_server()
                elif number % 2:
                    peer.reset()
                peer.close()
        except BaseException as error:
            failures.append(error)

    churners = [threading.Thread(target=churn, args=(name,)) for name in range(8)]
    for churner in churners:
        churner.start()
    for churner in churners:
        churner.join(60)
    assert failures == []
    until(lambda: server.stats()["connections"] == 0, "all to be closed")
    assert server.stats()["accepted"] == 1200

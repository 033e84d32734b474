"""What applications do to a server, done by real ones. Rows R20-R32, R36 of docs/faults.md that need it said here."""

from __future__ import annotations

import signal
import socket
import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from processes import Program, run
from protocols import Echo, PythonEcho, Tasks, acting

import wiretask

TOO_MUCH = 1 << 46
"""Bytes that no system gives."""


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_memory_that_is_not_there_ends_one_connection_and_no_worker(
    serving: Any, connect: Any, caplog: pytest.LogCaptureFixture, base: type
) -> None:
    """Fault R26: a real MemoryError, in a task and then in the hook that deals with it."""

    def want(channel: Any) -> None:
        bytearray(TOO_MUCH)

    class Greedy(acting(base, want=want)):  # type: ignore[misc]
        def handle_error(self) -> None:
            bytearray(TOO_MUCH)

    server = serving(Greedy, adj=wiretask.Adjustments(threads=1))
    for _ in range(3):
        peer = connect(server)
        peer.send(b"want\n")
        assert peer.is_closed_by_server()
    until(lambda: caplog.text.count("exception in handle_error") == 3, "the log")
    assert "MemoryError" in caplog.text
    figures = server.stats()["tasks"]
    assert (figures["threads_alive"], figures["threads_lost"]) == (1, 0)


def test_memory_that_is_not_there_for_a_channel_closes_that_connection(
    serving: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault R26: it runs out while the channel object is being made."""
    wants = [True, True, False]

    class Greedy(Echo):
        def __init__(self, *arguments: Any) -> None:
            if wants.pop(0):
                bytearray(TOO_MUCH)
            super().__init__(*arguments)

    server = serving(Greedy)
    for _ in range(2):
        peer = connect(server)
        assert peer.is_closed_by_server()
    assert connect(server).ask(b"x") == b"x"
    assert caplog.text.count("cannot make a channel") == 2


RECURSION = """
import sys, threading
threading.stack_size({stack_bytes})
import wiretask
from peers import Peer
from wiretask.examples.echo import EchoChannel

def deeper(number=0):
    return deeper(number + 1) + 1

class Endless:
    def __getattr__(self, name):
        return getattr(self, name + "x")

recursions = {{b"python": deeper, b"c": lambda: Endless().x}}

class Task(wiretask.Task):
    def service(self):
        recursions[self.request.value]()

class Channel(EchoChannel):
    task_class = Task
    def handle_error(self):
        self.write(type(sys.exception()).__name__.encode() + b"\\n")

class Server(wiretask.Server):
    channel_class = Channel

with Server("127.0.0.1", 0) as server:
    for limit in (1000, {deepest}):
        sys.setrecursionlimit(limit)
        for _ in range(3):
            peer = Peer.of(server)
            assert [peer.ask(b"{kind}"), peer.ask(b"{kind}")] == [b"RecursionError"] * 2
            peer.close()
"""


@pytest.mark.parametrize(
    ("kind", "stack_bytes", "deepest"), [("python", 256 * 1024, 1000), ("python", 0, 50_000), ("c", 0, 1000)]
)
def test_endless_recursion_in_a_task_is_a_recursion_error(kind: str, stack_bytes: int, deepest: int) -> None:
    """Fault R29: what wiretask has on a worker's stack leaves room also on a small one."""
    assert run(RECURSION.format(kind=kind, stack_bytes=stack_bytes, deepest=deepest)) == (0, "")


def test_a_task_that_blocks_for_ever_stops_no_other_and_is_told_of(
    serving: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault R28."""
    release, begun = threading.Event(), threading.Event()
    served = acting(block=lambda channel: (begun.set(), release.wait()), ok=lambda channel: channel.write(b"ok\n"))
    server = serving(served, adj=wiretask.Adjustments(threads=2))
    connect(server).send(b"block\n")
    assert begun.wait(DEADLINE_SECONDS)
    for _ in range(20):
        assert connect(server).ask(b"ok") == b"ok"
    try:
        # Time enough for the other one to leave, however busy the machine is.
        assert server.stop(3) is False
        assert "1 thread(s) of dispatcher 'TestServer' still running" in caplog.text
    finally:
        release.set()


def test_cancel_that_raises_is_logged_and_the_rest_of_the_channel_is_cancelled(
    serving: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault R22: for tasks that wait in a channel behind one that does not end."""
    release, is_queued, tasks = threading.Event(), threading.Event(), Tasks()

    class Stubborn(wiretask.Task):
        def cancel(self) -> None:
            tasks.outcomes.append(("cancelled", self.request))
            raise SystemExit("no")

    def queue(channel: Any) -> None:
        for number in range(3):
            channel.queue_task(Stubborn(channel, number))
            channel.queue_task(tasks.task(number + 10))
        tasks.outcomes.clear()
        is_queued.set()
        release.wait()

    server = serving(acting(queue=queue))
    connect(server).send(b"queue\n")
    assert is_queued.wait(DEADLINE_SECONDS)
    try:
        assert server.stop(0) is False
    finally:
        release.set()
    until(lambda: len(tasks.outcomes) == 6, "all outcomes")
    assert tasks.outcomes == [("cancelled", number) for number in (0, 10, 1, 11, 2, 12)]
    assert caplog.text.count("exception in cancel()") == 3


def test_a_dispatcher_may_be_shut_down_and_resized_by_its_own_tasks_while_it_serves(
    serving: Any, connect: Any
) -> None:
    """Faults R31, R32: a task adds tasks, changes the number of threads and shuts its own dispatcher down."""
    dispatcher = wiretask.ThreadedTaskDispatcher(2)
    tasks = Tasks()

    def swing(channel: Any) -> None:
        dispatcher.setThreadCount(5)
        dispatcher.addTask(tasks.task("bare"))
        dispatcher.setThreadCount(1)
        channel.write(b"swung\n")

    def shut(channel: Any) -> None:
        channel.write(b"%d\n" % dispatcher.shutdown(timeout=DEADLINE_SECONDS))

    server = serving(acting(swing=swing, shut=shut), task_dispatcher=dispatcher)
    peer = connect(server)
    for _ in range(10):
        assert peer.ask(b"swing") == b"swung"
    until(lambda: tasks.outcomes.count(("served", "bare")) == 10, "the bare tasks")
    assert peer.ask(b"shut") == b"0"
    until(lambda: dispatcher.stats()["threads_alive"] == 0, "the end of the threads")


SIGTERM = """
import sys, threading, time
import wiretask
from wiretask.examples.echo import EchoChannel

outcomes = []
started = threading.Semaphore(0)

class Task(wiretask.Task):
    def service(self):
        started.release()
        outcomes.append("served")
        if self.request.value == b"slow":
            time.sleep(3600)
        self.channel.write(b"ok\\n")

class Bare(wiretask.Task):
    def service(self):
        outcomes.append("served")
    def cancel(self):
        outcomes.append("cancelled")

class Channel(EchoChannel):
    task_class = Task

class Server(wiretask.Server):
    channel_class = Channel

adj = wiretask.Adjustments(threads=4, shutdown_timeout_seconds={patience})
server = Server("127.0.0.1", 0, adj=adj)

def load():
    print(server.effective_port)
    for _ in range({slow}):
        started.acquire()
    for _ in range(50):
        server.addTask(Bare(None, None))
    print("loaded")
threading.Thread(target=load, daemon=True).start()
server.run()
print(sorted(set(outcomes)), outcomes.count("cancelled"), len(outcomes))
"""


@pytest.mark.parametrize(("slow", "cancelled"), [(4, 50), (1, 0)])
def test_sigterm_with_tasks_in_the_queue_serves_or_cancels_each(slow: int, cancelled: int) -> None:
    """Fault R36: with all workers busy what waits is cancelled when the time is over; else it is served."""
    with Program(SIGTERM.format(slow=slow, patience=1)) as program:
        address = ("127.0.0.1", int(program.read_line()))
        peers = [socket.create_connection(address, timeout=DEADLINE_SECONDS) for _ in range(slow)]
        for peer in peers:
            peer.sendall(b"slow\n")
        assert program.read_line() == "loaded"
        program.signal(signal.SIGTERM)
        outcomes = ["cancelled", "served"] if cancelled else ["served"]
        assert program.read_line() == f"{outcomes} {cancelled} {50 + slow}"
        code, errors = program.finish()
        assert (code, f"{slow} thread(s)" in errors) == (0, True)
        for peer in peers:
            peer.close()

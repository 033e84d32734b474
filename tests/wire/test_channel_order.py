"""Tasks of channels: in sequence and in parallel, queued from anywhere, answered in order and in time."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import sys
import threading
from collections import Counter
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from protocols import Echo, EchoTask, PythonEcho, Tasks, acting

import wiretask

PARSERS = pytest.mark.parametrize("base", [Echo, PythonEcho])
THREADS = 8


class Gate:
    """An action that waits until it is let through."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, channel: Any) -> None:
        self.began.set()
        assert self.go.wait(DEADLINE_SECONDS)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.go.set()


class Numbered(EchoTask):
    """Fails if another task of the same channel runs."""

    def service(self) -> None:
        assert not self.channel.__dict__.get("is_busy")
        self.channel.is_busy = True
        super().service()
        threading.Event().wait(0.0005)
        self.channel.is_busy = False


@PARSERS
def test_tasks_of_a_channel_run_in_sequence_and_in_order(serving, connect, base):
    server = serving(type("Checked", (base,), {"task_class": Numbered}))
    peer = connect(server)
    lines = b"".join(b"%d\n" % number for number in range(300))
    for start in range(0, len(lines), 7):
        peer.send(lines[start : start + 7])
    peer.end_output()
    assert peer.read_to_end() == lines


@PARSERS
def test_tasks_of_different_channels_run_in_parallel(serving, connect, base):
    meeting = threading.Barrier(4, timeout=DEADLINE_SECONDS)
    meet = lambda channel: (meeting.wait(), channel.write(b"met\n"))  # noqa: E731
    server = serving(acting(base, meet=meet), adj=wiretask.Adjustments(threads=4))
    peers = [connect(server) for _ in range(4)]
    for peer in peers:
        peer.send(b"meet\n")
    assert [peer.read_line() for peer in peers] == [b"met\n"] * 4


@PARSERS
def test_fast_answer_arrives_while_a_slow_request_runs_behind_it(serving, connect, gate, base):
    peer = connect(serving(acting(base, fast=lambda channel: channel.write(b"fast\n"), slow=gate)))
    peer.send(b"fast\nslow\n")
    assert peer.read_line() == b"fast\n"


@PARSERS
def test_answers_between_slow_requests_arrive_as_they_are_ready(serving, connect, base):
    gates = {"one": Gate(), "two": Gate(), "three": Gate()}
    acts = {name: (lambda channel, name=name: (gates[name](channel), channel.write(b".\n"))) for name in gates}
    peer = connect(serving(acting(base, **acts)))
    peer.send(b"one\ntwo\nthree\n")
    for gate in gates.values():
        assert gate.began.wait(DEADLINE_SECONDS)
        gate.go.set()
        # The next one has begun, or will; in both cases this answer does not wait for it.
        assert peer.read_line() == b".\n"


def test_answer_of_a_queued_task_arrives_while_a_slow_one_runs_behind_it(serving, connect, gate):
    tasks = Tasks()

    def queue(channel: Any) -> None:
        channel.queue_task(tasks.task("fast", lambda: channel.write(b"fast\n")))
        channel.queue_task(tasks.task("slow", lambda: gate(channel)))

    peer = connect(serving(acting(queue=queue)))
    peer.send(b"queue\n")
    assert peer.read_line() == b"fast\n"


def test_answer_of_a_slow_queued_task_arrives_while_a_slower_one_runs_behind_it(serving, connect, gate):
    """The millisecond after which answers are sent anyway is over before there is an answer."""
    tasks, first = Tasks(), Gate()

    def queue(channel: Any) -> None:
        channel.queue_task(tasks.task("quick", lambda: channel.write(b"quick\n")))
        channel.queue_task(tasks.task("slow", lambda: (first(channel), channel.write(b"slow\n"))))
        channel.queue_task(tasks.task("slower", lambda: gate(channel)))

    peer = connect(serving(acting(queue=queue)))
    peer.send(b"queue\n")
    assert peer.read_line() == b"quick\n"
    first.go.set()
    assert peer.read_line() == b"slow\n"


def test_answers_that_are_ready_together_leave_together(serving, connect):
    server = serving(Echo)
    peer = connect(server)
    peer.send(b"x\n" * 100)
    assert peer.read(200) == b"x\n" * 100
    assert server.stats()["dispatched"] < 100


def test_pipelined_requests_beyond_the_look_ahead_are_all_answered(serving, connect):
    peer = connect(serving(Echo, adj=wiretask.Adjustments(max_pipelined_requests=2)))
    lines = b"".join(b"%d\n" % number for number in range(5000))
    threading.Thread(target=peer.send, args=(lines,)).start()
    assert peer.read(len(lines)) == lines


@PARSERS
def test_tasks_queued_while_a_task_runs_come_after_it(serving, connect, base):
    tasks = Tasks()

    def queue(channel: Any) -> None:
        channel.queue_task(tasks.task("later", lambda: channel.write(b"later\n")))
        channel.write(b"now\n")

    peer = connect(serving(acting(base, queue=queue)))
    peer.send(b"queue\n")
    assert peer.read(10) == b"now\nlater\n"
    assert tasks.outcomes == [("deferred", "later"), ("served", "later")]


# ---- queue_task from elsewhere --------------------------------------------------------------------------


def keeping(kept: list[Any], base: Any = Echo) -> Any:
    return acting(base, keep=lambda channel: (kept.append(channel), channel.write(b"kept\n")))


@PARSERS
def test_tasks_queued_by_foreign_threads_are_served_one_at_a_time(serving, connect, base):
    kept: list[Any] = []
    tasks = Tasks()
    peer = connect(serving(keeping(kept, base)))
    peer.ask(b"keep")
    busy = threading.Lock()

    def work() -> None:
        assert busy.acquire(blocking=False)
        kept[0].write(b".")
        busy.release()

    def queue() -> None:
        for number in range(100):
            kept[0].queue_task(tasks.task(number, work))

    threads = [threading.Thread(target=queue) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    assert peer.read(THREADS * 100) == b"." * THREADS * 100
    for thread in threads:
        thread.join(DEADLINE_SECONDS)


def test_idle_channel_serves_a_task_queued_by_a_foreign_thread(serving, connect):
    kept: list[Any] = []
    peer = connect(serving(keeping(kept)))
    peer.ask(b"keep")
    kept[0].queue_task(Tasks().task("push", lambda: kept[0].write(b"pushed\n")))
    assert peer.read_line() == b"pushed\n"


@PARSERS
@pytest.mark.parametrize("end", ["peer closes", "peer resets", "close", "abort", "server stops"])
def test_every_task_queued_while_the_connection_closes_gets_one_outcome(serving, connect, base, end):
    for _ in range(5):
        kept: list[Any] = []
        tasks = Tasks()
        server = serving(keeping(kept, base))
        peer = connect(server)
        peer.ask(b"keep")
        channel = kept[0]
        refused: list[int] = []
        started = threading.Barrier(THREADS + 1, timeout=DEADLINE_SECONDS)

        def queue(thread: int, channel=channel, tasks=tasks, refused=refused, started=started) -> None:
            started.wait()
            for number in range(200):
                try:
                    channel.queue_task(tasks.task((thread, number)))
                except wiretask.errors.ClientDisconnectedError:
                    refused.append(number)

        threads = [threading.Thread(target=queue, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        started.wait()
        {
            "peer closes": peer.close,
            "peer resets": peer.reset,
            "close": channel.close,
            "abort": channel.conn.abort,
            "server stops": server.close,
        }[end]()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)

        def outcomes(tasks=tasks) -> Counter:
            return Counter(name for kind, name in list(tasks.outcomes) if kind != "deferred")

        until(lambda outcomes=outcomes: len(outcomes()) == THREADS * 200, "an outcome for every task")
        assert set(outcomes().values()) == {1}


def test_task_queued_after_the_close_is_cancelled_and_refused(serving, connect):
    kept: list[Any] = []
    tasks = Tasks()
    peer = connect(serving(keeping(kept)))
    peer.ask(b"keep")
    peer.close()
    until(lambda: kept[0].closed)
    with pytest.raises(wiretask.errors.ClientDisconnectedError):
        kept[0].queue_task(tasks.task("late"))
    assert tasks.outcomes == [("deferred", "late"), ("cancelled", "late")]


def test_tasks_behind_one_that_closes_are_cancelled(serving, connect):
    tasks = Tasks()

    def queue(channel: Any) -> None:
        channel.queue_task(tasks.task("closing", channel.close_when_done))
        channel.queue_task(tasks.task("behind"))

    peer = connect(serving(acting(queue=queue)))
    peer.send(b"queue\n")
    assert peer.is_closed_by_server()
    until(lambda: ("cancelled", "behind") in tasks.outcomes)
    assert ("served", "behind") not in tasks.outcomes


@PARSERS
def test_task_that_queues_itself_for_ever_stops_neither_its_channel_nor_others(serving, connect, base):
    tasks = Tasks()

    def start(channel: Any) -> None:
        def tick() -> None:
            with contextlib.suppress(wiretask.errors.ClientDisconnectedError):
                channel.queue_task(tasks.task("tick", tick))

        tick()
        channel.write(b"started\n")

    server = serving(
        acting(base, start=start, ping=lambda channel: channel.write(b"pong\n")),
        adj=wiretask.Adjustments(threads=1),
    )
    peer = connect(server)
    assert peer.ask(b"start") == b"started"
    assert peer.ask(b"ping") == b"pong"
    assert connect(server).ask(b"ping") == b"pong"
    peer.reset()
    until(lambda: ("cancelled", "tick") in tasks.outcomes)


def test_peers_that_never_pause_leave_a_worker_to_others(serving, connect):
    stop = threading.Event()

    def wait(channel: Any) -> None:
        assert not stop.wait(0.001)

    server = serving(
        acting(wait=wait, ping=lambda channel: channel.write(b"pong\n")), adj=wiretask.Adjustments(threads=1)
    )
    greedy = connect(server)
    # Far more work than the test has time for.
    greedy.send(b"wait\n" * 60_000)
    until(lambda: server.stats()["dispatched"])
    assert connect(server).ask(b"ping") == b"pong"
    greedy.reset()


# ---- what breaks a worker -------------------------------------------------------------------------------


def raise_in(ident: int, error: type[BaseException]) -> None:
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error)) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a gc callback
def test_exception_thrown_into_a_busy_worker_closes_the_connection_only(serving, connect):
    idents: list[int] = []

    def spin(channel: Any) -> None:
        idents.append(threading.get_ident())
        while True:
            pass

    server = serving(acting(spin=spin, ok=lambda channel: channel.write(b"ok\n")))
    for round_number in range(1, 4):
        peer = connect(server)
        peer.send(b"spin\n")
        until(lambda count=round_number: len(idents) == count)
        raise_in(idents[-1], SystemExit)
        assert peer.is_closed_by_server()
    assert connect(server).ask(b"ok") == b"ok"


@PARSERS
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a gc callback
def test_exceptions_thrown_into_workers_at_any_moment_leave_no_connection_stuck(serving, connect, base, monkeypatch):
    """Every request is answered, or its connection is closed; and every channel is told of its end once."""
    closed: list[Any] = []
    idents: set[int] = set()

    class Watched(base):
        def handle_connect(self):
            idents.add(threading.get_ident())

        def handle_close(self):
            closed.append(self)

    # It may strike in pytest's own hook, which takes that for an error; this one is C, where nothing strikes.
    monkeypatch.setattr(sys, "unraisablehook", id)
    # An exception thrown into the standard library's logging may leave one of its locks held for ever.
    for name in ("wiretask.task", "wiretask.server"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    server = serving(Watched, adj=wiretask.Adjustments(threads=2))
    for round_number in range(400):
        peer = connect(server)
        peer.send(b"1\n2\n3\n")
        peer.end_output()
        threading.Event().wait(round_number % 20 / 20_000)
        for ident in list(idents):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(ZeroDivisionError))
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = peer.read_to_end()
        assert b"1\n2\n3\n".startswith(answer)
        peer.close()
    until(lambda: not server.stats()["connections"], "the end of every connection")
    assert server.stop()
    assert len(closed) == len(set(closed))
    assert len(closed) >= 380


def test_service_overridden_without_its_base_closes_the_connection(serving, connect):
    class Lost(Echo):
        def service(self):
            pass

    peer = connect(serving(Lost))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()

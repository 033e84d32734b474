"""Starting and stopping a server: in which order, how often, from where."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import warnings
from typing import Any

import pytest
from background import ended, in_thread, running_in_thread
from peers import DEADLINE_SECONDS, until
from processes import descriptors, threads
from protocols import StoppingChannel, acting

import wiretask
from wiretask import housekeeper
from wiretask.adjustments import Adjustments
from wiretask.errors import ServerClosedError
from wiretask.examples.echo import EchoChannel, EchoServer
from wiretask.running_server import RunningServer


def test_starting_twice_is_starting_once(serving: Any, connect: Any) -> None:
    server = serving(EchoServer)
    workers, every = threading.enumerate(), len(threads())  # no names: a native thread takes its own when it runs
    server.start()
    assert threading.enumerate() == workers
    assert len(threads()) <= every  # a thread of an earlier test may just have ended
    assert connect(server).ask(b"x") == b"x"


def test_stopping_twice_is_stopping_once(serving: Any) -> None:
    server = serving(EchoServer)
    assert (server.stop(), server.stop(), server.stop(0)) == (True, True, True)


def test_a_stopped_server_cannot_be_started_again(serving: Any) -> None:
    server = serving(EchoServer)
    server.stop()
    with pytest.raises(ServerClosedError, match="cannot be started again"):
        server.start()
    with pytest.raises(ServerClosedError), server:
        pass


@pytest.mark.parametrize("start", [True, False])
def test_a_server_stopped_before_it_was_started_closes_its_socket_and_runs_no_more(start: bool) -> None:
    before = descriptors(), dict(wiretask.socket_map)
    server = EchoServer("127.0.0.1", 0, start=start)
    assert server.stop() is True
    assert (descriptors(), dict(wiretask.socket_map)) == before
    assert server.run() is None
    with pytest.raises(ServerClosedError):
        server.start()
    server.accept_connections()
    assert server.accepting is False


def test_the_context_manager_starts_and_stops(connect: Any) -> None:
    with EchoServer("127.0.0.1", 0) as server:
        assert connect(server).ask(b"x") == b"x"
    # One that was waited for may be seen in /proc for a moment longer.
    until(lambda: not [name for name in threads() if "Echo" in name], "the end of all threads")
    assert server.effective_listen == ()


def test_an_exception_in_the_block_stops_the_server_and_passes_on() -> None:
    with pytest.raises(KeyError), EchoServer("127.0.0.1", 0) as server:
        raise KeyError
    assert "stopped" in repr(server)


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError)])
def test_a_bad_timeout_stops_nothing(serving: Any, connect: Any, timeout: Any, error: type[Exception]) -> None:
    server = serving(EchoServer)
    with pytest.raises(error, match="timeout"):
        server.stop(timeout)
    assert connect(server).ask(b"x") == b"x"


def test_stop_ends_run_in_another_thread() -> None:
    server = EchoServer("127.0.0.1", 0)
    thread = running_in_thread(server)
    assert server.stop() is True
    assert ended(thread)


def test_run_in_another_thread_never_touches_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*arguments: Any, **options: Any) -> None:
        pytest.fail(f"signal was touched: {arguments}")

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for name in ("signal", "set_wakeup_fd", "pthread_sigmask", "siginterrupt"):
        monkeypatch.setattr(signal, name, touched)
    server = EchoServer("127.0.0.1", 0)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.run()
        except BaseException as error:
            failures.append(error)

    thread = in_thread(run)
    until(lambda: "running" in repr(server), "the server to run")
    server.stop()
    assert ended(thread)
    assert failures == []
    monkeypatch.undo()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_run_by_several_threads_ends_in_all(connect: Any) -> None:
    server = EchoServer("127.0.0.1", 0)
    runners = [in_thread(server.run) for _ in range(3)]
    until(lambda: "running" in repr(server), "the server to run")
    assert connect(server).ask(b"x") == b"x"
    server.stop()
    assert [ended(runner) for runner in runners] == [True] * 3


def test_run_of_a_server_that_is_started_already_waits_for_the_stop(serving: Any) -> None:
    server = serving(EchoServer)
    thread = in_thread(server.run)
    server.stop()
    assert ended(thread)


def test_run_and_stop_at_the_same_moment_end_quietly() -> None:
    failures: list[BaseException] = []

    def run(server: wiretask.Server) -> None:
        try:
            server.run()
        except BaseException as error:
            failures.append(error)

    for _ in range(30):
        server = EchoServer("127.0.0.1", 0)
        thread = in_thread(lambda server=server: run(server))
        server.stop()
        assert ended(thread)
        assert "stopped" in repr(server)
    assert failures == []


def test_a_task_that_stops_its_server_begins_the_stop_and_is_answered(serving: Any, connect: Any) -> None:
    server = serving(StoppingChannel)
    runner = in_thread(server.run)
    peer = connect(server)
    assert peer.ask(b"stop") == b"False"
    assert peer.read_to_end() == b""
    assert ended(runner)
    until(lambda: "stopped" in repr(server), "the end of the server")


def test_a_task_that_stops_a_server_that_is_still_starting_does_not_wait_for_itself(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Server(wiretask.Server):
        channel_class = StoppingChannel

    server = Server("127.0.0.1", 0, adj=Adjustments(shutdown_timeout_seconds=60))
    start_running = RunningServer.start

    def start_and_be_asked_to_stop(*arguments: Any) -> RunningServer:
        running = start_running(*arguments)
        until(lambda: server._is_stop_asked, "the task to stop its server")
        return running

    monkeypatch.setattr(RunningServer, "start", start_and_be_asked_to_stop)
    peer = connect(server)
    peer.send(b"stop\n")  # it waits in the kernel, as the server listens already
    runner = in_thread(server.run)
    assert peer.read_line() == b"False\n"
    assert ended(runner)
    until(lambda: "stopped" in repr(server), "the end of the server")


def test_a_task_on_a_dispatcher_of_the_users_own_can_stop_the_server(serving: Any, connect: Any) -> None:
    class Threads:
        """An ITaskDispatcher that wiretask knows nothing about."""

        def addTask(self, task: Any) -> None:  # noqa: N802
            task.defer()
            in_thread(task.service)

        def setThreadCount(self, count: int) -> None:  # noqa: N802
            pass

        def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> int:
            return 0

        def getPendingTasksEstimate(self) -> int:  # noqa: N802
            return 0

    server = serving(StoppingChannel, task_dispatcher=Threads(), adj=Adjustments(shutdown_timeout_seconds=60))
    peer = connect(server)
    assert peer.ask(b"stop") == b"False"
    assert peer.read_to_end() == b""
    until(lambda: "stopped" in repr(server), "the end of the server")


def test_a_hook_on_the_housekeepers_thread_can_stop_the_server(connect: Any) -> None:
    outcomes = []

    class Server(EchoServer):
        def handle_accept(self) -> None:
            super().handle_accept()
            outcomes.append(self.stop(60))

    server = Server("127.0.0.1", 0)
    server.start()
    peer = connect(server)
    until(lambda: "stopped" in repr(server), "the end of the server")
    assert set(outcomes) == {False}
    assert peer.is_closed_by_server()


def test_a_task_of_one_server_stops_another_and_waits_for_it(serving: Any, connect: Any) -> None:
    other = serving(EchoServer)

    class StopOther(wiretask.Task):
        def service(self) -> None:
            self.channel.write(f"{other.stop()} {other!r}\n".encode())

    class Channel(EchoChannel):
        task_class = StopOther

    assert connect(serving(Channel)).ask(b"x").startswith(b"True")
    assert "stopped" in repr(other)


def test_many_threads_stop_at_once_and_all_get_the_same_answer(serving: Any, connect: Any) -> None:
    server = serving(EchoServer)
    assert connect(server).ask(b"x") == b"x"
    answers: list[bool] = []
    barrier = threading.Barrier(8)

    def stop() -> None:
        barrier.wait(DEADLINE_SECONDS)
        answers.append(server.stop())

    stoppers = [in_thread(stop) for _ in range(8)]
    assert all(ended(stopper) for stopper in stoppers)
    assert answers == [True] * 8


def test_a_stop_that_was_not_clean_says_so_to_everybody(serving: Any, connect: Any) -> None:
    release, begun = threading.Event(), threading.Event()

    server = serving(acting(hang=lambda channel: (begun.set(), release.wait(DEADLINE_SECONDS))))
    connect(server).send(b"hang\n")
    assert begun.wait(DEADLINE_SECONDS)
    answers: list[bool] = []
    stoppers = [in_thread(lambda: answers.append(server.stop(0.1))) for _ in range(3)]
    try:
        assert all(ended(stopper) for stopper in stoppers)
        assert answers == [False] * 3
        assert server.stop() is False
    finally:
        release.set()


def test_start_and_stop_at_the_same_moment_leave_nothing_behind() -> None:
    EchoServer("127.0.0.1", 0).stop()
    for _ in range(30):
        server = EchoServer("127.0.0.1", 0)

        def start(server: wiretask.Server = server) -> None:
            with contextlib.suppress(ServerClosedError):
                server.start()

        thread = in_thread(start)
        server.stop()
        assert ended(thread)
        assert "stopped" in repr(server)
    until(lambda: not [name for name in threads() if "Echo" in name], "the end of all threads")


def test_a_signal_handler_can_stop_a_server_that_is_just_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    server = EchoServer("127.0.0.1", 0)
    answers = []
    # The handler runs in the thread that starts, in the middle of it.
    monkeypatch.setattr(housekeeper, "start", lambda: answers.append(server.stop()))
    with pytest.raises(ServerClosedError):
        server.start()
    assert set(answers) == {False}
    assert "stopped" in repr(server)
    assert descriptors() == before
    until(lambda: not [name for name in threads() if "Echo" in name], "the end of all threads")


def test_an_unusable_hook_is_refused_and_the_server_can_be_stopped() -> None:
    class Server(wiretask.Server):
        channel_class = wiretask.ServerChannel

    server = Server("127.0.0.1", 0)
    with pytest.raises(TypeError, match="parser_class"):
        server.start()
    assert server.stop() is True


def dropped(drop: Any) -> list[str]:
    """Call `drop`, collect garbage until there is a warning, and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop()
        until(lambda: gc.collect() is not None and caught, "the warning")
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


def test_a_server_nobody_holds_any_more_warns_and_stops(connect: Any) -> None:
    held = [EchoServer("127.0.0.1", 0)]
    held[0].start()
    peer = connect(held[0])
    assert peer.ask(b"x") == b"x"
    held[0].del_channel()
    assert ["was never stopped" in text for text in dropped(held.clear)] == [True]
    assert peer.is_closed_by_server()
    until(lambda: not [name for name in threads() if "Echo" in name], "the end of all threads")


def test_a_server_that_was_never_started_and_is_dropped_warns_and_closes_its_socket() -> None:
    before = descriptors()
    held = [EchoServer("127.0.0.1", 0)]
    held[0].del_channel()
    assert ["was never stopped" in text for text in dropped(held.clear)] == [True]
    assert descriptors() == before


def blocked_signals_of_loops() -> list[int]:
    blocked = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        if "-io-" in fields["Name"]:
            blocked.append(int(fields["SigBlk"], 16))
    return blocked


def test_the_loops_in_rust_block_all_signals(serving: Any) -> None:
    serving(EchoServer, adj=Adjustments(io_threads=2))
    until(lambda: len(blocked_signals_of_loops()) == 2, "the threads to have their names")
    blockable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    for blocked in blocked_signals_of_loops():
        assert [number for number in blockable if not blocked >> (number - 1) & 1] == []


def test_stop_waits_for_no_longer_than_it_was_told(serving: Any, connect: Any) -> None:
    release, begun = threading.Event(), threading.Event()

    hanging = acting(hang=lambda channel: (begun.set(), release.wait(DEADLINE_SECONDS)))
    server = serving(hanging, adj=Adjustments(shutdown_timeout_seconds=3600))
    peer = connect(server)
    peer.send(b"hang\n")
    assert begun.wait(DEADLINE_SECONDS)
    begin = time.monotonic()
    assert server.stop(0.2) is False
    assert time.monotonic() - begin < DEADLINE_SECONDS
    assert peer.is_closed_by_server()
    release.set()

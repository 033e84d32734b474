"""Threads, re-entrancy, signals and interpreters that a server meets. Rows R33-R50 of docs/faults.md."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import sys
import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, Peer, until
from processes import Program, run
from protocols import Echo, PythonEcho, acting

import wiretask
from wiretask import waiting_tasks
from wiretask.adjustments import Adjustments
from wiretask.examples.echo import EchoServer

SERVE = """
import ctypes, os, signal, socket, sys, threading, time
import wiretask
from wiretask.examples.echo import EchoChannel, EchoServer

class Act(wiretask.Task):
    "Does what the line names."
    def service(self):
        actions[self.request.value.decode()](self.channel)

class Channel(EchoChannel):
    task_class = Act

class Server(wiretask.Server):
    channel_class = Channel

actions = {"echo": lambda channel: channel.write(b"echo\\n")}

def say_when(server, state):
    def say():
        while state not in repr(server):
            time.sleep(0.001)
        print(state, server.effective_port)
    threading.Thread(target=say, daemon=True).start()
"""


def connected(line: str) -> contextlib.closing[Peer]:
    """A client of the server whose port stands at the end of a line."""
    return contextlib.closing(Peer(("127.0.0.1", int(line.split()[-1]))))


# ---- re-entrancy (R33, R34) ---------------------------------------------------------------------


def _everything(channel: Any) -> None:
    """Call, in the middle of a task, whatever there is to call."""
    server, conn = channel.server, channel.conn
    conn.pause_reading()
    conn.resume_reading()
    channel.flush()
    channel.queue_task(wiretask.Task(None, None))
    wiretask.loop(timeout=0, count=1, map={})
    server.stats()
    server.start()
    server.del_channel()
    server.add_channel()
    assert not channel.closed
    channel.write(b"all done\n")
    conn.close()
    conn.abort()
    channel.close_when_done()
    assert server.stop() is False


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_a_task_may_call_everything_there_is(serving: Any, connect: Any, base: type, caplog: Any) -> None:
    """Fault R33: nothing of Rust's is borrowed while Python runs."""
    failures: list[BaseException] = []

    def work(channel: Any) -> None:
        try:
            _everything(channel)
        except BaseException as error:
            failures.append(error)

    server = serving(acting(base, work=work))
    connect(server).send(b"work\n")
    until(lambda: "stopped" in repr(server), "the stop")
    assert failures == []


def test_a_task_may_run_a_loop_of_dispatchers_and_close_all(serving: Any, connect: Any) -> None:
    """Fault R33: asyncore permits nested loops; here one runs in a task of a server."""

    class Reading(wiretask.Dispatcher):
        def handle_read(self) -> None:
            if not self.recv(10):
                return
            wiretask.loop(timeout=0, map=entries, count=1)
            wiretask.close_all(entries)

    entries: Any = {}

    def nest(channel: Any) -> None:
        mine, other = socket.socketpair()
        Reading(mine, entries)
        other.sendall(b"x")
        wiretask.loop(map=entries)
        other.close()
        channel.write(b"nested\n")

    assert connect(serving(acting(nest=nest))).ask(b"nest") == b"nested"
    assert entries == {}


def test_a_parser_may_be_used_by_what_it_calls() -> None:
    """Fault R33: a parser in Python that extends a native one, and feeds another on its way."""
    line = wiretask.consumers.Line(max_bytes=100)

    class Deceitful(wiretask.consumers.Line):
        def received(self, data: Any) -> int:
            line.received(b"inner ")
            return super().received(data)

    outer = Deceitful(max_bytes=100)
    assert outer.received(b"outer\n") == 6
    assert line.received(b"and more\n") == 9
    assert (outer.value, line.value) == (b"outer", b"inner and more")


# ---- signals (R35, R37, R38, R39) ---------------------------------------------------------------


@pytest.mark.parametrize("stops", ["a signal", "a task"])
def test_a_full_wakeup_descriptor_loses_no_stop(stops: str) -> None:
    """Fault R35: thousands of signals come while the main thread is in a handler and reads nothing."""
    source = (
        SERVE
        + """
def busy(number, frame):
    for _ in range(5000):
        os.kill(os.getpid(), signal.SIGUSR2)
    print("full")
    sys.stdin.readline()
signal.signal(signal.SIGUSR1, busy)
signal.signal(signal.SIGUSR2, lambda number, frame: None)
mine, other = socket.socketpair()
mine.setblocking(False)
signal.set_wakeup_fd(mine.fileno(), warn_on_full_buffer=False)
actions["stop"] = lambda channel: (channel.server.stop(), channel.write(b"asked\\n"))
server = Server("127.0.0.1", 0)
say_when(server, "running")
server.run()
print("over")
"""
    )
    with Program(source) as program:
        port = program.read_line()
        program.signal(signal.SIGUSR1)
        assert program.read_line() == "full"
        with connected(port) as peer:
            assert peer.ask(b"echo") == b"echo"
            if stops == "a task":
                assert peer.ask(b"stop") == b"asked"
            else:
                program.signal(signal.SIGTERM)
        program.send("go on")
        assert program.read_line() == "over"
        assert program.finish() == (0, "")


HANG = """
begun = threading.Event()
actions["hang"] = lambda channel: (print("begun"), time.sleep(3600))
server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(shutdown_timeout_seconds=3600))
"""


@pytest.mark.parametrize("first", [None, signal.SIGTERM, signal.SIGINT])
def test_sigquit_ends_a_run_at_once(first: signal.Signals | None) -> None:
    """Fault R37: SIGQUIT waits for no task, whether it is the first signal or the second."""
    source = SERVE + HANG + "say_when(server, 'running'); say_when(server, 'stopping'); server.run(); print('over')"
    with Program(source) as program, connected(program.read_line()) as peer:
        peer.send(b"hang\n")
        assert program.read_line() == "begun"
        if first is not None:
            program.signal(first)
            assert program.read_line().startswith("stopping")
        program.signal(signal.SIGQUIT)
        until(lambda: program.read_line() == "over")
        assert program.finish()[0] == 0


def test_sigquit_has_its_own_meaning_before_and_after_a_run() -> None:
    source = (
        SERVE
        + """
server = Server("127.0.0.1", 0)
say_when(server, "running")
server.run()
assert signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
print("over")
"""
    )
    with Program(source) as program:
        program.read_line()
        program.signal(signal.SIGQUIT)
        assert program.read_line() == "over"
        assert program.finish() == (0, "")


def test_a_second_sigquit_ends_even_a_program_whose_stop_is_stuck() -> None:
    """Fault R37: the system does it, whatever the program is busy with."""
    source = (
        SERVE
        + HANG
        + """
class Stuck(wiretask.Task):
    def __init__(self):
        pass
    def cancel(self):
        print("stuck")
        while True:
            pass
say_when(server, "running")
actions["queue"] = lambda channel: (channel.queue_task(Stuck()), print("begun"), time.sleep(3600))
server.run()
"""
    )
    with Program(source) as program, connected(program.read_line()) as peer:
        peer.send(b"queue\n")
        assert program.read_line() == "begun"
        program.signal(signal.SIGQUIT)
        assert program.read_line() == "stuck"
        program.signal(signal.SIGQUIT)
        assert program.finish()[0] == -signal.SIGQUIT


def test_a_hail_of_signals_is_one_stop() -> None:
    """Fault R37: they come in the middle of the stop, on the thread that stops."""
    source = (
        SERVE
        + HANG
        + """
class Hailing(wiretask.Task):
    def __init__(self):
        pass
    def cancel(self):
        for number in (signal.SIGTERM, signal.SIGINT) * 50:
            os.kill(os.getpid(), number)
        print("cancelled")
say_when(server, "running")
say_when(server, "stopping")
actions["queue"] = lambda channel: (channel.queue_task(Hailing()), print("begun"), time.sleep(3600))
server.run()
print("over")
"""
    )
    with Program(source) as program, connected(program.read_line()) as peer:
        peer.send(b"queue\n")
        assert program.read_line() == "begun"
        program.signal(signal.SIGTERM)
        assert program.read_line().startswith("stopping")
        program.signal(signal.SIGTERM)
        assert [program.read_line(), program.read_line()] == ["cancelled", "over"]
        assert program.finish()[0] == 0


WAITS = {
    "run": "say_when(server, 'running'); server.run(); print('returned')",
    "loop": "say_when(server, 'running'); wiretask.loop(timeout=None)",
    "loop without servers": (
        "say_when(server, 'new'); pair = socket.socketpair(); own = {}\n"
        "wiretask.Dispatcher(pair[0], own); wiretask.loop(timeout=None, map=own)"
    ),
    "stop": "begin(); say_when(server, 'stopping'); server.stop(3600)",
    "shutdown": "hold(); dispatcher.shutdown(timeout=3600)",
}


@pytest.mark.parametrize("to_main_thread", [True, False], ids=["to the process", "to another thread"])
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_every_wait_of_the_main_thread(wait: str, to_main_thread: bool) -> None:
    """Fault R38: also if the kernel gives the signal to a thread that is not waiting for it."""
    source = (
        SERVE
        + f"""
target = threading.Event()
def other():
    target.wait()
    if {to_main_thread}:
        os.kill(os.getpid(), signal.SIGINT)
    else:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    time.sleep(3600)
threading.Thread(target=other, daemon=True).start()

server = Server("127.0.0.1", 0)
actions["hang"] = lambda channel: time.sleep(3600)
def begin():
    server.start()
    peer = actions["peer"] = socket.create_connection(server.addr)
    peer.sendall(b"hang\\n")
    while not server.stats()["tasks"]["started"]:
        time.sleep(0.001)
dispatcher = wiretask.ThreadedTaskDispatcher(1)
begun = threading.Event()
class Hold(wiretask.Task):
    def service(self):
        begun.set()
        time.sleep(3600)
def hold():
    dispatcher.addTask(Hold(None, None))
    begun.wait()
    print("shutting down")

def send_when_asked():
    sys.stdin.readline()
    target.set()
threading.Thread(target=send_when_asked, daemon=True).start()
try:
    {WAITS[wait].replace(chr(10), chr(10) + "    ")}
except KeyboardInterrupt:
    print("interrupted")
os._exit(0)
"""
    )
    with Program(source) as program:
        program.read_line()
        program.send("go on")
        assert program.read_line() == ("returned" if wait == "run" else "interrupted")
        assert program.finish()[0] == 0


@pytest.mark.parametrize("kind", ["dict", "wiretask.WatchedMap"])
def test_a_loop_gives_the_wakeup_descriptor_back_and_passes_signals_on(kind: str) -> None:
    source = f"""
    import os, signal, socket
    import wiretask
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    reader.settimeout(20)
    signal.set_wakeup_fd(writer.fileno())
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    mine, other = socket.socketpair()
    entries = {kind}()
    class Raising(wiretask.Dispatcher):
        def handle_read(self):
            os.kill(os.getpid(), signal.SIGUSR1)
            raise wiretask.ExitNow
    dispatcher = Raising(mine, entries)
    other.sendall(b"x")
    try:
        wiretask.loop(map=entries)
    except wiretask.ExitNow:
        pass
    assert reader.recv(10) == bytes([signal.SIGUSR1])
    assert signal.set_wakeup_fd(-1) == writer.fileno()
    dispatcher.close()
    """
    assert run(source) == (0, "")


def test_a_loop_in_another_thread_never_touches_signal(
    serving: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault R39."""

    def touched(*arguments: Any, **options: Any) -> None:
        pytest.fail(f"signal was touched: {arguments}")

    entries: Any = {}
    mine, other = socket.socketpair()
    heard = threading.Event()

    class Reading(wiretask.Dispatcher):
        def handle_read(self) -> None:
            if self.recv(10):
                heard.set()

    Reading(mine, entries)
    with monkeypatch.context() as patched:
        for name in ("signal", "set_wakeup_fd", "pthread_sigmask", "siginterrupt"):
            patched.setattr(signal, name, touched)
        thread = threading.Thread(target=wiretask.loop, kwargs={"timeout": None, "map": entries}, daemon=True)
        thread.start()
        other.sendall(b"x")
        assert heard.wait(DEADLINE_SECONDS)
        other.close()
        thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    assert entries == {}


# ---- the interpreter held, threads of Python (R48, R49) -----------------------------------------


def test_the_loop_accepts_parses_times_out_and_sends_while_the_interpreter_is_held() -> None:
    """Fault R48: a C function that does not let the interpreter go stops tasks, and nothing else."""
    source = (
        SERVE
        + """
held = ctypes.PyDLL(None)
def hold(channel):
    print("held", flush=True)
    held.read(0, ctypes.create_string_buffer(1), 1)
    channel.write(b"let go\\n")
actions["hold"] = hold
actions["fill"] = lambda channel: channel.write(b"x" * 8_000_000)
adj = wiretask.Adjustments(channel_timeout=1, outbuf_high_watermark=10_000_000)
server = Server("127.0.0.1", 0, adj=adj)
server.start()
print("running", server.effective_port)
os.read(0, 1)
server.stop()
"""
    )
    with Program(source) as program:
        line = program.read_line()
        with connected(line) as full, connected(line) as holder:
            full.send(b"fill\n")
            # More than the kernel takes: the rest is the loop's to send.
            assert full.read(100_000) == b"x" * 100_000
            holder.send(b"hold\n")
            assert program.read_line() == "held"
            with connected(line) as silent, connected(line) as talker:
                talker.send(b"x" * 100_000)
                assert talker.is_closed_by_server(), "a line that is too long was not refused"
                assert silent.is_closed_by_server(), "a connection that is idle was not closed"
            assert len(full.read(7_900_000)) == 7_900_000
            holder.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                holder.socket.recv(10)
            holder.socket.settimeout(DEADLINE_SECONDS)
            program.send("x")
            assert holder.read_line() == b"let go\n"
        program.send("end")
        assert program.finish() == (0, "")


def test_threads_of_python_are_those_that_threading_made(serving: Any, connect: Any) -> None:
    """Fault R49: no thread of Rust's ever enters the interpreter, so there is no dummy for it, and no state."""
    seen: list[threading.Thread] = []

    class Noting(acting(PythonEcho, note=lambda channel: seen.append(threading.current_thread()))):  # type: ignore[misc]
        def handle_connect(self) -> None:
            seen.append(threading.current_thread())

        def handle_close(self) -> None:
            seen.append(threading.current_thread())

    class Server(wiretask.Server):
        channel_class = Noting

        def handle_accept(self) -> None:
            seen.append(threading.current_thread())
            super().handle_accept()

    before = {thread.ident for thread in threading.enumerate()}
    server = serving(Server, adj=Adjustments(io_threads=3))
    for _ in range(20):
        peer = connect(server)
        peer.send(b"note\n")
        peer.end_output()
        assert peer.is_closed_by_server()
    until(lambda: len(seen) >= 80, "all hooks")
    dummy: Any = threading._DummyThread  # type: ignore[attr-defined]
    assert [thread for thread in (*seen, *threading.enumerate()) if isinstance(thread, dummy)] == []
    assert {thread.ident for thread in seen} & before <= {_housekeeper()}
    assert set(sys._current_frames()) <= {thread.ident for thread in threading.enumerate()}


def _housekeeper() -> int | None:
    return next((t.ident for t in threading.enumerate() if t.name == "wiretask-housekeeper"), None)


# ---- stop from anywhere (R50) -------------------------------------------------------------------


class Stopping:
    """Stops a server when it is collected."""

    def __init__(self, server: wiretask.Server, answers: list[Any]) -> None:
        self.server, self.answers = server, answers
        self.itself = self

    def __del__(self) -> None:
        self.answers.append(self.server.stop())


@pytest.mark.parametrize("state", ["new", "running", "stopped"])
def test_stop_in_a_destructor_that_the_collector_calls(serving: Any, connect: Any, state: str) -> None:
    """Fault R50: on whatever thread the collector happens to run."""
    answers: list[Any] = []
    server = EchoServer("127.0.0.1", 0) if state == "new" else serving(Echo)
    if state == "stopped":
        server.stop()
    Stopping(server, answers)
    gc.collect()
    until(lambda: answers, "the destructor")
    assert answers == [True]
    assert "stopped" in repr(server)


def test_stop_in_a_destructor_that_is_called_in_a_task(serving: Any, connect: Any) -> None:
    """Fault R50."""
    answers: list[Any] = []

    def drop(channel: Any) -> None:
        Stopping(channel.server, answers)
        gc.collect()
        channel.write(b"dropped\n")

    server = serving(acting(drop=drop))
    assert connect(server).ask(b"drop") == b"dropped"
    until(lambda: "stopped" in repr(server), "the stop")
    assert answers == [False]


def test_stop_in_a_destructor_in_the_middle_of_start_and_of_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault R50: the collector may run anywhere, also while the server's own lock is held by this thread."""
    answers: list[Any] = []
    server = EchoServer("127.0.0.1", 0)
    server.start()
    real = waiting_tasks.cancel_all_of

    def collect(stopped: Any) -> None:
        Stopping(server, answers)
        gc.collect()
        real(stopped)

    monkeypatch.setattr(waiting_tasks, "cancel_all_of", collect)
    assert server.stop() is True
    assert answers == [False]


def test_stop_at_every_moment_of_a_life_is_the_same_stop() -> None:
    """Fault R50: before run, twice, by a task, by a signal handler, at exit: one after the other."""
    source = (
        SERVE
        + """
actions["stop"] = lambda channel: (channel.server.stop(), channel.write(b"stopped\\n"))
signal.signal(signal.SIGUSR1, lambda number, frame: print("handler", server.stop()))
never = Server("127.0.0.1", 0)
assert never.stop() and never.stop()
never.run()
server = Server("127.0.0.1", 0)
say_when(server, "running")
server.run()
assert server.stop() is True
os.kill(os.getpid(), signal.SIGUSR1)
print("over")
"""
    )
    with Program(source) as program:
        with connected(program.read_line()) as peer:
            assert peer.ask(b"stop") == b"stopped"
        assert program.read_line() == "handler True"
        assert program.read_line() == "over"
        assert program.finish() == (0, "")

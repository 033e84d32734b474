"""What signals do to `run()`, in programs of their own."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest
from processes import Program, cpu_seconds

each_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])

ECHO = """
import signal, sys, threading, time
import wiretask
from wiretask.examples.echo import EchoChannel, EchoServer, EchoTask

def state():
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)

def say_when_running(server):
    def say():
        while "running" not in repr(server):
            time.sleep(0.001)
        print(server.effective_port)
    threading.Thread(target=say, daemon=True).start()

def say_when_stopping(server):
    def say():
        while "stopping" not in repr(server):
            time.sleep(0.001)
        print("stopping")
    threading.Thread(target=say, daemon=True).start()
"""

SERVE = (
    ECHO
    + """
before = state()
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
server.run()
assert state() == before, (state(), before)
assert server.effective_listen == ()
print("over")
"""
)

HANG = (
    ECHO
    + """
class Hang(EchoTask):
    def service(self):
        print("begun")
        time.sleep(3600)

class Channel(EchoChannel):
    task_class = Hang

class Server(wiretask.Server):
    channel_class = Channel
"""
)


def connected(port: str) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
    peer.settimeout(20)
    return peer


@each_signal
def test_a_signal_ends_an_idle_run_with_exit_code_0_and_restores_the_handlers(number: signal.Signals) -> None:
    with Program(SERVE) as program:
        program.read_line()
        program.signal(number)
        assert program.read_line() == "over"
        assert program.finish() == (0, "")


@each_signal
def test_a_signal_ends_a_run_under_load_and_every_answer_is_whole(number: signal.Signals) -> None:
    with Program(SERVE) as program:
        port = program.read_line()
        line = b"x" * 100 + b"\n"
        remainders: list[int] = []
        answered = threading.Semaphore(0)

        def load(peer: socket.socket) -> None:
            received = 0
            with peer:
                try:
                    while True:
                        peer.sendall(line)
                        piece = peer.recv(65536)
                        if not piece:
                            break
                        received += len(piece)
                        answered.release()
                except ConnectionError:
                    pass
            remainders.append(received % len(line))

        # All are connected before the signal, however slowly their threads start.
        loaders = [threading.Thread(target=load, args=(connected(port),)) for _ in range(8)]
        for loader in loaders:
            loader.start()
        for _ in range(200):
            assert answered.acquire(timeout=20)
        program.signal(number)
        assert program.finish() == (0, "")
        for loader in loaders:
            loader.join(20)
        assert remainders == [0] * 8


def test_the_first_signal_waits_for_a_task_and_the_second_does_not() -> None:
    source = (
        HANG
        + """
server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(shutdown_timeout_seconds=3600))
say_when_running(server)
server.run()
print("over")
"""
    )
    with Program(source) as program, connected(program.read_line()) as peer:
        peer.sendall(b"x\n")
        assert program.read_line() == "begun"
        program.signal(signal.SIGTERM)
        # The listener is closed at once: the stop has begun.
        deadline = time.monotonic() + 20
        while True:
            try:
                connected(str(peer.getpeername()[1])).close()
            except ConnectionError:
                break
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert program.process.poll() is None
        program.signal(signal.SIGTERM)
        assert program.read_line() == "over"
        code, errors = program.finish()
        assert (code, "still running" in errors) == (0, True)


def test_the_second_signal_does_not_wait_for_a_task_whose_client_has_gone() -> None:
    source = (
        HANG
        + """
server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(shutdown_timeout_seconds=3600))
say_when_running(server)
say_when_stopping(server)
server.run()
print("over")
"""
    )
    with Program(source) as program:
        with connected(program.read_line()) as peer:
            peer.sendall(b"x\n")
            assert program.read_line() == "begun"
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        program.signal(signal.SIGTERM)
        assert program.read_line() == "stopping"
        program.signal(signal.SIGINT)
        assert program.read_line() == "over"
        assert program.finish()[0] == 0


def test_a_handler_of_the_programs_own_is_left_alone() -> None:
    source = (
        ECHO
        + """
def mine(number, frame):
    print("mine")
signal.signal(signal.SIGTERM, mine)
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
server.run()
assert signal.getsignal(signal.SIGTERM) is mine
print("over")
"""
    )
    with Program(source) as program:
        port = program.read_line()
        program.signal(signal.SIGTERM)
        assert program.read_line() == "mine"
        with connected(port) as peer:
            peer.sendall(b"still there\n")
            assert peer.recv(100) == b"still there\n"
        program.signal(signal.SIGINT)
        assert program.read_line() == "over"
        assert program.finish() == (0, "")


def test_an_ignored_signal_stays_ignored() -> None:
    source = (
        ECHO
        + """
signal.signal(signal.SIGINT, signal.SIG_IGN)
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
server.run()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
print("over")
"""
    )
    with Program(source) as program:
        port = program.read_line()
        program.signal(signal.SIGINT)
        with connected(port) as peer:
            peer.sendall(b"still there\n")
            assert peer.recv(100) == b"still there\n"
        program.signal(signal.SIGTERM)
        assert program.read_line() == "over"
        assert program.finish() == (0, "")


@pytest.mark.parametrize("call", ["server.stop()", "server.close() is None", "server.stop(0.5)"])
def test_a_handler_of_the_programs_own_can_stop_the_server(call: str) -> None:
    source = (
        ECHO
        + f"""
signal.signal(signal.SIGTERM, lambda number, frame: print({call}))
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
server.run()
print("over")
"""
    )
    with Program(source) as program:
        program.read_line()
        program.signal(signal.SIGTERM)
        assert program.read_line() == "True"
        assert program.read_line() == "over"
        assert program.finish() == (0, "")


def test_an_exception_out_of_a_handler_stops_the_server_and_passes_on() -> None:
    source = (
        ECHO
        + """
class Quit(Exception):
    pass
def leave(number, frame):
    raise Quit
signal.signal(signal.SIGTERM, leave)
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
try:
    server.run()
except Quit:
    print(server.effective_listen)
assert signal.set_wakeup_fd(-1) == -1
"""
    )
    with Program(source) as program:
        program.read_line()
        program.signal(signal.SIGTERM)
        assert program.read_line() == "()"
        assert program.finish() == (0, "")


def test_a_wakeup_descriptor_that_was_set_before_still_gets_the_signals_and_is_restored() -> None:
    source = (
        ECHO
        + """
import socket
reader, writer = socket.socketpair()
writer.setblocking(False)
reader.settimeout(20)
signal.set_wakeup_fd(writer.fileno())
signal.signal(signal.SIGUSR1, lambda number, frame: None)
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
threading.Thread(target=lambda: print(*reader.recv(1))).start()
server.run()
assert signal.set_wakeup_fd(-1) == writer.fileno()
print("over", *sorted(set(reader.recv(10))))
"""
    )
    with Program(source) as program:
        program.read_line()
        program.signal(signal.SIGUSR1)
        assert program.read_line() == str(int(signal.SIGUSR1))
        program.signal(signal.SIGTERM)
        assert program.read_line() == f"over {int(signal.SIGTERM)}"
        assert program.finish() == (0, "")


def test_signals_that_come_while_the_server_stops_are_passed_on_too() -> None:
    source = (
        HANG
        + """
import socket
reader, writer = socket.socketpair()
writer.setblocking(False)
reader.settimeout(20)
signal.set_wakeup_fd(writer.fileno())
server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(shutdown_timeout_seconds=3600))
say_when_running(server)
say_when_stopping(server)
server.run()
print("over", *reader.recv(10))
"""
    )
    with Program(source) as program, connected(program.read_line()) as peer:
        peer.sendall(b"x\n")
        assert program.read_line() == "begun"
        program.signal(signal.SIGTERM)
        assert program.read_line() == "stopping"
        program.signal(signal.SIGINT)
        assert program.read_line() == f"over {int(signal.SIGTERM)} {int(signal.SIGINT)}"
        assert program.finish()[0] == 0


def test_ctrl_c_in_stop_is_raised_when_the_server_has_stopped() -> None:
    source = (
        HANG
        + """
server = Server("127.0.0.1", 0)
server.start()
print(server.effective_port)
sys.stdin.readline()
say_when_stopping(server)
try:
    server.stop(3600)
except KeyboardInterrupt:
    print("interrupted", server)
"""
    )
    with Program(source) as program, connected(program.read_line()) as peer:
        peer.sendall(b"x\n")
        assert program.read_line() == "begun"
        program.send("go")
        assert program.read_line() == "stopping"
        program.signal(signal.SIGINT)
        line = program.read_line()
        assert line.startswith("interrupted")
        assert "stopped" in line
        assert program.finish()[0] == 0


def test_ctrl_c_in_loop_is_a_keyboard_interrupt_and_the_exit_stops_the_server() -> None:
    source = (
        ECHO
        + """
server = EchoServer("127.0.0.1", 0)
say_when_running(server)
try:
    wiretask.loop(timeout=None)
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    with Program(source) as program:
        program.read_line()
        program.signal(signal.SIGINT)
        assert program.read_line() == "interrupted"
        assert program.finish() == (0, "")


@pytest.mark.parametrize("connections", [0, 5])
def test_an_idle_run_uses_no_cpu(connections: int) -> None:
    with Program(SERVE) as program:
        port = program.read_line()
        peers = [connected(port) for _ in range(connections)]
        for peer in peers:
            peer.sendall(b"x\n")
            assert peer.recv(10) == b"x\n"
        least = float("inf")
        deadline = time.monotonic() + 20
        # The machine may be busy with us while it settles; one quiet half second is proof.
        while least > 0.0 and time.monotonic() < deadline:
            before = cpu_seconds(program.pid)
            time.sleep(0.5)
            least = min(least, cpu_seconds(program.pid) - before)
        assert least == 0.0
        for peer in peers:
            peer.close()
        program.signal(signal.SIGTERM)
        assert program.finish() == (0, "")

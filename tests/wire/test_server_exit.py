"""Programs that end with a server at work: by themselves, with their own exit code, and without a word."""

from __future__ import annotations

import os
import socket

import pytest
from processes import Program, run

#: How often each situation is tried; chance is most of what goes wrong at the end.
REPETITIONS = int(os.environ.get("WIRETASK_REPETITIONS", "3"))

PROLOGUE = """
import os, socket, sys, threading, time
import wiretask
from wiretask.consumers import Line
from wiretask.examples.echo import EchoChannel, EchoServer

def serve(service, clients=8, **settings):
    "A running server whose tasks do `service(task)`, and clients that have sent a line each."
    begun = threading.Semaphore(0)
    class Task(wiretask.Task):
        def service(self):
            begun.release()
            service(self)
    class Channel(wiretask.ServerChannel):
        parser_class = Line
        task_class = Task
    class Server(wiretask.Server):
        channel_class = Channel
    global server, peers
    server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(**settings))
    server.start()
    peers = [socket.create_connection(server.addr) for _ in range(clients)]
    for peer in peers:
        peer.sendall(b"x\\n")
    for _ in range(min(clients, server.adj.threads)):
        begun.acquire()

def echo(task):
    task.channel.write(task.request.value + b"\\n")

def pump(peer):
    "Send and receive for ever."
    def receive():
        try:
            while peer.recv(65536):
                pass
        except OSError:
            pass
    def send():
        try:
            while True:
                peer.sendall(b"0123456789\\n" * 50)
        except OSError:
            pass
    for action in (receive, send):
        threading.Thread(target=action, daemon=True).start()

lock = threading.Lock()
lock.acquire()

def spin(task):
    while True:
        pass

def allocate(task):
    while True:
        [str(number) for number in range(100)]

def write_for_ever(task):
    while True:
        task.channel.write(b"x" * 1000)
"""

SITUATIONS = {
    "an idle server": "serve(echo, clients=1)",
    "a server that was never started": "server = EchoServer('127.0.0.1', 0)",
    "a server that was stopped": "serve(echo); server.stop()",
    "connected clients": "serve(echo)",
    "clients that go on sending": "serve(echo); [pump(peer) for peer in peers]",
    "clients that go on sending to two loops": "serve(echo, io_threads=2); [pump(peer) for peer in peers]",
    "workers asleep": "serve(lambda task: time.sleep(3600))",
    "workers at a lock": "serve(lambda task: lock.acquire())",
    "workers in a busy loop": "serve(spin)",
    "workers that allocate": "serve(allocate)",
    "workers that wait for their peers": "serve(write_for_ever, outbuf_high_watermark=10000)",
    "workers that write to peers that read": (
        "serve(write_for_ever, outbuf_high_watermark=10000); [pump(peer) for peer in peers]"
    ),
    "queued channels": "serve(lambda task: time.sleep(3600), clients=30, threads=1)",
    "a run in another thread": (
        "server = EchoServer('127.0.0.1', 0); threading.Thread(target=server.run, daemon=True).start()\n"
        "while 'running' not in repr(server): time.sleep(0.001)"
    ),
    "a stop under way in another thread": (
        "serve(lambda task: time.sleep(3600))\n"
        "threading.Thread(target=server.stop, args=(3600,), daemon=True).start()\n"
        "while 'stopping' not in repr(server): time.sleep(0.001)"
    ),
    "a loop in another thread": (
        "server = EchoServer('127.0.0.1', 0)\n"
        "threading.Thread(target=wiretask.loop, kwargs={'timeout': None}, daemon=True).start()\n"
        "while 'running' not in repr(server): time.sleep(0.001)"
    ),
    "a handler of accept": (
        "class Server(EchoServer):\n"
        "    def handle_accept(self): super().handle_accept()\n"
        "server = Server('127.0.0.1', 0); server.start()\n"
        "peers = [socket.create_connection(server.addr) for _ in range(8)]; [pump(peer) for peer in peers]"
    ),
    "a dispatcher of its own": (
        "dispatcher = wiretask.ThreadedTaskDispatcher(3)\n"
        "server = EchoServer('127.0.0.1', 0, task_dispatcher=dispatcher); server.start()\n"
        "peers = [socket.create_connection(server.addr) for _ in range(8)]; [pump(peer) for peer in peers]"
    ),
}

ENDINGS = {
    "the end of the program": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "an exception": ("raise RuntimeError('mine')", 1, "RuntimeError: mine"),
    "os._exit": ("os._exit(5)", 5, ""),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_program_ends_with(situation: str) -> None:
    for _ in range(REPETITIONS):
        code, errors = run(PROLOGUE + SITUATIONS[situation])
        # Workers that do not come to their end are told of, when a stop waited for them.
        if "stop under way" in situation:
            errors = "".join(line for line in errors.splitlines() if "still running" not in line)
        assert (code, errors) == (0, "")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("situation", ["clients that go on sending", "workers asleep"])
def test_the_exit_code_is_the_programs_own(situation: str, ending: str) -> None:
    last_line, expected_code, expected_error = ENDINGS[ending]
    code, errors = run(PROLOGUE + SITUATIONS[situation] + "\n" + last_line)
    assert code == expected_code
    assert errors.endswith(expected_error + "\n" if expected_error else "")
    assert bool(errors) == bool(expected_error)


def test_a_program_ends_although_warnings_are_errors() -> None:
    assert run(PROLOGUE + "serve(echo); [peer.close() for peer in peers]", options=("-W", "error")) == (0, "")


def test_the_clients_of_a_program_that_ends_see_its_end() -> None:
    source = PROLOGUE + "serve(echo, clients=0); print(server.effective_port); sys.stdin.readline()"
    with Program(source) as program:
        port = int(program.read_line())
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(b"x\n")
            assert peer.recv(10) == b"x\n"
            program.send("end")
            assert peer.recv(10) == b""
        assert program.finish() == (0, "")

"""What happens to sockets in production, done to real ones. Rows R1-R14 of docs/faults.md that need it said here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, Peer
from processes import Program, run
from protocols import acting

from wiretask.adjustments import Adjustments
from wiretask.dispatcher import Dispatcher, SocketMap, close_all, loop

#: Each waits for a word on its input before it begins, so that what fails is ready first.
ACCEPTING = {
    "natively": """
        from wiretask.examples.echo import EchoServer as Served
    """,
    "in a hook": """
        from wiretask.examples.echo import EchoServer
        class Served(EchoServer):
            def handle_accept(self):
                super().handle_accept()
    """,
    "in a loop of dispatchers": """
        import socket, threading
        class Echo(wiretask.Dispatcher):
            def handle_read(self):
                self.send(self.recv(4096))
        class Served(wiretask.Dispatcher):
            def __init__(self, *address):
                super().__init__()
                self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
                self.bind(address)
                self.listen(100)
                self.effective_port = self.socket.getsockname()[1]
            def handle_accepted(self, sock, addr):
                Echo(sock)
            def start(self):
                threading.Thread(target=wiretask.loop, kwargs={"timeout": None}, daemon=True).start()
    """,
}

SERVE = """
        server = Served("127.0.0.1", 0)
        server.start()
        print(server.effective_port)
        sys.stdin.readline()
        os._exit(0)
"""

CONNECTION_FAILS = [errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EPERM, errno.ECONNABORTED]
RESOURCES_FAIL = [[number] * 2 for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)]

PROLOGUE = """
        import os, sys
        import wiretask
"""


def answers(port: str) -> bytes:
    """What a server says to a line; b"" if it closes."""
    with contextlib.closing(Peer(("127.0.0.1", int(port)))) as peer:
        peer.send(b"hello\n")
        return peer.read_line()


@pytest.mark.parametrize("how", ACCEPTING)
@pytest.mark.parametrize(("errors", "messages"), [(CONNECTION_FAILS, 0), *((errors, 1) for errors in RESOURCES_FAIL)])
def test_accepting_goes_on_after_every_error_of_one_connection_or_of_the_system(
    how: str, errors: list[int], messages: int
) -> None:
    """Faults R1, R2."""
    failing = f"        import failing_calls; failing_calls.fail_accepts({errors})\n"
    with Program(failing + PROLOGUE + ACCEPTING[how] + SERVE) as program:
        port = program.read_line()
        assert [answers(port) for _ in range(3)] == [b"hello\n"] * 3
        program.send("end")
        code, said = program.finish()
    assert (code, said.count("cannot accept")) == (0, messages)


def test_a_listener_in_a_loop_of_dispatchers_rests_when_descriptors_have_run_out() -> None:
    """Fault R1: a level-triggered event that cannot be dealt with comes back at once, and again."""
    limit = """
        import resource, time
        class Counting(Served):
            attempts = 0
            def handle_accept(self):
                self.attempts += 1
                super().handle_accept()
        server = Counting("127.0.0.1", 0)
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        server.start()
        # The thread has what it needs for its loop.
        while not wiretask.event_loop._running:
            time.sleep(0.001)
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, used + 100))
        print(server.effective_port)
        sys.stdin.readline()
        before, begun = server.attempts, time.monotonic()
        time.sleep(1)
        # Five a second, and those that succeed at first.
        print(server.attempts - before, 5 * (time.monotonic() - begun) + 10)
        sys.stdin.readline()
        os._exit(0)
    """
    with Program(PROLOGUE + ACCEPTING["in a loop of dispatchers"] + limit) as program:
        port = int(program.read_line())
        with contextlib.ExitStack() as closing:
            for _ in range(10):
                peer = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
                closing.enter_context(peer)
            program.send("count")
            attempts, most = program.read_line().split()
            assert int(attempts) <= float(most)
        assert answers(str(port)) == b"hello\n"
        program.send("end")
        code, said = program.finish()
    assert (code, said.count("cannot accept")) == (0, 1)


@pytest.fixture
def entries() -> Iterator[SocketMap]:
    """A map of the test's own, closed at its end."""
    entries: SocketMap = {}
    yield entries
    close_all(entries, ignore_all=True)


def test_an_event_of_a_closed_dispatcher_is_not_its_successors(entries: SocketMap) -> None:
    """Fault R9: what is registered under a number that was free again a moment ago has no events yet."""
    calls: list[str] = []
    kept: list[socket.socket] = []
    successors: list[Dispatcher] = []

    class Successor(Dispatcher):
        def handle_read(self) -> None:
            calls.append("read")

        def handle_close(self) -> None:
            calls.append("close")

    class Closing(Dispatcher):
        """On its first event, closes the other one, and makes a dispatcher of the same number."""

        other: Closing

        def handle_read(self) -> None:
            assert self.socket is not None
            assert self.other.socket is not None
            self.recv(10)
            number = self.other.socket.fileno()
            self.other.close()
            quiet, peer = socket.socketpair()
            kept.append(peer)
            descriptor = quiet.detach()
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            successors.append(Successor(socket.socket(fileno=number), entries))

    pairs = [socket.socketpair() for _ in range(2)]
    first, second = (Closing(mine, entries) for mine, _ in pairs)
    first.other, second.other = second, first
    for _, peer in pairs:
        peer.sendall(b"x")
    loop(timeout=DEADLINE_SECONDS, map=entries, count=1)
    loop(timeout=0, map=entries, count=3)
    assert calls == []
    assert [entry for entry in entries.values() if entry in successors] == successors
    assert len(successors) == 1
    for peer in [peer for _, peer in pairs] + kept:
        peer.close()


def test_a_socket_that_takes_little_at_a_time_takes_everything_in_order(serving: Any, connect: Any) -> None:
    """Fault R10: every send is partial or refused, and goes on at its offset."""
    noise = random.Random(10).randbytes(300_000)
    served = acting(send=lambda channel: (channel.write(noise), channel.write(noise[::-1])))
    adj = Adjustments(socket_options=((socket.SOL_SOCKET, socket.SO_SNDBUF, 1024),))
    peer = connect(serving(served, adj=adj), receive_buffer_bytes=1024)
    peer.send(b"send\n")
    received = peer.read(2 * len(noise))
    assert hashlib.sha256(received).digest() == hashlib.sha256(noise + noise[::-1]).digest()


@pytest.mark.parametrize("how", ACCEPTING)
def test_a_peer_that_is_gone_is_no_broken_pipe_signal(how: str) -> None:
    """Fault R14: also in a program that gave SIGPIPE its default action back, which is to die."""
    ready = "        import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
    with Program(PROLOGUE + ready + ACCEPTING[how] + SERVE) as program:
        port = program.read_line()
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", int(port)), timeout=DEADLINE_SECONDS) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.sendall(b"hello\n" * 500)
        assert answers(port) == b"hello\n"
        program.send("end")
        assert program.finish()[0] == 0


def test_a_dispatcher_that_sends_into_the_void_gets_no_broken_pipe_signal() -> None:
    """Fault R14."""
    source = """
    import signal, socket
    import wiretask
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    mine, peer = socket.socketpair()
    dispatcher = wiretask.Dispatcher(mine)
    peer.close()
    assert dispatcher.send(b"hello") == 0
    assert not dispatcher.connected
    """
    assert run(source) == (0, "")


def test_a_channel_that_writes_into_the_void_gets_no_broken_pipe_signal() -> None:
    """Fault R14: the peers are gone before the tasks write. Who sees it first, worker or loop, is chance; so many."""
    source = """
    import signal, threading
    import wiretask
    from peers import Peer, until
    from wiretask.examples.echo import EchoChannel
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    over = []
    class Task(wiretask.Task):
        def service(self):
            if self.request.value == b"wait":
                self.channel.gone = threading.Event()
                waiting.append(self.channel.gone)
                self.channel.gone.wait(20)
            try:
                while True:
                    self.channel.write(b"x" * 100_000)
                    self.channel.flush()
            except wiretask.errors.ClientDisconnectedError:
                over.append(1)
    class Server(wiretask.Server):
        channel_class = type("Channel", (EchoChannel,), {"task_class": Task})
    with Server("127.0.0.1", 0) as server:
        for round in range(1, 61):
            waiting = []
            peer = Peer.of(server)
            peer.send(b"wait\\n")
            until(lambda: waiting)
            peer.close()
            waiting[0].set()
            until(lambda: len(over) == round)
    """
    assert run(source) == (0, "")


CONNECTIONS = 5000


def test_many_idle_connections_cost_little_and_no_python_object() -> None:
    """Fault R56: an object of Python comes with the first complete request."""
    source = f"""
    import resource, sys, threading
    from processes import resident_kilobytes
    import wiretask
    from wiretask.examples.echo import EchoChannel, EchoServer

    resource.setrlimit(resource.RLIMIT_NOFILE, ({CONNECTIONS + 500}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    made = []
    class Channel(EchoChannel):
        def __new__(cls, *arguments):
            made.append(1)
            return super().__new__(cls, *arguments)
    class Server(EchoServer):
        channel_class = Channel
    server = Server("127.0.0.1", 0, adj=wiretask.Adjustments(connection_limit={CONNECTIONS + 100}))
    server.start()
    print(server.effective_port)
    sys.stdin.readline()
    blocks, kilobytes = sys.getallocatedblocks(), resident_kilobytes()
    print("counted")
    sys.stdin.readline()
    while server.stats()["connections"] < {CONNECTIONS + 1}:
        threading.Event().wait(0.01)
    assert len(made) == 1, made
    # Of whatever type: there is no object for each.
    assert sys.getallocatedblocks() - blocks < 1000, (blocks, sys.getallocatedblocks())
    print((resident_kilobytes() - kilobytes) * 1024 // {CONNECTIONS})
    sys.stdin.readline()
    server.stop()
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 500:
        pytest.skip(f"the system lets a process open {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 500), hard))
    try:
        with contextlib.ExitStack() as closing, Program(source) as program:
            address = ("127.0.0.1", int(program.read_line()))

            def connected() -> socket.socket:
                return closing.enter_context(socket.create_connection(address, timeout=DEADLINE_SECONDS))

            served = connected()
            served.sendall(b"x\n")
            assert served.recv(10) == b"x\n"
            program.send("count")
            assert program.read_line() == "counted"
            peers = [connected() for _ in range(CONNECTIONS)]
            for peer in peers[::2]:
                # Half of them have begun a request.
                peer.sendall(b"unfinished")
            program.send("look")
            bytes_each = int(program.read_line())
            assert bytes_each < 2048
            peers[0].sendall(b"\n")
            assert peers[0].recv(20) == b"unfinished\n"
            program.send("end")
            assert program.finish() == (0, "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""What the child of a fork has of its parent's servers, and what it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, Peer, until
from processes import descriptors, run, wait_for_exit

import wiretask
from wiretask.adjustments import Adjustments
from wiretask.consumers import Line
from wiretask.examples.echo import EchoChannel, EchoServer

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work: Callable[[], object]) -> int:
    """Fork, run `work` in the child and end it with code 0, or 1 if an exception came out; return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def expect(condition: object, what: object = "") -> None:
    """`assert` for the child of a fork, where pytest's own is out of place."""
    if not condition:
        raise AssertionError(what)


def sockets_of_engine() -> list[str]:
    kinds = ("anon_inode:[eventpoll]", "anon_inode:[eventfd]")
    return [target for target in descriptors().values() if target in kinds]


def echo_once(address: Any) -> None:
    peer = Peer(address)
    expect(peer.ask(b"hello") == b"hello")
    peer.close()


def test_a_server_that_was_not_started_survives_a_fork_and_serves_in_the_child() -> None:
    server = EchoServer("127.0.0.1", 0)

    def work() -> None:
        server.start()
        echo_once(server.addr)
        expect(server.stop() is True)

    assert wait_for_exit(in_child(work)) == 0
    server.start()
    echo_once(server.addr)
    assert server.stop() is True


def test_a_server_that_was_not_started_serves_in_many_children_at_once() -> None:
    server = EchoServer("127.0.0.1", 0)
    ready_reader, ready_writer = os.pipe()
    done_reader, done_writer = os.pipe()

    def work() -> None:
        os.close(done_writer)
        server.start()
        os.write(ready_writer, b".")
        os.read(done_reader, 1)
        expect(server.stop() is True)

    children = [in_child(work) for _ in range(3)]
    for _ in children:
        os.read(ready_reader, 1)
    for _ in range(20):
        echo_once(server.addr)
    os.close(done_writer)
    assert [wait_for_exit(child) for child in children] == [0, 0, 0]
    server.stop()
    for descriptor in (ready_reader, ready_writer, done_reader):
        os.close(descriptor)


def test_a_started_server_is_closed_in_the_child_with_all_its_descriptors(
    serving: Any, connect: Any, tmp_path: Path
) -> None:
    # What a child has without the server, which is not all of its parent: loops close their wake-ups.
    seen = tmp_path / "descriptors"
    assert wait_for_exit(in_child(lambda: seen.write_text(json.dumps(descriptors())))) == 0
    before = json.loads(seen.read_text())
    server = serving(EchoServer, adj=Adjustments(io_threads=3))
    peers = [connect(server) for _ in range(5)]
    for peer in peers:
        assert peer.ask(b"x") == b"x"
    own = {str(peer.socket.fileno()) for peer in peers}

    def work() -> None:
        expect("stopped" in repr(server), repr(server))
        left = {number: target for number, target in descriptors().items() if number not in own}
        expect(left == before, (left, before))
        expect(server.stop() is True)
        expect(server.effective_listen == ())
        expect(server not in wiretask.socket_map.values())
        try:
            server.start()
        except wiretask.errors.ServerClosedError:
            return
        raise AssertionError("started")

    assert wait_for_exit(in_child(work)) == 0
    assert [peer.ask(b"y") for peer in peers] == [b"y"] * 5


def test_the_file_of_a_unix_socket_is_the_parents(serving: Any, directory: Path) -> None:
    path = directory / "s"
    server = serving(EchoServer, f"unix:{path}", None)
    assert wait_for_exit(in_child(server.stop)) == 0
    assert path.exists()
    echo_once(str(path))
    server.stop()
    assert not path.exists()


def test_peers_see_the_parents_close_although_a_child_lives(serving: Any, connect: Any) -> None:
    reader, writer = os.pipe()
    server = serving(EchoServer)
    peer = connect(server)
    assert peer.ask(b"x") == b"x"

    def work() -> None:
        os.close(writer)
        peer.close()
        os.read(reader, 1)

    child = in_child(work)
    until(lambda: server.stop() is not None, "the stop")
    assert peer.is_closed_by_server()
    with pytest.raises(ConnectionRefusedError):
        Peer(server.addr)
    os.close(writer)
    os.close(reader)
    assert wait_for_exit(child) == 0


def test_the_child_of_a_running_server_can_start_and_stop_another(serving: Any, connect: Any) -> None:
    server = serving(EchoServer)
    peer = connect(server)
    assert peer.ask(b"x") == b"x"

    def work() -> None:
        for _ in range(3):
            with EchoServer("127.0.0.1", 0) as second:
                echo_once(second.addr)
        expect(sockets_of_engine() == [], sockets_of_engine())

    assert wait_for_exit(in_child(work)) == 0
    assert peer.ask(b"y") == b"y"


def test_a_grandchild_can_too(serving: Any) -> None:
    serving(EchoServer)

    def work() -> None:
        with EchoServer("127.0.0.1", 0):

            def deeper() -> None:
                with EchoServer("127.0.0.1", 0) as third:
                    echo_once(third.addr)

            expect(wait_for_exit(in_child(deeper)) == 0)

    assert wait_for_exit(in_child(work)) == 0


def test_a_program_that_forks_under_load_goes_on_serving_and_no_child_hangs(serving: Any, connect: Any) -> None:
    server = serving(EchoServer, adj=Adjustments(io_threads=2))
    is_over = threading.Event()
    failures: list[BaseException] = []

    def load(peer: Peer) -> None:
        try:
            while not is_over.is_set():
                assert peer.ask(b"0123456789") == b"0123456789"
        except BaseException as error:
            failures.append(error)

    loaders = [threading.Thread(target=load, args=(connect(server),)) for _ in range(6)]
    for loader in loaders:
        loader.start()
    codes = [wait_for_exit(in_child(lambda: expect(sockets_of_engine() == []))) for _ in range(100)]
    is_over.set()
    for loader in loaders:
        loader.join(DEADLINE_SECONDS)
    assert codes == [0] * 100
    assert failures == []


class ForkingChannel(wiretask.ServerChannel):
    """Its task forks; the child does what the line says."""

    parser_class = Line

    class task_class(wiretask.Task):  # noqa: N801
        def service(self) -> None:
            channel, what = self.channel, self.request.value
            pid = os.fork()
            if pid:
                channel.write(b"%d\n" % wait_for_exit(pid))
                return
            code = 9
            try:
                code = CHILD_WORK[what](channel)
            finally:
                os._exit(code)


def _use_the_channel(channel: wiretask.ServerChannel) -> int:
    for use in (lambda: channel.write(b"from the child\n"), channel.flush, lambda: channel.flush(block=True)):
        try:
            use()
        except wiretask.errors.ClientDisconnectedError:
            continue
        return 1
    conn = channel.conn
    conn.pause_reading()
    conn.close()
    conn.abort()
    channel.close_when_done()
    channel.service()
    channel.cancel()
    facts = (channel.closed, channel.client_disconnected, conn.closed, conn.fileno(), repr(conn), channel.addr)
    return 0 if facts[:4] == (True, True, True, -1) else 2


def _start_and_stop_a_server(channel: wiretask.ServerChannel) -> int:
    with EchoServer("127.0.0.1", 0) as server:
        echo_once(server.addr)
        outcome = server.stop()
    return 0 if outcome is True else 1


CHILD_WORK: dict[bytes, Callable[[wiretask.ServerChannel], int]] = {
    b"nothing": lambda channel: 0,
    b"channel": _use_the_channel,
    b"server": _start_and_stop_a_server,
    b"stop": lambda channel: 0 if channel.server.stop() is True else 1,
    b"descriptors": lambda channel: len(sockets_of_engine()),
}


@pytest.mark.parametrize("what", CHILD_WORK)
def test_a_task_can_fork_and_the_child_cannot_hurt_the_parent(serving: Any, connect: Any, what: bytes) -> None:
    server = serving(ForkingChannel)
    peer = connect(server)
    for _ in range(5):
        assert peer.ask(what) == b"0"


def test_a_child_that_returns_from_service_ends_and_answers_nobody(serving: Any, connect: Any) -> None:
    class Task(wiretask.Task):
        def service(self) -> None:
            pid = os.fork()
            if pid:
                self.channel.write(b"%d\n" % wait_for_exit(pid))

    class Channel(EchoChannel):
        task_class = Task

    peer = connect(serving(Channel))
    assert [peer.ask(b"x") for _ in range(5)] == [b"0"] * 5


def test_a_task_can_start_programs_which_inherit_nothing(serving: Any, connect: Any) -> None:
    count = "import os; print(len([n for n in os.listdir('/proc/self/fd')]))"
    command = [sys.executable, "-c", count]
    alone = subprocess.run(command, capture_output=True, check=True, close_fds=False).stdout

    class Task(wiretask.Task):
        def service(self) -> None:
            done = subprocess.run(command, capture_output=True, check=True, close_fds=False)
            self.channel.write(done.stdout)

    class Channel(EchoChannel):
        task_class = Task

    server = serving(Channel, adj=Adjustments(io_threads=2))
    peers = [connect(server) for _ in range(4)]
    for peer in peers:
        peer.send(b"x\n")
    answers = [int(peer.read_line()) for peer in peers]
    assert answers == [int(alone)] * 4


def test_a_task_can_use_multiprocessing_with_fork() -> None:
    source = """
    import multiprocessing, socket
    import wiretask
    from wiretask.examples.echo import EchoChannel, EchoServer

    def square(number):
        return number * number

    class Task(wiretask.Task):
        def service(self):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                self.channel.write(f"{pool.map(square, range(5))}\\n".encode())

    class Channel(EchoChannel):
        task_class = Task

    class Server(wiretask.Server):
        channel_class = Channel

    with Server("127.0.0.1", 0) as server:
        peers = [socket.create_connection(server.addr, timeout=20) for _ in range(4)]
        for peer in peers:
            peer.sendall(b"x\\n")
        for peer in peers:
            assert peer.recv(100) == b"[0, 1, 4, 9, 16]\\n"
    """
    assert run(source, options=("-W", "ignore::DeprecationWarning")) == (0, "")


def test_a_child_that_ends_normally_leaves_the_parents_server_alone(serving: Any, connect: Any) -> None:
    source = """
    import os, socket, sys
    from wiretask.examples.echo import EchoServer
    server = EchoServer("127.0.0.1", 0)
    server.start()
    peer = socket.create_connection(server.addr, timeout=20)
    def ask():
        peer.sendall(b"x\\n")
        assert peer.recv(10) == b"x\\n"
    ask()
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        ask()
    """
    assert run(source, options=("-W", "ignore::DeprecationWarning")) == (0, "")


def test_a_failed_start_leaves_nothing_that_a_child_would_close() -> None:
    """Descriptors that the engine noted and did not take back would be closed in children of the program."""
    source = """
    import os, resource
    from wiretask.examples.echo import EchoServer
    import wiretask
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in range(1, 12):
        server = EchoServer("127.0.0.1", 0, adj=wiretask.Adjustments(io_threads=3))
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
        try:
            server.start()
        except OSError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server.stop()
    pipes = [os.pipe() for _ in range(20)]
    pid = os.fork()
    if pid == 0:
        for pair in pipes:
            for end in pair:
                os.fstat(end)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """
    assert run(source, options=("-W", "ignore::DeprecationWarning")) == (0, "")

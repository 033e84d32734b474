"""Who keeps whom alive, all at once. Rows R51-R54 of docs/faults.md that need it said here."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from peers import until
from processes import run
from protocols import Echo, Tasks, acting

import wiretask


def is_collected(reference: weakref.ref[Any]) -> bool:
    gc.collect()
    return reference() is None


def test_a_knot_of_server_dispatcher_channel_task_and_map_is_collected_after_the_stop(connect: Any) -> None:
    """Fault R51: every one of them refers to every other."""
    knot: list[Any] = []
    dispatcher = wiretask.ThreadedTaskDispatcher(2)

    class Knotted(Echo):
        class task_class(wiretask.Task):  # noqa: N801
            def service(self) -> None:
                channel = self.channel
                channel.all = channel.server.all = [
                    self,
                    channel,
                    channel.conn,
                    channel.server,
                    channel.server.task_dispatcher,
                ]
                knot.append(weakref.ref(self))
                knot.extend(weakref.ref(thing) for thing in channel.all[1:])
                channel.write(b"tied\n")

    class Server(wiretask.Server):
        channel_class = Knotted

    server = Server("127.0.0.1", 0, task_dispatcher=dispatcher)
    with server:
        assert connect(server).ask(b"x") == b"tied"
    dispatcher.shutdown()
    del server, dispatcher, Knotted, Server
    for reference in knot:
        until(lambda reference=reference: is_collected(reference), "collection")
    assert len(knot) == 5


def test_tasks_that_wait_are_a_root_which_the_stop_clears(connect: Any) -> None:
    """Fault R52: a queue keeps what it holds, the server included; cancelling lets it go."""
    tasks = Tasks()
    dispatcher = wiretask.ThreadedTaskDispatcher()
    server: Any = type("Server", (wiretask.Server,), {"channel_class": Echo})(
        "127.0.0.1", 0, task_dispatcher=dispatcher
    )
    waiting = tasks.task("waiting")
    waiting.server, waiting.dispatcher = server, dispatcher
    server.addTask(waiting)
    server.start()
    references = [weakref.ref(server), weakref.ref(dispatcher), weakref.ref(waiting)]
    server.stop()
    del server, dispatcher, waiting
    gc.collect()
    assert [reference() is None for reference in references] == [False] * 3
    references[1]().shutdown()  # type: ignore[union-attr]
    for reference in references:
        until(lambda reference=reference: is_collected(reference), "collection")
    assert tasks.outcomes[-1] == ("cancelled", "waiting")


def test_a_server_that_only_its_map_holds_is_served_by_loop() -> None:
    """Fault R54: as with asyncore, the map owns it; dropped is what is in no map any more."""
    source = """
    import gc, socket, threading
    import wiretask
    from wiretask.examples.echo import EchoServer
    EchoServer("127.0.0.1", 0)
    gc.collect()
    [address] = [server.addr for server in wiretask.socket_map.values()]
    def ask():
        with socket.create_connection(address, timeout=20) as peer:
            peer.sendall(b"x\\n")
            assert peer.recv(10) == b"x\\n"
        wiretask.close_all()
    threading.Thread(target=ask).start()
    wiretask.loop(timeout=None)
    """
    assert run(source, options=("-W", "error")) == (0, "")


def test_a_server_that_leaves_its_map_and_is_dropped_warns_and_closes_its_sockets() -> None:
    """Fault R54: whether it was started or not."""
    source = """
    import gc, os, sys, warnings
    import wiretask
    from wiretask.examples.echo import EchoServer
    with EchoServer("127.0.0.1", 0):
        pass
    def target(name):
        try:
            return os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            return ""
    def open_sockets():
        return [name for name in os.listdir("/proc/self/fd") if "socket" in target(name)]
    for is_started in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            server = EchoServer("127.0.0.1", 0)
            if is_started:
                server.start()
            wiretask.socket_map.clear()
            del server
            gc.collect()
            assert [warning.category for warning in caught] == [ResourceWarning], caught
            assert "was never stopped" in str(caught[0].message)
    while open_sockets():
        pass
    """
    assert run(source) == (0, "")


def test_a_channel_that_is_kept_after_its_connection_keeps_no_socket(serving: Any, connect: Any) -> None:
    """Fault R51: what a program keeps for ever costs memory, and no descriptor."""
    kept: list[Any] = []
    server = serving(acting(keep=lambda channel: (kept.append((channel, channel.conn)), channel.write(b"kept\n"))))
    peer = connect(server)
    assert peer.ask(b"keep") == b"kept"
    peer.close()
    [(channel, conn)] = kept
    until(lambda: channel.closed, "the close")
    assert (conn.fileno(), conn.closed) == (-1, True)
    until(lambda: server.stats()["connections"] == 0, "the end of the connection")

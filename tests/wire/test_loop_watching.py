"""What the loop watches, and whom it asks: descriptors that come, go, are re-used and closed behind its back."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import socket
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loop_entries import DEADLINE_SECONDS, Reader, joined, turn_until
from processes import Program, descriptors, run

from wiretask import EventLoop, WatchedMap, announced, asyncore
from wiretask.dispatcher import SocketMap, close_all, loop


@pytest.fixture
def watched() -> Iterator[WatchedMap]:
    """A map that tells its loop what changes, closed at the end."""
    entries = WatchedMap()
    yield entries
    close_all(entries, ignore_all=True)


# ---- who is asked -------------------------------------------------------------------------------


class Counting(Reader):
    """Counts how often it is asked; asked on every turn."""

    asked = 0

    def readable(self) -> bool:
        self.asked += 1
        return True


class Announcing(Reader):
    """As `Counting`, but says when its answer changes."""

    asked = 0
    is_open = True

    @announced
    def readable(self) -> bool:
        self.asked += 1
        return self.is_open


def test_who_overrides_readable_is_asked_on_every_turn(entries: SocketMap) -> None:
    with joined(Counting, entries) as (counting, _):
        loop(timeout=0, map=entries, count=5)
        assert counting.asked == 5


def test_who_announces_its_interest_is_asked_once(watched: WatchedMap) -> None:
    with joined(Announcing, watched) as (announcing, peer):
        loop(timeout=0, map=watched, count=5)
        assert announcing.asked == 1
        announcing.is_open = False
        announcing.interest_changed()
        peer.sendall(b"x")
        loop(timeout=0, map=watched, count=5)
        assert (announcing.asked, announcing.calls) == (2, [])
        announcing.is_open = True
        announcing.interest_changed()
        turn_until(watched, lambda: announcing.data == b"x")


@pytest.mark.parametrize("kind", [Reader, asyncore.dispatcher, asyncore.dispatcher_with_send])
def test_nobody_quiet_is_asked_of_classes_that_override_nothing(
    watched: WatchedMap, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with joined(kind, watched) as (dispatcher, _):
        loop(timeout=0, map=watched, count=1)
        write_interest = kind.write_interest
        monkeypatch.setattr(kind, "write_interest", lambda self: asked.append(self) or write_interest(self))
        loop(timeout=0, map=watched, count=5)
        assert asked == []
        dispatcher.interest_changed()
        loop(timeout=0, map=watched, count=5)
        assert asked == [dispatcher]


def test_a_writable_patched_into_an_instance_is_asked(entries: SocketMap) -> None:
    answers = [True, False]
    with joined(Reader, entries) as (reader, _):
        written = []
        reader.writable = lambda: bool(answers) and answers.pop(0)
        reader.handle_write = lambda: written.append(1)
        loop(timeout=0, map=entries, count=5)
        assert (answers, written) == ([], [1])


def test_interest_in_writing_comes_and_goes(entries: SocketMap) -> None:
    class Writer(Reader):
        waiting = b""

        def writable(self) -> bool:
            return bool(self.waiting)

        def handle_write(self) -> None:
            self.calls.append("write")
            self.waiting = self.waiting[self.send(self.waiting) :]

    with joined(Writer, entries) as (writer, peer):
        for _ in range(3):
            writer.waiting = b"x" * 10
            loop(timeout=0, map=entries, count=4)
        assert (writer.calls, peer.recv(100)) == (["write"] * 3, b"x" * 30)
        # More than fits: the rest goes when there is room.
        writer.waiting = b"y" * 3_000_000
        received = 0
        peer.setblocking(False)
        while received < 3_000_000:
            loop(timeout=0.01, map=entries, count=1)
            with contextlib.suppress(BlockingIOError):
                received += len(peer.recv(65536))


# ---- descriptors that are used again ------------------------------------------------------------


def test_handlers_are_called_in_the_order_of_registration(entries: SocketMap) -> None:
    called: list[Reader] = []

    class Noting(Reader):
        def handle_read(self) -> None:
            called.append(self)
            super().handle_read()

    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(joined(Noting, entries)) for _ in range(5)]
        for _, peer in reversed(pairs):
            peer.sendall(b"x")
        loop(timeout=DEADLINE_SECONDS, map=entries, count=1)
        assert called == [reader for reader, _ in pairs]


def test_an_event_does_not_reach_the_next_tenant_of_a_descriptor(entries: SocketMap) -> None:
    """cpython#75114: one handler closes another dispatcher, and a new one gets its number."""

    class Replacing(Reader):
        victims: list[Reader]
        newcomers: list[Reader]

        def handle_read(self) -> None:
            super().handle_read()
            victim = next(victim for victim in self.victims if victim is not self)
            number = victim.socket.fileno()
            victim.close()
            ours, theirs = socket.socketpair()
            peers.append(theirs)
            numbers.append((number, ours.fileno()))
            self.newcomers.append(Reader(ours, entries))

    numbers: list[tuple[int, int]] = []
    peers: list[socket.socket] = []
    with joined(Replacing, entries) as (one, one_peer), joined(Replacing, entries) as (other, other_peer):
        one.victims = other.victims = [one, other]
        one.newcomers = other.newcomers = []
        one_peer.sendall(b"x")
        other_peer.sendall(b"y")
        loop(timeout=1, map=entries, count=1)
        loop(timeout=0, map=entries, count=2)
        [newcomer] = one.newcomers
        assert newcomer.calls == []
        assert numbers[0][1] == numbers[0][0], "the number was not used again: the test shows nothing"
        peers[0].sendall(b"z")
        turn_until(entries, lambda: newcomer.data == b"z")
        peers[0].close()


def test_an_event_for_the_old_socket_does_not_reach_a_dispatcher_that_has_a_new_one(watched: WatchedMap) -> None:
    class Reconnecting(Reader):
        other: Any
        numbers: tuple[int, int]

        def handle_read(self) -> None:
            self.calls.append("read")
            self.recv(10)
            if self.other.calls:
                return
            before = self.other.socket.fileno()
            self.other.close()
            ours, theirs = socket.socketpair()
            peers.append(theirs)
            numbers.append((before, ours.fileno()))
            ours.setblocking(False)
            self.other.set_socket(ours)

    peers: list[socket.socket] = []
    numbers: list[tuple[int, int]] = []
    with joined(Reconnecting, watched) as (one, one_peer), joined(Reconnecting, watched) as (other, other_peer):
        one.other, other.other = other, one
        one_peer.sendall(b"x")
        other_peer.sendall(b"y")
        loop(timeout=1, map=watched, count=1)
        loop(timeout=0, map=watched, count=2)
        assert sorted([one.calls, other.calls]) == [[], ["read"]]
        assert numbers[0][0] == numbers[0][1], "the number was not used again: the test shows nothing"
        again = one if not one.calls else other
        peers[0].sendall(b"z")
        turn_until(watched, lambda: again.calls)
        peers[0].close()


def test_a_descriptor_that_is_closed_behind_the_loops_back_is_noticed(entries: SocketMap) -> None:
    class Careless(Reader):
        def handle_read(self) -> None:
            super().handle_read()
            self.socket.close()

    with joined(Careless, entries) as (careless, peer):
        peer.sendall(b"x")
        loop(timeout=DEADLINE_SECONDS, map=entries, count=5)
        assert careless.calls == ["read", "close"]
        assert not entries


@pytest.mark.parametrize("closed", [1, 2, 3])
def test_a_number_that_the_loop_itself_has_taken_over_is_noticed(entries: SocketMap, closed: int) -> None:
    pairs = [socket.socketpair() for _ in range(closed)]
    readers = [Reader(ours, entries) for ours, _ in pairs]
    for reader in readers:
        assert reader.socket is not None
        # The loop's own descriptors are opened after this, under these numbers.
        reader.socket.close()
    loop(timeout=DEADLINE_SECONDS, map=entries, count=1)
    assert [reader.calls for reader in readers] == [["close"]] * closed
    assert not entries
    for _, theirs in pairs:
        theirs.close()


def test_a_quiet_descriptor_that_another_handler_closes_is_noticed(watched: WatchedMap) -> None:
    class Meddling(Reader):
        other: Any

        def handle_read(self) -> None:
            super().handle_read()
            self.other.socket.close()

    with joined(Meddling, watched) as (meddling, peer), joined(Reader, watched) as (other, _):
        meddling.other = other
        peer.sendall(b"x")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not other.calls:
            assert time.monotonic() < deadline
            loop(timeout=DEADLINE_SECONDS, map=watched, count=1)
        assert other.calls == ["close"]


def test_a_file_that_outlives_its_descriptor_does_not_keep_the_loop_busy(watched: WatchedMap) -> None:
    with joined(Reader, watched) as (quiet, quiet_peer), joined(Reader, watched) as (gone, peer):
        loop(timeout=0, map=watched, count=1)
        with gone.socket.dup():
            # Closed first, then taken out: the system goes on reporting it under its number.
            gone.socket.close()
            peer.sendall(b"x")
            gone.close()
            event_loop = EventLoop.of(watched)
            begun = time.monotonic()
            for _ in range(10):
                event_loop.turn(0.05)
            assert time.monotonic() - begun > 0.3
            quiet_peer.sendall(b"y")
            turn_until(watched, lambda: quiet.data == b"y")


def test_an_entry_that_a_plain_dict_gets_or_loses_by_hand_is_seen() -> None:
    entries: SocketMap = {}
    with joined(Reader, {}) as (reader, peer):
        peer.sendall(b"x")
        entries[reader.socket.fileno()] = reader
        turn_until(entries, lambda: reader.data == b"x")
        peer.sendall(b"y")
        entries.clear()
        loop(timeout=0, map=entries, count=3)
        assert reader.data == b"x"


@pytest.mark.parametrize(
    "take_out",
    [
        lambda entries, key: entries.pop(key),
        lambda entries, key: entries.__delitem__(key),
        lambda entries, key: entries.popitem(),
        lambda entries, key: entries.clear(),
    ],
)
@pytest.mark.parametrize(
    "put_in",
    [
        lambda entries, key, entry: entries.__setitem__(key, entry),
        lambda entries, key, entry: entries.setdefault(key, entry),
        lambda entries, key, entry: entries.update({key: entry}),
        lambda entries, key, entry: entries.__ior__({key: entry}),
    ],
)
def test_a_watched_map_tells_of_every_change(watched: WatchedMap, put_in: Any, take_out: Any) -> None:
    with joined(Reader, {}) as (reader, peer):
        key = reader.socket.fileno()
        with joined(Reader, watched):
            # The loop has begun to watch.
            loop(timeout=0, map=watched, count=1)
        put_in(watched, key, reader)
        peer.sendall(b"x")
        turn_until(watched, lambda: reader.data == b"x")
        take_out(watched, key)
        assert watched == {}
        peer.sendall(b"y")
        with joined(Reader, watched):
            loop(timeout=0, map=watched, count=2)
        assert reader.data == b"x"


# ---- many, and other than sockets ---------------------------------------------------------------


def test_more_descriptors_than_select_can_take() -> None:
    source = """
        import resource, socket, sys
        import wiretask.asyncore as asyncore
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2600
        if hard != resource.RLIM_INFINITY and hard < wanted:
            sys.exit(77)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                self.send(self.recv(100))
        pairs = [socket.socketpair() for _ in range(1200)]
        for ours, theirs in pairs:
            theirs.setblocking(False)
            Echo(ours)
        assert max(asyncore.socket_map) > 2048
        for _, theirs in pairs[::7]:
            theirs.send(b"x")
        asyncore.loop(timeout=1, count=1)
        assert [theirs.recv(9) for _, theirs in pairs[::7]] == [b"x"] * len(pairs[::7])
        asyncore.close_all()
    """
    status, errors = run(source)
    if status == 77:
        pytest.skip(f"the limit of descriptors is {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}")
    assert (status, errors) == (0, "")


def test_a_pipe_and_its_end(entries: SocketMap) -> None:
    events = []

    class Pipe(asyncore.file_dispatcher):
        def handle_read(self) -> None:
            events.append(self.recv(100))

        def handle_close(self) -> None:
            events.append("close")
            self.close()

    reader, writer = os.pipe()
    Pipe(reader, entries)
    os.close(reader)
    os.write(writer, b"x")
    turn_until(entries, lambda: events == [b"x"])
    os.write(writer, b"y")
    os.close(writer)
    turn_until(entries, lambda: not entries)
    assert events[:2] == [b"x", b"y"]
    assert "close" in events


def test_a_regular_file_is_always_ready(entries: SocketMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    read = []

    class Tail(asyncore.file_dispatcher):
        def handle_read(self) -> None:
            if data := os.read(self.socket.fileno(), 1):  # type: ignore[union-attr]
                read.append(data)

    with (tmp_path / "file").open("rb") as file, joined(Reader, entries) as (reader, peer):
        tail = Tail(file, entries)
        peer.sendall(b"x")
        loop(timeout=DEADLINE_SECONDS, map=entries, count=4)
        assert (read, reader.data) == ([b"a", b"b", b"c"], b"x")
        tail.close()


# ---- re-entrancy --------------------------------------------------------------------------------


def test_what_a_nested_loop_has_handled_is_not_handled_again(entries: SocketMap) -> None:
    """Fault R33."""

    class Nesting(Reader):
        def handle_read(self) -> None:
            super().handle_read()
            loop(timeout=0, map=entries, count=1)

    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(joined(Nesting, entries)) for _ in range(5)]
        for _, peer in pairs:
            peer.sendall(b"x")
        turn_until(entries, lambda: all(nesting.data for nesting, _ in pairs))
        assert [nesting.calls for nesting, _ in pairs] == [["read"]] * 5


def test_a_destructor_may_change_the_map(entries: SocketMap) -> None:
    """Fault R53: a dispatcher is collected in the middle of a turn, and so in the middle of anything."""

    class Fragile(Reader):
        def __del__(self) -> None:
            self.del_channel()
            if self.socket is not None:
                self.socket.close()
            entries.pop(2_000_000 + len(gone), None)
            gone.append(1)

    class Dropping(Reader):
        held: Any = None

        def handle_read(self) -> None:
            super().handle_read()
            self.held = None

        def readable(self) -> bool:
            held, self.held = self.held, None
            held = None  # noqa: F841 (dropped here)
            return True

    gone: list[int] = []
    with joined(Dropping, entries) as (one, one_peer), joined(Dropping, entries) as (other, _):
        for dropping in (one, other):
            ours, theirs = socket.socketpair()
            dropping.held = Fragile(ours, entries)
            key = ours.fileno()
            del entries[key]
            # Registered under its number by nobody, but in a map that its destructor changes.
            entries[2_000_000 + len(gone)] = other
            theirs.close()
            del ours
        one_peer.sendall(b"x")
        turn_until(entries, lambda: one.data and len(gone) == 2)
        entries.pop(2_000_000, None)
        entries.pop(2_000_001, None)


# ---- threads, forks and the end -----------------------------------------------------------------


def test_another_thread_may_make_and_close_dispatchers_while_the_loop_asks() -> None:
    # With switches this frequent, one of them falls into the middle of every step of the loop.
    source = """
        import itertools, socket, sys, threading
        import wiretask
        from wiretask import asyncore

        sys.setswitchinterval(1e-6)
        event_loop = wiretask.EventLoop.of()
        failures = []

        class Asked(asyncore.dispatcher):
            def writable(self):
                return False

        def come_and_go(kind):
            try:
                for _ in range(600):
                    dispatchers = [kind() for _ in range(30)]
                    for dispatcher in dispatchers:
                        # It rests until it is connected.
                        dispatcher.create_socket(socket.AF_INET, socket.SOCK_STREAM)
                    event_loop.wake()
                    for dispatcher in dispatchers:
                        dispatcher.close()
            except BaseException as error:
                failures.append(error)

        ours, theirs = socket.socketpair()
        kept = Asked(ours)
        threads = [threading.Thread(target=come_and_go, args=[kind]) for kind in (wiretask.Dispatcher, Asked)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            asyncore.poll(0.01)
        asyncore.poll(0)
        watches = event_loop._watches
        held = [len(each) for each in (watches._by_key, watches._by_token, watches._asked, watches._resting)]
        assert (failures, held) == ([], [1, 1, 1, 0]), (failures, held)
    """
    assert run(source) == (0, "")


def test_a_plain_dict_does_not_get_a_new_loop_for_every_turn() -> None:
    entries: SocketMap = {}
    loop(map=entries)
    before = descriptors()
    with joined(Reader, entries):
        loop(timeout=0.001, map=entries, count=1)
        meanwhile = descriptors()
        # Its wake-up is still there.
        assert [target for number, target in meanwhile.items() if number not in before and "pipe" in target]
        loop(timeout=0.001, map=entries, count=1)
        assert descriptors() == meanwhile
    loop(map=entries)
    assert descriptors() == before
    with joined(Reader, entries):
        loop(timeout=0.001, map=entries, count=1)
    close_all(entries)
    assert descriptors() == before


def test_a_loop_does_not_keep_the_dispatchers_of_a_plain_dict() -> None:
    ours, theirs = socket.socketpair()
    entries: SocketMap = {}
    reader = Reader(ours, entries)
    loop(timeout=0.001, map=entries, count=1)
    is_alive = weakref.ref(reader)
    del reader, entries
    gc.collect()
    assert is_alive() is None
    ours.close()
    theirs.close()


def test_two_threads_may_run_the_same_loop() -> None:
    source = """
        import socket, threading, time
        import wiretask.asyncore as asyncore
        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                try:
                    self.send(self.recv(100))
                except BlockingIOError:
                    pass  # the other was faster
        peers = []
        for _ in range(4):
            ours, theirs = socket.socketpair()
            theirs.settimeout(20)
            Echo(ours)
            peers.append(theirs)
        threads = [threading.Thread(target=asyncore.loop, args=(0.01,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            for peer in peers:
                peer.sendall(b"x")
            for peer in peers:
                assert peer.recv(1) == b"x"
        for peer in peers:
            peer.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    """
    assert run(source) == (0, "")


def test_a_child_forked_by_a_handler_has_a_loop_of_its_own() -> None:
    source = """
        import os, socket, sys
        import wiretask.asyncore as asyncore
        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                data = self.recv(100)
                if data != b"fork":
                    self.send(data)
                    return
                pid = os.fork()
                if pid:
                    self.child = pid
                    return
                # The connection stays the parent's; the child goes on in the loop with one of its own.
                self.del_channel()
                ours, theirs = socket.socketpair()
                Quitting(ours)
                theirs.send(b"quit")
                asyncore.loop(timeout=20)
                os._exit(3)
        class Quitting(asyncore.dispatcher):
            def handle_read(self):
                assert self.recv(100) == b"quit"
                os._exit(7)
        ours, theirs = socket.socketpair()
        theirs.settimeout(20)
        echo = Echo(ours)
        theirs.send(b"fork")
        asyncore.loop(timeout=20, count=1)
        assert os.waitstatus_to_exitcode(os.waitpid(echo.child, 0)[1]) == 7
        # The child has not taken the parent's descriptors out of the parent's poll.
        theirs.send(b"x")
        asyncore.loop(timeout=20, count=1)
        assert theirs.recv(100) == b"x"
        asyncore.close_all()
        sys.exit(5)
    """
    status, errors = run(source)
    assert (status, errors) == (5, "")


@pytest.mark.parametrize("turns", ["asyncore.loop()", "while True: asyncore.poll(30)"])
def test_a_process_ends_while_a_daemon_thread_loops(turns: str) -> None:
    source = f"""
        import socket, threading, time
        import wiretask.asyncore as asyncore
        ours, theirs = socket.socketpair()
        asyncore.dispatcher(ours)
        def turn():
            {turns}
        threading.Thread(target=turn, daemon=True).start()
        time.sleep(0.2)
    """
    with Program(source) as program:
        status, errors = program.finish()
    assert (status, errors) == (0, "")


def test_a_loop_may_run_at_exit() -> None:
    source = """
        import atexit, socket
        import wiretask.asyncore as asyncore
        class Reader(asyncore.dispatcher):
            def handle_read(self):
                print(self.recv(10))
        ours, theirs = socket.socketpair()
        Reader(ours)
        asyncore.loop(timeout=0, count=1)
        theirs.send(b"x")
        atexit.register(asyncore.loop, timeout=20, count=1)
    """
    with Program(source) as program:
        assert program.read_line() == "b'x'"
        assert program.finish() == (0, "")

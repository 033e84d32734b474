"""`wiretask.asynchat` on every Python: terminators, producers, and what quiet channels cost."""

from __future__ import annotations

import contextlib
import itertools
import socket
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loop_entries import DEADLINE_SECONDS, turn_until

import wiretask.asynchat as asynchat
import wiretask.asyncore as asyncore
from wiretask import WatchedMap


class Lines(asynchat.async_chat):
    """Keeps what is between terminators."""

    def __init__(self, sock: socket.socket | None = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.found: list[bytes] = []
        self.set_terminator(b"\r\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.found.append(self._get_data())


@pytest.fixture
def entries() -> Iterator[WatchedMap]:
    """A map of the test's own, closed at its end."""
    entries = WatchedMap()
    yield entries
    asyncore.close_all(entries, ignore_all=True)


@pytest.fixture
def chat(entries: WatchedMap) -> Iterator[tuple[Lines, socket.socket]]:
    """A channel, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_SECONDS)
    with theirs:
        yield Lines(ours, entries), theirs


class FakeSocket:
    """Gives out pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0)


def fed(pieces: list[bytes], terminator: Any) -> Lines:
    channel = Lines()
    channel.set_terminator(terminator)
    fake: Any = FakeSocket(list(pieces))
    channel.socket = fake
    for _ in pieces:
        channel.handle_read()
    return channel


@given(
    lines=st.lists(st.binary(max_size=6).filter(lambda line: b"q" not in line), max_size=6),
    terminator=st.sampled_from([b"q", b"qq", b"qaq"]),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_lines_do_not_depend_on_where_the_stream_was_cut(
    lines: list[bytes], terminator: bytes, cuts: list[int]
) -> None:
    stream = b"".join(line + terminator for line in lines)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert fed(pieces, terminator).found == lines


def test_a_number_is_counted_down_and_found() -> None:
    channel = fed([b"abc"], 5)
    assert (channel.found, channel.get_terminator()) == ([], 2)
    fake: Any = FakeSocket([b"de"])
    channel.socket = fake
    channel.handle_read()
    assert (channel.found, channel.get_terminator()) == ([b"abcde"], 0)


def test_without_a_terminator_everything_is_collected() -> None:
    channel = fed([b"abc", b"def"], None)
    assert (channel.found, channel._get_data()) == ([], b"abcdef")


def test_the_terminator_may_change_in_the_middle_of_the_input() -> None:
    class Headed(Lines):
        def found_terminator(self) -> None:
            super().found_terminator()
            self.set_terminator(4 if self.found[-1] == b"four" else b"\r\n")

    channel = Headed()
    fake: Any = FakeSocket([b"four\r\n\r\n\r\nnext\r\n"])
    channel.socket = fake
    channel.handle_read()
    assert channel.found == [b"four", b"\r\n\r\n", b"next"]


def test_text_is_encoded_where_that_is_asked_for() -> None:
    channel = Lines()
    channel.use_encoding = 1
    channel.set_terminator("\r\n")
    assert channel.get_terminator() == b"\r\n"
    with pytest.raises(ValueError, match="-1"):
        channel.set_terminator(-1)


def test_methods_that_must_be_defined_say_so() -> None:
    channel = asynchat.async_chat()
    with pytest.raises(NotImplementedError):
        channel.collect_incoming_data(b"")
    with pytest.raises(NotImplementedError):
        channel.found_terminator()


def test_everything_that_is_pushed_is_sent_in_order(chat: tuple[Lines, socket.socket], entries: WatchedMap) -> None:
    channel, peer = chat
    channel.ac_out_buffer_size = 10
    channel.push(b"a" * 25)
    channel.push_with_producer(asynchat.simple_producer(b"b" * 30, 8))
    channel.push(bytearray(b"c" * 5))
    channel.push(b"")
    channel.push(memoryview(b"d" * 15))
    channel.close_when_done()
    turn_until(entries, lambda: not entries)
    received = b""
    while piece := peer.recv(100):
        received += piece
    assert received == b"a" * 25 + b"b" * 30 + b"c" * 5 + b"d" * 15
    with pytest.raises(TypeError):
        channel.push("text")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "put",
    [
        lambda channel: channel.producer_fifo.append(b"x"),
        lambda channel: channel.producer_fifo.appendleft(b"x"),
        lambda channel: channel.producer_fifo.extend([b"x"]),
        lambda channel: channel.producer_fifo.extendleft([b"x"]),
        lambda channel: channel.producer_fifo.insert(0, b"x"),
        lambda channel: channel.producer_fifo.__iadd__([b"x"]),
        lambda channel: setattr(channel, "producer_fifo", deque([b"x"])),
    ],
)
def test_what_is_put_into_the_queue_by_hand_is_sent(
    chat: tuple[Lines, socket.socket], entries: WatchedMap, put: Any
) -> None:
    channel, peer = chat
    asyncore.loop(timeout=0, map=entries, count=2)
    put(channel)
    asyncore.loop(timeout=DEADLINE_SECONDS, map=entries, count=1)
    assert peer.recv(10) == b"x"


def test_a_quiet_channel_is_not_asked(
    chat: tuple[Lines, socket.socket], entries: WatchedMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, peer = chat
    asked: list[int] = []
    interest = Lines.write_interest
    monkeypatch.setattr(Lines, "write_interest", lambda self: asked.append(1) or interest(self))
    asyncore.loop(timeout=0, map=entries, count=1)
    del asked[:]
    peer.sendall(b"line\r\n")
    turn_until(entries, lambda: channel.found == [b"line"])
    asyncore.loop(timeout=0, map=entries, count=5)
    assert asked == []
    channel.push(b"all of this leaves at once")
    asyncore.loop(timeout=0, map=entries, count=5)
    assert asked == []


def test_what_the_socket_does_not_take_at_once_is_sent_later(
    chat: tuple[Lines, socket.socket], entries: WatchedMap
) -> None:
    channel, peer = chat
    asyncore.loop(timeout=0, map=entries, count=2)
    peer.setblocking(False)
    channel.push(b"x" * 4_000_000)
    received = 0

    def is_all_there() -> bool:
        nonlocal received
        with contextlib.suppress(BlockingIOError):
            while piece := peer.recv(1_000_000):
                received += len(piece)
        return received == 4_000_000

    turn_until(entries, is_all_there)


def test_a_push_that_fails_leaves_what_it_queued_to_the_loop(
    chat: tuple[Lines, socket.socket], entries: WatchedMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, peer = chat
    asyncore.loop(timeout=0, map=entries, count=2)

    def fail(self: Lines) -> None:
        raise RuntimeError("not now")

    with monkeypatch.context() as failing:
        failing.setattr(Lines, "initiate_send", fail)
        with pytest.raises(RuntimeError):
            channel.push(b"x")
    asyncore.loop(timeout=DEADLINE_SECONDS, map=entries, count=1)
    assert peer.recv(10) == b"x"


def test_a_channel_talks_with_itself_over_the_loop(entries: WatchedMap) -> None:
    class Echo(Lines):
        def found_terminator(self) -> None:
            self.push(self._get_data() + b"\r\n")

    ours, theirs = socket.socketpair()
    Echo(ours, entries)
    client = Lines(theirs, entries)
    for number in range(20):
        client.push(b"%d\r\n" % number)
    turn_until(entries, lambda: len(client.found) == 20)
    assert client.found == [b"%d" % number for number in range(20)]
    client.discard_buffers()
    assert not client.producer_fifo
    client.close()
    turn_until(entries, lambda: not entries)


def test_a_channel_that_is_dropped_is_freed_at_once() -> None:
    channel = Lines()
    reference = weakref.ref(channel)
    del channel
    assert reference() is None


@pytest.mark.parametrize(
    ("haystack", "needle", "expected"),
    [("qwerty\r", "\r\n", 1), ("qwertydkjf", "\r\n", 0), (b"ab\r\n\r", b"\r\n\r\n", 3), (b"", b"x", 0)],
)
def test_the_beginning_of_a_terminator_at_the_end_is_found(haystack: Any, needle: Any, expected: int) -> None:
    assert asynchat.find_prefix_at_end(haystack, needle) == expected

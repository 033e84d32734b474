"""What channels write: from which threads, how much at once, to peers that are slow, gone or going."""

from __future__ import annotations

import array
import socket
import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from protocols import Echo, PythonEcho, acting

import wiretask
from wiretask.errors import ClientDisconnectedError

MEGABYTE = 1 << 20
SMALL = wiretask.Adjustments(
    threads=4,
    outbuf_high_watermark=65536,
    outbuf_spool_limit=0,  # everything stays in memory: writers wait for as long as it takes
    socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)),
)


def keeping(kept: list[Any], **actions: Any) -> Any:
    return acting(keep=lambda channel: (kept.append(channel), channel.write(b"kept\n")), **actions)


@pytest.fixture
def kept_channel(serving, connect):
    """A channel outside its worker, and its peer."""
    kept: list[Any] = []
    peer = connect(serving(keeping(kept)))
    peer.ask(b"keep")
    return kept[0], peer


@pytest.mark.parametrize(
    "data",
    [b"abcdef", bytearray(b"abcdef"), memoryview(b"abcdef"), memoryview(b"a.b.c.d.e.f.")[::2],
     array.array("B", b"abcdef"), memoryview(array.array("H", [0x6261, 0x6463, 0x6665]))],
    ids=["bytes", "bytearray", "memoryview", "every second byte", "array", "view of two-byte items"],
)  # fmt: skip
def test_write_takes_bytes_like_objects_and_counts_their_bytes(kept_channel, data):
    channel, peer = kept_channel
    assert channel.write(data) == 6
    assert peer.read(6) == b"abcdef"


@pytest.mark.parametrize("data", ["abc", None, 7, [1, 2], object()])
def test_write_refuses_what_is_not_bytes_like(kept_channel, data):
    channel, peer = kept_channel
    with pytest.raises(TypeError, match="bytes, bytearray or memoryview"):
        channel.write(data)
    channel.write(b"still open\n")
    assert peer.read_line() == b"still open\n"


def test_write_of_nothing_is_nothing(kept_channel):
    assert kept_channel[0].write(b"") == 0


def test_write_of_a_foreign_thread_leaves_at_once(kept_channel):
    channel, peer = kept_channel
    thread = threading.Thread(target=channel.write, args=(b"hello\n",))
    thread.start()
    assert peer.read_line() == b"hello\n"
    thread.join(DEADLINE_SECONDS)


def test_writes_of_many_threads_are_not_mixed_up(kept_channel):
    channel, peer = kept_channel
    lines = [bytes([65 + number]) * 999 + b"\n" for number in range(8)]

    def write(line: bytes) -> None:
        for _ in range(50):
            channel.write(line)

    threads = [threading.Thread(target=write, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    data = peer.read(8 * 50 * 1000)
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert sorted(data.splitlines(keepends=True)) == sorted(lines * 50)


def test_task_may_write_to_other_channels(serving, connect):
    """A chat: what one says reaches all."""

    class Room(Echo):
        members: list[Any] = []  # noqa: RUF012

        def handle_connect(self):
            self.members.append(self)
            self.write(b"welcome\n")

        def handle_request(self, request):
            for member in self.members:
                member.write(request.value + b"\n")

    server = serving(Room)
    peers = [connect(server) for _ in range(10)]
    assert [peer.read_line() for peer in peers] == [b"welcome\n"] * 10
    for speaker in peers:
        speaker.send(b"said\n")
        assert [peer.read_line() for peer in peers] == [b"said\n"] * 10


def test_write_after_close_is_refused(kept_channel):
    channel, peer = kept_channel
    channel.close_when_done()
    with pytest.raises(ClientDisconnectedError):
        channel.write(b"x")
    assert peer.is_closed_by_server()


def test_output_before_close_when_done_is_sent_whatever_its_size(kept_channel):
    channel, peer = kept_channel
    threading.Thread(target=lambda: (channel.write(b"x" * 8 * MEGABYTE), channel.close_when_done())).start()
    assert len(peer.read_to_end()) == 8 * MEGABYTE


def test_write_to_a_peer_that_is_gone_raises(kept_channel):
    channel, peer = kept_channel
    peer.reset()
    until(lambda: channel.closed)
    with pytest.raises(ClientDisconnectedError):
        channel.write(b"x")
    with pytest.raises(ClientDisconnectedError):
        channel.flush()


def test_flush_sends_what_a_running_task_has_written(serving, connect):
    go = threading.Event()

    def work(channel: Any) -> None:
        channel.write(b"begun\n")
        channel.flush()
        assert go.wait(DEADLINE_SECONDS)

    peer = connect(serving(acting(work=work)))
    peer.send(b"work\n")
    assert peer.read_line() == b"begun\n"
    go.set()


def test_blocking_flush_returns_when_the_socket_has_taken_everything(serving, connect):
    flushed = threading.Event()

    def work(channel: Any) -> None:
        channel.write(b"x" * 60_000)
        channel.flush(block=True)
        flushed.set()

    server = serving(acting(work=work), adj=SMALL)
    peer = connect(server, receive_buffer_bytes=4096)
    peer.send(b"work\n")
    until(lambda: server.stats()["bytes_sent"] > 0)
    assert peer.read(60_000) == b"x" * 60_000
    assert flushed.wait(DEADLINE_SECONDS)
    assert server.stats()["bytes_sent"] == 60_000


def test_blocking_flush_ends_when_the_peer_goes_away(serving, connect):
    errors: list[Any] = []

    def work(channel: Any) -> None:
        try:
            for _ in range(100):
                channel.write(b"x" * MEGABYTE)
            channel.flush(block=True)
        except ClientDisconnectedError as error:
            errors.append(error)

    peer = connect(serving(acting(work=work), adj=SMALL))
    peer.send(b"work\n")
    peer.read(1000)
    peer.reset()
    until(lambda: errors)


def test_writer_waits_above_the_watermark_until_its_peer_reads(serving, connect):
    written: list[int] = []

    def pour(channel: Any) -> None:
        for number in range(64):
            channel.write(b"x" * 65536)
            written.append(number)

    server = serving(acting(pour=pour, ping=lambda channel: channel.write(b"pong\n")), adj=SMALL)
    slow = connect(server, receive_buffer_bytes=4096)
    slow.send(b"pour\n")
    until(lambda: written)
    other = connect(server)
    for _ in range(50):
        assert other.ask(b"ping") == b"pong"
    assert len(written) < 64
    assert len(slow.read(64 * 65536)) == 64 * 65536
    until(lambda: len(written) == 64)


def test_peer_that_takes_nothing_is_given_up_after_the_write_timeout(serving, connect):
    errors: list[Any] = []

    def pour(channel: Any) -> None:
        try:
            while True:
                channel.write(b"x" * 65536)
        except ClientDisconnectedError as error:
            errors.append(error)

    server = serving(acting(pour=pour), adj=SMALL.replace(write_timeout_seconds=0.1))
    slow = connect(server, receive_buffer_bytes=4096)
    slow.send(b"pour\n")
    until(lambda: errors)
    until(lambda: server.stats()["timeouts"] == 1, "it to be counted")


def test_no_request_is_read_while_its_peer_takes_no_answers(serving, connect):
    """Back-pressure: what one peer makes the server hold is bounded."""
    server = serving(acting(big=lambda channel: channel.write(b"x" * 30_000)), adj=SMALL)
    greedy = connect(server, receive_buffer_bytes=4096)
    greedy.socket.settimeout(0.2)

    def send_for_ever() -> None:
        while True:
            greedy.send(b"big\n" * 10_000)

    with pytest.raises(TimeoutError):
        send_for_ever()


# ---- peers that go --------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_half_close_is_seen_and_still_answered(serving, connect, base):
    def answer(channel: Any) -> None:
        until(lambda: channel.client_disconnected)
        assert not channel.closed
        channel.write(b"answer\n")

    peer = connect(serving(acting(base, answer=answer)))
    peer.send(b"answer\nanswer\n")
    peer.end_output()
    assert peer.read_to_end() == b"answer\nanswer\n"


def test_reset_is_seen_by_a_running_task(serving, connect):
    seen, began = threading.Event(), threading.Event()

    def watch(channel: Any) -> None:
        began.set()
        until(lambda: channel.client_disconnected and channel.closed)
        seen.set()

    peer = connect(serving(acting(watch=watch)))
    peer.send(b"watch\n")
    assert began.wait(DEADLINE_SECONDS)
    peer.reset()
    assert seen.wait(DEADLINE_SECONDS)


def test_connected_peer_is_not_reported_as_disconnected(kept_channel):
    assert kept_channel[0].client_disconnected is False


def test_unread_input_does_not_cost_the_peer_the_answer(serving, connect):
    def bye(channel: Any) -> None:
        channel.write(b"bye\n")
        channel.close_when_done()

    peer = connect(serving(acting(bye=bye)))
    peer.send(b"bye\n" + b"unread\n" * 10_000)
    assert peer.read(4) == b"bye\n"

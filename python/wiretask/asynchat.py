"""The names of the `asynchat` of the standard library before Python 3.12: `import wiretask.asynchat as asynchat`.

Strategy: input is collected until a terminator (a text, or a number of bytes) is found; output waits in a queue of
pieces and of producers, which are asked for more when their turn comes. The queue announces itself to the loop, so
that a quiet channel is never asked.
Must not know: how the loop waits. Source: the documentation and the behaviour of `asynchat` in Python 3.11.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any

from wiretask import asyncore
from wiretask.loop_entries import SocketMap, announced

# What `from asynchat import *` gave.
__all__ = ["async_chat", "asyncore", "deque", "find_prefix_at_end", "simple_producer"]


class async_chat(asyncore.dispatcher):  # noqa: N801 (the published name)
    """A dispatcher that cuts its input at terminators, and sends what was pushed, in order.

    Subclasses define `collect_incoming_data(data)` and `found_terminator()`.

    Attributes:
        ac_in_buffer_size: how much is received at once. ac_out_buffer_size: the size of a piece to send.
        use_encoding, encoding: whether and how text that comes or goes is turned into bytes.
        ac_in_buffer: what was received and not yet handed on. incoming: what `_collect_incoming_data` has kept.
        producer_fifo: what waits to be sent: pieces, producers, and None, which closes.
    """

    ac_in_buffer_size = 65536
    ac_out_buffer_size = 65536
    use_encoding: Any = 0
    encoding = "latin-1"
    terminator: Any = None

    def __init__(self, sock: Any = None, map: SocketMap | None = None) -> None:
        self.ac_in_buffer = b""
        self.incoming: list[bytes] = []
        self.producer_fifo = deque()
        super().__init__(sock, map)

    @property
    def producer_fifo(self) -> deque[Any]:
        """What waits to be sent. May be changed by hand."""
        return self._producer_fifo

    @producer_fifo.setter
    def producer_fifo(self, pieces: Iterable[Any]) -> None:
        self._producer_fifo = _OutputQueue(pieces)
        self._producer_fifo.owner = weakref.ref(self)
        if self._producer_fifo:
            self.interest_changed()

    def collect_incoming_data(self, data: bytes) -> None:
        """Take input that belongs to the message that is coming in. To be overridden."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define collect_incoming_data")

    def _collect_incoming_data(self, data: bytes) -> None:
        self.incoming.append(data)

    def _get_data(self) -> bytes:
        data = b"".join(self.incoming)
        del self.incoming[:]
        return data

    def found_terminator(self) -> None:
        """Deal with a message that is complete. To be overridden."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define found_terminator")

    def set_terminator(self, term: Any) -> None:
        """Set what ends a message: some bytes, a number of bytes, or None (or what is empty) for nothing.

        ValueError: a negative number.
        """
        if isinstance(term, str) and self.use_encoding:
            term = bytes(term, self.encoding)
        elif isinstance(term, int) and term < 0:
            raise ValueError(f"a terminator is some bytes, None, or a number of bytes from 0 on, not {term!r}")
        self.terminator = term

    def get_terminator(self) -> Any:
        """Return what ends a message; of a number, what is left of it."""
        return self.terminator

    def handle_read(self) -> None:
        """Receive, and hand everything on that cannot be the beginning of a terminator."""
        try:
            data: Any = self.recv(self.ac_in_buffer_size)
        except BlockingIOError:
            return
        except OSError:
            self.handle_error()
            return
        if isinstance(data, str) and self.use_encoding:
            data = bytes(data, self.encoding)
        self.ac_in_buffer = self.ac_in_buffer + data
        # Handlers may change the terminator, and take from the buffer or drop it.
        while self.ac_in_buffer and self._hand_on():
            pass

    def _hand_on(self) -> bool:
        """Hand on what is before the next terminator; false: what is left may be the beginning of one."""
        terminator = self.get_terminator()
        if not terminator:
            self._collect(len(self.ac_in_buffer))
        elif isinstance(terminator, int):
            size = min(terminator, len(self.ac_in_buffer))
            self._collect(size)
            if size == terminator:
                self.terminator = 0
                self.found_terminator()
            else:
                self.terminator = self.terminator - size
        else:
            at = self.ac_in_buffer.find(terminator)
            if at >= 0:
                found, self.ac_in_buffer = self.ac_in_buffer[:at], self.ac_in_buffer[at + len(terminator) :]
                if found:
                    self.collect_incoming_data(found)
                self.found_terminator()
            else:
                kept = find_prefix_at_end(self.ac_in_buffer, terminator)
                if kept < len(self.ac_in_buffer):
                    self._collect(len(self.ac_in_buffer) - kept)
                return not kept
        return True

    def _collect(self, size: int) -> None:
        data, self.ac_in_buffer = self.ac_in_buffer[:size], self.ac_in_buffer[size:]
        self.collect_incoming_data(data)

    def handle_write(self) -> None:
        """Send what waits."""
        self.initiate_send()

    def handle_close(self) -> None:
        """Close this side."""
        self.close()

    def push(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, and send what the socket takes now. TypeError: these are no bytes."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"only bytes can be pushed, not {type(data).__name__}")
        step = self.ac_out_buffer_size
        queue = self._producer_fifo
        was_empty = not queue
        if len(data) > step:
            queue.extend_silently(data[at : at + step] for at in range(0, len(data), step))
        else:
            queue.append_silently(data)
        try:
            self.initiate_send()
        finally:
            # Mostly everything has left already, and the loop need not be told.
            if was_empty and self._producer_fifo:
                self.interest_changed()

    def push_with_producer(self, producer: Any) -> None:
        """Queue something whose `more()` returns bytes until it has no more, and send what the socket takes now."""
        self.producer_fifo.append(producer)
        self.initiate_send()

    @announced
    def readable(self) -> bool:
        """Return whether there is room for input."""
        return len(self.ac_in_buffer) <= self.ac_in_buffer_size

    @announced
    def writable(self) -> bool:
        """Return whether something waits to be sent, or the connection to be made."""
        return bool(self._producer_fifo) or not self.connected

    def close_when_done(self) -> None:
        """Close once everything has been sent that was pushed before."""
        self.producer_fifo.append(None)

    def initiate_send(self) -> None:
        """Send a piece of what waits, if there is a connection, and as much of it as the socket takes."""
        while self.connected and (queue := self._producer_fifo):
            first = queue[0]
            if not first:
                del queue[0]
                if first is None:
                    self.handle_close()
                    return
                continue
            size = self.ac_out_buffer_size
            try:
                data = first[:size]
            except TypeError:
                # A producer, which stays until it has no more.
                data = first.more()
                if data:
                    queue.appendleft(data)
                else:
                    del queue[0]
                continue
            if isinstance(data, str) and self.use_encoding:
                data = bytes(data, self.encoding)
            try:
                sent = self.send(data)
            except OSError:
                self.handle_error()
                return
            # A lost connection may have been closed and its queue dropped.
            if sent and queue:
                if sent < len(first):
                    queue[0] = first[sent:]
                else:
                    del queue[0]
            return

    def discard_buffers(self) -> None:
        """Forget all that came in and was not handed on, and all that waits to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        self.producer_fifo.clear()


class simple_producer:  # noqa: N801 (the published name)
    """A producer that gives out `data` in pieces of `buffer_size`."""

    def __init__(self, data: Any, buffer_size: int = 512) -> None:
        self.data = data
        self.buffer_size = buffer_size

    def more(self) -> Any:
        """Return the next piece; an empty one at the end."""
        piece, self.data = self.data[: self.buffer_size], self.data[self.buffer_size :]
        return piece


def find_prefix_at_end(haystack: Any, needle: Any) -> int:
    """Return how many characters at the end of `haystack` are the beginning of `needle`, but not all of it."""
    for size in range(len(needle) - 1, 0, -1):
        if haystack.endswith(needle[:size]):
            return size
    return 0


class _OutputQueue(deque[Any]):
    """A deque that tells the loop when something is put into it while it is empty."""

    owner: weakref.ref[async_chat] | None = None
    #: For who tells the loop itself.
    append_silently = deque.append
    extend_silently = deque.extend

    def append(self, piece: Any, /) -> None:
        super().append(piece)
        self._announce(1)

    def appendleft(self, piece: Any, /) -> None:
        super().appendleft(piece)
        self._announce(1)

    def insert(self, at: int, piece: Any, /) -> None:
        super().insert(at, piece)
        self._announce(1)

    def extend(self, pieces: Iterable[Any], /) -> None:
        before = len(self)
        super().extend(pieces)
        self._announce(len(self) - before)

    def extendleft(self, pieces: Iterable[Any], /) -> None:
        before = len(self)
        super().extendleft(pieces)
        self._announce(len(self) - before)

    def __iadd__(self, pieces: Iterable[Any], /) -> Any:
        self.extend(pieces)
        return self

    def __reduce__(self) -> Any:
        return deque, (list(self),)

    def _announce(self, added: int) -> None:
        owner = self.owner() if added and len(self) == added and self.owner is not None else None
        if owner is not None:
            owner.interest_changed()

"""`Dispatcher`: one socket in a loop, with the methods and the behaviour that asyncore's dispatcher had.

Strategy: a thin layer over `self.socket`, through which everything goes, so that an `ssl` socket or a fake
works. State is three flags (`accepting`, `connecting`, `connected`); the handlers run in the thread that runs
the loop.
Differences from asyncore: `writable()` still says yes by default, but that alone does not make the loop wait
for room for output, which would spin; input that came before the end of a connection is always delivered.
Must not know: servers, channels, how the loop waits.
Source: IDispatcher; the published behaviour of `asyncore` up to Python 3.11.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import socket
import sys
import time
from typing import Any, TypeAlias

from zope.interface import implementer

from wiretask.interfaces import IDispatcher
from wiretask.logs import log_at
from wiretask.loop_entries import (
    DISCONNECTED_ERRNOS,
    ExitNow,
    SocketMap,
    announced,
    does_nothing,
    is_passive,
    passes_on,
)
from wiretask.map_loops import close_all, loop, socket_map

__all__ = ["Dispatcher", "ExitNow", "SocketAddress", "SocketMap", "close_all", "loop", "socket_map"]

SocketAddress: TypeAlias = tuple[Any, ...] | str | bytes
"""An address in the form of the socket's family, as the `socket` module takes and gives it."""

_LOG = logging.getLogger("wiretask.dispatcher")
_NOTHING_YET = {errno.EWOULDBLOCK, errno.EAGAIN}
_GONE_BEFORE_ACCEPT = {errno.ECONNABORTED, errno.EPROTO, errno.EPERM}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
#: A program that gave SIGPIPE its default back must not die of a peer that is gone.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_PlainSocket = socket.socket
_ACCEPT_PAUSE_SECONDS = 0.2
_ACCEPT_WARNING_PAUSE_SECONDS = 10.0
_CONNECTED_TYPES = {socket.SOCK_STREAM, socket.SOCK_SEQPACKET}
_UNUSED_PAUSE_SECONDS = 0.2
_CONNECT_BEGUN = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}


@implementer(IDispatcher)
class Dispatcher:
    """One socket, its events and its log. Override the `handle_*` methods you need.

    Args:
        sock: a socket to take over, connected or not; it is made non-blocking. None: `create_socket` makes
            it.
        map: where to register; None: `socket_map`.
    Raises:
        OSError: `sock` is closed or unusable; nothing is registered then, and closing it stays the caller's
            task.
    Attributes: `socket` (None at first), `addr` (what it was bound or connected to, or its peer),
        `accepting`, `connecting`, `connected`; `resting_until` (of `time.monotonic()`: no input before then) and
        `has_input`: see `wiretask.loop_entries.LoopEntry`.
    Threads: all methods belong to the thread that runs the loop, except `log` and `log_info`.
    """

    accepting = False
    connecting = False
    connected = False
    addr: SocketAddress | None = None
    resting_until = 0.0
    has_input = False
    _accept_warning_due = 0.0

    def __init__(self, sock: socket.socket | None = None, map: SocketMap | None = None) -> None:
        self._map: SocketMap = socket_map if map is None else map
        self._fileno: int | None = None
        self._warned: set[str] = set()
        self.socket: socket.socket | None = None
        if sock is None:
            return
        sock.setblocking(False)
        try:
            self.addr = sock.getpeername()
            self.connected = True
        except OSError as error:
            # Not connected (yet), or the peer is gone already: the first event will tell.
            if error.errno not in (errno.ENOTCONN, errno.EINVAL):
                raise
        self.set_socket(sock, map)

    def __repr__(self) -> str:
        state = [name for name in ("accepting", "connecting", "connected") if getattr(self, name)]
        return f"<{type(self).__qualname__} {' '.join(state) or 'idle'} {self.addr!r} at {id(self):#x}>"

    def add_channel(self, map: SocketMap | None = None) -> None:
        """Register the socket with the loop. See IDispatcher. Without a socket: OSError."""
        entries = self._map if map is None else map
        if self._fileno is None:
            self._fileno = self._open_socket().fileno()
        entries[self._fileno] = self

    def del_channel(self, map: SocketMap | None = None) -> None:
        """Unregister from the loop; harmless if not registered, or if another has taken the place."""
        entries = self._map if map is None else map
        descriptor, self._fileno = self._fileno, None
        if descriptor is not None and entries.get(descriptor) is self:
            del entries[descriptor]

    def create_socket(self, family: int, type: int) -> None:
        """Make the socket, non-blocking and not inherited by other programs, and register it."""
        made = socket.socket(family, type)
        made.setblocking(False)
        if type in _CONNECTED_TYPES:
            # Until it connects or listens it reports a hang-up, which a loop in another thread would see.
            self.resting_until = time.monotonic() + _UNUSED_PAUSE_SECONDS
        self.set_socket(made)

    def set_socket(self, sock: socket.socket, map: SocketMap | None = None) -> None:
        """Take this socket (or something like one, made non-blocking) and register it in `map`."""
        self.socket = sock
        self._fileno = sock.fileno()
        self.add_channel(map)

    def set_reuse_addr(self) -> None:
        """Set SO_REUSEADDR, if the socket has that; before `bind`."""
        with contextlib.suppress(OSError):
            self._open_socket().setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    @announced
    def readable(self) -> bool:
        """Return True: there is always interest in reading."""
        return True

    @announced
    def writable(self) -> bool:
        """Return True: there is always interest in writing. `write_interest` says what that leads to."""
        return True

    def write_interest(self) -> bool:
        """Return whether the loop is to wait for room for output. Not to be overridden; override `writable`.

        It is `writable()` where a subclass defines that, `handle_write` or `handle_write_event`; otherwise
        only while a connection is being made: with nobody to write, the default yes would keep the loop busy.
        """
        if self.accepting or (self.resting_until and self.resting_until > time.monotonic()):
            return False
        if self.connecting or self._has_writer():
            return bool(self.writable())
        return False

    def interest_changed(self) -> None:
        """Have the loop ask `readable` and `writable` again. See `wiretask.announced`.

        Needed only where they are marked with that and something else than this dispatcher's own events changed
        the answer. Threads: any; a loop that waits looks up. Blocking: never.
        """
        note = getattr(self._map, "note_interest", None)
        if note is not None:
            note(self._fileno)

    def listen(self, backlog: int) -> None:
        """Begin to accept connections. See ISocket."""
        self._open_socket().listen(backlog)
        self.accepting = True
        self.resting_until = 0.0
        self.interest_changed()

    def bind(self, addr: SocketAddress) -> None:
        """Give the socket an address. See ISocket."""
        self._open_socket().bind(addr)
        self.addr = addr

    def connect(self, address: SocketAddress) -> None:
        """Begin to connect; `handle_connect` tells when it is done, `handle_error` when it failed later.

        Raises:
            OSError: it failed at once.
        """
        self.connected = False
        sock = self._open_socket()
        # A name may take long to be looked up.
        self.resting_until = math.inf
        try:
            error = sock.connect_ex(address)
        finally:
            self.resting_until = 0.0
            self.interest_changed()
        if error in _CONNECT_BEGUN:
            self.connecting = True
            self.addr = address
            self.interest_changed()
        elif error in (0, errno.EISCONN):
            self.connecting = True
            self.addr = address
            self.handle_connect_event()
        else:
            raise OSError(error, f"cannot connect to {address!r}: {os.strerror(error)}")

    def accept(self) -> tuple[socket.socket, SocketAddress] | None:
        """Return `(conn, address)`, or None if no connection waits or the one that did is gone.

        Raises:
            OSError: the socket does not listen, or descriptors or memory have run out.
        """
        try:
            return self._open_socket().accept()
        except OSError as error:
            if error.errno in _NOTHING_YET or error.errno in _GONE_BEFORE_ACCEPT:
                return None
            raise

    def recv(self, buffer_size: int) -> bytes:
        """Return at most `buffer_size` bytes; `b""` at the end of the connection, after `handle_close`.

        Raises:
            BlockingIOError: nothing is there. OSError: another error than the end of the connection.
        """
        sock = self.socket or self._open_socket()
        try:
            data = sock.recv(buffer_size)
        except OSError as error:
            if error.errno not in DISCONNECTED_ERRNOS:
                raise
            data = b""
        if not data:
            self.handle_close()
        return data

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Return how many bytes were taken: 0 if there is no room, or if the connection has ended.

        In the latter case `handle_close` has been called.

        Raises:
            OSError: another error.
        """
        sock = self.socket or self._open_socket()
        try:
            # An ssl socket or a fake takes no flags.
            return sock.send(data, _NO_SIGNAL) if type(sock) is _PlainSocket else sock.send(data)
        except OSError as error:
            if error.errno in _NOTHING_YET:
                return 0
            if error.errno not in DISCONNECTED_ERRNOS:
                raise
        self.handle_close()
        return 0

    def close(self) -> None:
        """Unregister and close. Twice is harmless. `handle_close` is not called."""
        self.accepting = self.connecting = self.connected = False
        self.del_channel()
        if self.socket is not None:
            try:
                self.socket.close()
            except OSError as error:
                if error.errno not in (errno.ENOTCONN, errno.EBADF):
                    raise

    def log(self, message: str) -> None:
        """Log a request to the logger `wiretask.dispatcher`, at INFO."""
        _LOG.info("%s", message)

    def log_info(self, message: str, type: str = "info") -> None:
        """Log to the logger `wiretask.dispatcher` at the level that `type` names (unknown: "info")."""
        log_at(_LOG, type, message)

    def handle_read_event(self) -> None:
        """Find out what the read event means and call the handlers for it."""
        if self.accepting:
            self.handle_accept()
            return
        if self.connecting:
            self.handle_connect_event()
        self.handle_read()

    @passes_on
    def handle_write_event(self) -> None:
        """Find out what the write event means and call the handlers for it."""
        if self.accepting:
            return
        if self.connecting:
            self.handle_connect_event()
        self.handle_write()

    def handle_connect_event(self) -> None:
        """Deal with the outcome of a connection attempt.

        Raises:
            OSError: it failed (the loop then calls `handle_error`).
        """
        self._raise_pending_error()
        self.connected = True
        self.connecting = False
        self.interest_changed()
        self._use_connection()

    def handle_expt_event(self) -> None:
        """Deal with an exceptional event: `handle_close` if an error is pending, else `handle_expt`."""
        try:
            self._raise_pending_error()
        except OSError:
            self.handle_close()
        else:
            self.handle_expt()

    def handle_error(self) -> None:
        """Log the current exception with its traceback, and close; pass on what is meant to end the loop."""
        current = sys.exception()
        if isinstance(current, (ExitNow, KeyboardInterrupt, SystemExit)):
            raise current
        try:
            label = repr(self)
        except Exception:
            label = object.__repr__(self)
        _LOG.error("uncaptured exception, closing %s", label, exc_info=current)
        self.handle_close()

    @does_nothing
    def handle_expt(self) -> None:
        """Log that nobody handles this event."""
        self._warn_once("exception")

    @does_nothing
    def handle_read(self) -> None:
        """Log that nobody handles this event. Override it, or let `readable` say no."""
        self._warn_once("read")

    @does_nothing
    def handle_write(self) -> None:
        """Do nothing: there is nothing to write."""

    @does_nothing
    def handle_connect(self) -> None:
        """Do nothing: the connection is made."""

    def handle_accept(self) -> None:
        """Accept a connection and give it to `handle_accepted`.

        When descriptors or memory have run out, this leaves the connection waiting, warns (every ten seconds
        at most), and rests for a fifth of a second: the listener must neither die of it nor keep the loop busy.
        """
        try:
            pair = self.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self.resting_until = time.monotonic() + _ACCEPT_PAUSE_SECONDS
            self.interest_changed()
            if self.resting_until >= self._accept_warning_due:
                self._accept_warning_due = self.resting_until + _ACCEPT_WARNING_PAUSE_SECONDS
                self.log_info(f"cannot accept ({error.strerror}): {self!r}", "warning")
            return
        if pair is not None:
            self.handle_accepted(*pair)

    def handle_accepted(self, sock: socket.socket, addr: SocketAddress) -> None:
        """Close the new connection: override this to serve it. The socket belongs to this method."""
        sock.close()
        self._warn_once("accepted")

    def handle_close(self) -> None:
        """Close this side."""
        _LOG.debug("closing %r", self.addr)
        self.close()

    def _use_connection(self) -> None:
        """Begin to use the connection, which has just been made."""
        self.handle_connect()

    def _open_socket(self) -> socket.socket:
        if self.socket is None:
            raise OSError(errno.EBADF, "the dispatcher has no socket yet: see create_socket")
        return self.socket

    def _has_writer(self) -> bool:
        """Return whether a subclass (or the instance) defines what answers or handles write events."""
        return (
            not is_passive(self.handle_write)
            or not is_passive(self.handle_write_event)
            or type(self).writable is not Dispatcher.writable
            or "writable" in vars(self)
        )

    def _raise_pending_error(self) -> None:
        error = self._open_socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"{os.strerror(error)} (address {self.addr!r})")

    def _warn_once(self, event: str) -> None:
        """Log that an event has no handler, once: a level-triggered event comes back every turn."""
        if event not in self._warned:
            self._warned.add(event)
            self.log_info(f"unhandled {event} event: {self!r}", "warning")

"""`TLSDispatcher`: a `Dispatcher` whose connection is encrypted.

Strategy: the TLS engine of the `ssl` module works on memory; this moves bytes between it and `self.socket`. What was
decrypted and not yet read is input for the loop (`has_input`), though nothing comes from the socket. What was
encrypted must leave: one record at most waits here, and outlives `close` for a few seconds.
Must not know: how the loop waits. Source: RFC 8446, section 6.1 (closing); the documentation of `ssl.SSLObject`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from wiretask.dispatcher import Dispatcher
from wiretask.loop_entries import DISCONNECTED_ERRNOS, LoopEntry, SocketMap, passes_on

__all__ = ["TLSDispatcher"]

_RECEIVE_BYTES = 65536
_MOST_INPUT_BYTES = 65536
_RECORD_BYTES = 16384
_FAREWELL_SECONDS = 5.0


class TLSDispatcher(Dispatcher):
    """A dispatcher over TLS. Its methods and handlers mean what they mean for a `Dispatcher`, with plain bytes.

    `handle_connect` is called once the handshake is done, on either side, before any `handle_read` or `handle_write`.
    A handshake that fails leads to `handle_error`. `send` takes nothing before the handshake is done. A server
    listens with a plain `Dispatcher` and makes one of these of each connection, with `server_side=True`.

    Args:
        sock: a plain socket to take over, connected or not; None: `create_socket` makes it.
        map: where to register; None: `wiretask.socket_map`.
        context: what certificates, checks and versions to use; None: `ssl.create_default_context()`, for a client.
        server_side: speak as the server.
        server_hostname: whom the client expects, for the server's certificate and SNI.
    Raises:
        ValueError, ssl.SSLError: these do not go together: a context that checks names without a name, a server
            without a context. Otherwise as `Dispatcher`.
    Attributes:
        tls: the `ssl.SSLObject`, for `version()`, `getpeercert()`, `selected_alpn_protocol()` and the like.
        is_secured: the handshake is done. is_truncated: the connection ended without the farewell of TLS, so the peer
            may not have said everything.
    """

    is_secured = False
    is_truncated = False
    tls: ssl.SSLObject
    _backlog: bytearray
    _input: bytearray

    def __init__(
        self,
        sock: socket.socket | None = None,
        map: SocketMap | None = None,
        *,
        context: ssl.SSLContext | None = None,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        if server_side and context is None:
            raise ValueError("a server needs a context that has a certificate")
        self._context = ssl.create_default_context() if context is None else context
        if self._context.check_hostname and not server_side and not server_hostname:
            # Over memory, the ssl module would leave the name unchecked without a word.
            raise ValueError("a context that checks names needs server_hostname")
        self._server_side = server_side
        self._server_hostname = server_hostname
        if sock is None:
            self._begin_session()
        super().__init__(sock, map)
        if self.connected:
            self._advance()

    def set_socket(self, sock: socket.socket, map: SocketMap | None = None) -> None:
        """Take this plain socket, for a session of its own, and register it in `map`."""
        self._begin_session()
        super().set_socket(sock, map)

    @property
    def has_input(self) -> bool:  # type: ignore[override]
        """Whether there is something to read that the socket does not know of: input, or its end."""
        return bool(self._input) or self._has_ended

    def read_interest(self) -> bool:
        """Return whether the loop is to wait for input. Not to be overridden; override `readable`."""
        return bool(self.readable()) if self.is_secured else True

    def write_interest(self) -> bool:
        """Return whether the loop is to wait for room for output. Not to be overridden; override `writable`."""
        if self._backlog or self.connecting:
            return True
        return self.is_secured and super().write_interest()

    def recv(self, buffer_size: int) -> bytes:
        """Return at most `buffer_size` bytes; `b""` at the end of the connection, after `handle_close`.

        Raises:
            BlockingIOError: nothing is there.
        """
        if self._input:
            data = bytes(self._input[:buffer_size])
            del self._input[:buffer_size]
            if not self.has_input:
                self.interest_changed()
            return data
        if not self._has_ended:
            raise BlockingIOError("nothing has come in yet")
        self.handle_close()
        return b""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Return how many bytes were taken: 0 if there is no room, or no session yet, or if the connection has ended.

        In the last case `handle_close` has been called. OSError: another error.
        """
        if not self.is_secured:
            return 0
        if not self._flush():
            return 0
        sent = 0
        with memoryview(data).cast("B") as view:
            # A record at a time: of what is encrypted no part can be given back.
            while sent < len(view) and self.is_secured:
                try:
                    sent += self.tls.write(view[sent : sent + _RECORD_BYTES])
                except ssl.SSLWantReadError:
                    break
                if not self._flush():
                    break
        return sent

    def close(self) -> None:
        """Unregister and close; the peer is told that this is the end. Twice is harmless."""
        if self.is_secured and self._fileno is not None:
            self.is_secured = False
            with contextlib.suppress(ssl.SSLError, OSError):
                self.tls.unwrap()
            self._backlog += self._outgoing.read()
        backlog, self._backlog = self._backlog, bytearray()
        self._has_ended = False
        self._input.clear()
        if backlog and self._fileno is not None and self.socket is not None:
            self._say_farewell(backlog)
        super().close()

    def handle_read_event(self) -> None:
        """Decrypt what came, go on with the handshake, and call the handlers for it."""
        if self.accepting:
            super().handle_read_event()
            return
        if self.connecting:
            self.handle_connect_event()
        self._receive()
        self._advance()
        if self.is_secured and self.has_input:
            self.handle_read()
        if self.has_input:
            self.interest_changed()

    @passes_on
    def handle_write_event(self) -> None:
        """Send what waits, and call the handlers."""
        if self.accepting:
            return
        if self.connecting:
            self.handle_connect_event()
        if self._flush() and self.is_secured and super().write_interest():
            self.handle_write()

    # ---- the parts ------------------------------------------------------------------------------

    def _begin_session(self) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._backlog = bytearray()
        self._input = bytearray()
        self._has_ended = self.is_secured = self.is_truncated = False
        self.tls = self._context.wrap_bio(
            self._incoming, self._outgoing, server_side=self._server_side, server_hostname=self._server_hostname
        )

    def _use_connection(self) -> None:
        """Begin the handshake."""
        self._advance()

    def _receive(self) -> None:
        """Take what the socket has, unless enough waits to be read."""
        if len(self._input) >= _MOST_INPUT_BYTES or self._has_ended or self._incoming.eof:
            return
        try:
            data = self._open_socket().recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in DISCONNECTED_ERRNOS:
                raise
            data = b""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _advance(self) -> None:
        """Go on with the handshake; once it is done, decrypt."""
        try:
            if not self.is_secured and not self._has_ended:
                self._shake_hands()
            if self.is_secured:
                self._decrypt()
        finally:
            # Also the alert that says why it failed.
            self._flush()
            self.interest_changed()

    def _shake_hands(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_secured = True
        self._flush()
        self.handle_connect()

    def _decrypt(self) -> None:
        while self.is_secured and not self._has_ended and len(self._input) < _MOST_INPUT_BYTES:
            try:
                data = self.tls.read(_RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLEOFError:
                self.is_truncated = True
                data = b""
            if not data:
                self._has_ended = True
            self._input += data

    def _flush(self) -> bool:
        """Send what was encrypted; return whether all of it has left and the connection stands."""
        self._backlog += self._outgoing.read()
        if not self._backlog:
            return True
        sent = super().send(self._backlog)
        del self._backlog[:sent]
        if self._backlog:
            self.interest_changed()
        return not self._backlog and self._fileno is not None

    def _say_farewell(self, backlog: bytearray) -> None:
        """Send what can be sent now, and leave the rest to the loop, with a copy of the socket."""
        with contextlib.suppress(OSError, AttributeError):
            sock = self._open_socket()
            with contextlib.suppress(BlockingIOError):
                del backlog[: sock.send(backlog)]
            if backlog:
                _Farewell(sock.dup(), backlog, self._map)


class _Farewell:
    """Sends the last bytes of a connection that is closed, and closes the socket. An entry of the map."""

    accepting = False

    def __init__(self, sock: socket.socket, data: bytearray, entries: SocketMap) -> None:
        self._socket = sock
        self._data = data
        self._entries = entries
        self._until = time.monotonic() + _FAREWELL_SECONDS
        sock.setblocking(False)
        entry: LoopEntry = self
        entries[sock.fileno()] = entry

    def readable(self) -> bool:
        """Return False."""
        if time.monotonic() > self._until:
            self.close()
        return False

    def writable(self) -> bool:
        """Return whether it still has to say something."""
        return bool(self._data)

    def handle_read_event(self) -> None:
        """Do nothing: it does not read."""

    def handle_expt_event(self) -> None:
        """Do nothing: it does not read."""

    def handle_write_event(self) -> None:
        """Send what there is room for."""
        del self._data[: self._socket.send(self._data)]
        if not self._data:
            self.close()

    def handle_close(self) -> None:
        """Close: nobody listens."""
        self.close()

    def handle_error(self) -> None:
        """Close: nobody can be told."""
        self.close()

    def close(self) -> None:
        """Leave the map and close."""
        descriptor = self._socket.fileno()
        if descriptor >= 0 and self._entries.get(descriptor) is self:
            del self._entries[descriptor]
        self._data.clear()
        self._socket.close()

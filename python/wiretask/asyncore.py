"""The names of the `asyncore` of the standard library before Python 3.12: `import wiretask.asyncore as asyncore`.

Strategy: `dispatcher` is `wiretask.Dispatcher` with what asyncore did otherwise; the loop is wiretask's, and
`socket_map` is the same map, so servers and dispatchers of both kinds run in one loop. docs/asyncore.md names every
difference.
Must not know: how the loop waits. Source: the documentation and the behaviour of `asyncore` in Python 3.11.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import warnings
from collections.abc import Callable
from errno import (
    EAGAIN,
    EALREADY,
    EBADF,
    ECONNABORTED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOTCONN,
    EPIPE,
    ESHUTDOWN,
    EWOULDBLOCK,
    errorcode,
)
from types import TracebackType
from typing import Any

from wiretask import map_loops
from wiretask.dispatcher import Dispatcher, SocketAddress
from wiretask.loop_entries import DISCONNECTED_ERRNOS as _DISCONNECTED
from wiretask.loop_entries import LEAVES_THE_LOOP as _reraised_exceptions  # noqa: N811 (the published name)
from wiretask.loop_entries import ExitNow, SocketMap, announced, does_nothing

# What `from asyncore import *` gave.
__all__ = [
    "EAGAIN",
    "EALREADY",
    "EBADF",
    "ECONNABORTED",
    "ECONNRESET",
    "EINPROGRESS",
    "EINVAL",
    "EISCONN",
    "ENOTCONN",
    "EPIPE",
    "ESHUTDOWN",
    "EWOULDBLOCK",
    "ExitNow",
    "close_all",
    "compact_traceback",
    "dispatcher",
    "dispatcher_with_send",
    "errorcode",
    "file_dispatcher",
    "file_wrapper",
    "loop",
    "os",
    "poll",
    "poll2",
    "poll3",
    "read",
    "readwrite",
    "select",
    "socket",
    "socket_map",
    "sys",
    "time",
    "warnings",
    "write",
]

socket_map: Any = map_loops.socket_map
"""The map that is used where none is given. Another one may be put here."""

_SEND_BYTES = 65536


def read(obj: Any) -> None:
    """Call `handle_read_event` of a dispatcher; its errors go to its `handle_error`."""
    _guarded(obj, "handle_read_event")


def write(obj: Any) -> None:
    """Call `handle_write_event` of a dispatcher; its errors go to its `handle_error`."""
    _guarded(obj, "handle_write_event")


def _exception(obj: Any) -> None:
    """Call `handle_expt_event` of a dispatcher; its errors go to its `handle_error`."""
    _guarded(obj, "handle_expt_event")


def _guarded(obj: Any, handler: str) -> None:
    try:
        getattr(obj, handler)()
    except _reraised_exceptions:
        raise
    except BaseException:
        obj.handle_error()


def readwrite(obj: Any, flags: int) -> None:
    """Call the handlers for what `select.poll` said of a dispatcher; its errors go to its `handle_error`.

    An error that only says that the connection is gone leads to `handle_close`. The loop itself is more careful
    with input that came before the end (see docs/asyncore.md).
    """
    try:
        if flags & select.POLLIN:
            obj.handle_read_event()
        if flags & select.POLLOUT:
            obj.handle_write_event()
        if flags & select.POLLPRI:
            obj.handle_expt_event()
        if flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            obj.handle_close()
    except OSError as error:
        if error.errno in _DISCONNECTED:
            obj.handle_close()
        else:
            obj.handle_error()
    except _reraised_exceptions:
        raise
    except BaseException:
        obj.handle_error()


def poll(timeout: float | None = 0.0, map: SocketMap | None = None) -> None:
    """Have one turn of the loop over `map` (None: `socket_map`); at once, without a wait, if the map is empty."""
    map_loops.poll_once(timeout, socket_map if map is None else map)


poll2 = poll
poll3 = poll


def loop(
    timeout: float | None = 30.0, use_poll: bool = False, map: SocketMap | None = None, count: int | None = None
) -> None:
    """Handle events until the map is empty, or for `count` turns: see `wiretask.loop`."""
    map_loops.loop(timeout, use_poll, socket_map if map is None else map, count)


def close_all(map: SocketMap | None = None, ignore_all: bool = False) -> None:
    """Close every entry of the map (None: `socket_map`), and empty it: see `wiretask.close_all`."""
    map_loops.close_all(socket_map if map is None else map, ignore_all)


def compact_traceback() -> tuple[tuple[str, str, str], type[BaseException] | None, BaseException | None, str]:
    """Return the exception that is being handled, with its traceback on one line.

    Returns:
        Where it was raised, as (file, function, line); its type; itself; every frame as "[file|function|line]",
        the outermost first.
    Raises:
        AssertionError: none is being handled.
    """
    kind, value, trace = sys.exc_info()
    frames = list(_frames(trace))
    if not frames:
        raise AssertionError("there is no exception, or it has no traceback")
    return frames[-1], kind, value, " ".join(f"[{'|'.join(frame)}]" for frame in frames)


def _frames(trace: TracebackType | None) -> Any:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield code.co_filename, code.co_name, str(trace.tb_lineno)
        trace = trace.tb_next


def _strerror(err: int) -> str:
    """Return the system's text for an error number, whatever number it is."""
    try:
        return os.strerror(err)
    except (ValueError, OverflowError):
        return f"Unknown error {err}"


class dispatcher(Dispatcher):  # noqa: N801 (the published name)
    """A socket in the loop: `wiretask.Dispatcher` with the messages and the defaults of asyncore.

    What differs: `log` and `log_info` write to stderr and stdout; `handle_error` sends its message through
    `log_info`, and handles what is meant to end the loop, too (the loop never calls it for that); `handle_connect`
    is called before `connected` is true.
    """

    debug = False
    closing = False
    ignore_log_types: Any = frozenset({"warning"})

    def __init__(self, sock: Any = None, map: SocketMap | None = None) -> None:
        super().__init__(sock or None, socket_map if map is None else map)

    def __repr__(self) -> str:
        kind = type(self)
        words = [f"{kind.__module__.removeprefix('wiretask.')}.{kind.__qualname__}"]
        if self.accepting and self.addr:
            words.append("listening")
        elif self.connected:
            words.append("connected")
        if isinstance(self.addr, tuple) and len(self.addr) == 2:
            words.append(f"{self.addr[0]}:{self.addr[1]}")
        elif self.addr is not None:
            words.append(repr(self.addr))
        return f"<{' '.join(words)} at {id(self):#x}>"

    def create_socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM) -> None:
        """Make the socket, non-blocking, and register it."""
        self.family_and_type = family, type
        super().create_socket(family, type)

    def listen(self, num: int) -> None:
        """Begin to accept connections, `num` of which may wait."""
        super().listen(num)

    def accept(self) -> tuple[socket.socket, SocketAddress] | None:
        """Return `(connection, address)`, or None if there is none after all."""
        try:
            return super().accept()
        except TypeError:
            # A socket of another make that has nothing to give.
            return None

    def log(self, message: object) -> None:
        """Write a message to stderr."""
        sys.stderr.write(f"log: {message}\n")

    def log_info(self, message: object, type: str = "info") -> None:
        """Print a message, unless `type` is among `ignore_log_types`."""
        if type not in self.ignore_log_types:
            print(f"{type}: {message}")

    def handle_connect_event(self) -> None:
        """Deal with the outcome of a connection attempt; OSError: it failed."""
        self._raise_pending_error()
        self.handle_connect()
        self.connected = True
        self.connecting = False
        self.interest_changed()

    def handle_error(self) -> None:
        """Log the current exception, of type "error", and call `handle_close`."""
        _, kind, value, where = compact_traceback()
        try:
            label = repr(self)
        except Exception:
            label = f"<__repr__(self) failed for object at {id(self):0x}>"
        self.log_info(f"uncaptured python exception, closing channel {label} ({kind}:{value} {where})", "error")
        self.handle_close()

    @does_nothing
    def handle_expt(self) -> None:
        """Log, of type "warning", that nobody handles this event."""
        self.log_info("unhandled incoming priority event", "warning")

    @does_nothing
    def handle_read(self) -> None:
        """Log, of type "warning", that nobody handles this event."""
        self.log_info("unhandled read event", "warning")

    @does_nothing
    def handle_write(self) -> None:
        """Log, of type "warning", that nobody handles this event."""
        self.log_info("unhandled write event", "warning")

    @does_nothing
    def handle_connect(self) -> None:
        """Log, of type "warning", that nobody handles this event."""
        self.log_info("unhandled connect event", "warning")

    def handle_accepted(self, sock: socket.socket, addr: SocketAddress) -> None:
        """Close the new connection: override this to serve it."""
        sock.close()
        self.log_info("unhandled accepted event", "warning")

    def handle_close(self) -> None:
        """Close this side."""
        self.log_info("unhandled close event", "warning")
        self.close()


class dispatcher_with_send(dispatcher):  # noqa: N801 (the published name)
    """A dispatcher whose `send` takes everything, and sends what the socket does not take when it has room."""

    _out_buffer: bytes = b""

    @property
    def out_buffer(self) -> bytes:
        """What has not been sent yet. May be changed by hand."""
        return self._out_buffer

    @out_buffer.setter
    def out_buffer(self, data: bytes) -> None:
        was_empty, self._out_buffer = not self._out_buffer, data
        if data and was_empty:
            self.interest_changed()

    def initiate_send(self) -> None:
        """Send what the socket takes now."""
        data = self._out_buffer
        sent = dispatcher.send(self, data if len(data) <= _SEND_BYTES else data[:_SEND_BYTES])
        # A handler that was called meanwhile may have changed it.
        self._out_buffer = self._out_buffer[sent:]

    def handle_write(self) -> None:
        """Send what waits."""
        self.initiate_send()

    @announced
    def writable(self) -> bool:
        """Return whether something waits to be sent, or the connection to be made."""
        return not self.connected or bool(self.out_buffer)

    def send(self, data: bytes | bytearray | memoryview) -> Any:
        """Take all of `data`, send what the socket takes now and the rest later."""
        if self.debug:
            self.log_info(f"sending {data!r}")
        self._out_buffer += data
        self.initiate_send()
        if self._out_buffer:
            self.interest_changed()


if os.name == "posix":

    class file_wrapper:  # noqa: N801 (the published name)
        """A file descriptor (a copy of the one given) with as much of a socket's methods as dispatchers need."""

        def __init__(self, fd: int) -> None:
            self.fd = os.dup(fd)

        def __del__(self) -> None:
            if getattr(self, "fd", -1) >= 0:
                try:
                    warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=1)
                finally:
                    # Also where warnings are errors.
                    self.close()

        def recv(self, *args: Any) -> bytes:
            """Return what `os.read` returns."""
            return os.read(self.fd, *args)

        def send(self, *args: Any) -> int:
            """Return what `os.write` returns."""
            return os.write(self.fd, *args)

        read = recv
        write = send

        def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int:
            """Return 0: a file has no pending error. NotImplementedError: another option was asked for."""
            if (level, optname) == (socket.SOL_SOCKET, socket.SO_ERROR) and not buflen:
                return 0
            raise NotImplementedError(f"a file has no option {optname} of level {level}")

        def close(self) -> None:
            """Close the copy. Twice is harmless. OSError: it was closed by somebody else."""
            descriptor, self.fd = self.fd, -1
            if descriptor >= 0:
                os.close(descriptor)

        def fileno(self) -> int:
            """Return the descriptor, -1 once closed."""
            return self.fd

    class file_dispatcher(dispatcher):  # noqa: N801 (the published name)
        """A dispatcher of a pipe or a file: of a descriptor or of something that has one.

        It works with a copy of the descriptor, which is made non-blocking. A regular file is always ready.
        """

        def __init__(self, fd: Any, map: SocketMap | None = None) -> None:
            super().__init__(None, map)
            self.connected = True
            fileno: Callable[[], int] | None = getattr(fd, "fileno", None)
            descriptor = fd if fileno is None else fileno()
            self.set_file(descriptor)
            os.set_blocking(descriptor, False)

        def set_file(self, fd: int) -> None:
            """Work with a copy of this descriptor, and register it."""
            wrapper: Any = file_wrapper(fd)
            self.socket = wrapper
            self._fileno = wrapper.fileno()
            self.add_channel()

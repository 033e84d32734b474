"""`Server`: listens, and serves each connection with a channel; the loops run in Rust.

Strategy: Python binds the sockets and decides what is overridden; from `start` on the native server accepts,
reads, parses and sends, and hands channels to the task dispatcher. `ServerLife` starts and stops it.
Must not know: how a worker runs a channel, how a parser works.
Source: IServer, IDispatcher; zope.server's ServerBase for the constructor.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from typing import Any, ClassVar, NoReturn

from zope.interface import implementer

from wiretask import housekeeper
from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.channels import ServerChannel
from wiretask.connection import Connection
from wiretask.errors import ServerClosedError
from wiretask.hooks import ServerHooks, hooks_of
from wiretask.housekeeper import report, safe_repr
from wiretask.interfaces import IServer
from wiretask.listeners import bind_listeners, close_listeners, server_addresses
from wiretask.logs import log_at
from wiretask.loop_entries import announced
from wiretask.server_life import ServerLife
from wiretask.task_classes import has_method

__all__ = ["Server"]

_LOG = logging.getLogger("wiretask.server")
_ACCESS_LOG = logging.getLogger("wiretask.access")


@implementer(IServer)
class Server(ServerLife):
    """A server for one protocol. Set `channel_class` in a subclass.

    Args:
        ip: an address, a name, "" or "*" for every interface of both families, or a `ListenAddress` spelling
            of a Unix socket ("unix:/path"). None: only `adj.listen` and `adj.sockets`.
        port: 0 to 65535; 0 lets the system choose (see `effective_port`). None with a path or with ip=None.
        task_dispatcher: an ITaskDispatcher, which stays the caller's to shut down. None: the server makes a
            `ThreadedTaskDispatcher` of `adj.threads` threads when it starts, and shuts it down.
        adj: the settings; None: the defaults.
        start: listen at once (connections then wait in the kernel until `run` or `start`); false: only bind.
        hit_log: where `log` sends hits: an object with `log(message)`. None: logger `wiretask.access`.
        verbose: log the addresses when the server starts.
    Raises:
        OSError: an address cannot be bound; the message names it. TypeError, ValueError: a bad argument.
    After failure: nothing is bound.

    No thread runs before `run`, `start` or `wiretask.loop()`. A server stands in its map
    (`wiretask.socket_map`) and goes on until it is stopped, whoever else holds it; a program that ends stops
    it. A server that has been stopped cannot be started again. All methods may be called from any thread.
    """

    channel_class: type[ServerChannel] = ServerChannel
    SERVER_IDENT: ClassVar[str] = "wiretask"

    def __init__(
        self,
        ip: str | None,
        port: int | None,
        task_dispatcher: Any = None,
        adj: Adjustments | None = None,
        start: bool = True,
        hit_log: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        self._accepting_index = 0
        self.adj = Adjustments() if adj is None else adj
        if not isinstance(self.adj, Adjustments):
            raise TypeError(f"adj is a wiretask.Adjustments, not {adj!r}")
        if task_dispatcher is not None and not has_method(task_dispatcher, "addTask"):
            raise TypeError(f"task_dispatcher is an ITaskDispatcher, not {task_dispatcher!r}")
        if hit_log is not None and not has_method(hit_log, "log"):
            raise TypeError(f"hit_log is an object with log(message), not {hit_log!r}")
        self.task_dispatcher = task_dispatcher
        self.hit_log = hit_log
        self.verbose = verbose
        self._listeners = bind_listeners(server_addresses(ip, port, self.adj), self.adj, listen=start)
        self._begin_life()
        self._listens_on = tuple(ListenAddress.of_socket(listener) for listener in self._listeners)
        self.accepting = start
        self.set_socket(self._listeners[0])
        self.addr = self._listeners[0].getsockname()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} on {', '.join(self.effective_listen) or 'nothing'}, {self._state}>"

    # ---- where it listens -----------------------------------------------------------------------

    @property
    def effective_listen(self) -> tuple[str, ...]:
        """The addresses it really listens on, as `ListenAddress` spells them; empty once it stops."""
        return () if self._state in ("stopping", "stopped") else tuple(map(str, self._listens_on))

    @property
    def effective_host(self) -> str:
        """The host of the first address, or the path of a Unix socket; also once stopped."""
        return self._listens_on[0].host or self._listens_on[0].path

    @property
    def effective_port(self) -> int:
        """The port of the first address, 0 for a Unix socket; also once stopped."""
        return self._listens_on[0].port

    def accept_connections(self) -> None:
        """Listen, if the constructor was told not to (`start=False`)."""
        with self._lock:
            if not self.accepting and self._state in ("new", "starting"):
                for listener in self._listeners:
                    listener.listen(self.adj.backlog)
                self.accepting = True

    def stats(self) -> dict[str, Any]:
        """Return counters of the connections and, under "tasks", of the server's own dispatcher."""
        running = self._running
        figures: dict[str, Any] = dict(running.native.stats()) if running is not None else {}
        stats = getattr(self.task_dispatcher, "stats", None)
        if callable(stats):
            figures["tasks"] = stats()
        return figures

    # ---- for subclasses to override -------------------------------------------------------------

    def addTask(self, task: Any) -> None:  # noqa: N802 (the published name)
        """Queue a task with the dispatcher. Overridden, it gets every channel that has work to do.

        Then (and for any dispatcher but an unchanged ThreadedTaskDispatcher) it is called on the
        housekeeper's thread, and must not block.
        """
        if self.task_dispatcher is None:
            raise ServerClosedError(f"{self!r} has not been started and has no task dispatcher")
        self.task_dispatcher.addTask(task)

    def handle_accept(self) -> None:
        """Accept a connection and make its channel. Overridden, it runs on the housekeeper's thread.

        Call `accept()` in it, once; close the connection, or give it to `channel_class`.
        """
        pair = self.accept()
        if pair is not None:
            conn, addr = pair
            self.channel_class(self, conn, addr, self.adj)

    def accept(self) -> tuple[Any, Any] | None:
        """Return `(connection, address)`, or None if none waits. For an overridden `handle_accept`.

        The connection is a `wiretask.Connection`; it is served once `channel_class` was called with it.
        Before the server is started: as for any listening socket.
        """
        running = self._running
        if running is None:
            return super().accept()
        native = running.native.accept(self._accepting_index)
        return None if native is None else (Connection(native), native.peer)

    def log(self, message: str) -> None:
        """Log a request (a hit) to `hit_log`, or to the logger `wiretask.access`."""
        if self.hit_log is None:
            _ACCESS_LOG.info("%s", message)
        else:
            self.hit_log.log(message)

    def log_info(self, message: str, type: str = "info") -> None:
        """Log to the logger `wiretask.server` at the level that `type` names (unknown: "info")."""
        log_at(_LOG, type, message)

    def recv(self, buffer_size: int) -> bytes:
        """Raise OSError: the socket listens."""
        return self._open_socket().recv(buffer_size)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Raise OSError: the socket listens."""
        return self._open_socket().send(data)

    def connect(self, address: object) -> NoReturn:
        """Raise OSError (EISCONN): the socket listens."""
        raise OSError(errno.EISCONN, f"{os.strerror(errno.EISCONN)}: {self!r} listens")

    @announced
    def readable(self) -> bool:
        """Return False: the loops in Rust accept, a loop in Python does not poll the socket."""
        return False

    @announced
    def writable(self) -> bool:
        """Return False: a listening socket writes nothing."""
        return False

    def _class_of_channels(self) -> type[ServerChannel]:
        """Return the class whose hooks count: what is patched into an instance is not seen."""
        return type(self).channel_class

    def _hooks(self) -> ServerHooks:
        return hooks_of(type(self), Server, self._class_of_channels())

    # ---- what Rust calls, on the housekeeper's thread -------------------------------------------

    def _queue_channel(self, task: Any) -> None:
        """Queue a channel with a dispatcher that is not fed natively."""
        try:
            self.addTask(task)
        except BaseException as error:
            report(_LOG, "cannot queue %s", safe_repr(task), error=error)
            # Unless the dispatcher has cancelled it, as it should.
            if task._is_queued:
                housekeeper.cancel_task(task)

    def _accept_ready(self, index: int) -> None:
        """Connections wait at a listener, and `handle_accept` is overridden."""
        running = self._running
        if running is None:
            return  # `start` is about to ask for it again.
        native = running.native
        self._accepting_index = index
        before = native.accepts
        try:
            self.handle_accept()
        except BaseException as error:
            report(_LOG, "exception in handle_accept of %s", safe_repr(self), error=error)
        # A handler that accepted nothing is asked again later, not in a busy loop.
        native.listen_again(index, native.accepts != before)

    # ---- what starting and stopping do to the listeners -----------------------------------------

    def _close_listening(self) -> None:
        """Have the system refuse connections from now on; the server stays in its map until it has ended."""
        self.accepting = False
        descriptor = self._fileno
        if descriptor is not None and self._map.get(descriptor) is self:
            # The number is about to become somebody else's; one below 0 is nobody's, and not polled.
            self._fileno = -id(self)
            self._map[self._fileno] = self
            del self._map[descriptor]
        _close_quietly(self._listeners)

    def _abandon_listening(self) -> None:
        """Close the descriptors, and nothing more: the file of a Unix socket is the parent's."""
        self.accepting = False
        self.del_channel()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                os.close(listener.detach())


def _close_quietly(listeners: list[socket.socket]) -> None:
    """Close the listeners; one that was closed under us must not keep the server from stopping."""
    try:
        close_listeners(listeners)
    except OSError as error:
        report(_LOG, "cannot close a listening socket", error=error)

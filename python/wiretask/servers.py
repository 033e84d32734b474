"""`Server`: listens, and serves each connection with a channel; the loops run in Rust.

Strategy: Python binds the sockets and decides what is overridden; from `start` on the native server accepts,
reads, parses and sends, and hands channels to the task dispatcher. `run` waits for a signal or for `stop`.
Must not know: how a worker runs a channel, how a parser works.
Source: IServer, IDispatcher; zope.server's ServerBase for the constructor and the life cycle.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

from zope.interface import implementer

from wiretask import _native, housekeeper
from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.channels import ChannelOpening, ServerChannel
from wiretask.connection import Connection
from wiretask.dispatcher import Dispatcher
from wiretask.errors import ServerClosedError
from wiretask.hooks import ServerHooks, hooks_of
from wiretask.housekeeper import report, safe_repr
from wiretask.interfaces import IServer
from wiretask.listeners import bind_listeners, close_listeners
from wiretask.logs import log_at
from wiretask.signals import StopSignals
from wiretask.tasks import ThreadedTaskDispatcher

__all__ = ["Server"]

_LOG = logging.getLogger("wiretask.server")
_ACCESS_LOG = logging.getLogger("wiretask.access")
_LOOP_PATIENCE_SECONDS = 5.0
_STOP_STEP_SECONDS = 0.05
_running: weakref.WeakSet[Server] = weakref.WeakSet()


@implementer(IServer)
class Server(Dispatcher):
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

    No thread runs before `run`, `start` or `wiretask.loop()`. A server that has been stopped cannot be
    started again. All methods may be called from any thread.
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
        self._native: _native.Server | None = None
        self._state = "new"
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._stop_signals: StopSignals | None = None
        self._accepting_index = 0
        self._owns_dispatcher = task_dispatcher is None
        self._listeners: list[socket.socket] = []
        self.adj = Adjustments() if adj is None else adj
        if not isinstance(self.adj, Adjustments):
            raise TypeError(f"adj is a wiretask.Adjustments, not {adj!r}")
        if task_dispatcher is not None and not callable(getattr(task_dispatcher, "addTask", None)):
            raise TypeError(f"task_dispatcher is an ITaskDispatcher, not {task_dispatcher!r}")
        self.task_dispatcher = task_dispatcher
        self.hit_log = hit_log
        self.verbose = verbose
        self._listeners = bind_listeners(_addresses(ip, port, self.adj), self.adj, listen=start)
        self.accepting = start
        self.set_socket(self._listeners[0])
        self.addr = self._listeners[0].getsockname()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} on {', '.join(self.effective_listen) or 'nothing'}, {self._state}>"

    # ---- where it listens -----------------------------------------------------------------------

    @property
    def effective_listen(self) -> tuple[str, ...]:
        """The addresses it really listens on, as `ListenAddress` spells them; empty once stopped."""
        listeners = [listener for listener in self._listeners if listener.fileno() >= 0]
        return tuple(str(ListenAddress.of_socket(listener)) for listener in listeners)

    @property
    def effective_host(self) -> str:
        """The host of the first address; the path of a Unix socket."""
        address = ListenAddress.of_socket(self._listeners[0])
        return address.host or address.path

    @property
    def effective_port(self) -> int:
        """The port of the first address; 0 for a Unix socket."""
        return ListenAddress.of_socket(self._listeners[0]).port

    # ---- life -----------------------------------------------------------------------------------

    def accept_connections(self) -> None:
        """Listen, if the constructor was told not to (`start=False`)."""
        with self._lock:
            if not self.accepting and self._state == "new":
                for listener in self._listeners:
                    listener.listen(self.adj.backlog)
                self.accepting = True

    def start(self) -> None:
        """Serve in the background: start the loop threads and, if the server has its own, the workers.

        Calling it again does nothing.

        Raises:
            TypeError: a class attribute is unusable; see `ServerHooks`.
            ServerClosedError: the server has been stopped.
            OSError, RuntimeError: the system has no descriptors or threads left.
        After failure: nothing runs, and it can be tried again.
        """
        with self._lock:
            if self._state == "running":
                return
            if self._state != "new":
                raise ServerClosedError(f"{self!r} cannot be started again: make a new one")
            hooks = hooks_of(type(self), Server)
            self.accept_connections()
            if self._owns_dispatcher and self.task_dispatcher is None:
                self.task_dispatcher = ThreadedTaskDispatcher(
                    self.adj.threads, max_pending=self.adj.max_pending, name=type(self).__name__
                )
            try:
                housekeeper.start()
                self._native = self._start_native(hooks)
            except BaseException:
                self._drop_dispatcher()
                raise
            self._state = "running"
            _running.add(self)
        if self.verbose:
            self.log_info(f"serving on {', '.join(self.effective_listen)}")

    def start_in_loop(self) -> None:
        """Start, if that has not been done: `wiretask.loop()` calls this before its first turn."""
        if self._state == "new":
            self.start()

    def run(self) -> None:
        """Serve until `stop`, Ctrl-C or SIGTERM; then finish what runs, and return.

        On the main thread SIGINT and SIGTERM are taken over where they have their default handlers, and given
        back at the end. The first one stops gracefully, a second one at once. Handlers of the program's own
        are left alone; an exception out of one stops the server and passes on.

        Raises: what `start` raises.
        Blocking: yes, for the life of the server. Threads: any; only the main one gets signals.
        """
        if self._state == "stopped":
            return
        with StopSignals() as signals:
            self._stop_signals = signals
            try:
                self.start()
                if self._state == "running":
                    signals.wait()
            finally:
                try:
                    self.stop()
                finally:
                    self._stop_signals = None

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more, answer what has been read, close every connection, end all threads.

        What is still at work after `timeout` seconds (None: `adj.shutdown_timeout_seconds`) is given up:
        queued tasks are cancelled, connections closed; a task that runs goes on, but answers nobody.
        Called by a task of this server, or by the server's own threads, it only begins to stop.

        Returns:
            True if everything came to its end in time.
        Raises:
            ValueError: timeout is negative or no number.
        Threads: any, signal handlers included. May be called again, and before `start`.
        Blocking: up to about `timeout`, and the time `shutdown` of the dispatcher takes.
        """
        patience = self.adj.shutdown_timeout_seconds if timeout is None else timeout
        if not patience >= 0:
            raise ValueError(f"timeout is a number of seconds, 0 or more, or None, not {timeout!r}")
        if _native.in_worker():
            name = f"wiretask-stop-{type(self).__name__}"
            threading.Thread(target=self.stop, args=(patience,), name=name, daemon=True).start()
            return False
        with self._lock:
            if self._state != "running":
                return self._close_unstarted()
            self._state = "stopping"
            is_clean = self._stop_running(time.monotonic() + patience)
            self._state = "stopped"
            _running.discard(self)
        self._ended.set()
        signals = self._stop_signals
        if signals is not None:
            signals.request_stop()
        return is_clean

    def close(self) -> None:
        """Stop at once: `stop(0)`."""
        self.stop(0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(self) -> None:
        state = getattr(self, "_state", "stopped")
        if state == "running" and not sys.is_finalizing():
            warnings.warn(f"{self!r} was never stopped", ResourceWarning, source=self, stacklevel=1)
            with contextlib.suppress(Exception):
                self.stop(0)
        elif state == "new":
            close_listeners(getattr(self, "_listeners", ()))

    def stats(self) -> dict[str, Any]:
        """Return counters of the connections and, under "tasks", of the server's own dispatcher."""
        figures: dict[str, Any] = dict(self._native.stats()) if self._native is not None else {}
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
        if self._native is None:
            return super().accept()
        native = self._native.accept(self._accepting_index)
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

    def readable(self) -> bool:
        """Return False: the loops in Rust accept, a loop in Python does not poll the socket."""
        return False

    def writable(self) -> bool:
        """Return False: a listening socket writes nothing."""
        return False

    # ---- what Rust calls, on the housekeeper's thread -------------------------------------------

    def _queue_channel(self, task: Any) -> None:
        """Queue a channel with a dispatcher that is not fed natively."""
        try:
            self.addTask(task)
        except BaseException as error:
            report(_LOG, "cannot queue %s", safe_repr(task), error=error)
            housekeeper.cancel_task(task)

    def _accept_ready(self, index: int) -> None:
        """Connections wait at a listener, and `handle_accept` is overridden."""
        native = self._native
        if native is None:
            return
        self._accepting_index = index
        before = native.accept_calls
        try:
            self.handle_accept()
        except BaseException as error:
            report(_LOG, "exception in handle_accept of %s", safe_repr(self), error=error)
            before = native.accept_calls
        # A handler that accepted nothing is asked again later, not in a busy loop.
        native.listen_again(index, native.accept_calls != before)

    # ---- the parts of starting and stopping -----------------------------------------------------

    def _start_native(self, hooks: ServerHooks) -> _native.Server:
        for level, option, value in self.adj.socket_options:
            for listener in self._listeners:
                # Accepted connections inherit the options of the socket they were accepted from.
                if listener.family != socket.AF_UNIX:
                    listener.setsockopt(level, option, value)
        queue = None
        dispatcher = self.task_dispatcher
        is_ours = isinstance(dispatcher, ThreadedTaskDispatcher)
        if is_ours and type(dispatcher).addTask is ThreadedTaskDispatcher.addTask and not hooks.queues:
            queue = dispatcher._queue
        with contextlib.ExitStack() as on_failure:
            descriptors = []
            for listener in self._listeners:
                descriptors.append(os.dup(listener.fileno()))
                on_failure.callback(os.close, descriptors[-1])
            config = _native_settings(self.adj, hooks, type(self).__name__)
            on_failure.pop_all()
            return _native.Server(self, ChannelOpening, queue, descriptors, config)

    def _stop_running(self, deadline: float) -> bool:
        native = self._native
        assert native is not None
        native.drain()
        while not (is_drained := native.wait_drained(_step(deadline))):
            if time.monotonic() >= deadline or (self._stop_signals and self._stop_signals.is_hurried):
                break
        still_running = 0
        if self._owns_dispatcher and self.task_dispatcher is not None:
            left = 0.0 if not is_drained else max(0.0, deadline - time.monotonic())
            still_running = self.task_dispatcher.shutdown(cancel_pending=True, timeout=left)
        has_ended = native.stop(_LOOP_PATIENCE_SECONDS)
        self._close_listening()
        return is_drained and still_running == 0 and has_ended

    def _close_unstarted(self) -> bool:
        if self._state == "new":
            self._close_listening()
            self._state = "stopped"
            self._ended.set()
            if self._stop_signals is not None:
                self._stop_signals.request_stop()
        return True

    def _close_listening(self) -> None:
        self.accepting = False
        self.del_channel()
        close_listeners(self._listeners)

    def _drop_dispatcher(self) -> None:
        if self._owns_dispatcher and self.task_dispatcher is not None:
            self.task_dispatcher.shutdown(cancel_pending=True, timeout=0)
            self.task_dispatcher = None

    def _abandon_after_fork(self) -> None:
        """Let go, in the child of a fork, of what belongs to the parent's threads."""
        self._lock = threading.RLock()
        if self._native is not None:
            self._native.abandon()
        self._state = "stopped"
        self.accepting = False
        self.del_channel()
        for listener in self._listeners:
            # Only the descriptor: a Unix socket's file is the parent's.
            with contextlib.suppress(OSError):
                os.close(listener.detach())


def _addresses(ip: str | None, port: int | None, adj: Adjustments) -> list[ListenAddress]:
    addresses: list[ListenAddress] = []
    if ip is not None and ip.startswith("unix:"):
        if port:
            raise ValueError(f"a Unix socket has no port: {port!r}")
        addresses.append(ListenAddress.parse(ip))
    elif ip is not None:
        if port is None:
            raise TypeError("port is an int from 0 to 65535, not None")
        addresses.append(ListenAddress.of_host(ip, port))
    elif port is not None:
        raise TypeError("ip is None, so port must be None too")
    addresses.extend(adj.listen_addresses)
    if not (addresses or adj.sockets):
        raise ValueError("nowhere to listen: ip is None, and adj has neither listen nor sockets")
    return addresses


def _native_settings(adj: Adjustments, hooks: ServerHooks, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "parser": hooks.parser,
        "reports_open": hooks.reports_open,
        "reports_close": hooks.reports_close,
        "accepts_by_host": hooks.accepts,
        "io_threads": adj.io_threads,
        "recv_bytes": adj.recv_bytes,
        "send_bytes": adj.send_bytes,
        "high_watermark_bytes": adj.outbuf_high_watermark,
        "connection_limit": adj.connection_limit,
        "max_pipelined_requests": adj.max_pipelined_requests,
        "log_socket_errors": adj.log_socket_errors,
        "idle_timeout_seconds": adj.channel_timeout,
        "request_timeout_seconds": adj.request_timeout_seconds,
        "write_timeout_seconds": adj.write_timeout_seconds,
    }


def _step(deadline: float) -> float:
    return max(0.0, min(_STOP_STEP_SECONDS, deadline - time.monotonic()))


def _each_running(action: Callable[[Server], object]) -> None:
    for server in list(_running):
        with contextlib.suppress(Exception):
            action(server)


def _stop_all_at_exit() -> None:
    _each_running(Server.close)


def _abandon_all_after_fork() -> None:
    _each_running(Server._abandon_after_fork)
    _running.clear()
    _native.close_descriptors_after_fork()


housekeeper.at_exit(_stop_all_at_exit)
housekeeper.after_fork(_abandon_all_after_fork)

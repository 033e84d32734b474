"""`Server`: listens, and serves each connection with a channel; the loops run in Rust.

Strategy: Python binds the sockets and decides what is overridden; from `start` on the native server accepts,
reads, parses and sends, and hands channels to the task dispatcher. `run` waits for a signal or for `stop`.
Must not know: how a worker runs a channel, how a parser works.
Source: IServer, IDispatcher; zope.server's ServerBase for the constructor and the life cycle.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

from zope.interface import implementer

from wiretask import _native, housekeeper, waiting_tasks
from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.channels import ServerChannel
from wiretask.connection import Connection
from wiretask.dispatcher import Dispatcher
from wiretask.errors import ServerClosedError
from wiretask.event_loop import wake_loops
from wiretask.hooks import hooks_of
from wiretask.housekeeper import report, safe_repr
from wiretask.interfaces import IServer
from wiretask.listeners import bind_listeners, close_listeners, server_addresses
from wiretask.logs import log_at
from wiretask.loop_entries import announced
from wiretask.running_server import RunningServer
from wiretask.signals import StopSignals
from wiretask.task_classes import has_method

__all__ = ["Server"]

_LOG = logging.getLogger("wiretask.server")
_ACCESS_LOG = logging.getLogger("wiretask.access")

_LOCK_STEP_SECONDS = 0.05
_living_servers: weakref.WeakSet[Server] = weakref.WeakSet()
_running_servers: weakref.WeakSet[Server] = weakref.WeakSet()


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
        self._state = "stopped"
        self._lock = threading.RLock()
        self._running: RunningServer | None = None
        self._waiting: list[StopSignals] = []
        self._is_stop_asked = False
        self._stop_at = math.inf
        self._was_clean = True
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
        self._state = "new"
        self._listens_on = tuple(ListenAddress.of_socket(listener) for listener in self._listeners)
        self.accepting = start
        self.set_socket(self._listeners[0])
        self.addr = self._listeners[0].getsockname()
        _living_servers.add(self)

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

    # ---- life -----------------------------------------------------------------------------------

    def accept_connections(self) -> None:
        """Listen, if the constructor was told not to (`start=False`)."""
        with self._lock:
            if not self.accepting and self._state in ("new", "starting"):
                for listener in self._listeners:
                    listener.listen(self.adj.backlog)
                self.accepting = True

    def start(self) -> None:
        """Serve in the background: start the loop threads and, if the server has its own, the workers.

        Calling it again does nothing.

        Raises:
            TypeError: a class attribute (`channel_class`, `parser_class`, ...) is unusable; the message says why.
            ServerClosedError: the server has been stopped.
            OSError, RuntimeError: the system has no descriptors or threads left.
        After failure: nothing runs, and it can be tried again.
        """
        if not self._start():
            raise ServerClosedError(f"{self!r} cannot be started again: make a new one")

    def start_in_loop(self) -> None:
        """Start, if that has not been done: `wiretask.loop()` calls this before its first turn."""
        self._start()

    def run(self) -> None:
        """Serve until `stop`, Ctrl-C, SIGTERM or SIGQUIT; then finish what runs, and return.

        On the main thread SIGINT, SIGTERM and SIGQUIT are taken over where they have their default handlers, and
        given back at the end. SIGINT and SIGTERM stop gracefully; a second signal of any kind, or SIGQUIT, at
        once; a second SIGQUIT ends the process, whatever it does. Handlers of the program's own are left alone;
        an exception out of one stops the server and passes on. Returns at once if the server has been stopped.

        Raises: what `start` raises for other reasons.
        Blocking: yes, for the life of the server. Threads: any; only the main one gets signals.
        """
        if self._state == "stopped":
            return
        with StopSignals(self._signal_actions()) as signals:
            self._waiting.append(signals)
            try:
                if self._start():
                    signals.wait()
            finally:
                try:
                    self._stop(None if self._is_stop_asked else self.adj.shutdown_timeout_seconds)
                finally:
                    self._waiting.remove(signals)

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more, answer what has been read, close every connection, end all threads.

        What is still at work after `timeout` seconds (None: `adj.shutdown_timeout_seconds`) is given up:
        queued tasks are cancelled, connections closed; a task that runs goes on, but answers nobody. A stop
        that is under way is hurried by another with less time. Called by a task or a hook of this server, or
        by a signal handler in the middle of `start` or `stop`, it only begins to stop, and returns False.

        Returns:
            True if everything came to its end in time; when it is called again, what the first call returned.
        Raises:
            TypeError, ValueError: timeout is no number, or negative.
            KeyboardInterrupt: Ctrl-C came; the server has stopped nevertheless.
        Threads: any, signal handlers included. May be called again, and before `start`.
        Blocking: up to about `timeout`.
        """
        patience = self.adj.shutdown_timeout_seconds if timeout is None else timeout
        if not isinstance(patience, (int, float)):
            raise TypeError(f"timeout is a number of seconds, 0 or more, or None, not {timeout!r}")
        if not patience >= 0:
            raise ValueError(f"timeout is a number of seconds, 0 or more, or None, not {timeout!r}")
        return self._stop(patience)

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
        if getattr(self, "_state", "stopped") == "stopped" or sys.is_finalizing():
            return
        try:
            warnings.warn(f"{self!r} was never stopped", ResourceWarning, source=self, stacklevel=1)
        finally:
            # Also where warnings are errors.
            with contextlib.suppress(Exception):
                self.stop(0)

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

    def _native_settings(self) -> dict[str, Any]:
        """Return what the loops of this kind of server are told beyond `adj`."""
        return {}

    def _signal_actions(self) -> dict[signal.Signals, Callable[[], object]]:
        """Return what `run` does for which signal, besides stopping."""
        return {}

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

    # ---- the parts of starting and stopping -----------------------------------------------------
    # The lock is re-entrant because a signal handler may call `stop` in the thread that holds it. What it
    # then finds is the state "starting" or "stopping"; `start` looks at `_is_stop_asked` when it is done.

    def _start(self) -> bool:
        """Start, unless that has been done; false: the server has been stopped, or is about to be."""
        with self._lock:
            if self._state != "new" or self._is_stop_asked:
                return self._state == "running"
            hooks = hooks_of(type(self), Server, self._class_of_channels())
            dispatcher = self.task_dispatcher
            self._state = "starting"
            try:
                self.accept_connections()
                self._running = RunningServer.start(self, self._listeners, hooks)
                if hooks.accepts:
                    # Connections may have been reported to `_accept_ready` before it could take them.
                    self._running.listen_again(len(self._listeners))
                self._state = "running"
                _running_servers.add(self)
            except BaseException as error:
                if not self._is_stop_asked:
                    self._stop_running(lambda: 0.0)
                    self._running, self.task_dispatcher, self._state = None, dispatcher, "new"
                    raise
                if not isinstance(error, Exception):
                    self._finish_stop()
                    raise
            if self._is_stop_asked:
                self._finish_stop()
                return False
        if self.verbose:
            self.log_info(f"serving on {', '.join(self.effective_listen)}")
        return True

    def _stop(self, patience: float | None) -> bool:
        """Stop within `patience` seconds; None: within what is left of the time that was given before."""
        self._is_stop_asked = True
        if patience is not None:
            self._stop_at = min(self._stop_at, time.monotonic() + patience)
        # A worker cannot wait for the lock: who has it may have just started the server, and wait for the worker.
        while not self._is_served_by_caller():
            if not self._lock.acquire(timeout=_LOCK_STEP_SECONDS):
                continue
            try:
                if self._is_served_by_caller():
                    break
                if self._state in ("starting", "stopping"):
                    return False
                if self._state != "stopped":
                    self._finish_stop()
                return self._was_clean
            finally:
                self._lock.release()
        self._stop_elsewhere()
        return False

    def _is_served_by_caller(self) -> bool:
        running = self._running
        return running is not None and running.is_served_by_caller()

    def _stop_elsewhere(self) -> None:
        """Have another thread stop: one that waits in `run`, or a new one."""
        waiting = list(self._waiting)
        for signals in waiting:
            signals.request_stop()
        if not waiting and self._state == "running":
            name = f"wiretask-stop-{type(self).__name__}"
            threading.Thread(target=self._stop, args=(None,), name=name, daemon=True).start()

    def _finish_stop(self) -> None:
        """Stop what runs, if anything; called with the lock, in any state but "stopped"."""
        self._state = "stopping"
        try:
            self._close_listening()
            self._was_clean = self._stop_running(self._seconds_left)
            # What still runs goes on, but what waits behind it in the same channel has no one to run it.
            waiting_tasks.cancel_all_of(self)
        finally:
            self.del_channel()
            self._state = "stopped"
            _running_servers.discard(self)
            for signals in list(self._waiting):
                signals.request_stop()
            wake_loops(self._map)

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

    def _stop_running(self, seconds_left: Callable[[], float]) -> bool:
        running = self._running
        return running is None or running.stop(seconds_left)

    def _seconds_left(self) -> float:
        is_hurried = any(signals.is_hurried for signals in list(self._waiting))
        return 0.0 if is_hurried else self._stop_at - time.monotonic()

    def _abandon_after_fork(self) -> None:
        """Let go, in the child of a fork, of what belongs to the parent's threads."""
        self._lock = threading.RLock()
        if self._state == "new":
            return
        if self._running is not None:
            self._running.abandon()
        self._state = "stopped"
        self.accepting = False
        self.del_channel()
        for listener in self._listeners:
            # Only the descriptor: a Unix socket's file is the parent's.
            with contextlib.suppress(OSError):
                os.close(listener.detach())


def _close_quietly(listeners: list[socket.socket]) -> None:
    """Close the listeners; one that was closed under us must not keep the server from stopping."""
    try:
        close_listeners(listeners)
    except OSError as error:
        report(_LOG, "cannot close a listening socket", error=error)


def _each(servers: Iterable[Server], action: Callable[[Server], object]) -> None:
    for server in list(servers):
        try:
            action(server)
        except BaseException as error:
            report(_LOG, "cannot end %s", safe_repr(server), error=error)


def _stop_all_at_exit() -> None:
    _each(_running_servers, Server.close)


def _abandon_all_after_fork() -> None:
    _each(_living_servers, Server._abandon_after_fork)
    _running_servers.clear()
    waiting_tasks.forget_all()
    _native.close_descriptors_after_fork()


housekeeper.at_exit(_stop_all_at_exit)
housekeeper.after_fork(_abandon_all_after_fork)

"""`ServerLife`: how a server is started and stopped: by whom, how often, from where, and what it is meanwhile.

Strategy: a state, from "new" over "starting", "running" and "stopping" to "stopped", behind one lock. Whoever stops a
server does so himself, unless he works for it: then a thread that waits in `run` does, or a new one. What is started
and stopped, `RunningServer` knows; what is listened on, the subclass.
Must not know: addresses, hooks, channels.
Source: IServer; zope.server's ServerBase for the life cycle.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from wiretask import _native, housekeeper, waiting_tasks
from wiretask.adjustments import Adjustments
from wiretask.dispatcher import Dispatcher
from wiretask.errors import ServerClosedError
from wiretask.event_loop import wake_loops
from wiretask.hooks import ServerHooks
from wiretask.housekeeper import report, safe_repr
from wiretask.running_server import RunningServer
from wiretask.signals import StopSignals

__all__ = ["ServerLife"]

_LOG = logging.getLogger("wiretask.server")

_LOCK_STEP_SECONDS = 0.05
_living_servers: weakref.WeakSet[ServerLife] = weakref.WeakSet()
_running_servers: weakref.WeakSet[ServerLife] = weakref.WeakSet()


class ServerLife(Dispatcher):
    """What `Server` inherits of starting and stopping. All methods may be called from any thread."""

    adj: Adjustments
    task_dispatcher: Any
    verbose: bool
    _listeners: list[socket.socket]

    def __init__(self) -> None:
        super().__init__()
        # Until it listens, there is nothing to be stopped.
        self._state = "stopped"
        self._lock = threading.RLock()
        self._running: RunningServer | None = None
        self._waiting: list[StopSignals] = []
        self._is_stop_asked = False
        self._stop_at = math.inf
        self._was_clean = True

    def _begin_life(self) -> None:
        """It listens, and can be started; from now on it has to be stopped."""
        self._state = "new"
        _living_servers.add(self)

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
        self._run_saying(lambda: None)

    def _run_saying(self, say: Callable[[], object]) -> None:
        """As `run`; `say` is called, in this thread, as soon as it serves and a signal stops it gracefully.

        What `say` raises stops the server and passes on.
        """
        if self._state == "stopped":
            return
        with StopSignals(self._signal_actions()) as signals:
            self._waiting.append(signals)
            try:
                if self._start():
                    say()
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

    # ---- what the subclass knows ----------------------------------------------------------------

    @property
    def effective_listen(self) -> tuple[str, ...]:
        """The addresses it really listens on."""
        raise NotImplementedError

    def accept_connections(self) -> None:
        """Listen, if that has not been done."""
        raise NotImplementedError

    def _hooks(self) -> ServerHooks:
        """Return what the loops have to leave to Python."""
        raise NotImplementedError

    def _native_settings(self) -> dict[str, Any]:
        """Return what the loops of this kind of server are told beyond `adj`."""
        return {}

    def _signal_actions(self) -> dict[signal.Signals, Callable[[], object]]:
        """Return what `run` does for which signal, besides stopping."""
        return {}

    def _close_listening(self) -> None:
        """Have the system refuse connections from now on."""
        raise NotImplementedError

    def _abandon_listening(self) -> None:
        """Let go of the sockets, in the child of a fork."""
        raise NotImplementedError

    # ---- the parts of starting and stopping -----------------------------------------------------
    # The lock is re-entrant because a signal handler may call `stop` in the thread that holds it. What it
    # then finds is the state "starting" or "stopping"; `start` looks at `_is_stop_asked` when it is done.

    def _start(self) -> bool:
        """Start, unless that has been done; false: the server has been stopped, or is about to be."""
        with self._lock:
            if self._state != "new" or self._is_stop_asked:
                return self._state == "running"
            hooks = self._hooks()
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
        self._abandon_listening()


def _each(servers: Iterable[ServerLife], action: Callable[[ServerLife], object]) -> None:
    for server in list(servers):
        try:
            action(server)
        except BaseException as error:
            report(_LOG, "cannot end %s", safe_repr(server), error=error)


def _stop_all_at_exit() -> None:
    _each(_running_servers, ServerLife.close)


def _abandon_all_after_fork() -> None:
    _each(_living_servers, ServerLife._abandon_after_fork)
    _running_servers.clear()
    waiting_tasks.forget_all()
    _native.close_descriptors_after_fork()


housekeeper.at_exit(_stop_all_at_exit)
housekeeper.after_fork(_abandon_all_after_fork)

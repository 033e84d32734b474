"""`RunningServer`: the loops in Rust and the task dispatcher behind a `Server`, from their start to their end.

Strategy: all or nothing. What is started is stopped in the order that keeps the promises: accept no more, let
answers leave and queued work finish while there is time, then cancel, then end the loops.
Must not know: states, locks, signals or who may call what; that is `ServerLife`'s.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from wiretask import _native, housekeeper
from wiretask.adjustments import Adjustments
from wiretask.channel_opening import ChannelOpening
from wiretask.hooks import ServerHooks
from wiretask.tasks import ThreadedTaskDispatcher

if TYPE_CHECKING:
    from wiretask.server_life import ServerLife

__all__ = ["DESCRIPTORS_OF_AN_APPLICATION", "RunningServer"]

_LOG = logging.getLogger("wiretask.server")

_LOOP_PATIENCE_SECONDS = 5.0
_STEP_SECONDS = 0.05
#: So many descriptors are not for connections, or a quarter of those that there are.
DESCRIPTORS_OF_AN_APPLICATION = 256
#: A stop that waits longer says so.
_SILENCE_SECONDS = 2.0
#: What idle workers get to leave, when there is no time at all.
_GRACE_SECONDS = 0.1


class RunningServer:
    """What `RunningServer.start` has started. Every method may be called from any thread.

    Attributes:
        native: the loops.
        dispatcher: where channels are queued.
    """

    def __init__(
        self, native: _native.Server, dispatcher: Any, own_dispatcher: ThreadedTaskDispatcher | None
    ) -> None:
        self.native = native
        self.dispatcher = dispatcher
        self._own_dispatcher = own_dispatcher

    @classmethod
    def start(cls, server: ServerLife, listeners: Iterable[socket.socket], hooks: ServerHooks) -> Self:
        """Start the loops of `server`, and workers if it has no dispatcher.

        Raises:
            OSError, RuntimeError: the system has no descriptors or threads left; `adj.spool_directory` is
            none in which files can be made.
        After failure: nothing runs.
        """
        _check_spool_directory(server.adj)
        name, dispatcher, own_dispatcher = type(server).__name__, server.task_dispatcher, None
        with contextlib.ExitStack() as on_failure:
            if dispatcher is None:
                adj = server.adj
                own_dispatcher = ThreadedTaskDispatcher(adj.threads, max_pending=adj.max_pending, name=name)
                on_failure.callback(own_dispatcher.shutdown, timeout=_GRACE_SECONDS)
                # Before the loops start: they may have work at once.
                dispatcher = server.task_dispatcher = own_dispatcher
                on_failure.callback(setattr, server, "task_dispatcher", None)
            housekeeper.start()
            queue = None
            is_ours = isinstance(dispatcher, ThreadedTaskDispatcher)
            if is_ours and type(dispatcher).addTask is ThreadedTaskDispatcher.addTask and not hooks.queues:
                queue = dispatcher._queue
            config = _native_settings(server.adj, hooks, name) | server._native_settings()
            descriptors: list[int] = []
            with contextlib.ExitStack() as copies:
                for listener in listeners:
                    descriptors.append(os.dup(listener.fileno()))
                    copies.callback(os.close, descriptors[-1])
                copies.pop_all()
            native = _native.Server(server, ChannelOpening, queue, descriptors, config)
            on_failure.pop_all()
            return cls(native, dispatcher, own_dispatcher)

    def is_served_by_caller(self) -> bool:
        """Whether the calling thread works for the server: it cannot wait for the server's end."""
        if isinstance(self.dispatcher, ThreadedTaskDispatcher) and self.dispatcher._queue.is_worker_thread():
            return True
        return housekeeper.is_current_thread() or self.native.is_run_by_caller()

    def listen_again(self, count: int) -> None:
        """Have all `count` listeners reported again on which connections wait."""
        for index in range(count):
            self.native.listen_again(index, True)

    def stop(self, seconds_left: Callable[[], float]) -> bool:
        """Stop gracefully while `seconds_left()`, which may fall at any time, is more than 0; then at once.

        Returns:
            True if everything came to its end in time.
        Raises:
            KeyboardInterrupt: Ctrl-C came; the loops have ended nevertheless.
        Blocking: a little longer than there is time.
        """
        native = self.native
        is_drained, still_running, has_ended = False, 0, False
        tells_at = time.monotonic() + _SILENCE_SECONDS
        try:
            native.drain()
            while not (is_drained := native.wait_drained(min(_STEP_SECONDS, max(0.0, seconds_left())))):
                if seconds_left() <= 0:
                    break
                if time.monotonic() >= tells_at:
                    tells_at = math.inf
                    message = "stopping; requests are still being answered, and have %.0f more seconds"
                    _LOG.warning(message, seconds_left())
            still_running = self._stop_dispatcher(seconds_left)
        finally:
            has_ended = native.stop(_LOOP_PATIENCE_SECONDS)
        return is_drained and still_running == 0 and has_ended

    def abandon(self) -> None:
        """Let go, in the child of a fork, of what belongs to the parent's threads."""
        self.native.abandon()

    def _stop_dispatcher(self, seconds_left: Callable[[], float]) -> int:
        """Let queued channels finish while there is time; return how many workers still run."""
        dispatcher = self._own_dispatcher
        if dispatcher is None or _native.is_exiting():
            # At exit the dispatchers have been told already, and their workers are not waited for.
            return 0
        queue = dispatcher._queue
        queue.close(drain=True)
        begin = time.monotonic()
        while queue.wait_for_workers(0, max(0.0, min(_STEP_SECONDS, seconds_left()))):
            if seconds_left() <= 0:
                break
        grace = max(0.0, _GRACE_SECONDS - (time.monotonic() - begin))
        return dispatcher.shutdown(cancel_pending=True, timeout=grace)


def _check_spool_directory(adj: Adjustments) -> None:
    directory = adj.spool_directory
    if directory is not None and adj.outbuf_spool_limit:
        try:
            tempfile.TemporaryFile(dir=directory).close()
        except OSError as error:
            message = f"cannot make files in the spool_directory: {error.strerror or error}"
            raise OSError(error.errno, message, os.fspath(directory)) from error


def _connection_limit(wanted: int) -> int:
    """Return how many connections there may be: some of the descriptors are left to the application."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    possible = max(1, descriptors - min(descriptors // 4, DESCRIPTORS_OF_AN_APPLICATION))
    if possible < wanted:
        message = "at most %d connections at a time, not %d, as the process may have no more than %d descriptors"
        _LOG.info(message, possible, wanted, descriptors)
    return min(wanted, possible)


def _native_settings(adj: Adjustments, hooks: ServerHooks, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "parser": hooks.parser,
        "reports_open": hooks.reports_open,
        "reports_close": hooks.reports_close,
        "http": None,
        "body_memory_bytes": None,
        "streams_bodies": False,
        "accepts_by_host": hooks.accepts,
        "io_threads": adj.io_threads,
        "recv_bytes": adj.recv_bytes,
        "send_bytes": adj.send_bytes,
        "output_memory_bytes": adj.outbuf_overflow,
        "output_spool_bytes": adj.outbuf_spool_limit,
        "high_watermark_bytes": adj.outbuf_high_watermark,
        "writer_patience_seconds": adj.outbuf_wait_seconds,
        "spool_directory": adj.spool_directory,
        "connection_limit": _connection_limit(adj.connection_limit),
        "evict_idle_seconds": adj.evict_idle_seconds,
        "max_pipelined_requests": adj.max_pipelined_requests,
        "max_pipelined_bytes": adj.max_pipelined_bytes,
        "log_socket_errors": adj.log_socket_errors,
        "wsgi": None,
        "idle_timeout_seconds": adj.channel_timeout,
        "request_timeout_seconds": adj.request_timeout_seconds,
        "write_timeout_seconds": adj.write_timeout_seconds,
    }

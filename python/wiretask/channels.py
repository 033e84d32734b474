"""`ServerChannel`: one connection of a server; it turns requests into tasks and runs them in order.

Strategy: the channel itself is the task that is queued. A worker that gets it asks the native channel for
work until there is none: a completed request, a piece of the stream (where the parser is Python), or an
event. Everything a subclass may override runs here, on that worker, one at a time. The native base class
holds the connection and writes to it. Must not know: how a server listens, which dispatcher runs it.
Source: IServerChannel, ITask; zope.server's ServerChannelBase for names and life cycle.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from zope.interface import implementer

from wiretask import _native, housekeeper, waiting_tasks
from wiretask.connection import Connection
from wiretask.errors import ClientDisconnectedError
from wiretask.housekeeper import cancel_task, report, safe_repr
from wiretask.interfaces import IServerChannel, ITask
from wiretask.logs import log_at
from wiretask.task_classes import Task, check_task, note_if_plain, plain_task_classes

if TYPE_CHECKING:
    from wiretask.adjustments import Adjustments
    from wiretask.servers import Server

__all__ = ["ServerChannel"]

_LOG = logging.getLogger("wiretask.server")
_TASK_LOG = logging.getLogger("wiretask.task")

_new: Any = object.__new__

_making_queue = threading.Lock()
"""Held by who gives a channel the queue for its tasks."""


@implementer(IServerChannel, ITask)
class ServerChannel(_native.Channel):
    """One connection. Set `parser_class` and `task_class`; override what you need.

    Args:
        server: the server that accepted the connection.
        conn: the connection.
        addr: the address of the peer.
        adj: the server's settings; None: `server.adj`.
    Raises:
        TypeError: `conn` is no `wiretask.Connection`.
    Overridden methods run on a worker thread, one at a time for a channel; what is overridden is looked up
    in the class when the server starts. An exception out of any of them ends in `handle_error`.
    A channel lives as long as its connection. Unless `__init__` or `handle_connect` is overridden, it is made
    with the first request.
    """

    __slots__ = ("__weakref__", "_parser", "_tasks")

    parser_class: Any = None
    """What cuts the stream into requests: called as `parser_class(adj)`, gives an IStreamConsumer. A class
    or `configured` factory of `wiretask.consumers` runs in Rust, any other on the worker."""

    task_class: Any = Task
    """Called as `task_class(channel, request)` for each request, gives an ITask."""

    _serves_directly: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        # Requests need not pass through the queue of tasks if nobody watches them on their way.
        cls._serves_directly = (
            cls.handle_request is ServerChannel.handle_request and cls.queue_task is ServerChannel.queue_task
        )

    def __init__(self, server: Server, conn: Connection, addr: Any, adj: Adjustments | None = None) -> None:
        if not isinstance(conn, Connection):
            raise TypeError(f"conn is a wiretask.Connection, not {conn!r}")
        self._tasks: deque[Any] | None = None  # until the first `queue_task`: most channels need none
        self._parser: Any = None
        self._bind(conn._native, self)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} for {self.addr!r} at {id(self):#x}>"

    @property
    def server(self) -> Server:
        """The server; ReferenceError once it has been stopped and collected."""
        server: Server = self._server
        return server

    @property
    def adj(self) -> Adjustments:
        """The server's settings."""
        return self.server.adj

    @property
    def conn(self) -> Connection:
        """The connection."""
        return Connection(self._connection)

    # ---- ITask: what the server queues ----------------------------------------------------------

    def service(self) -> None:
        """Do all the work there is, in order. Called by a worker; the channel is then nobody else's."""
        try:
            while (work := self._next_work()) is not None:
                kind = type(work)
                if kind is int:
                    self._handle_event(work)
                elif kind is bytes:
                    self._handle_bytes(work)
                elif self._serves_directly:
                    if self._tasks:
                        # They were queued before.
                        self._run_tasks()
                    task_class = self.task_class
                    if type(task_class) is type and task_class in plain_task_classes:
                        # What `_serve` comes to, without a call for each of its steps.
                        try:
                            task = _new(task_class)
                            task.channel = self
                            task.request = work
                            task.service()
                        except BaseException:
                            self._handle_exception()
                        task = None
                    else:
                        self._serve(task_class, work)
                    if self._tasks:
                        self._run_tasks()
                else:
                    self._handle_request(work)
        except BaseException:
            # Only an asynchronous exception gets here, or a bug of ours: nothing may stay half done.
            self._give_up()
            self._cancel_tasks()
            raise
        finally:
            if self._tasks is not None:
                waiting_tasks.look_again(self)

    def cancel(self) -> None:
        """Cancel the tasks that wait, and close. Called instead of `service` when there will be none.

        An overridden `handle_close` is then called here.
        """
        # In this order: a task that another thread queues after the first step is told that it is too late.
        is_close_due = self._cancel_queued()
        self._cancel_tasks()
        waiting_tasks.look_again(self)
        if is_close_due:
            self._handle_event(_native.WORK_CLOSED)

    def defer(self) -> None:
        """Nothing: the channel is queued by its server."""

    # ---- IServerChannel -------------------------------------------------------------------------

    def queue_task(self, task: Any) -> None:
        """Queue a task of this channel; its tasks run in sequence, on worker threads.

        Args:
            task: an ITask. Its `defer()` is called here, in the calling thread; it gets exactly one of
            `service()` and `cancel()`, the latter if the connection closes first.
        Raises:
            ValueError: task is None. TypeError: it lacks one of the three methods.
            ClientDisconnectedError: the connection is closed; the task has been cancelled.
            Whatever `defer()` raises; the task has been cancelled then too.
        Threads: any. Blocking: never.
        """
        check_task(task)
        try:
            task.defer()
        except BaseException:
            cancel_task(task)
            raise
        self._append(task)
        waiting_tasks.note(self)
        if not self._tasks_queued():
            # Whatever still waits then, this task or others, will not be run.
            self._cancel_tasks()
            waiting_tasks.look_again(self)
            raise ClientDisconnectedError(f"the connection from {self.addr!r} is closed")

    # ---- for subclasses to override -------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Cut `data` into requests with `parser_class` and hand each to `handle_request`.

        Called only for a parser written in Python, or if overridden. Args: data: the next bytes of the
        stream, in order, at most `adj.recv_bytes` of them.
        """
        parser_class, adj = self.parser_class, self.adj
        while data:
            parser = self._parser
            if parser is None:
                parser = self._parser = parser_class(adj)
            consumed = parser.received(data)
            if parser.completed:
                self._parser = None
                if not self._accept(parser):
                    return
            elif consumed <= 0:
                raise RuntimeError(f"{parser!r} consumed nothing of {len(data)} bytes and is not completed")
            data = data[consumed:]

    def handle_request(self, request: Any) -> None:
        """Queue the task of a request: `queue_task(task_class(self, request))`."""
        self.queue_task(self.task_class(self, request))

    def handle_connect(self) -> None:
        """The connection was made. Overridden, it runs before any input is handled."""

    def handle_close(self) -> None:
        """The connection is gone. Overridden, it runs once, after everything else."""

    def handle_error(self) -> None:
        """An exception came out of a task or an overridden method: log it, and close.

        `sys.exception()` is the exception. What was written before is still sent. That the peer is gone
        (ClientDisconnectedError) is nobody's fault, and logged as DEBUG.
        """
        error = _current()
        if isinstance(error, ClientDisconnectedError) and (self.closed or self.client_disconnected):
            _LOG.debug("%s was closed while it was served", safe_repr(self), exc_info=error)
        else:
            report(_TASK_LOG, "exception while serving %s", safe_repr(self), error=error)
        self.close_when_done()

    def log(self, message: str) -> None:
        """Log a request (a hit), through the server."""
        self.server.log(message)

    def log_info(self, message: str, type: str = "info") -> None:
        """Log a message of a kind ("debug", "info", "warning" or "error")."""
        log_at(_LOG, type, message)

    # ---- the work -------------------------------------------------------------------------------

    def _serve(self, task_class: Any, request: Any) -> None:
        """Make the task of a request and run it: what `handle_request` and `queue_task` come to."""
        is_started = True
        task: Any = None
        try:
            task = task_class(self, request)
            note_if_plain(task_class)
            is_started = False
            task.defer()
            is_started = True
            task.service()
        except BaseException:
            if not is_started:
                cancel_task(task)
            self._handle_exception()

    def _handle_request(self, request: Any) -> None:
        try:
            self.handle_request(request)
        except BaseException:
            self._handle_exception()
        self._run_tasks()

    def _handle_bytes(self, data: bytes) -> None:
        begun_before = self._parser
        try:
            self.received(data)
        except BaseException:
            self._handle_exception()
        self._run_tasks()
        begun = self._parser
        if begun is not begun_before:
            # The time limit is one request's: the next one begins anew.
            if begun_before is not None:
                self._set_request_begun(False)
            if begun is not None:
                self._set_request_begun(True)

    def _handle_event(self, event: int) -> None:
        try:
            if event == _native.WORK_OPENED:
                self.handle_connect()
            elif event == _native.WORK_END_OF_INPUT:
                self._end_of_input()
            elif event == _native.WORK_CLOSED:
                self.handle_close()
        except BaseException:
            self._handle_exception()
        self._run_tasks()

    def _end_of_input(self) -> None:
        parser, self._parser = self._parser, None
        end_of_input = getattr(parser, "end_of_input", None)
        if end_of_input is not None:
            end_of_input()
            if parser.completed:
                self._accept(parser)

    def _accept(self, parser: Any) -> bool:
        """Hand on a completed parser; false: the stream is broken, nothing more is to be parsed."""
        if getattr(parser, "error", None) is not None:
            # What came before is still answered: the close waits for the tasks behind it.
            self._append(_Closing(self))
            return False
        if not getattr(parser, "empty", False):
            self.handle_request(parser)
        return True

    def _run_tasks(self) -> None:
        """Run the tasks there are now; those that come meanwhile have their turn after other input."""
        if not self._tasks:
            return
        is_first = True
        for _ in range(len(self._tasks)):
            if (task := self._next_task()) is None:
                return
            if self._is_closing:
                cancel_task(task)
                continue
            if not is_first:
                # The answers before this one must not wait for it if it takes long.
                self._flush_soon()
            is_first = False
            try:
                task.service()
            except BaseException:
                self._handle_exception()
        if self._tasks and not self._tasks_left():
            self._cancel_tasks()

    def _handle_exception(self) -> None:
        try:
            self.handle_error()
        except BaseException as error:
            report(_LOG, "exception in handle_error of %s", safe_repr(self), error=error)
            self._abort()

    def _cancel_tasks(self) -> None:
        while (task := self._next_task()) is not None:
            cancel_task(task)

    def _next_task(self) -> Any:
        """Take the next task out, which is then the caller's alone; None: there is none."""
        if not self._tasks:
            return None
        try:
            return self._tasks.popleft()
        except IndexError:
            return None

    def _append(self, task: Any) -> None:
        """Have a task wait in the channel. Any thread."""
        tasks = self._tasks
        if tasks is None:
            with _making_queue:
                tasks = self._tasks = deque() if self._tasks is None else self._tasks
        tasks.append(task)


def _handle_fork() -> None:
    """In the child of a fork: nobody holds the lock."""
    global _making_queue
    _making_queue = threading.Lock()


housekeeper.after_fork(_handle_fork)


def _current() -> BaseException:
    return sys.exception() or RuntimeError("handle_error was called without an exception")


class _Closing:
    """A task that closes its channel in its turn."""

    def __init__(self, channel: ServerChannel) -> None:
        self._channel = channel

    def service(self) -> None:
        self._channel.close_when_done()

    cancel = service

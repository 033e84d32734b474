"""The nine interfaces that everything in wiretask provides or expects.

Strategy: names, signatures and defaults are those of `zope.server.interfaces` to the letter, so that code
written against those keeps working; the text is our own and adds what the originals left open: errors,
limits, threads, end of stream, and who may count on what.
Must not know: any of our classes. Other modules declare what they provide; this one imports nothing of ours.
Source: the interfaces of zope.server (2001-2005) and the semantics of `asyncore`.

As everywhere in zope.interface, methods are written without `self`. Unless a docstring says otherwise, an
object may be used by one thread at a time.
"""

from zope.interface import Attribute, Interface

__all__ = [
    "IDispatcher",
    "IDispatcherEventHandler",
    "IDispatcherLogging",
    "IServer",
    "IServerChannel",
    "ISocket",
    "IStreamConsumer",
    "ITask",
    "ITaskDispatcher",
]


class ISocket(Interface):
    """A stream socket, or something that behaves like one.

    Errors of the system are raised as the `OSError` subclass that fits, with `errno` kept. An object whose
    socket is non-blocking never waits: where an ordinary socket would, the docstrings below say what happens
    instead.
    """

    def listen(backlog):
        """Begin to accept connections.

        Args:
            backlog: how many connections may wait in the kernel to be accepted; at least 1. The system may
                round it down without saying so (on Linux to `net.core.somaxconn`).
        Raises:
            OSError: the socket is not bound where that is needed, is connected, or is closed.
        After failure: the socket is as it was.
        """

    def bind(addr):
        """Give the socket an address. It must not have one yet.

        Args:
            addr: in the form of the socket's family: `(host, port)`, `(host, port, flowinfo, scope_id)`, or a
                path. Port 0 lets the system choose; ask `getsockname` for the port it chose.
        Raises:
            OSError: the address is taken, is not of this machine, may not be used, or the socket has one
                already.
        After failure: the socket is unbound, as before.
        """

    def connect(address):
        """Connect to the remote socket at `address`.

        A non-blocking socket only begins to connect: this returns at once, and whether it succeeded arrives
        later as an event (`handle_connect`, or an error). The time that takes is limited by the system alone.

        Raises:
            OSError: the connection was refused or cannot be tried.
        After failure: not connected; close it and make another, for not every system allows a second try.
        """

    def accept():
        """Take one waiting connection. The socket must be bound and listening.

        Returns:
            A pair `(conn, address)`: `conn` is a new, connected socket, owned by the caller, who must close
            it; `address` is the peer's. A non-blocking object returns None when no connection waits, or when
            the one that did is gone again: a peer that gives up early is no error.
        Raises:
            OSError: the socket does not listen or is closed, or descriptors or memory have run out (`EMFILE`,
                `ENFILE`, `ENOBUFS`, `ENOMEM`). In the latter case the connection still waits and the listener
                still reports it: wait a little before the next attempt.
        """

    def recv(buffer_size):
        """Receive at most `buffer_size` bytes.

        Args:
            buffer_size: at least 1.
        Returns:
            The bytes that are there, at least one. `b""` says that the peer will send nothing more. It does
            not say that it no longer reads: it may have closed its sending half only.
        Raises:
            BlockingIOError: nothing is there yet and the object does not wait.
            OSError: the connection failed or is closed.
        """

    def send(data):
        """Send bytes on a connected socket.

        Args:
            data: bytes, bytearray or a contiguous memoryview.
        Returns:
            How many bytes were taken, 0 to len(data). The caller sends the rest, later and in order; nothing
            here remembers it. 0 means that there is no room now (or that `data` was empty).
        Raises:
            OSError: the connection failed or is closed. How much of what was taken earlier has reached the
                peer is then unknown.
        """

    def close():
        """Close the socket. Closing twice is harmless.

        Later operations fail with `OSError`. What was sent is still delivered to the peer by the system as
        far as possible; what a server holds in its own output buffers is not, see `IServerChannel`. An object
        that is collected without having been closed is closed then, but nobody should rely on when that is.
        """


class ITaskDispatcher(Interface):
    """Takes tasks and runs them on worker threads.

    Every method may be called from any thread, also from a worker while it serves a task of this dispatcher,
    and from a signal handler. No method calls a task's methods while holding a lock, so tasks may call back.
    """

    def setThreadCount(count):
        """Set how many worker threads there shall be, now and from now on.

        Fewer: the surplus workers leave as soon as they have finished what they do, before any further task;
        this does not wait for them. More: they start at once. After `shutdown` a count above 0 opens the
        dispatcher again.

        Args:
            count: 0 or more. With 0, tasks are taken and wait.
        Raises:
            ValueError, TypeError: count is negative, beyond the implementation's limit, or no integer.
            RuntimeError: the system gave no more threads.
        After failure: for a bad argument the count is as before; otherwise as many threads run as could be
        started.
        """

    def addTask(task):
        """Take a task; a worker will run it as soon as one is free.

        Calls `task.defer()` in the calling thread, then queues. Tasks start in the order in which they were
        added; with more than one worker they need not finish in it. From the call on, the task gets exactly
        one of `service()` and `cancel()`, whether this method returns or raises. Never waits for room.

        Args:
            task: an ITask. Adding an object that is still queued makes it one more task, with an outcome of
                its own.
        Raises:
            ValueError, TypeError: the task is None or is no ITask; nothing was called on it.
            wiretask.errors.TaskQueueFullError: the queue has a bound and is full.
            wiretask.errors.ServerClosedError: the dispatcher has been shut down.
            Whatever `task.defer()` raised.
        After failure: the task was cancelled (unless it was no task) and nothing of it remains queued.
        """

    def shutdown(cancel_pending=True, timeout=5):
        """Stop all workers, and by default cancel every task that still waits.

        A task that is being served is never interrupted. Called by a worker, it does not wait for that
        worker. Calling it twice is harmless. Until `setThreadCount` opens it again the dispatcher refuses
        tasks.

        Args:
            cancel_pending: true: cancel what waits, before waiting for the workers. False: let the workers
                finish it within the time; what is left stays queued for a dispatcher that is opened again,
                and is cancelled when the dispatcher goes away.
            timeout: seconds to wait for the workers; 0 does not wait.
        Returns:
            The number of workers that still ran when the time was up (0: all have ended). Implementations
            made for the older interface return nothing.
        Blocking: up to `timeout`, plus the time the cancelled tasks' `cancel()` take.
        """

    def getPendingTasksEstimate():
        """Return about how many tasks wait to be run.

        Exact while nobody adds or takes; otherwise true of a moment during the call. Tasks being served do
        not count. If the figure keeps climbing the server gets more work than it can do, and an operator
        should be told. Never blocks.
        """


class ITask(Interface):
    """A piece of work for an ITaskDispatcher.

    The one promise everything rests on: a task that was handed to `addTask` or `queue_task` gets **exactly
    one** of `service()` and `cancel()`, whatever happens: a worker that dies, a full queue, a shutdown in the
    middle, a task added after it. What a task holds is therefore safely released in those two methods. (A
    process that ends by force, or the child of a fork, keeps no promise for the tasks of its parent.)
    """

    def service():
        """Do the work. Called on a worker thread, at most once for each time the task was added.

        May block, may add tasks. Whatever it raises, `BaseException` included, is logged with its traceback
        and goes no further: the worker lives on, other tasks are not affected, and `cancel()` is not called
        afterwards.
        """

    def cancel():
        """Take note that `service()` will not be called.

        Called at shutdown, when the task was refused, or when an error keeps it from being served. Runs on
        whichever thread found that out; should return quickly and should not raise. If it does raise, that is
        logged and the tasks behind it are still dealt with.
        """

    def defer():
        """Get ready to be run by another thread.

        Called in the thread that adds the task, just before it is queued: the last moment to take what
        belongs to that thread. If it raises, the task is cancelled and the caller of `addTask` gets the
        exception.
        """


class IDispatcherEventHandler(Interface):
    """What can happen to a dispatcher.

    The `handle_*_event` methods are called by the loop and decide which of the others apply; applications
    override the others. All of them run one at a time per dispatcher, in the thread that runs the loop,
    unless the class documents other threads. An exception out of any of them leads to `handle_error`.
    """

    def handle_read_event():
        """Deal with a read event: input, a connection to accept, a connection made, or the end of input.

        May be called when there is nothing to read after all. Level, not edge: as long as something is unread
        and `readable()` says yes, it is called again.
        """

    def handle_write_event():
        """Deal with a write event: there is room for output, or a connection attempt has been decided."""

    def handle_expt_event():
        """Deal with an exceptional event: an error is pending on the socket, or urgent data has arrived."""

    def handle_error():
        """Deal with the exception that is being handled at this moment (`sys.exc_info()`).

        Called for every exception out of a handler, except those that are meant to end the loop. The default
        logs the traceback and closes. Raising that same exception again passes it on to the caller of the
        loop; another one, a mistake of this method's own, is reported and ends this dispatcher only.
        """

    def handle_expt():
        """Called for an exceptional event that nothing else accounts for. The default logs a warning."""

    def handle_read():
        """Called when there is something to read. One call of `recv` is enough; the rest is reported again.

        The end of the stream is reported here too: `recv` then returns `b""` and `handle_close` is called.
        """

    def handle_write():
        """Called when there is room to write. `send` may take less than it is given."""

    def handle_connect():
        """Called once, when the connection has been made, before any `handle_read` or `handle_write`."""

    def handle_accept():
        """Called when a connection waits to be accepted. It may be gone by the time `accept` is called."""

    def handle_close():
        """Called when the connection has ended, by the peer or by an error. The default closes this side."""


class IStreamConsumer(Interface):
    """A parser that is fed the bytes of a stream in pieces, as they happen to come, and takes what it needs.

    Laws: the result does not depend on where the stream was cut; nothing is taken after completion; every
    call with data takes at least one byte until then; memory is bounded; work is linear in the bytes; any
    bytes lead to a value or an error state, never to an exception. A peer's mistake is a state (`error`,
    where the class has it), not an
    exception: `completed` is then true. Needs no thread, socket or clock; one thread at a time per object.

    End of stream: a consumer may have a method `end_of_input()`, called once when no more data will come. In
    the middle of a value it completes with an error that says so. Without the method, an unfinished value is
    dropped.
    """

    def received(data):
        """Take data from the stream and return how many bytes were consumed.

        How much it will need may be unknown beforehand, and the data may hold the beginning of what follows.

        Args:
            data: the next bytes in order: bytes, bytearray or memoryview, of any length. It may be re-used by
                the caller after the call: copy what must last.
        Returns:
            0 to len(data). Less than len(data) only if `completed` is true now; the rest belongs to the next
            consumer. 0 for data that is not empty only if `completed` was true before the call.
        Raises:
            TypeError: data is not bytes-like.
        Blocking: never.
        """

    completed = Attribute(
        """True once it has consumed all it needs, or has found an error. Never becomes false again."""
    )


class IServer(Interface):
    """A server: a listener that makes a channel for each connection.

    Two mechanisms meet in it. Accepting and all socket I/O are asynchronous and never wait; each request runs
    as a task on a thread, where it may wait. So a request that takes long does not keep the others waiting,
    until all threads are busy: then requests queue, and the queue is visible.
    """

    channel_class = Attribute(
        """The class of the channels (see IServerChannel) that the server makes, one for each connection."""
    )

    SERVER_IDENT = Attribute(
        """A string that names the server to its clients, where the protocol has room. To be overridden.

        Only printable ASCII is safe in every protocol; an empty string says nothing.
        """
    )


class IDispatcherLogging(Interface):
    """Two kinds of log messages, which often go to different places and look different.

    Both may be called from any thread, should not block for long and should not raise. A message never holds
    bytes of a peer unescaped.
    """

    def log(message):
        """Log a request (a hit).

        Args:
            message: str, one line.
        """

    def log_info(message, type="info"):
        """Log information, a warning or an error about the server itself.

        Args:
            message: str.
            type: "debug", "info", "warning" or "error". A type that is not known counts as "info".
        """


class IServerChannel(Interface):
    """One connection of a server: cuts its input into requests and makes each a task.

    Output that was written leaves in order. `close_when_done` sends what has been written first; `close` does
    not. When the peer ends its input, requests that are complete are still served and their answers still
    sent; a request that is incomplete is dropped. When the connection is lost, tasks that wait are cancelled
    and writing raises.
    """

    parser_class = Attribute(
        """The stream consumer class (see IStreamConsumer), called for each request. Subclasses set it."""
    )

    task_class = Attribute(
        """The class of the tasks (see ITask), called as `task_class(channel, request)` for each request."""
    )

    def queue_task(task):
        """Queue a task of this channel.

        Calls `task.defer()` in the calling thread. The tasks of one channel run in sequence, in the order in
        which they were queued, on whichever worker is free; those of different channels run in parallel. The
        task gets exactly one of `service()` and `cancel()`: if the connection ends or the server stops first,
        it is cancelled. May be called from any thread, also from a task of the same channel.

        Raises:
            ValueError, TypeError: the task is None or is no ITask; nothing was called on it.
            wiretask.errors.TaskQueueFullError, wiretask.errors.ServerClosedError: the task was refused.
            Whatever `task.defer()` raised.
        After failure: the task was cancelled (unless it was no task) and is not queued.
        """


class IDispatcher(ISocket, IDispatcherEventHandler, IDispatcherLogging):
    """The lowest level of a server: one socket in a loop.

    It manages the connection or the listener, handles its events and logs. The loop knows it by its entry in
    a map from file descriptor to dispatcher. All methods belong to the thread that runs the loop.
    """

    def add_channel(map=None):
        """Register with the loop, once there is a socket: from now on its events are handled, until the end.

        Args:
            map: the mapping from descriptor to dispatcher; None means the one it was made with, or the
                default one.
        Raises:
            Nothing for a descriptor that is registered already: the newer dispatcher takes its place.
        """

    def del_channel(map=None):
        """Unregister from the loop, as a part of closing the connection. Harmless if not registered.

        No event is handled after it, not even one that the loop had already seen in the same turn. The
        descriptor must be unregistered before it is closed, for the system gives its number away again at
        once.

        Args:
            map: as for `add_channel`.
        """

    def create_socket(family, type):
        """Make the socket, non-blocking and not inherited by other programs, and register it.

        Args:
            family, type: as for an ordinary socket, such as `socket.AF_INET` and `socket.SOCK_STREAM`.
        Raises:
            OSError: the system gave none. Nothing is registered then.
        """

    def readable():
        """Return whether there is interest in reading (or accepting). Default: yes.

        Asked on each turn of the loop, so it must be quick and must not block. While it says no, input waits
        in the kernel and the peer is slowed down.
        """

    def writable():
        """Return whether there is interest in writing. Default: yes.

        Asked on each turn of the loop. A socket has room most of the time: saying yes with nothing to write
        keeps the loop busy.
        """

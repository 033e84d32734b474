"""The servers under test: four flavours of one protocol, whose handlers do everything that handlers may do.

| flavour | parser | dispatcher | hooks |
|---|---|---|---|
| native | Rust | the server's own | none |
| hooked | Python | the server's own | speaks first; answers errors; is told of the close |
| shared | Rust | one of ours, which the operator resizes, floods, shuts and opens | none |
| foreign | Rust | a subclass with its own `addTask`, fed by the housekeeper | none |

Every task stands in the accounts. Must not know: who operates the servers, how clients behave.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from accounts import Accounts, Entry
from conversation import GREETING, MAX_LINE_BYTES, Request, error_answer, line_of, parts_of, pieces_of_body
from sabotage import Sabotage

import wiretask
from wiretask.consumers import Line
from wiretask.errors import ClientDisconnectedError

FLAVOURS = ("native", "hooked", "shared", "foreign")
#: Whose `handle_error` writes an answer and lets the connection live.
ERROR_ANSWERING = frozenset({"hooked"})
#: Which speak first.
GREETING_FLAVOURS = frozenset({"hooked"})

IDLE_TIMEOUT_SECONDS = 4.0
REQUEST_TIMEOUT_SECONDS = 3.0
WRITE_TIMEOUT_SECONDS = 3.0
WORKER_THREADS = 6
OTHER_THREADS = 4

SETTINGS = wiretask.Adjustments(
    threads=WORKER_THREADS,
    channel_timeout=IDLE_TIMEOUT_SECONDS,
    request_timeout_seconds=REQUEST_TIMEOUT_SECONDS,
    write_timeout_seconds=WRITE_TIMEOUT_SECONDS,
    outbuf_high_watermark=1 << 20,
    max_pipelined_requests=64,
    connection_limit=2000,
)


class ChaosError(Exception):
    """Raised on purpose."""


class World:
    """What all servers of the process share.

    Attributes:
        accounts: of all tasks.
        sabotage: which fault to commit, if any.
        others: threads that are no workers, for answers that come from elsewhere.
        add_bare_tasks: called by handlers with a count; set by the operator.
    """

    def __init__(self, accounts: Accounts, sabotage: Sabotage) -> None:
        self.accounts = accounts
        self.sabotage = sabotage
        self.others = ThreadPoolExecutor(OTHER_THREADS, thread_name_prefix="elsewhere")
        self.add_bare_tasks: Callable[[int], None] = lambda count: None
        self.leaked: list[Any] = []

    def start_others(self) -> None:
        """Have all threads of `others` started: they stay for the life of the process."""
        meeting = threading.Barrier(OTHER_THREADS)
        for future in [self.others.submit(meeting.wait, 30) for _ in range(OTHER_THREADS)]:
            future.result()

    def raise_on_purpose(self, name: str) -> None:
        """Raise ChaosError, and count it: each has to be logged or answered exactly once."""
        self.accounts.count("errors raised")
        raise ChaosError(name)


class ChaosTask(wiretask.Task):
    """The work for one request."""

    world: ClassVar[World]

    def __init__(self, channel: ChaosChannel, line: Any) -> None:
        super().__init__(channel, line)
        self.asked = self._decode(line.value)
        self._entry: Entry = self.world.accounts.open("request", self.asked.identity)

    def service(self) -> None:
        self._entry.serve()
        self._check_sequence()
        channel: ChaosChannel = self.channel
        channel.at_work = self.asked
        sabotage = self.world.sabotage
        if sabotage.strikes("lost-answer"):
            return
        if sabotage.strikes("closed-connection"):
            channel.conn.abort()
            return
        getattr(self, f"_{self.asked.kind}")(self.asked)
        if sabotage.strikes("answer-twice"):
            self._echo(self.asked)
        self._commit_leaks()

    def cancel(self) -> None:
        self._entry.cancel()
        super().cancel()

    def _decode(self, line: bytes) -> Request:
        try:
            return Request.decode(line)
        except ValueError as error:
            self.world.accounts.fault(f"the server read {error}")
            raise

    def _check_sequence(self) -> None:
        """The requests of a connection must come one after the other, and no other connection's."""
        channel, asked = self.channel, self.asked
        expected = channel.next_number
        if asked.number != expected or (channel.name is not None and channel.name != asked.connection):
            self.world.accounts.fault(
                f"request {asked.identity} was served where number {expected} of {channel.name} was due"
            )
        channel.name, channel.next_number = asked.connection, asked.number + 1

    def _commit_leaks(self) -> None:
        world, sabotage = self.world, self.world.sabotage
        if sabotage.strikes("descriptor-leak"):
            os.dup(2)
        if sabotage.strikes("thread-leak"):
            threading.Thread(target=time.sleep, args=(100_000,), daemon=True).start()
        if sabotage.strikes("memory-leak"):
            world.leaked.append(os.urandom(10_000))
        if sabotage.strikes("error-logged"):
            logging.getLogger("wiretask.server").error("an error that nobody raised on purpose")
        if sabotage.strikes("traceback"):
            world.others.submit(lambda: sys.stderr.write("Traceback (most recent call last):\n  sabotage\n"))
        if sabotage.strikes("inherited-descriptor"):
            os.set_inheritable(os.dup(2), True)
        if sabotage.strikes("crash"):
            os.abort()
        if sabotage.strikes("hang"):
            import ctypes

            ctypes.PyDLL(None).sleep(100_000)  # Keeps the interpreter.

    # ---- one method for each kind of request ----------------------------------------------------

    def _echo(self, asked: Request) -> None:
        answer = line_of(asked, str(asked.argument))
        if self.world.sabotage.strikes("wrong-answer"):
            answer = answer.upper().replace(b".", b",")
        self.channel.write(answer)

    def _sleep(self, asked: Request) -> None:
        time.sleep(asked.argument / 1000)
        self._echo(asked)

    def _compute(self, asked: Request) -> None:
        # One call: the interpreter is not given away while it runs.
        self.channel.write(line_of(asked, str(sum(range(asked.argument)))))

    def _raise(self, asked: Request) -> None:
        self.world.raise_on_purpose(asked.identity)

    def _raise_late(self, asked: Request) -> None:
        self.channel.write(line_of(asked, "soon"))
        self.world.raise_on_purpose(asked.identity)

    def _parts(self, asked: Request) -> None:
        for index, part in enumerate(parts_of(asked)):
            self.channel.write(part)
            if index % 3 == 1:
                self.channel.flush(block=index % 2 == 0)
            elif index % 3 == 2:
                time.sleep(0.001)

    def _large(self, asked: Request) -> None:
        self.channel.write(line_of(asked, str(asked.argument)))
        for piece in pieces_of_body(asked):
            self.channel.write(piece)

    def _elsewhere(self, asked: Request) -> None:
        """Answered by another thread, while this one waits for it."""
        self.world.others.submit(self._echo, asked).result()

    def _later(self, asked: Request) -> None:
        """Answered by another thread, after this one has come back."""

        def answer() -> None:
            time.sleep(asked.argument / 1000)
            try:
                self._echo(asked)
            except ClientDisconnectedError:
                self.world.accounts.count("answers too late for their client")

        self.world.others.submit(answer)

    def _spawn(self, asked: Request) -> None:
        """Start a program, let it inherit whatever is not closed on exec, and answer with what it sees open."""
        command = ["sh", "-c", "ls /proc/self/fd"]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, close_fds=False, check=False)
        self.channel.write(line_of(asked, " ".join(sorted(ended.stdout.decode().split()))))

    def _fork(self, asked: Request) -> None:
        child = os.fork()
        if not child:
            try:
                os.execv("/bin/sh", ["sh", "-c", "exit 0"])
            finally:
                os._exit(127)
        _, status = os.waitpid(child, 0)
        self.channel.write(line_of(asked, str(os.waitstatus_to_exitcode(status))))

    def _tasks(self, asked: Request) -> None:
        self.world.add_bare_tasks(asked.argument)
        self._echo(asked)

    def _close(self, asked: Request) -> None:
        self._echo(asked)
        self.channel.close_when_done()


class ChaosChannel(wiretask.ServerChannel):
    """A connection that knows which request it is at."""

    parser_class: Any = Line.configured(max_bytes=MAX_LINE_BYTES)
    task_class: Any = ChaosTask

    name: str | None = None
    next_number: int = 0
    at_work: Request | None = None


class PythonLine:
    """A stream consumer of lines that is written in Python."""

    def __init__(self, adj: wiretask.Adjustments) -> None:
        self.completed = False
        self.empty = False
        self.error: Exception | None = None
        self.value = b""

    def received(self, data: bytes) -> int:
        end = data.find(b"\n")
        consumed = len(data) if end < 0 else end + 1
        self.value += data[:consumed]
        if len(self.value) > MAX_LINE_BYTES:
            self.error = ValueError("line too long")
        elif end >= 0:
            self.value = self.value.removesuffix(b"\n")
            self.empty = not self.value
        self.completed = end >= 0 or self.error is not None
        return consumed


class HookedChannel(ChaosChannel):
    """A channel all of whose hooks are overridden."""

    parser_class = PythonLine
    world: ClassVar[World]

    def handle_connect(self) -> None:
        self.world.accounts.count("channels opened")
        self.write(GREETING)

    def handle_close(self) -> None:
        self.world.accounts.count("channels closed")

    def handle_error(self) -> None:
        if isinstance(sys.exception(), ChaosError) and self.at_work is not None:
            self.world.accounts.count("errors answered")
            with contextlib.suppress(ClientDisconnectedError):
                self.write(error_answer(self.at_work))
        else:
            super().handle_error()


class ForeignDispatcher(wiretask.ThreadedTaskDispatcher):
    """A dispatcher that is not fed natively, as its `addTask` is overridden."""

    def addTask(self, task: Any) -> None:  # noqa: N802 - the interface's name
        super().addTask(task)


def server_classes(world: World) -> dict[str, type[wiretask.Server]]:
    """Return the server class of each flavour, for one world."""
    task_class = type("SoakTask", (ChaosTask,), {"world": world})
    classes = {}
    for flavour in FLAVOURS:
        base = HookedChannel if flavour == "hooked" else ChaosChannel
        channel_class = type(f"{flavour.title()}Channel", (base,), {"task_class": task_class, "world": world})
        classes[flavour] = type(f"Soak{flavour.title()}", (wiretask.Server,), {"channel_class": channel_class})
    return classes


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has, below those which the system gives to clients.

    A port of the system's own choice could become some client's while its server is being restarted.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as limits:
        lowest = int(limits.read().split()[0])
    found: list[int] = []
    candidate = lowest - 1 - os.getpid() % 4000
    while len(found) < count:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
                found.append(candidate)
            except OSError:
                pass
        candidate -= 1
        if candidate < 1024:
            raise OSError("no free ports")
    return found

"""The operator of the servers: two threads that resize, flood, shut, open and restart, all the time.

What may cost clients their connection is reported as a *window*: a flavour, what was done, and from when to when.
Only in such a window may a connection of that flavour end with requests unanswered.
Must not know: what handlers do, how clients behave.
"""

from __future__ import annotations

import errno
import gc
import random
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from accounts import Accounts, Entry
from chaos_server import FLAVOURS, SETTINGS, WORKER_THREADS, ForeignDispatcher, World, free_ports, server_classes

import wiretask
from wiretask.errors import ServerClosedError, TaskQueueFullError

Report = Callable[..., None]

BOUND = 200
MEAN_PAUSE_SECONDS = 0.7
PORT_SECONDS = 5.0


class BareTask:
    """A task that belongs to no connection."""

    def __init__(self, world: World, name: str, behaviour: str) -> None:
        self._world = world
        self._behaviour = behaviour
        self.entry: Entry = world.accounts.open("bare", name)

    def service(self) -> None:
        if self._world.sabotage.strikes("lost-task"):
            return
        self.entry.serve()
        if self._world.sabotage.strikes("task-twice"):
            self.entry.cancel()
        if self._behaviour == "sleep":
            time.sleep(0.002)
        elif self._behaviour == "raise":
            self._world.raise_on_purpose(self.entry.name)

    def cancel(self) -> None:
        self.entry.cancel()
        if self._behaviour == "raise in cancel":
            self._world.raise_on_purpose(self.entry.name)

    def defer(self) -> None:
        if self._behaviour == "raise in defer":
            # Counted by whoever adds it: this one is not logged, it comes out of addTask.
            raise DeferError(self.entry.name)


class DeferError(Exception):
    """Raised on purpose out of `defer`, and thus out of `addTask`."""


class Operator:
    """Owns the servers and dispatchers of the process.

    Args:
        seed: makes the sequence of actions repeatable.
        report: called with keyword arguments, one event a call; any thread.
    """

    def __init__(self, world: World, seed: str, report: Report) -> None:
        self._world = world
        self._accounts: Accounts = world.accounts
        self._report = report
        self._random = random.Random(f"{seed}/operator")
        self._flood_random = random.Random(f"{seed}/flood")
        self._classes = server_classes(world)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.ports = dict(zip(FLAVOURS, free_ports(len(FLAVOURS)), strict=True))
        self.servers: dict[str, wiretask.Server] = {}
        self._shared: Any = wiretask.ThreadedTaskDispatcher(name="shared")
        self._foreign: Any = ForeignDispatcher(name="foreign")
        self._bare: Any = wiretask.ThreadedTaskDispatcher(name="bare")
        self._bounded: Any = wiretask.ThreadedTaskDispatcher(max_pending=BOUND, name="bounded")
        world.add_bare_tasks = lambda count: self._flood(self._bare, count, "handler", random.Random(count))

    # ---- life -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Start all servers and dispatchers, at their usual numbers of threads."""
        for dispatcher in self._dispatchers():
            dispatcher.setThreadCount(WORKER_THREADS)
        for flavour in FLAVOURS:
            if flavour not in self.servers:
                self._start_server(flavour)
            else:
                self.servers[flavour].task_dispatcher.setThreadCount(WORKER_THREADS)

    def begin_chaos(self) -> None:
        """Start both threads."""
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True)
            for work in (self._act_until_stopped, self._flood_until_stopped)
        ]
        for thread in self._threads:
            thread.start()

    def end_chaos(self) -> None:
        """Stop both threads, wait for them, and have everything open and at its usual size."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self.open()

    def close(self) -> None:
        """Stop all servers and dispatchers."""
        for flavour in list(self.servers):
            self.servers.pop(flavour).stop(5)
        for dispatcher in self._dispatchers():
            dispatcher.shutdown(timeout=10)

    def connections(self) -> int:
        """Return how many connections the servers have."""
        return sum(server.stats()["connections"] for server in self.servers.values())

    def pending(self) -> int:
        """Return how many tasks wait in all dispatchers."""
        return sum(dispatcher.getPendingTasksEstimate() for dispatcher in self._dispatchers())

    def _dispatchers(self) -> list[Any]:
        return [self._shared, self._foreign, self._bare, self._bounded]

    def _start_server(self, flavour: str) -> None:
        dispatcher = {"shared": self._shared, "foreign": self._foreign}.get(flavour)
        adj = SETTINGS.replace(io_threads=2) if flavour == "hooked" else SETTINGS
        deadline = time.monotonic() + PORT_SECONDS
        while flavour not in self.servers:
            try:
                server = self._classes[flavour]("127.0.0.1", self.ports[flavour], task_dispatcher=dispatcher, adj=adj)
            except OSError as error:
                # A child that a handler has just forked has a copy of the old listener until it executes a program.
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                self._accounts.count("operator: waits for a port")
                time.sleep(0.002)
            else:
                server.start()
                self.servers[flavour] = server

    # ---- the two threads ------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self._accounts.fault(f"the operator failed: {traceback.format_exc()}")

    def _act_until_stopped(self) -> None:
        actions: list[tuple[Callable[[], None], int]] = [
            (self._restart, 3),
            (self._resize, 8),
            (self._shut_and_open, 4),
            (self._stand_still, 2),
            (self._drop_dispatcher, 2),
            (self._collect, 1),
        ]
        # Also a short run shall have seen each of them.
        first = [action for action, _ in actions]
        self._random.shuffle(first)
        while not self._stopping.wait(self._random.expovariate(1 / MEAN_PAUSE_SECONDS)):
            action = (
                first.pop()
                if first
                else self._random.choices([action for action, _ in actions], [weight for _, weight in actions])[0]
            )
            action()
            self._accounts.count(f"operator: {action.__name__.strip('_').replace('_', ' ')}")

    def _flood_until_stopped(self) -> None:
        chance = self._flood_random
        while not self._stopping.wait(chance.expovariate(1 / MEAN_PAUSE_SECONDS)):
            dispatcher = chance.choice([self._bare, self._bare, self._bounded, self._shared])
            self._flood(dispatcher, chance.randrange(50, 2000), "flood", chance)

    # ---- actions --------------------------------------------------------------------------------

    def _restart(self) -> None:
        """Stop a server, with or without patience, and start a new one on its port."""
        flavour = self._random.choice(FLAVOURS)
        patience = self._random.choice([0, 0.1, 0.5, 2])
        begin = time.monotonic()
        self.servers.pop(flavour).stop(patience)
        if self._random.random() < 0.3:
            time.sleep(self._random.uniform(0, 0.3))
        self._start_server(flavour)
        self._report_window(flavour, "restart", begin)

    def _resize(self) -> None:
        """Give a dispatcher more or fewer workers."""
        own = [self.servers[flavour].task_dispatcher for flavour in ("native", "hooked")]
        dispatcher = self._random.choice(self._dispatchers() + own)
        dispatcher.setThreadCount(self._random.randint(2, 2 * WORKER_THREADS))

    def _stand_still(self) -> None:
        """Have a dispatcher without any workers for a moment: what waits then is not lost."""
        own = [self.servers[flavour].task_dispatcher for flavour in ("native", "hooked")]
        dispatcher = self._random.choice(self._dispatchers() + own)
        dispatcher.setThreadCount(0)
        time.sleep(self._random.uniform(0, 0.1))
        dispatcher.setThreadCount(WORKER_THREADS)

    def _shut_and_open(self) -> None:
        """Shut a dispatcher, with or without cancelling what waits, and open it again."""
        dispatcher = self._random.choice(self._dispatchers())
        begin = time.monotonic()
        dispatcher.shutdown(
            cancel_pending=self._random.random() < 0.5, timeout=self._random.choice([0, 0.01, 0.1, 1])
        )
        if dispatcher is self._bare or dispatcher is self._bounded:
            self._flood(dispatcher, 10, "closed", self._random)
        dispatcher.setThreadCount(self._random.randint(2, 2 * WORKER_THREADS))
        for flavour in ("shared", "foreign"):
            if dispatcher.name == flavour:
                self._report_window(flavour, "shutdown of the dispatcher", begin)

    def _drop_dispatcher(self) -> None:
        """Make a dispatcher, give it tasks, and let go of it: its threads end, what waits is cancelled."""
        dispatcher = wiretask.ThreadedTaskDispatcher(self._random.randint(0, 3), name="dropped")
        self._flood(dispatcher, self._random.randrange(1, 300), "dropped", self._random)

    def _collect(self) -> None:
        gc.collect()

    def _flood(self, dispatcher: Any, count: int, name: str, chance: random.Random) -> None:
        """Add tasks as fast as it goes; what is refused must have been cancelled when addTask has come back."""
        for _ in range(count):
            behaviour = chance.choices(
                ["return", "sleep", "raise", "raise in cancel", "raise in defer"], [970, 20, 4, 4, 2]
            )[0]
            task = BareTask(self._world, name, behaviour)
            try:
                dispatcher.addTask(task)
            except (ServerClosedError, TaskQueueFullError, DeferError) as refusal:
                self._accounts.count(f"bare tasks refused with {type(refusal).__name__}")
                if task.entry.outcome != "cancelled":
                    self._accounts.fault(f"a task refused with {refusal!r} was {task.entry.outcome}, not cancelled")

    def _report_window(self, flavour: str, kind: str, begin: float) -> None:
        self._report(event="window", flavour=flavour, kind=kind, begin=begin, end=time.monotonic())

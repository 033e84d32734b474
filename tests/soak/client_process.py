"""A process of clients: threads that behave in one way after the other, and one that only measures answer times.

Writes events as JSON lines to stdout: once a second how many requests were sent and answered and how long
answers took, and at once what went wrong. Ends what it is at when told so on stdin.
Must not know: what is judged.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import random
import signal
import sys
import threading
import time
from typing import Any

from chaos_server import FLAVOURS
from checked_connection import CheckedConnection, Ended
from client_behaviours import BEHAVIOURS, Behaviour

THREADS = 8
MEAN_PAUSE_SECONDS = 0.25
PING_PAUSE_SECONDS = 0.05
#: Every so often there is no pause between behaviours, for so long.
BURST_EVERY_SECONDS = 20.0
BURST_SECONDS = 2.0


class Diary:
    """What the process has to tell. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._milliseconds: list[float] = []
        self._counts: dict[str, int] = {}

    def report(self, **event: Any) -> None:
        """Tell of an event at once."""
        if event["event"] == "excused":
            self.count("answers not waited for, by slow clients", event["unanswered"])
            return
        line = json.dumps(event)
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + number

    def took(self, seconds: float) -> None:
        """Note how long an answer took."""
        with self._lock:
            self._milliseconds.append(round(seconds * 1000, 3))

    def turn_page(self) -> None:
        """Tell what has come together since the last time."""
        with self._lock:
            milliseconds, self._milliseconds = self._milliseconds, []
            counts = dict(self._counts)
        self.report(event="alive", counts=counts, milliseconds=milliseconds, at=time.monotonic())


class Client:
    """One thread of clients.

    Args:
        name: of the thread; names its connections.
        seed: makes its choices repeatable.
    """

    def __init__(self, name: str, seed: str, ports: dict[str, int], diary: Diary, stopping: threading.Event) -> None:
        self._name = name
        self._chance = random.Random(f"{seed}/{name}")
        self._ports = ports
        self._diary = diary
        self._stopping = stopping
        self._numbers = itertools.count()
        self._open: list[CheckedConnection] = []

    def behave(self) -> None:
        """One behaviour after the other, until it is time to stop."""
        weights = [weight for weight, _ in BEHAVIOURS]
        begin = time.monotonic()
        while not self._stopping.is_set():
            [(_, behaviour)] = self._chance.choices(BEHAVIOURS, weights)
            self._do(behaviour)
            is_burst = (time.monotonic() - begin) % BURST_EVERY_SECONDS > BURST_EVERY_SECONDS - BURST_SECONDS
            if not is_burst:
                self._stopping.wait(self._chance.expovariate(1 / MEAN_PAUSE_SECONDS))

    def ping(self) -> None:
        """Ask for little, all the time, on connections that last, and note how long each answer takes."""
        flavours = itertools.cycle(FLAVOURS)
        talks: dict[str, CheckedConnection] = {}
        while not self._stopping.wait(PING_PAUSE_SECONDS):
            flavour = next(flavours)
            try:
                if flavour not in talks:
                    talks[flavour] = self._connect(flavour, "ping")
                    talks[flavour].read_all()
                begin = time.monotonic()
                talks[flavour].send(talks[flavour].request("echo", self._chance.randrange(10**9)))
                talks[flavour].read_all()
                self._diary.took(time.monotonic() - begin)
            except Ended:
                talks.pop(flavour, None)
            self._keep_account()
            self._open = list(talks.values())
        for talk in talks.values():
            talk.close()

    def _do(self, behaviour: Behaviour) -> None:
        flavour = self._chance.choice(FLAVOURS)
        name = behaviour.__name__

        def open_connection(*, receive_buffer_bytes: int | None = None) -> CheckedConnection:
            return self._connect(flavour, name, receive_buffer_bytes)

        try:
            behaviour(open_connection, self._chance)
        except Ended:
            pass
        except Exception as error:
            self._diary.report(event="fault", text=f"the client itself failed in {name}: {error!r}")
        finally:
            self._keep_account()
            for talk in self._open:
                talk.close()
            self._open.clear()
        self._diary.count(f"behaviour {name}")

    def _connect(self, flavour: str, behaviour: str, receive_buffer_bytes: int | None = None) -> CheckedConnection:
        talk = CheckedConnection(
            f"{self._name}-{next(self._numbers)}",
            flavour,
            self._ports[flavour],
            behaviour,
            self._diary.report,
            receive_buffer_bytes=receive_buffer_bytes,
        )
        self._diary.count("connections")
        self._open.append(talk)
        return talk

    def _keep_account(self) -> None:
        for talk in self._open:
            self._diary.count("requests sent", talk.requests_sent)
            self._diary.count("answers checked", talk.answers_read)
            talk.requests_sent = talk.answers_read = 0


def run(index: int, seed: str, ports: dict[str, int]) -> int:
    """Behave until told to stop, or until stdin ends; returns the exit code."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    diary, stopping = Diary(), threading.Event()
    clients = [Client(f"p{index}t{number}", seed, ports, diary, stopping) for number in range(THREADS + 1)]
    works = [client.ping if number == 0 else client.behave for number, client in enumerate(clients)]
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    threading.Thread(target=_wait_for_order, args=(stopping,), daemon=True).start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        diary.turn_page()
    diary.report(event="done")
    return 0


def _wait_for_order(stopping: threading.Event) -> None:
    sys.stdin.readline()
    stopping.set()

"""One run, from the parent's side: start the processes, have the chaos begin and end, measure, and gather.

Never hangs: every wait has a deadline, and who misses it has to show its stacks, and is killed.
Must not know: what is right and what is wrong.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from children import Child, Silent
from measuring import holdings, measure
from observations import EarlyEnd, Latency, Observations, Window

CLIENT_PROCESSES = 2
SAMPLE_SECONDS = 1.0
IDLE_SECONDS = 3.0
#: A process from which nothing is heard for so long hangs.
SILENCE_SECONDS = 30.0
ANSWER_SECONDS = 90.0
#: Longer than any behaviour of a client, its deadlines included.
CLIENTS_END_SECONDS = 150.0
HELD_SECONDS = 20.0
#: Has the C library give large blocks back to the system at once, and share its pools between threads. Left to
#: itself it keeps a pool for each of many threads, and what it keeps free there could not be told from a leak.
SERVER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}


class Run:
    """One run of the soak.

    Args:
        seconds: how long the chaos lasts. seed: makes the choices repeatable, though not the timing.
        sabotage: a fault to be committed, see `sabotage`; None: none.
        say: called with a line of text now and then, for who watches.
    """

    def __init__(self, seconds: float, seed: str, sabotage: str | None, say: Callable[[str], None]) -> None:
        self._seen = Observations(seed=seed, asked_seconds=seconds)
        self._seed = seed
        self._sabotage = sabotage
        self._say = say
        self._lock = threading.Lock()
        self._children: list[Child] = []
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """Have the chaos end before its time. Any thread."""
        self._stop_asked.set()

    def perform(self) -> Observations:
        """Do it all, and return what was seen."""
        try:
            self._perform()
        except Silent as silence:
            self._handle_silence(str(silence))
        except ProcessLookupError as gone:
            self._handle_silence(f"a process ended while it was measured: {gone}")
        except FileNotFoundError as gone:
            # What /proc says of a process that has ended.
            self._handle_silence(f"a process ended while it was measured: {gone.filename}")
        finally:
            for child in self._children:
                if not child.is_running() and child.name not in self._seen.exit_codes:
                    self._seen.exit_codes[child.name] = child.wait_for_exit()
            self._seen.processes = tuple(child.name for child in self._children)
            self._seen.stderr = {child.name: child.stderr() for child in self._children}
            for child in self._children:
                child.kill()
        return self._seen

    def _perform(self) -> None:
        seen = self._seen
        arguments = ["--role", "server", "--seed", self._seed]
        if self._sabotage:
            arguments += ["--sabotage", self._sabotage]
        server = self._start("the server", arguments, SERVER_ENVIRONMENT)
        ports = server.wait_for("ready", ANSWER_SECONDS)["ports"]
        self._order(server, "close", "closed")
        seen.closed_before = self._settled_holdings(server)
        self._order(server, "open", "open")
        seen.held_before = self._settled_holdings(server)
        clients = [
            self._start(
                f"client process {index}",
                ["--role", "client", "--index", str(index), "--seed", self._seed, "--ports", json.dumps(ports)],
            )
            for index in range(CLIENT_PROCESSES)
        ]
        server.order("begin")
        self._watch(server, clients)
        self._say("the clients come to their end")
        for client in clients:
            client.order("end")
        for client in clients:
            self._wait_for_answer(client, server)
            client.wait_for("done", ANSWER_SECONDS)
            seen.exit_codes[client.name] = client.wait_for_exit()
        seen.is_drained = self._order(server, "end", "quiet")["is_drained"]
        seen.held_after = self._settled_holdings(server, seen.held_before)
        before = measure(server.pid, time.monotonic())
        time.sleep(IDLE_SECONDS)
        after = measure(server.pid, time.monotonic())
        seen.idle_seconds, seen.idle_cpu_seconds = after.at - before.at, after.cpu_seconds - before.cpu_seconds
        seen.statement = self._order(server, "close", "closed")["statement"]
        seen.closed_after = self._settled_holdings(server, seen.closed_before)
        server.order("exit")
        seen.exit_codes[server.name] = server.wait_for_exit()

    def _watch(self, server: Child, clients: list[Child]) -> None:
        """Measure once a second until the time is over; raises Silent if a process hangs or ends."""
        seen = self._seen
        seen.begin = seen.end = time.monotonic()
        next_word = 60.0
        while not self._stop_asked.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            for child in (server, *clients):
                _check_alive(child)
            seen.samples.append(measure(server.pid, now))
            seen.end = now
            if now - seen.begin >= next_word:
                next_word += 60
                self._tell()
            if now - seen.begin >= seen.asked_seconds:
                return
        seen.asked_seconds = seen.end - seen.begin

    def _wait_for_answer(self, client: Child, server: Child) -> None:
        """Wait until a client has come to its end, or may wait no longer; raises Silent if the server hangs."""
        deadline = time.monotonic() + CLIENTS_END_SECONDS
        while not client.has_answered() and time.monotonic() < deadline:
            _check_alive(server)
            time.sleep(0.1)

    def _tell(self) -> None:
        seen, last = self._seen, self._seen.samples[-1]
        self._say(
            f"{(last.at - seen.begin) / 60:4.0f} min  {seen.clients_total('answers checked'):9d} answers  "
            f"{last.resident_bytes / 1024 / 1024:6.1f} MiB  {last.descriptors:4d} descriptors  "
            f"{last.threads:3d} threads  {len(seen.windows):5d} windows  {len(seen.early_ends):6d} early ends  "
            f"{len(seen.faults)} faults"
        )

    def _start(self, name: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> Child:
        child = Child(name, arguments, lambda event: self._observe(name, event), environment or {})
        self._children.append(child)
        return child

    def _order(self, server: Child, command: str, answer: str) -> dict[str, Any]:
        server.order(command)
        return server.wait_for(answer, ANSWER_SECONDS)

    def _settled_holdings(self, server: Child, expected: list[str] | None = None) -> list[str]:
        """Return what the process holds, as soon as that is what is expected, or no longer changes."""
        deadline = time.monotonic() + (HELD_SECONDS if expected is not None else 2.0)
        while (held := holdings(server.pid)) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        return held

    def _handle_silence(self, text: str) -> None:
        self._seen.faults.append(text)
        self._say(f"{text}: ending the run, with the stacks of all threads")
        for child in self._children:
            if child.is_running():
                child.dump_stacks()

    def _observe(self, name: str, event: dict[str, Any]) -> None:
        """Take an event of a child, in a thread of the child's own."""
        seen = self._seen
        with self._lock:
            match event:
                case {"event": "alive", "milliseconds": milliseconds, "at": at, "counts": counts}:
                    seen.client_counts[name] = counts
                    seen.latencies.append(Latency(at, tuple(milliseconds)))
                case {"event": "window", "flavour": flavour, "kind": kind, "begin": begin, "end": end}:
                    seen.windows.append(Window(flavour, kind, begin, end))
                case {"event": "ended"}:
                    fields = {key: event[key] for key in EarlyEnd._fields}
                    seen.early_ends.append(EarlyEnd(**fields))
                case {"event": "fault", "text": text}:
                    seen.faults.append(f"{name}: {text}")
                    self._say(f"FAULT {name}: {text}")


def _check_alive(child: Child) -> None:
    """Raise Silent if a process has ended, or hangs."""
    if not child.is_running():
        raise Silent(f"{child.name} ended in the middle of the run")
    if time.monotonic() - child.last_heard > SILENCE_SECONDS:
        raise Silent(f"nothing was heard of {child.name} for {SILENCE_SECONDS:.0f} s")

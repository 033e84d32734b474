"""Small line protocols for the tests of servers, parsed in Rust and in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wiretask
from wiretask.consumers import Line


class PythonLine:
    """A stream consumer in Python: one line. A line "bad" is an error, a blank one is empty."""

    def __init__(self, adj: Any) -> None:
        self.adj = adj
        self.completed = False
        self.error: str | None = None
        self._line = bytearray()

    @property
    def value(self) -> bytes:
        return bytes(self._line).rstrip(b"\n")

    @property
    def empty(self) -> bool:
        return self._line == b"\n"

    def received(self, data: bytes) -> int:
        end = data.find(b"\n") + 1
        taken = end or len(data)
        self._line += data[:taken]
        self.completed = end > 0
        if self.value == b"bad":
            self.error, self.completed = "a bad line", True
        return taken


class EchoTask(wiretask.Task):
    """Sends the line back."""

    def service(self) -> None:
        self.channel.write(self.request.value + b"\n")


class Echo(wiretask.ServerChannel):
    """Sends lines back; parsed in Rust."""

    parser_class = Line
    task_class = EchoTask


class PythonEcho(Echo):
    """Sends lines back; parsed in Python."""

    parser_class = PythonLine


class StoppingTask(wiretask.Task):
    """Stops its server, and tells what that answered."""

    def service(self) -> None:
        self.channel.write(f"{self.channel.server.stop()}\n".encode())


class StoppingChannel(wiretask.ServerChannel):
    """Any line stops the server."""

    parser_class = Line
    task_class = StoppingTask


class Act(wiretask.Task):
    """Calls the action that the line names."""

    def service(self) -> None:
        self.channel.actions[self.request.value.decode()](self.channel)


def acting(base: type[wiretask.ServerChannel] = Echo, **actions: Callable[[Any], object]) -> Any:
    """Return a channel class that does for each line the action of that name, called with the channel."""
    return type("Acting", (base,), {"task_class": Act, "actions": actions})


class Tasks:
    """Tasks that note what becomes of them: `outcomes` has ("served" or "cancelled", name) in order."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Any]] = []

    def task(self, name: Any, work: Callable[[], object] = lambda: None) -> Any:
        """Return a task of this name, which does `work`."""
        return _NotedTask(self.outcomes, name, work)


class _NotedTask:
    def __init__(self, outcomes: list[tuple[str, Any]], name: Any, work: Callable[[], object]) -> None:
        self._outcomes, self._name, self._work = outcomes, name, work

    def service(self) -> None:
        self._outcomes.append(("served", self._name))
        self._work()

    def cancel(self) -> None:
        self._outcomes.append(("cancelled", self._name))

    def defer(self) -> None:
        self._outcomes.append(("deferred", self._name))

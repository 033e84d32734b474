"""What was seen in one run: plain values, made by the run, read by the judge and the report."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from measuring import Sample


class Window(NamedTuple):
    """A time in which the operator did something to a flavour that may cost its clients their connection."""

    flavour: str
    kind: str
    begin: float
    end: float


class EarlyEnd(NamedTuple):
    """A connection that ended, or was not made, though its client had not asked for it.

    It was whole at `alive_at`, and found ended at `noticed`.
    """

    flavour: str
    alive_at: float
    noticed: float
    unanswered: int
    text: str


class Latency(NamedTuple):
    """How long the answers took that came in one second, in milliseconds."""

    at: float
    milliseconds: tuple[float, ...]


@dataclasses.dataclass
class Observations:
    """What was seen; times are those of `time.monotonic()`, which all processes share.

    Attributes:
        asked_seconds: how long the chaos was to last. begin, end: from when to when it did.
        samples: the server process, once a second, from begin to end.
        held_before, held_after: what it held with all servers open and nobody connected, before and after; and
        closed_before, closed_after: the same with all servers and dispatchers closed.
        idle_cpu_seconds: what it used in `idle_seconds` with all servers open and nobody connected.
        statement: the accounts of the server process, see `accounts.Accounts.statement`.
        faults: what is a fault by itself. stderr: what the processes wrote there, by their names.
        exit_codes: of the processes by their names; those that had to be killed are not there.
    """

    seed: str
    asked_seconds: float
    begin: float = 0.0
    end: float = 0.0
    samples: list[Sample] = dataclasses.field(default_factory=list)
    latencies: list[Latency] = dataclasses.field(default_factory=list)
    windows: list[Window] = dataclasses.field(default_factory=list)
    early_ends: list[EarlyEnd] = dataclasses.field(default_factory=list)
    held_before: list[str] = dataclasses.field(default_factory=list)
    held_after: list[str] = dataclasses.field(default_factory=list)
    closed_before: list[str] = dataclasses.field(default_factory=list)
    closed_after: list[str] = dataclasses.field(default_factory=list)
    is_drained: bool = False
    idle_seconds: float = 0.0
    idle_cpu_seconds: float = 0.0
    statement: dict[str, Any] | None = None
    client_counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    faults: list[str] = dataclasses.field(default_factory=list)
    stderr: dict[str, str] = dataclasses.field(default_factory=dict)
    exit_codes: dict[str, int] = dataclasses.field(default_factory=dict)
    processes: tuple[str, ...] = ()

    def clients_total(self, what: str) -> int:
        """Return a count of all client processes together."""
        return sum(counts.get(what, 0) for counts in self.client_counts.values())

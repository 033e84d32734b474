"""The judge: from what was seen in a run to the list of what was wrong with it.

Every rule stands here, with its limit, and is a function of `Observations` alone.
Must not know: how anything was observed.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from observations import Observations

#: A client may notice so much later, or an action have its effect so much later, than it says.
WINDOW_SLACK_SECONDS = 1.0
#: Runs shorter than this say nothing about memory: the allocator is still settling.
SHORTEST_FOR_MEMORY_SECONDS = 120.0
#: The median of the last quarter may exceed that of the second quarter by the larger of these.
MEMORY_GROWTH_BYTES = 8 * 1024 * 1024
MEMORY_GROWTH_SHARE = 0.05
#: CPU time that an idle server may use, as a share of the time.
IDLE_CPU_SHARE = 0.02

MOST_EXAMPLES = 10


def judge(seen: Observations) -> list[str]:
    """Return what was wrong, a sentence each; nothing if all is well."""
    return [violation for rule in RULES for violation in rule(seen)]


def no_fault_was_seen(seen: Observations) -> Iterator[str]:
    """Wrong answers, requests that came mixed up, errors in the log, children that hung: each says so itself."""
    yield from _some(seen.faults)


def connections_end_only_when_the_operator_acts(seen: Observations) -> Iterator[str]:
    """Whoever loses a connection, and with it answers, must have lost it in one of the operator's windows."""
    unexplained = [
        f"a connection ended for no reason: {end.text}"
        for end in seen.early_ends
        if not any(
            window.flavour == end.flavour
            and window.begin <= end.noticed
            and window.end + WINDOW_SLACK_SECONDS >= end.alive_at
            for window in seen.windows
        )
    ]
    yield from _some(unexplained)


def accounts_agree(seen: Observations) -> Iterator[str]:
    """Each task has exactly one outcome, each error was told exactly once, each channel was told of its end."""
    statement = seen.statement
    if statement is None:
        yield "the server process gave no account of its tasks"
        return
    yield from statement["faults"]
    if number := statement["without_outcome_count"]:
        names = ", ".join(statement["without_outcome"])
        yield f"{number} tasks had neither service() nor cancel() called: {names}"
    counts: dict[str, int] = Counter(statement["counts"])
    for kind in ("bare", "request"):
        made = counts[f"{kind} tasks"]
        ended = counts[f"{kind} tasks served"] + counts[f"{kind} tasks cancelled"]
        if made != ended + _without_outcome(statement, kind):
            yield f"{made} {kind} tasks were made, but {ended} ended"
        if not made:
            yield f"no {kind} task was made at all: the run proves nothing"
    raised, logged, answered = counts["errors raised"], counts["errors logged"], counts["errors answered"]
    if raised != logged + answered:
        yield f"{raised} errors were raised on purpose, but {logged} logged and {answered} answered"
    if counts["channels opened"] != counts["channels closed"]:
        yield f"handle_connect ran {counts['channels opened']} times, handle_close {counts['channels closed']} times"


def clients_have_worked(seen: Observations) -> Iterator[str]:
    """A run in which hardly anything was answered proves nothing."""
    answered = seen.clients_total("answers checked")
    if answered < seen.asked_seconds:
        yield f"only {answered} answers were checked: the run proves nothing"


def everything_is_given_back(seen: Observations) -> Iterator[str]:
    """Descriptors and threads are as many as before, with the servers open, and with everything closed."""
    if not seen.is_drained:
        yield "connections or tasks were left when all clients had gone"
    for state, before, after in (
        ("the servers are open", seen.held_before, seen.held_after),
        ("everything is closed", seen.closed_before, seen.closed_after),
    ):
        difference = Counter(after)
        difference.subtract(Counter(before))
        changes = [f"{number:+d} {what}" for what, number in sorted(difference.items()) if number]
        if changes:
            yield f"when {state}, the server process holds other things than before: {', '.join(changes)}"


def memory_is_flat(seen: Observations) -> Iterator[str]:
    """The median resident size of the last quarter is no more than a little above that of the second."""
    if seen.asked_seconds < SHORTEST_FOR_MEMORY_SECONDS:
        return
    second, last = quarter_medians(seen)
    allowed = memory_allowed(second)
    if last - second > allowed:
        yield (
            f"memory grew from {mebibytes(second)} (median of the second quarter) to {mebibytes(last)} "
            f"(of the last); {mebibytes(allowed)} more are allowed"
        )


def idle_costs_nothing(seen: Observations) -> Iterator[str]:
    """With nobody connected the process uses next to no CPU time."""
    if not seen.idle_seconds:
        yield "the CPU time of the idle server was not measured"
    elif seen.idle_cpu_seconds > IDLE_CPU_SHARE * seen.idle_seconds:
        yield f"the idle server process used {seen.idle_cpu_seconds:.2f} s CPU in {seen.idle_seconds:.1f} s"


def processes_end_well(seen: Observations) -> Iterator[str]:
    """Exit code 0, and nothing on stderr."""
    for name in seen.processes:
        code = seen.exit_codes.get(name)
        if code is None:
            yield f"{name} had to be killed"
        elif code != 0:
            yield f"{name} ended with exit code {code}"
        if text := seen.stderr.get(name, ""):
            yield f"{name} wrote to stderr:\n{text[:20_000]}"


Rule = Callable[[Observations], Iterator[str]]

RULES: tuple[Rule, ...] = (
    no_fault_was_seen,
    connections_end_only_when_the_operator_acts,
    accounts_agree,
    clients_have_worked,
    everything_is_given_back,
    memory_is_flat,
    idle_costs_nothing,
    processes_end_well,
)


def quarter_medians(seen: Observations) -> tuple[float, float]:
    """Return the median resident size in bytes of the second and of the last quarter of the run."""
    length = (seen.end - seen.begin) / 4

    def median(begin: float, end: float) -> float:
        sizes = [sample.resident_bytes for sample in seen.samples if begin <= sample.at <= end]
        return statistics.median(sizes) if sizes else 0.0

    return median(seen.begin + length, seen.begin + 2 * length), median(seen.end - length, seen.end)


def memory_allowed(median_bytes: float) -> float:
    """Return by how many bytes memory may grow."""
    return max(MEMORY_GROWTH_BYTES, MEMORY_GROWTH_SHARE * median_bytes)


def mebibytes(size: float) -> str:
    """Return a size in bytes for people to read."""
    return f"{size / 1024 / 1024:.1f} MiB"


def _without_outcome(statement: dict[str, Any], kind: str) -> int:
    """Return how many tasks of a kind are known to have no outcome, which another rule has told already."""
    number = statement["counts"].get(f"{kind} tasks", 0)
    ended = sum(statement["counts"].get(f"{kind} tasks {outcome}", 0) for outcome in ("served", "cancelled"))
    return number - ended if statement["without_outcome_count"] else 0


def _some(violations: list[str]) -> Iterator[str]:
    yield from violations[:MOST_EXAMPLES]
    if len(violations) > MOST_EXAMPLES:
        yield f"... and {len(violations) - MOST_EXAMPLES} more of that kind"

"""The report of a run: a few lines for who watches, and a Markdown page with figures and plots to be kept.

The page has no paths and names of a machine. Must not know: how anything was observed or judged.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from pathlib import Path

import verdict
from chaos_server import FLAVOURS
from line_plot import line_plot
from observations import Observations
from soak_run import SERVER_ENVIRONMENT
from verdict import mebibytes, quarter_medians

import wiretask

#: Answer times are summed up over so many stretches of the run at most.
MOST_STRETCHES = 200

INTRODUCTION = f"""\
# Soak and chaos runs

`python tests/soak` runs four servers in a process of their own for an hour (`--minutes 30`, `--seconds 20`), with
clients in two more processes that behave as badly as clients do, and an operator who resizes, floods, shuts, opens
and restarts everything all the time. It measures the server process from outside once a second, and ends with exit
code 1 if anything at all was wrong. `--seed` makes all choices repeatable (not the timing); `--report DIR` writes
this page to `DIR/soak.md`. A watchdog has every process that falls silent write down its stacks, and ends the run.

**Servers:** four flavours (`tests/soak/chaos_server.py`): parser in Rust or in Python, no hook or every hook
overridden, the dispatcher the server's own, a shared one, or one that the housekeeper feeds. Handlers sleep, compute
without letting the interpreter go, raise, answer in several writes, from other threads, after they have come back,
with megabytes; they start programs, fork, and add tasks.

**Clients** (`client_behaviours.py`): ask one by one, pipeline, dribble byte by byte, reset in the middle of a
request or of an answer, leave without reading, half-close, read slowly through a tiny window, never read, send
lines without end, say nothing, stop in the middle of a request, come in storms.

**What must hold** (`verdict.py`):

- Every byte that a client reads is the next byte of the answers that are due: none lost, doubled, out of order or
  mixed up. Every request is served in its turn on its own connection.
- A connection may end early, and the tail of its answers may be missing, only if the client asked for it, was away
  for longer than a time-out, or if the operator restarted that server or shut its dispatcher at that very time.
- Each task, of a request or a bare one, gets exactly one of `service()` and `cancel()`; a task that is refused has
  been cancelled when `addTask` has come back. Each error raised on purpose is logged or answered exactly once;
  nothing else is logged as an error. `handle_close` runs as often as `handle_connect`.
- At the end descriptors and threads are those of the beginning, with the servers open and with everything closed.
- The median resident size of the last quarter is at most {verdict.MEMORY_GROWTH_BYTES // 1024 // 1024} MiB or
  {verdict.MEMORY_GROWTH_SHARE:.0%} above that of the second quarter (runs of two minutes or more). The server
  process runs with `{" ".join(f"{name}={value}" for name, value in SERVER_ENVIRONMENT.items())}`: left to itself, the
  C library keeps freed memory in a pool for each of many threads (some hundred MiB under this load), which could not
  be told from a leak.
- Idle at the end, the process uses less than {verdict.IDLE_CPU_SHARE:.0%} of a CPU.
- Programs that a handler starts inherit nothing. Nothing is written to stderr. Every process ends with exit code 0.

That the checks find what they look for is tested with `--sabotage KIND`, which commits a fault on purpose
(`sabotage.py`): `python tests/soak/prove.py` tries every kind, and `pytest` some.
"""


def as_text(seen: Observations, violations: list[str]) -> str:
    """Return the report for a terminal."""
    lines = [f"  {name:<42} {value}" for name, value in _figures(seen)]
    if violations:
        lines.append(f"\n{len(violations)} VIOLATION(S)")
        lines += [f"  * {violation}" for violation in violations]
    else:
        lines.append("\nNothing was lost, answered twice, mixed up or left behind.")
    return "\n".join(lines)


def write(seen: Observations, violations: list[str], folder: Path) -> None:
    """Write `soak.md` to a folder, and the plots to its folder `soak`."""
    plots = folder / "soak"
    plots.mkdir(parents=True, exist_ok=True)
    for name, drawing in _plots(seen).items():
        (plots / f"{name}.svg").write_text(drawing)
    (folder / "soak.md").write_text(_page(seen, violations))


def _page(seen: Observations, violations: list[str]) -> str:
    result = "**Violations:**\n\n" + "\n".join(f"- {violation}" for violation in violations)
    if not violations:
        result = "**No violation:** nothing was lost, answered twice, mixed up or left behind."
    figures = "\n".join(f"| {name} | {value} |" for name, value in _figures(seen))
    behaviours: Counter[str] = Counter()
    for counts in seen.client_counts.values():
        for what, number in counts.items():
            if what.startswith("behaviour "):
                behaviours[what.removeprefix("behaviour ").replace("_", " ")] += number
    done = ", ".join(f"{name} {number}" for name, number in sorted(behaviours.items()))
    return f"""{INTRODUCTION}
## The last run that was kept

{result}

| | |
|---|---|
{figures}

What clients did, and how often: {done}.

![Resident memory of the server process](soak/memory.svg)

![Descriptors and threads of the server process](soak/descriptors.svg)

![Time to the answer of a small request](soak/latency.svg)

The small requests are those of a client that asks 20 times a second, while all of the above goes on; they wait for
computing handlers, for workers that are all busy, and for restarts.
"""


def _figures(seen: Observations) -> list[tuple[str, str]]:
    counts = Counter((seen.statement or {}).get("counts", {}))
    clients = seen.clients_total
    seconds = max(seen.end - seen.begin, 1e-9)
    figures = [
        ("length, seed", f"{seconds / 60:.1f} min, {seen.seed}"),
        ("wiretask, Python, CPUs", f"{wiretask.__version__}, {platform.python_version()}, {os.cpu_count()}"),
        ("connections", f"{clients('connections')}"),
        ("requests sent, answers checked", f"{clients('requests sent')}, {clients('answers checked')}"),
        ("tasks of requests: served, cancelled", _outcomes(counts, "request")),
        ("bare tasks: served, cancelled", _outcomes(counts, "bare")),
        ("bare tasks refused (shut, full, defer raised)", _refusals(counts)),
        ("errors raised on purpose: logged, answered", f"{counts['errors logged']}, {counts['errors answered']}"),
        ("restarts of a server", f"{counts['operator: restart']}"),
        (
            "dispatchers resized, shut and opened, dropped",
            f"{counts['operator: resize'] + counts['operator: stand still']}, "
            f"{counts['operator: shut and open']}, {counts['operator: drop dispatcher']}",
        ),
        ("connections cut by these (answers missing)", _early_ends(seen)),
        ("share of the time in which that may happen", _excusing_share(seen, seconds)),
    ]
    if seen.samples:
        second, last = quarter_medians(seen)
        cpu = (seen.samples[-1].cpu_seconds - seen.samples[0].cpu_seconds) / seconds
        figures += [
            ("memory: second quarter, last quarter, peak", _memory(seen, second, last)),
            ("descriptors: at rest before, after, peak", _peak(seen, "descriptor", "descriptors")),
            ("threads: at rest before, after, peak", _peak(seen, "thread", "threads")),
            ("CPU: under load, idle at the end", f"{cpu:.0%}, {_share(seen.idle_cpu_seconds, seen.idle_seconds)}"),
        ]
    times = sorted(time for latency in seen.latencies for time in latency.milliseconds)
    if len(times) >= 100:
        cuts = statistics.quantiles(times, n=1000)
        figures.append(("small request: p50, p99, p99.9", f"{cuts[499]:.1f}, {cuts[989]:.1f}, {cuts[998]:.1f} ms"))
    return figures


def _outcomes(counts: Counter[str], kind: str) -> str:
    return f"{counts[f'{kind} tasks served']}, {counts[f'{kind} tasks cancelled']}"


def _refusals(counts: Counter[str]) -> str:
    names = ("ServerClosedError", "TaskQueueFullError", "DeferError")
    return ", ".join(str(counts[f"bare tasks refused with {name}"]) for name in names)


def _early_ends(seen: Observations) -> str:
    return f"{len(seen.early_ends)} ({sum(end.unanswered for end in seen.early_ends)})"


def _excusing_share(seen: Observations, seconds: float) -> str:
    """How much of the time of an average flavour lies in the operator's windows: the smaller, the stricter."""
    excusing = sum(window.end - window.begin + verdict.WINDOW_SLACK_SECONDS for window in seen.windows)
    return f"{excusing / len(FLAVOURS) / seconds:.1%}"


def _memory(seen: Observations, second: float, last: float) -> str:
    peak = max(sample.resident_bytes for sample in seen.samples)
    return f"{mebibytes(second)}, {mebibytes(last)}, {mebibytes(peak)}"


def _peak(seen: Observations, held: str, measured: str) -> str:
    def number(holdings: list[str]) -> int:
        return sum(what.startswith(held) for what in holdings)

    peak = max(getattr(sample, measured) for sample in seen.samples)
    return f"{number(seen.held_before)}, {number(seen.held_after)}, {peak}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "not measured"


def _plots(seen: Observations) -> dict[str, str]:
    def over_time(attribute: str, scale: float = 1) -> list[tuple[float, float]]:
        return [((sample.at - seen.begin) / 60, getattr(sample, attribute) / scale) for sample in seen.samples]

    fastest, slowest = _percentiles(seen)
    return {
        "memory": line_plot(
            "Resident memory of the server process",
            "minutes",
            "MiB",
            {"memory": over_time("resident_bytes", 1 << 20)},
        ),
        "descriptors": line_plot(
            "Descriptors and threads of the server process",
            "minutes",
            "number",
            {"descriptors": over_time("descriptors"), "threads": over_time("threads")},
        ),
        "latency": line_plot(
            "Time to the answer of a small request",
            "minutes",
            "ms",
            {"p50": fastest, "p99": slowest},
            is_logarithmic=True,
        ),
    }


def _percentiles(seen: Observations) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return p50 and p99 over time, each of a stretch of the run."""
    length = max((seen.end - seen.begin) / MOST_STRETCHES, 5.0)
    stretches: dict[int, list[float]] = {}
    for latency in seen.latencies:
        if seen.begin <= latency.at <= seen.end:
            stretches.setdefault(int((latency.at - seen.begin) / length), []).extend(latency.milliseconds)
    p50, p99 = [], []
    for index, times in sorted(stretches.items()):
        if len(times) >= 2:
            cuts = statistics.quantiles(times, n=100)
            minutes = (index + 0.5) * length / 60
            p50.append((minutes, cuts[49]))
            p99.append((minutes, min(cuts[98], max(times))))
    return p50, p99

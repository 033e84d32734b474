"""What the operating system has noted about a process: processor time by thread, and resident memory.

Strategy: `/proc/PID/task/*/schedstat` counts nanoseconds on a processor for every thread, in the kernel and
outside, whoever looks; the difference between two moments is what was spent between them.
Must not know: servers, benchmarks.
Source: proc(5); Documentation/scheduler/sched-stats.rst and Documentation/filesystems/proc.rst of Linux.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "descendants",
    "parse_resident_bytes",
    "parse_schedstat",
    "peak_bytes",
    "process_cpu_ns",
    "resident_bytes",
    "spent_ns",
    "thread_cpu_ns",
]


def parse_schedstat(text: str) -> int:
    """Return the nanoseconds on a processor: the first of the three numbers of a schedstat file.

    Raises:
        ValueError: that is not what the text is.
    """
    on_processor, _waiting, _slices = map(int, text.split())
    return on_processor


def parse_resident_bytes(text: str) -> int:
    """Return the resident bytes that a smaps_rollup file names.

    Raises:
        ValueError: it names none.
    """
    for line in text.splitlines():
        if line.startswith("Rss:"):
            _name, number, unit = line.split()
            if unit == "kB":
                return int(number) * 1024
    raise ValueError(f"no line with Rss in kB: {text[:200]!r}")


def thread_cpu_ns(pid: int) -> dict[int, int]:
    """Return the nanoseconds on a processor of each living thread of the process, by thread id."""
    times = {}
    for directory in Path(f"/proc/{pid}/task").iterdir():
        try:
            times[int(directory.name)] = parse_schedstat((directory / "schedstat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return times


def spent_ns(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Return what all threads together have spent between two results of `thread_cpu_ns`.

    Raises:
        ValueError: a thread has ended in between, and with it the account of what it spent.
    """
    gone = before.keys() - after.keys()
    if gone:
        raise ValueError(f"{len(gone)} of {len(before)} threads ended between the two looks")
    return sum(time - before.get(thread, 0) for thread, time in after.items())


def resident_bytes(pid: int) -> int:
    """Return how much of the process's memory is in RAM now."""
    return parse_resident_bytes(Path(f"/proc/{pid}/smaps_rollup").read_text())


def process_cpu_ns(pid: int) -> int:
    """Return what all threads of the process have spent, also those that have ended; in steps of a clock tick.

    A process that is gone has spent nothing.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from the process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended while we looked
        for child in children:
            found += [child, *descendants(child)]
    return found


def peak_bytes(pid: int) -> int:
    """Return the most memory that the process has ever had in RAM.

    Raises:
        ValueError: the kernel does not tell.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no VmHWM of process {pid}")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))

"""What a process uses, read from /proc by another one: memory, descriptors, threads, CPU time.

Must not know: what the process does, what is too much.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """What a process used at one time.

    Attributes:
        at: the time, of `time.monotonic()`.
        resident_bytes: memory in RAM.
        descriptors, threads: how many there are.
        cpu_seconds: CPU time since the process began.
    """

    at: float
    resident_bytes: int
    descriptors: int
    threads: int
    cpu_seconds: float


def measure(pid: int, at: float) -> Sample:
    """Return what a process uses now.

    Raises:
        FileNotFoundError, ProcessLookupError: it has ended.
    """
    statm = Path(f"/proc/{pid}/statm").read_text().split()
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Sample(
        at,
        int(statm[1]) * _PAGE_BYTES,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(stat[17]),
        (int(stat[11]) + int(stat[12])) / _TICKS_PER_SECOND,
    )


def holdings(pid: int) -> list[str]:
    """Return what a process holds: kinds of open descriptors and names of threads, each as often as it is there."""
    held = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            # Numbers of inodes differ from one socket to the next.
            held.append(f"descriptor {target.split(':[')[0]}")
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            held.append(f"thread {Path(f'/proc/{pid}/task/{task}/comm').read_text().strip()}")
    return sorted(held)

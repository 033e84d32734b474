"""The HTTP soak: minutes of full load by good, bad, slow and failing visits, every answer checked byte by byte.

    python tests/web_soak [--minutes 10] [--seconds N] [--visitors 48] [--seed N]

The server is a process of its own, looked at from outside once a second. Exit code 1 if an answer
was wrong, if memory, descriptors or threads have grown, or if it logged, printed or ended otherwise than it should.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "web"), str(HERE.parent / "wire")]

from soak_visits import Visitor, WrongAnswerError  # noqa: E402 (needs the path)

GROWTH_BYTES = 8 << 20
GROWTH_PART = 0.05
SETTLE_SECONDS = 20.0
# Left to itself, the C library keeps freed memory in a pool for each of many threads, which looks like a leak.
MEMORY_SETTINGS = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}


@dataclass
class Looks:
    """What was seen of the server from outside."""

    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def take(self, pid: int) -> None:
        """Look once."""
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
        self.descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))
        self.threads.append(len(os.listdir(f"/proc/{pid}/task")))


def visit_until(end: float, visitor: Visitor, faults: list[str], lock: threading.Lock) -> None:
    """Make visits until the time is over."""
    while time.monotonic() < end:
        try:
            visitor.visit()
        except WrongAnswerError as error:
            with lock:
                faults.append(str(error))
            if len(faults) > 20:
                return
        except OSError as error:
            # Who behaves well must not lose a connection either.
            with lock:
                faults.append(f"{type(error).__name__}: {error}")


def growth(memory: list[int]) -> str:
    """Return what is wrong with the memory over time; nothing for short runs."""
    if len(memory) < 60:
        return ""
    quarter = len(memory) // 4
    second, last = statistics.median(memory[quarter : 2 * quarter]), statistics.median(memory[-quarter:])
    if last > second + max(GROWTH_BYTES, GROWTH_PART * second):
        return f"memory has grown from {second / 2**20:.1f} to {last / 2**20:.1f} MiB"
    return ""


def unexpected(log: str) -> list[str]:
    """Return the blocks of the log that no request has asked for."""
    found = []
    blocks = log.split("\nERROR ")
    for number, block in enumerate(blocks):
        text = block if number == 0 else f"ERROR {block}"
        if text.strip() and "on purpose" not in text:
            found.append(text.strip()[:1000])
    return found


def soak(seconds: float, visitors: int, seed: int) -> int:
    """Run, print what was seen, and return how many faults there were."""
    faults: list[str] = []
    with tempfile.NamedTemporaryFile(prefix="web-soak-") as log:
        server = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "soak_site.py")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | MEMORY_SETTINGS,
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            counts, looks = run_visits(server.pid, port, seconds, visitors, seed, faults)
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
            if code != 0:
                faults.append(f"the server has ended with code {code}")
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
        text = Path(log.name).read_text(errors="replace")
    faults += [f"logged: {line}" for line in unexpected(text)]
    if bad := growth(looks.memory):
        faults.append(bad)
    memory = [f"{part / 2**20:.1f}" for part in (looks.memory[0], max(looks.memory), looks.memory[-1])]
    print(f"{seconds:.0f} seconds, seed {seed}; {counts.pop('answers checked')} answers checked")
    print(f"visits: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}")
    print(f"memory at first, at most, at last: {', '.join(memory)} MiB")
    print(f"descriptors at most: {max(looks.descriptors)}; threads at most: {max(looks.threads)}")
    for fault, count in Counter(faults).most_common(20):
        print(f"FAULT ({count} times): {fault}")
    print("no fault" if not faults else f"{len(faults)} faults")
    return len(faults)


def run_visits(
    pid: int, port: int, seconds: float, visitors: int, seed: int, faults: list[str]
) -> tuple[Counter[str], Looks]:
    """Have the visits made, look at the server meanwhile, and see whether it comes back to where it began."""
    lock = threading.Lock()
    first = Visitor(port, seed)
    visit_until(time.monotonic() + min(2.0, seconds / 4), first, faults, lock)
    rest, looks = Looks(), Looks()
    settle(pid, rest, None)
    end = time.monotonic() + seconds
    crowd = [Visitor(port, seed * 1000 + number) for number in range(1, visitors + 1)]
    threads = [threading.Thread(target=visit_until, args=(end, one, faults, lock)) for one in crowd]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        looks.take(pid)
        time.sleep(1.0)
        if time.monotonic() > end + 60:
            faults.append("visits do not come to an end")
            break
    after = Looks()
    settle(pid, after, rest)
    for what, before, now in (
        ("descriptors", rest.descriptors[-1], after.descriptors[-1]),
        ("threads", rest.threads[-1], after.threads[-1]),
    ):
        if now > before:
            faults.append(f"{now} {what} at the end, {before} at the beginning")
    return sum((one.counts for one in [first, *crowd]), Counter()), looks


def settle(pid: int, looks: Looks, aim: Looks | None) -> None:
    """Look until there are no more descriptors and threads than in `aim`, or for a while."""
    end = time.monotonic() + (SETTLE_SECONDS if aim else 1.0)
    while True:
        looks.take(pid)
        is_there = aim and looks.descriptors[-1] <= aim.descriptors[-1] and looks.threads[-1] <= aim.threads[-1]
        if is_there or time.monotonic() > end:
            return
        time.sleep(0.2)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python tests/web_soak", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--visitors", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seconds = options.seconds if options.seconds is not None else options.minutes * 60
    return 1 if soak(seconds, options.visitors, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Programs that a test starts, and what a process has open and at work: for the tests of servers' lives.

Every wait has a deadline. Linux: what is open and at work is read from /proc.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEADLINE_SECONDS = 60.0


class Child:
    """A process that a `with` block kills at its end if it still runs."""

    process: subprocess.Popen[Any]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Program(Child):
    """A Python program, given as its source; its first line of output, where a test waits for it, is a word
    that says where it has got to."""

    def __init__(self, source: str, *arguments: str, options: tuple[str, ...] = ()) -> None:
        command = [sys.executable, *options, "-c", textwrap.dedent(source), *arguments]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    def read_line(self) -> str:
        """Return the next line that the program prints, without its end; fails if it ends instead."""
        assert self.process.stdout is not None
        killer = _deadline(self.process)
        with killer:
            line = self.process.stdout.readline()
        assert line, f"the program ended without a word: {self.finish()}"
        return line.rstrip("\n")

    def send(self, line: str) -> None:
        """Send a line to the program's input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was written to stderr."""
        with _deadline(self.process):
            _, errors = self.process.communicate()
        return self.process.returncode, errors


@contextlib.contextmanager
def _deadline(process: subprocess.Popen[str]):  # type: ignore[no-untyped-def]
    """Kill the process if the block takes longer than the deadline: its pipes then end, and the test fails."""
    import threading

    def end() -> None:
        is_over.set()
        process.kill()

    is_over = threading.Event()
    timer = threading.Timer(DEADLINE_SECONDS, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    # Said here, as an exit code of -9 does not say who killed it.
    assert not is_over.is_set(), f"the program was killed: it had not got on in {DEADLINE_SECONDS:.0f} seconds"


def run(source: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a program to its end; return its exit code and what it wrote to stderr."""
    with Program(source, *arguments, options=options) as program:
        return program.finish()


def descriptors(pid: int | str = "self") -> dict[str, str]:
    """Return what is open in a process: what each descriptor leads to, by its number."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/{pid}/fd/{name}")
    own = f"/proc/{os.getpid()}/fd" if pid == "self" else f"/proc/{pid}/fd"
    return {name: target for name, target in found.items() if target != own}


def threads(pid: int | str = "self") -> list[str]:
    """Return the names of the threads of a process, as the system knows them."""
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append(Path(f"/proc/{pid}/task/{task}/comm").read_text().strip())
    return sorted(names)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kilobytes() -> int:
    """Return the memory this process has in RAM now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_exit(pid: int) -> int:
    """Wait for a child; return its exit code, negative for a signal."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"process {pid} did not end")
        time.sleep(0.002)

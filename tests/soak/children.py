"""The processes of a run, as their parent sees them: orders go in by lines, events come out as JSON lines.

A child that does not answer in time is made to write down what all its threads do, and is killed.
Must not know: what the events mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DUMP_SECONDS = 2.0
EXIT_SECONDS = 30.0


class Silent(Exception):  # noqa: N818 - named by what it says
    """A child said nothing, or ended, when it should have answered."""


class Child:
    """One process of the run. Used by one thread.

    Args:
        name: for messages.
        arguments: of this program, for the child.
        observe: called for each event, in a thread of the child's own.
        environment: what is added to this process's own.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        observe: Callable[[dict[str, Any]], None],
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.last_heard = time.monotonic()
        self._observe = observe
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        # Every warning but that about forking with threads, which is what the soak does on purpose.
        options = ["-W", "always", "-W", "ignore::DeprecationWarning"]
        self._process = subprocess.Popen(
            [sys.executable, *options, str(Path(__file__).parent), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=os.environ | dict(environment),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def order(self, command: str) -> None:
        """Send an order."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()

    def has_answered(self) -> bool:
        """Return whether an event waits that is not only for observers."""
        return not self._answers.empty()

    def wait_for(self, kind: str, seconds: float) -> dict[str, Any]:
        """Return the next event of a kind that is not only for observers.

        Raises:
            Silent: it did not come, or something else did.
        """
        try:
            event = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise Silent(f"{self.name} did not say {kind!r} within {seconds:.0f} s") from None
        if event["event"] != kind:
            raise Silent(f"{self.name} said {event['event']!r}, where {kind!r} was due")
        return event

    def dump_stacks(self) -> None:
        """Have the process write to stderr what each of its threads does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(DUMP_SECONDS)

    def wait_for_exit(self, seconds: float = EXIT_SECONDS) -> int:
        """Return the exit code.

        Raises:
            Silent: the process has not ended.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Silent(f"{self.name} did not end within {seconds:.0f} s") from None
        self._reader.join(EXIT_SECONDS)
        return code

    def stderr(self) -> str:
        """Return what the process has written to stderr."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")

    def kill(self) -> None:
        """End the process, if it has not ended, and all there is of it here. Twice is harmless."""
        if self.is_running():
            self._process.kill()
            self._process.wait()
        self._reader.join(EXIT_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last_heard = time.monotonic()
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "fault", "text": f"wrote something that is no event: {line[:200]!r}"}
            if event["event"] in ("alive", "window", "ended", "fault"):
                self._observe(event)
            else:
                self._answers.put(event)
        self._answers.put({"event": "end of output"})

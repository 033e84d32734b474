"""Commands that a test starts as an operator does, and asks over HTTP. Every wait has a deadline."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["DEADLINE_SECONDS", "Command", "answer_of", "serve"]

DEADLINE_SECONDS = 60


class Command:
    """A command that runs in a folder. Killed at the end of the `with` block if it still runs, or takes too long."""

    def __init__(
        self, *command: str, folder: Path | None = None, descriptors: Sequence[int] = (), **settings: str
    ) -> None:
        self.process = subprocess.Popen(
            [*command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            pass_fds=descriptors,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | settings,
        )
        self._guard = threading.Timer(DEADLINE_SECONDS, self.process.kill)

    def __enter__(self) -> Self:
        self._guard.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def banner(self) -> list[str]:
        """Return the lines of the banner; fails if the command ends without one."""
        assert self.process.stderr is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            line = self.process.stderr.readline()
            assert line, (lines, self.process.wait())
            lines.append(line.rstrip("\n"))
        return lines

    def port(self) -> int:
        """Return the port of the first link in the banner."""
        found = re.search(r"http://[^ /]*:(\d+)/", "\n".join(self.banner()))
        assert found
        return int(found[1])

    def said(self) -> str:
        """Return the next line on the standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit status, and what is left on the standard output and error."""
        out, errors = self.process.communicate()
        return self.process.returncode, out, errors


def serve(*arguments: str, **options: Any) -> Command:
    return Command(sys.executable, "-m", "wiretask", "serve", *arguments, **options)


def answer_of(port: int, path: str = "/", method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()

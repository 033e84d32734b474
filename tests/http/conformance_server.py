"""A server under test: a process that is started by a command line, and measured and ended by its process group.

Must not know: any server in particular, cases.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
START_SECONDS = 30.0


class Server:
    """One server process: started by the command, stopped by its process group."""

    def __init__(self, command: str, log_path: Path) -> None:
        self.command, self.log_path, self.port = command, log_path, 0
        self.process: subprocess.Popen[bytes] | None = None
        self.output_path = log_path.with_name("server.log")

    def start(self) -> None:
        """Start it on a free port, and wait until it answers.

        Raises:
            RuntimeError: it does not; the error has what it wrote.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environ = dict(os.environ, HTTP_CONFORMANCE_LOG=str(self.log_path))
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), environ.get("PYTHONPATH")]))
        with open(self.output_path, "ab") as output:
            self.process = subprocess.Popen(
                shlex.split(self.command.format(port=self.port)),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > end or self.process.poll() is not None:
                self.stop()
                raise RuntimeError(f"the server did not start: {self.output_path.read_text()[-2000:]}")
            time.sleep(0.1)

    def answers(self, seconds: float = 3.0) -> bool:
        """Return whether a plain request on a new connection is answered with 200."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
                connection.sendall(b"GET /alive HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return re.match(rb"HTTP/1\.[01] 200", connection.recv(100)) is not None
        except OSError:
            return False

    def stop(self) -> None:
        """End the process group, if need be by force."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
            time.sleep(0.1)

    def usage(self) -> tuple[int, float]:
        """Return (resident bytes, CPU seconds) of the process group; zeros where /proc does not tell."""
        assert self.process is not None
        memory, seconds = 0, 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[2]) == self.process.pid:
                memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return memory, seconds

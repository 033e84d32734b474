"""Starts a site of this directory in a process of its own, as its framework's users would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from processes import Child

HERE = Path(__file__).parent
START_SECONDS = 60.0
STOP_SECONDS = 20.0

SERVE = [sys.executable, "-m", "wiretask", "serve", "{name}_site:application", "--app-dir", str(HERE)]
COMMANDS = {
    "flask": [*SERVE, "--host", "127.0.0.1", "--port", "{port}"],
    "falcon": [*SERVE, "--host", "127.0.0.1", "--port", "{port}"],
    "django": [*SERVE, "--host", "127.0.0.1", "--port", "{port}"],
    "pyramid": [str(Path(sys.executable).parent / "pserve"), str(HERE / "pyramid.ini"), "http_port={port}"],
    "zope": [str(Path(sys.executable).parent / "runwsgi"), "etc/zope.ini"],
}


class Served(Child):
    """A site that runs; its output is in `log`."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory, self.log = name, directory, directory / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        if name == "zope":
            make_zope(directory, self.port)
        command = [word.format(name=name, port=self.port) for word in COMMANDS[name]]
        environment = os.environ | {"PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
        self._wait_until_it_answers()

    @property
    def url(self) -> str:
        """Where it is served, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-3000:]}"
                assert time.monotonic() < deadline, f"{self.name} does not listen: {self.log.read_text()[-3000:]}"
                time.sleep(0.1)


def make_zope(directory: Path, port: int) -> None:
    """Make an instance of Zope, the way its documentation says, and have wiretask serve it."""
    maker = str(Path(sys.executable).parent / "mkwsgiinstance")
    subprocess.run([maker, "-d", str(directory), "-u", "admin:password"], check=True, stdout=subprocess.DEVNULL)
    settings = directory / "etc" / "zope.ini"
    lines = []
    for line in settings.read_text().splitlines():
        if line.startswith("use = egg:waitress"):
            lines.append("use = egg:wiretask#main")
        elif line.startswith(("port =", "listen =")):
            lines.append(f"listen = 127.0.0.1:{port}")
        elif line.startswith("host ="):
            continue
        else:
            lines.append(line)
    settings.write_text("\n".join(lines) + "\n")
    assert "egg:wiretask#main" in settings.read_text(), settings.read_text()

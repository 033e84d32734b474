"""`python -m wiretask.examples.echo`: sends every line back. The least that a server needs.

Strategy: `Line` cuts the input into lines, in Rust, without the interpreter; each line that is not blank
becomes an `EchoTask`, which a worker thread runs. A task may take its time: other connections do not wait.
"""

import sys

import wiretask
from wiretask.consumers import Line
from wiretask.examples.launcher import launch

__all__ = ["EchoChannel", "EchoServer", "EchoTask"]


class EchoTask(wiretask.Task):
    """The work for one line: `self.request` is the completed `Line`, `self.channel` its connection."""

    def service(self) -> None:
        """Send the line back. Runs on a worker thread, and in order for each connection."""
        self.channel.write(self.request.value + b"\n")


class EchoChannel(wiretask.ServerChannel):
    """One connection: says how to cut its input into requests, and what to do with each."""

    parser_class = Line
    task_class = EchoTask


class EchoServer(wiretask.Server):
    """The listener: makes an `EchoChannel` for each connection."""

    channel_class = EchoChannel


if __name__ == "__main__":
    sys.exit(
        launch(
            EchoServer,
            name="echo",
            description="A server that sends every line back.",
            default_port=7007,
            try_with="nc {host} {port}",
        )
    )

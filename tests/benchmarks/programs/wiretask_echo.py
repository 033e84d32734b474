"""A line echo server on wiretask. Prints its port. `--sleep-ms`, `--cpu-bound`: an application that is slow."""

import argparse
import threading
import time

import wiretask
from wiretask.consumers import Line

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=4)
parser.add_argument("--sleep-ms", type=float, default=0)
parser.add_argument("--cpu-bound", action="store_true")
options = parser.parse_args()


class EchoTask(wiretask.Task):
    """Sends the line back."""

    def service(self) -> None:
        """Send the line back."""
        self.channel.write(self.request.value + b"\n")


class SlowEchoTask(wiretask.Task):
    """Sends the line back after a sleep."""

    def service(self) -> None:
        """Sleep, as if a database were asked, and send the line back."""
        time.sleep(options.sleep_ms / 1000)
        self.channel.write(self.request.value + b"\n")


class EchoChannel(wiretask.ServerChannel):
    """One connection."""

    parser_class = Line
    task_class = SlowEchoTask if options.sleep_ms else EchoTask


class EchoServer(wiretask.Server):
    """The listener."""

    channel_class = EchoChannel


def keep_busy() -> None:
    """Compute for ever."""
    while True:
        sum(range(1000))


if options.cpu_bound:
    threading.Thread(target=keep_busy, daemon=True).start()
adjustments = wiretask.Adjustments(threads=options.threads, connection_limit=100_000, channel_timeout=None)
server = EchoServer("127.0.0.1", 0, adj=adjustments)
print(server.effective_port, flush=True)
server.run()

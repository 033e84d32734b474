"""`launch`: the command line that the examples share: options, banner, clean end.

Strategy: bind first, print where the server really listens, then serve until Ctrl-C or SIGTERM.
Must not know: any protocol; each example hands in its server class and a hint how to talk to it.
"""

import argparse
import contextlib
import errno
import signal
import sys
from typing import Protocol

from wiretask import Adjustments, Server

__all__ = ["launch"]


class MakesServer(Protocol):
    """What `launch` needs of a server class: the first arguments of `wiretask.Server`."""

    def __call__(self, ip: str, port: int, *, adj: Adjustments) -> Server:
        """Return a server that is bound to the address."""


def launch(make_server: MakesServer, *, name: str, description: str, default_port: int, try_with: str) -> int:
    """Serve until SIGINT or SIGTERM and return 0; return 2 after one line that says why it cannot serve.

    Args:
        make_server: a server class.
        name: the module's name under `wiretask.examples`.
        description: one line for `--help`.
        default_port: the port when none is given.
        try_with: a shell command that talks to the server, with `{host}` and `{port}` in it.
    Raises:
        SystemExit: the command line is wrong (code 2) or asks for help (0).
    Threads: the main thread only. Blocking: until a signal comes.
    """
    parser = argparse.ArgumentParser(prog=f"python -m wiretask.examples.{name}", description=description)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=default_port, help="0 lets the system choose (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=4, help="worker threads (default: %(default)s)")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"argument --port: {options.port} is not in 0..65535")
    try:
        adjustments = Adjustments(threads=options.threads)
    except ValueError as error:
        parser.error(f"argument --threads: {error}")
    try:
        server = make_server(options.host, options.port, adj=adjustments)
    except OSError as error:
        print(f"{parser.prog}: {_explain(error, options.host, options.port)}", file=sys.stderr)
        return 2
    except ValueError as error:
        parser.error(f"argument --host: {error}")
    # From here on a signal asks for the end, also in the moment before `run` listens to signals itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        hint = try_with.format(host=_reachable(options.host), port=server.effective_port)
        print(f"{name} listens on {', '.join(server.effective_listen)}; try: {hint}", flush=True)
        server.run()
    return 0


def _reachable(host: str) -> str:
    """Return an address that a client on this machine can use for `host`."""
    return {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _explain(error: OSError, host: str, port: int) -> str:
    """Return one line: what went wrong and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: stop what listens there, or choose another with --port N"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for the administrator: choose one above 1023 with --port N"
    return f"cannot listen on {host}, port {port} ({error}): choose an address of this machine with --host H"

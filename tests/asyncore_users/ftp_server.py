"""An FTP server of pyftpdlib on `wiretask.asyncore` and `wiretask.asynchat`, for tests, in a process of its own.

    python ftp_server.py FOLDER [--loop own|wiretask] [--certificate FILE]

Strategy: ours stand in `sys.modules` under the old names before pyftpdlib is imported. What pyftpdlib uses of them is
`async_chat` with all that it inherits (its sessions, its connections for data, its listeners) and `read` and `write`.
It brings a loop of its own; with `--loop wiretask` that is replaced by ours, for its loops are meant to be replaced.
The port is printed once it listens; SIGTERM ends the server in good order.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import wiretask.asynchat
import wiretask.asyncore
from wiretask import EventLoop, WatchedMap, announced

sys.modules["asyncore"], sys.modules["asynchat"] = wiretask.asyncore, wiretask.asynchat

import pyftpdlib.ioloop  # noqa: E402 (now, and not before)

MAX_CONNECTIONS = 5000


class Registration:
    """An entry of our map for what was registered with pyftpdlib's loop, and for the events that were named.

    What happens is handled in the way of pyftpdlib's own loops.
    """

    def __init__(self, instance: Any, events: int) -> None:
        self.instance, self.events = instance, events

    @announced
    def readable(self) -> bool:
        return bool(self.events & WiretaskLoop.READ)

    @announced
    def writable(self) -> bool:
        return bool(self.events & WiretaskLoop.WRITE)

    def handle_read_event(self) -> None:
        if self.instance.readable():
            wiretask.asyncore.read(self.instance)

    def handle_write_event(self) -> None:
        if self.instance.writable():
            wiretask.asyncore.write(self.instance)

    def handle_expt_event(self) -> None:
        pass

    def handle_close(self) -> None:
        self.instance.handle_close()

    def handle_error(self) -> None:
        self.instance.handle_error()

    def handle_read(self) -> None:
        """Not called: it says that somebody reads, so that the end does not overtake input."""

    def close(self) -> None:
        self.instance.close()


class WiretaskLoop(pyftpdlib.ioloop._IOLoop):  # type: ignore[misc]
    """pyftpdlib's loop, waiting in ours."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = WatchedMap()
        self.turns = EventLoop.of(self.entries)

    def register(self, fd: int, instance: Any, events: int) -> None:
        self.socket_map[fd] = instance
        self.entries[fd] = Registration(instance, events)

    def unregister(self, fd: int) -> None:
        self.socket_map.pop(fd, None)
        self.entries.pop(fd, None)

    def modify(self, fd: int, events: int) -> None:
        entry: Any = self.entries[fd]
        entry.events = events
        self.turns.note_interest(fd)

    def poll(self, timeout: float | None) -> None:
        self.turns.turn(timeout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loop", choices=["own", "wiretask"], default="own")
    parser.add_argument("--certificate", type=Path)
    options = parser.parse_args()
    if options.loop == "wiretask":
        pyftpdlib.ioloop.IOLoop = WiretaskLoop

    from pyftpdlib import handlers, servers
    from pyftpdlib.authorizers import DummyAuthorizer

    assert pyftpdlib.ioloop.asyncore is wiretask.asyncore
    assert issubclass(handlers.FTPHandler, wiretask.asynchat.async_chat)
    authorizer = DummyAuthorizer()
    authorizer.add_user("user", "password", str(options.folder), perm="elradfmwMT")
    handler = handlers.TLS_FTPHandler if options.certificate else handlers.FTPHandler
    handler.authorizer = authorizer
    handler.use_gmt_times = True
    handler.banner = "pyftpdlib on wiretask"
    if options.certificate:
        handler.certfile = str(options.certificate)
        handler.tls_control_required = handler.tls_data_required = True
    server = servers.FTPServer(("127.0.0.1", 0), handler, backlog=1024)
    assert isinstance(server.ioloop, WiretaskLoop) == (options.loop == "wiretask")
    server.max_cons = MAX_CONNECTIONS
    print(server.address[1], flush=True)

    def leave(*_: object) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, leave)  # `serve_forever` ends on it, and closes everything
    server.serve_forever()


if __name__ == "__main__":
    main()

"""Fixtures for the tests of servers: `serving` starts servers and `connect` makes clients; both clean up."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import Peer

import wiretask
from wiretask.dispatcher import SocketMap

STOP_SECONDS = 3.0

Serve = Callable[..., wiretask.Server]
Connect = Callable[..., Peer]


@pytest.fixture
def serving() -> Iterator[Serve]:
    """A function that starts a server of a class on a free local port and returns it.

    It takes a Server class, or a ServerChannel class, for which it makes the Server class; then the
    arguments of `Server`. The servers are stopped at the end of the test.
    """
    with contextlib.ExitStack() as stopping:

        def serve(served: type, ip: str | None = "127.0.0.1", port: int | None = 0, **arguments: Any) -> Any:
            server_class = served
            if issubclass(served, wiretask.ServerChannel):
                server_class = type("TestServer", (wiretask.Server,), {"channel_class": served})
            server = server_class(ip, port, **arguments)
            stopping.callback(server.stop, STOP_SECONDS)
            server.start()
            return server

        yield serve


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A function that connects a client to a server's first address; the clients are closed at the end."""
    with contextlib.ExitStack() as closing:

        def connect_to(server: wiretask.Server, **options: Any) -> Peer:
            peer = Peer.of(server, **options)
            closing.callback(peer.close)
            return peer

        yield connect_to


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="wt") as name:
        yield Path(name)


@pytest.fixture(params=[dict, wiretask.WatchedMap])
def entries(request: pytest.FixtureRequest) -> Iterator[SocketMap]:
    """A map of the test's own, of both kinds, closed at its end."""
    entries: SocketMap = request.param()
    yield entries
    wiretask.close_all(entries, ignore_all=True)

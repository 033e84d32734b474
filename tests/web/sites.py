"""A WSGI application that is served in this process, and the clients that are connected to it."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from typing import Any
from wsgiref.validate import validator

from http_peer import Answer, HTTPPeer
from peers import DEADLINE_SECONDS, until

__all__ = ["SERVER_MODULE", "Site", "create_server", "errors_of", "until"]

SERVER_MODULE = os.environ.get("WIRETASK_TEST_SERVER", "wiretask")


def create_server(application: Any, **arguments: Any) -> Any:
    """Return a server of the module under test, listening on a free local port unless told otherwise."""
    if not {"listen", "sockets", "unix_socket"} & arguments.keys():
        arguments = {"host": "127.0.0.1", "port": 0} | arguments
    return importlib.import_module(SERVER_MODULE).create_server(application, **arguments)


class Site:
    """An application and its server, which runs in a thread of its own."""

    def __init__(self, application: Any, *, validated: bool = True, **arguments: Any) -> None:
        self.server = create_server(validator(application) if validated else application, **arguments)
        self.path = arguments.get("unix_socket")
        self.port = 0 if self.path else int(self.server.effective_port)  # waitress has it as a str
        self._peers: list[HTTPPeer] = []
        self._thread = threading.Thread(target=self.server.run, name="site", daemon=True)
        self._thread.start()

    def connect(self, **options: Any) -> HTTPPeer:
        """Return a new client, which is closed with the site."""
        peer = HTTPPeer(self.path or (options.pop("host", "127.0.0.1"), self.port), **options)
        self._peers.append(peer)
        return peer

    def ask(self, method: str = "GET", target: str = "/", **options: Any) -> Answer:
        """Return the answer to one request on a connection of its own."""
        with self.connect() as peer:
            return peer.ask(method, target, **options)

    def close(self) -> None:
        """Close clients and server, and wait until `run` has come back."""
        for peer in self._peers:
            peer.close()
        if SERVER_MODULE != "wiretask":
            return  # waitress cannot be closed from another thread while it runs
        self.server.close()
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), "run() did not come back"


def errors_of(caplog: Any) -> list[str]:
    """Return what has been logged as an error, exceptions with their type and text."""
    found = []
    for record in list(caplog.records):
        if record.levelno >= logging.ERROR:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0]:
                text += f" | {record.exc_info[0].__name__}: {record.exc_info[1]}"
            found.append(text)
    return found

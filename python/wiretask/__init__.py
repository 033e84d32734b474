"""Servers in Python whose sockets, queues and parsers run in Rust.

The names here are the public ones; more stand in `wiretask.consumers`, `wiretask.errors` and
`wiretask.interfaces`.
"""

from wiretask import consumers, errors, interfaces
from wiretask._native import __version__
from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.channels import ServerChannel
from wiretask.connection import Connection
from wiretask.dispatcher import Dispatcher, ExitNow, close_all, loop, socket_map
from wiretask.servers import Server
from wiretask.tasks import Task, ThreadedTaskDispatcher

__all__ = [
    "Adjustments",
    "Connection",
    "Dispatcher",
    "ExitNow",
    "ListenAddress",
    "Server",
    "ServerChannel",
    "Task",
    "ThreadedTaskDispatcher",
    "__version__",
    "close_all",
    "consumers",
    "errors",
    "interfaces",
    "loop",
    "socket_map",
]

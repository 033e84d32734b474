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
from wiretask.event_loop import EventLoop
from wiretask.loop_entries import announced
from wiretask.servers import Server
from wiretask.tasks import Task, ThreadedTaskDispatcher
from wiretask.tls_dispatcher import TLSDispatcher
from wiretask.watched_map import WatchedMap
from wiretask.wsgi import WSGIAdjustments, WSGIServer, create_server, serve

__all__ = [
    "Adjustments",
    "Connection",
    "Dispatcher",
    "EventLoop",
    "ExitNow",
    "ListenAddress",
    "Server",
    "ServerChannel",
    "TLSDispatcher",
    "Task",
    "ThreadedTaskDispatcher",
    "WSGIAdjustments",
    "WSGIServer",
    "WatchedMap",
    "__version__",
    "announced",
    "close_all",
    "consumers",
    "create_server",
    "errors",
    "interfaces",
    "loop",
    "serve",
    "socket_map",
]

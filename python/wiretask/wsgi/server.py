"""`WSGIServer`, `create_server` and `serve`: a WSGI application behind HTTP.

Strategy: a `wiretask.Server` whose channels call the application. What all environs have in common is made here,
once; everything else of HTTP is done in Rust. Must not know: how a request is read or an answer framed.
Source: PEP 3333; waitress for the names.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import weakref
from collections.abc import Callable
from typing import Any, TextIO, Unpack, cast

from wiretask._native import __version__
from wiretask.channels import ServerChannel
from wiretask.consumers import HTTPRequest
from wiretask.loop_entries import SocketMap
from wiretask.servers import Server
from wiretask.wsgi.access_log import AccessLog
from wiretask.wsgi.adjustments import WSGIAdjustments
from wiretask.wsgi.channel import Site, WSGIChannel
from wiretask.wsgi.file_wrapper import FileWrapper
from wiretask.wsgi.proxies import ProxyTrust
from wiretask.wsgi.settings import Settings

__all__ = ["WSGIServer", "create_server", "serve"]

#: What a client is told that no worker has time for.
_RETRY_AFTER_SECONDS = 10


class WSGIServer(Server):
    """A server of one WSGI application.

    Args:
        application: called for each request, on a worker thread, as PEP 3333 says.
        adj: the settings; None: the defaults (port 8080 of all interfaces).
        task_dispatcher: an ITaskDispatcher, as for `wiretask.Server`.
    Raises:
        TypeError: the application cannot be called. OSError: an address cannot be bound, or the access log is to
            go to a standard output that the process was started without.
    It listens when it has been made, and starts no thread before `run` or `start`.
    """

    adj: WSGIAdjustments

    def __init__(
        self, application: Callable[..., Any], adj: WSGIAdjustments | None = None, task_dispatcher: Any = None
    ) -> None:
        if not callable(application):
            raise TypeError(f"application is a WSGI application, which can be called, not {application!r}")
        settings = WSGIAdjustments() if adj is None else adj
        if not isinstance(settings, WSGIAdjustments):
            raise TypeError(f"adj is a WSGIAdjustments, not {adj!r}")
        access_log = AccessLog(settings)
        super().__init__(None, None, task_dispatcher, settings)
        self.application = application
        self._access_log = access_log
        self.channel_class = _channel_class(application, settings)

    def close(self) -> None:
        """Stop, and let answers that are under way come to their end: `stop()`."""
        self.stop()

    def figures(self) -> dict[str, int | float]:
        """Return what the server counts, by name: flat, and all of it numbers."""
        figures = self.stats()
        tasks = figures.pop("tasks", {})
        figures.update({f"tasks_{name}": value for name, value in tasks.items()})
        return {name: value for name, value in figures.items() if isinstance(value, (int, float))}

    def reopen_access_log(self) -> None:
        """Have the file of the access log closed and opened anew by its name: it was moved, and is to be left alone.

        Returns at once; what was logged before still goes to the old file. `run` does this for SIGUSR1, unless the
        program has a handler of its own. Without a file, or before the start, nothing happens. A file that was moved
        is noticed without it too, within two seconds in which something is logged.
        Threads: any, signal handlers included.
        """
        running = self._running
        if running is not None:
            running.native.reopen_access_log()

    def _class_of_channels(self) -> type[ServerChannel]:
        """Return the class that was made for this application."""
        return self.channel_class

    def _native_settings(self) -> dict[str, Any]:
        adj = self.adj
        ports = {address.port for address in self._listens_on}
        port = self.effective_port or (443 if adj.url_scheme == "https" else 80)
        environ = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": adj.url_scheme,
            "wsgi.errors": sys.stderr if sys.stderr is not None else _nowhere(),
            "wsgi.multithread": adj.threads > 1,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            "SERVER_NAME": adj.server_name,
            "SERVER_PORT": str(port),
            "SERVER_SOFTWARE": f"wiretask/{__version__}",
            # A character for each byte, as in PATH_INFO.
            "SCRIPT_NAME": adj.url_prefix.encode().decode("latin-1"),
            # Weak: the environ is kept by the loops, and a server that nobody holds is collected.
            "wiretask.server": weakref.proxy(self),
        }
        wsgi = {
            "access_log": self._access_log.native_settings(),
            "environ": environ,
            "ident": adj.ident or "",
            "url_prefix": adj.url_prefix,
            "ports_differ": len(ports) > 1,
            "streams_bodies": adj.stream_request_body,
            "drops_forwarding": _drops_forwarding(adj),
        }
        http = {"ident": adj.ident, "retry_after_seconds": _RETRY_AFTER_SECONDS}
        return {
            "wsgi": wsgi,
            "http": http,
            "body_memory_bytes": adj.inbuf_overflow,
            "streams_bodies": adj.stream_request_body,
        }

    def _signal_actions(self) -> dict[signal.Signals, Callable[[], object]]:
        return {signal.SIGUSR1: self.reopen_access_log} if self._access_log.has_file else {}

    def _deliver_access_lines(self) -> None:
        """Hand to a logger what was logged. Called on the housekeeper's thread."""
        running = self._running
        if running is not None:
            self._access_log.deliver(running.native)

    def _stop_running(self, seconds_left: Callable[[], float]) -> bool:
        try:
            return super()._stop_running(seconds_left)
        finally:
            if self._running is not None:
                self._access_log.end(self._running.native)


@functools.cache
def _nowhere() -> TextIO:
    """Return what takes all text and keeps none, for a process without a standard error. One for all servers."""
    return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")


def _drops_forwarding(adj: WSGIAdjustments) -> bool:
    """Whether no request may say where it was forwarded from, and nobody is to be told of those that do."""
    return adj.clear_untrusted_proxy_headers and not (adj.trusted_proxy or adj.log_untrusted_proxy_headers)


def _channel_class(application: Callable[..., Any], adj: WSGIAdjustments) -> type[WSGIChannel]:
    parser = HTTPRequest.configured(
        max_head_bytes=adj.max_request_header_size,
        max_request_line_bytes=min(adj.max_request_line_size, adj.max_request_header_size),
        max_fields=adj.max_request_header_count,
        max_body_bytes=adj.max_request_body_size,
    )
    trust = ProxyTrust.from_adjustments(adj)
    admit = trust.apply if trust.has_work and not _drops_forwarding(adj) else None
    attributes = {
        "__slots__": (),
        "parser_class": parser,
        "site": Site(application, admit, adj.expose_tracebacks, adj.stream_request_body),
    }
    return type("WSGIChannel", (WSGIChannel,), attributes)


def create_server(
    application: Callable[..., Any] | None = None, map: SocketMap | None = None, **settings: Unpack[Settings]
) -> WSGIServer:
    """Return a server of `application` that listens already; call its `run`, `start`, or use it in a `with` block.

    Args:
        application: the WSGI application; a keyword argument too.
        map: where the server stands; None: `wiretask.socket_map`.
        settings: those of `WSGIAdjustments`, which are waitress's and more.
    Raises:
        TypeError, ValueError: as `WSGIServer` and `WSGIAdjustments`. OSError: an address cannot be bound.
    """
    if application is None:
        raise TypeError("create_server needs the WSGI application as its first argument")
    server = WSGIServer(application, WSGIAdjustments(**cast(dict[str, Any], settings)))
    if map is not None:
        server.del_channel()
        server.add_channel(map)
    return server


def serve(application: Callable[..., Any], **settings: Unpack[Settings]) -> None:
    """Serve `application` until Ctrl-C or SIGTERM. Arguments and errors: those of `create_server`.

    Blocking: yes, for the life of the server.
    """
    create_server(application, **settings).run()

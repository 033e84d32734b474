"""The server as PasteDeploy names it: "use = egg:wiretask#main" in a [server:main] section.

Strategy: what an ini file says is text, which the settings can read; nothing else is needed.
Must not know: PasteDeploy, which calls this and is not imported.
Source: PasteDeploy's paste.server_runner and paste.server_factory; zope.server's `run_paste`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from wiretask.wsgi.server import create_server

__all__ = ["paste_server_factory", "run_paste", "serve_paste"]

_LOG = logging.getLogger("wiretask.server")
_Application = Callable[..., Any]


def serve_paste(application: _Application, global_conf: Mapping[str, str] | None = None, **settings: Any) -> int:
    """Serve until a signal, and return 0: the server runner "egg:wiretask#main".

    Args:
        application: the WSGI application.
        global_conf: what stands in [DEFAULT]; not used.
        settings: those of `WSGIAdjustments`, as text.
    Raises:
        TypeError, ValueError: a setting is wrong; the error names it. OSError: an address cannot be bound.
    """
    server = create_server(application, **settings)
    _LOG.info("serving on %s", ", ".join(server.effective_listen))
    # `run` starts it, once it listens to signals: nothing is answered that a signal could then cut short.
    server.run()
    return 0


def paste_server_factory(
    global_conf: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[_Application], int]:
    """Return what serves an application until a signal: the server factory "egg:wiretask#main"."""

    def serve(application: _Application) -> int:
        return serve_paste(application, global_conf, **settings)

    return serve


def run_paste(
    application: _Application,
    global_conf: Mapping[str, str] | None = None,
    name: str = "zope.server.http",
    host: str = "127.0.0.1",
    port: str | int = 8080,
    threads: str | int = 4,
    **settings: Any,
) -> int:
    """Serve until a signal, with zope.server's arguments and defaults, besides which there are ours.

    `name` is what the Server header says. For ini files that name zope.server's runner by its dotted path.
    """
    return serve_paste(application, global_conf, ident=name, host=host, port=port, threads=threads, **settings)

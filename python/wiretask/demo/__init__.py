"""`demo_application`: a page with the live figures of the server that serves it.

Strategy: three files and one JSON document, which the page asks for every second. The server is found in the environ,
and whatever numbers it has are shown, so that this knows none of them by name. `/nap` takes a second, and `/hello` is
for load generators. Must not know: how the server counts.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from wiretask._native import __version__

__all__ = ["demo_application"]

_NAP_SECONDS = 1.0
_PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'"),
    ("X-Content-Type-Options", "nosniff"),
]

_StartResponse = Callable[..., Any]


def demo_application() -> Callable[[dict[str, Any], _StartResponse], Iterable[bytes]]:
    """Return the WSGI application. Its clock starts now."""
    started = time.monotonic()
    folder = importlib.resources.files(__name__)
    pages = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _PAGES.items()}

    def application(environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        status = "200 OK"
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain; charset=utf-8", b"only GET and HEAD\n"
        elif path in pages:
            body, kind = pages[path]
        elif path == "/figures.json":
            figures = _figures(environ, time.monotonic() - started)
            body, kind = json.dumps(figures).encode(), "application/json"
        elif path == "/hello":
            body, kind = b"Hello, world!\n", "text/plain; charset=utf-8"
        elif path == "/nap":
            time.sleep(_NAP_SECONDS)
            body, kind = b"awake again\n", "text/plain; charset=utf-8"
        else:
            status, kind, body = "404 Not Found", "text/plain; charset=utf-8", b"there is no such page\n"
        allowed = [("Allow", "GET, HEAD")] if status.startswith("405") else []
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS, *allowed])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return application


def _figures(environ: dict[str, Any], uptime_seconds: float) -> dict[str, dict[str, Any]]:
    """Return what the page shows: facts that are text, and numbers of the server and of the process."""
    server = environ.get("wiretask.server")
    return {
        "facts": {
            "wiretask": __version__,
            "Python": ".".join(map(str, sys.version_info[:3])),
            "process": str(os.getpid()),
            "listens on": ", ".join(getattr(server, "effective_listen", ())),
        },
        "server": {} if server is None else server.figures(),
        "process": _process_figures() | {"uptime_seconds": uptime_seconds},
    }


def _process_figures() -> dict[str, float]:
    """Return the memory, threads, descriptors and processor time of this process, as far as the system says."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "python_threads": threading.active_count(),
    }
    try:
        with open("/proc/self/statm", "rb") as statm:
            figures["memory_bytes"] = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        figures["open_descriptors"] = len(os.listdir("/proc/self/fd")) - 1
    except OSError:  # no /proc here
        figures["highest_memory_bytes"] = usage.ru_maxrss * 1024
    return figures

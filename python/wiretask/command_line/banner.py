"""What the server says when it starts: what it serves, where, and with what. For people; no program should read it.

Must not know: the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from wiretask.addresses import ListenAddress
from wiretask.wsgi.adjustments import WSGIAdjustments

__all__ = ["banner", "links"]

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "localhost", "*": "localhost"}


def banner(version: str, name: str, listening: Iterable[str], adj: WSGIAdjustments) -> str:
    """Return some lines: the version, what is served, the addresses as links, the threads and the process."""
    threads = f"{adj.threads} worker thread{'s' if adj.threads > 1 else ''}"
    lines = [f"wiretask {version} serves {name}"]
    lines += [f"  {link}" for link in links(listening, adj)]
    lines += [f"  {threads}, process {os.getpid()}; Ctrl-C stops it"]
    return "\n".join(lines)


def links(listening: Iterable[str], adj: WSGIAdjustments) -> Iterator[str]:
    """Return what a browser on this machine opens, for each address; the path, for a Unix socket."""
    for spelling in listening:
        address = ListenAddress.parse(spelling)
        if address.kind == "unix":
            yield spelling
            continue
        host = _EVERY_INTERFACE.get(address.host, address.host)
        note = " (and every other interface)" if address.host in _EVERY_INTERFACE else ""
        yield f"http://{f'[{host}]' if ':' in host else host}:{address.port}{adj.url_prefix or '/'}{note}"

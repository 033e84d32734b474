"""The server of the HTTP soak: an application that answers, computes, waits and fails, as its requests ask.

    python soak_site.py

Prints its port, and ends with SIGTERM. What is logged as an error goes to stderr, a line each; the errors that
requests ask for are told by their words, "on purpose".
"""

from __future__ import annotations

import hashlib
import io
import logging
import random
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs
from wsgiref.validate import validator

THREADS = 8
TEXT = ("Content-Type", "application/octet-stream")
SETTINGS: dict[str, Any] = {
    "threads": THREADS,
    "connection_limit": 400,
    "inbuf_overflow": 100_000,
    "outbuf_overflow": 200_000,
    "outbuf_high_watermark": 2_000_000,
    "channel_timeout": 5.0,
    "request_timeout_seconds": 5.0,
    "write_timeout_seconds": 5.0,
}


def content(seed: int, size: int) -> bytes:
    """Return the bytes that a seed stands for."""
    return random.Random(seed).randbytes(size)


def pieces(data: bytes, fail_at: int | None = None) -> Iterator[bytes]:
    """Give data in blocks of changing sizes; raise after so many, if told."""
    start, size, number = 0, 1, 0
    while start < len(data):
        if number == fail_at:
            raise ValueError("on purpose, in the middle")
        yield data[start : start + size]
        start, size, number = start + size, min(size * 5, 100_000), number + 1
    if fail_at is not None:
        raise ValueError("on purpose, at the end")


def site(environ: dict[str, Any], start_response: Any) -> Any:
    """Do what the path says, with `seed` and `size` of the query."""
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    seed, size = int(query.get("seed", 0)), int(query.get("size", 0))
    match environ["PATH_INFO"]:
        case "/list":
            start_response("200 OK", [TEXT, ("Content-Length", str(size))])
            return [content(seed, size)]
        case "/chunks":
            start_response("200 OK", [TEXT])
            return pieces(content(seed, size))
        case "/length":
            start_response("200 OK", [TEXT, ("Content-Length", str(size))])
            return pieces(content(seed, size))
        case "/write":
            write = start_response("200 OK", [TEXT])
            for piece in pieces(content(seed, size)):
                write(piece)
            return []
        case "/file":
            file = tempfile.TemporaryFile() if seed % 2 else io.BytesIO()  # noqa: SIM115 (the server closes it)
            file.write(content(seed, size))
            file.seek(0)
            start_response("200 OK", [TEXT, ("Content-Length", str(size))])
            return environ["wsgi.file_wrapper"](file)
        case "/sleep":
            time.sleep(0.02)
            start_response("200 OK", [TEXT, ("Content-Length", str(size))])
            return [content(seed, size)]
        case "/nothing":
            start_response("204 No Content", [])
            return []
        case "/upload":
            seen, length = hashlib.sha256(), 0
            while block := environ["wsgi.input"].read(50_000):
                seen.update(block)
                length += len(block)
            said = f"{length} {seen.hexdigest()}".encode()
            start_response("200 OK", [TEXT, ("Content-Length", str(len(said)))])
            return [said]
        case "/unread":
            start_response("200 OK", [TEXT, ("Content-Length", "6")])
            return [b"unread"]
        case "/fail-before":
            raise ValueError("on purpose, before")
        case "/fail-started":
            start_response("200 OK", [TEXT])
            raise ValueError("on purpose, started")
        case "/fail-middle":
            start_response("200 OK", [TEXT, ("Content-Length", str(size))] if seed % 2 else [TEXT])
            return pieces(content(seed, size), fail_at=3)
    raise AssertionError(f"no such path: {environ['PATH_INFO']}")


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """The site; one request in four under wsgiref.validate, as it hides lengths and files from the server."""
    chosen = validator(site) if "seed=4" in environ["QUERY_STRING"] else site
    return chosen(environ, start_response)


def main() -> None:
    """Serve until SIGTERM."""
    import wiretask

    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.ERROR)
    server = wiretask.create_server(application, host="127.0.0.1", port=0, **SETTINGS)
    print(server.effective_port, flush=True)
    server.run()


if __name__ == "__main__":
    main()

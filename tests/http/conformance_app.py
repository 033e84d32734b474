"""The WSGI application that every server under test runs for the HTTP conformance cases.

Any path answers 200 with a JSON description of the request (method, path, body length and sha256, environ).
`/app/<name>` behaves badly on purpose (the cases of group H) or in a way a case needs (`noread`, `no-length`).
`/seen` lists the requests since `/reset`; the runner itself reads the file named by the environment variable
HTTP_CONFORMANCE_LOG, to which every request adds a line, so several processes and late arrivals are seen too.
It must not know anything about one server. Source: PEP 3333.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

Environ = dict[str, Any]

BLOCK_BYTES = 65536
SHOWN_CHARACTERS = 300
_SHOWN_PREFIXES = ("HTTP_", "CONTENT_", "SERVER_", "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SCRIPT_NAME")
_seen = []


def app(environ: Environ, start_response: Any) -> Any:
    """Answer one request; raises OSError when the body ends before CONTENT_LENGTH bytes."""
    path = environ.get("PATH_INFO", "")
    if path == "/seen":
        return _answer(start_response, json.dumps(_seen).encode())
    if path == "/reset":
        _seen.clear()
        return _answer(start_response, b"[]")
    _record(environ, "begin")
    if path.startswith("/app/"):
        return _BEHAVIOURS[path[5:]](environ, start_response)
    length, digest = _read_body(environ)
    _record(environ, "body")
    shown = {
        key: value[:SHOWN_CHARACTERS]
        for key, value in environ.items()
        if isinstance(value, str) and key.startswith(_SHOWN_PREFIXES)
    }
    description = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "length": length,
        "sha256": digest,
        "environ": shown,
    }
    return _answer(start_response, json.dumps(description).encode())


application = app


def _answer(start_response: Any, body: bytes, status: str = "200 OK", headers: Any = ()) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers])
    return [body]


def _record(environ: Environ, event: str) -> None:
    line = {"event": event, "method": environ.get("REQUEST_METHOD"), "path": environ.get("PATH_INFO")}
    _seen.append(line)
    log_path = os.environ.get("HTTP_CONFORMANCE_LOG")
    if log_path:
        descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)


def _read_body(environ: Environ) -> tuple[int, str]:
    """Return (length, sha256) of the body: CONTENT_LENGTH bytes, or up to the end where the server marks one."""
    source, digest, length = environ["wsgi.input"], hashlib.sha256(), 0
    declared = environ.get("CONTENT_LENGTH") or ""
    chunked = "HTTP_TRANSFER_ENCODING" in environ or environ.get("wsgi.input_terminated")
    if declared:
        wanted = int(declared)
        while length < wanted:
            block = source.read(min(BLOCK_BYTES, wanted - length))
            if not block:
                raise OSError(f"body ended after {length} of {wanted} bytes")
            length += len(block)
            digest.update(block)
    elif chunked:
        while block := source.read(BLOCK_BYTES):
            length += len(block)
            digest.update(block)
    return length, digest.hexdigest()


def _with_header(name: str, value: str) -> Any:
    def behave(environ: Environ, start_response: Any) -> Any:
        return _answer(start_response, b"{}", headers=[(name, value)])

    return behave


def _with_status(status: str) -> Any:
    def behave(environ: Environ, start_response: Any) -> Any:
        return _answer(start_response, b"{}", status=status)

    return behave


def _with_content_length(*values: str, body: bytes = b"12345", status: str = "200 OK") -> Any:
    def behave(environ: Environ, start_response: Any) -> Any:
        start_response(status, [("Content-Type", "text/plain"), *(("Content-Length", value) for value in values)])
        return [body]

    return behave


def _yielding(item: Any) -> Any:
    def behave(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [item]

    return behave


def _raise_before(environ: Environ, start_response: Any) -> Any:
    raise ValueError("conformance: before start_response")


def _raise_after_start(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise ValueError("conformance: after start_response")


def _raise_mid(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return _first_then_raise()


def _raise_mid_length(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return _first_then_raise()


def _first_then_raise() -> Iterator[bytes]:
    yield b"first"
    raise ValueError("conformance: after the first block")


def _no_length(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"first", b"second"])


def _late_start(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    yield b"12345"


def _no_start(environ: Environ, start_response: Any) -> Any:
    return [b"no start_response"]


def _double_start(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"twice"]


def _exc_info(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-First", "1")])
    try:
        raise ValueError("conformance: replaced")
    except ValueError:
        start_response("503 Replaced", [("Content-Type", "text/plain"), ("Content-Length", "5")], sys.exc_info())
    return [b"12345"]


def _return_none(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return None


def _body_204(environ: Environ, start_response: Any) -> Any:
    start_response("204 No Content", [("X-Kind", "no length")])
    return [b"12345"]


def _no_read(environ: Environ, start_response: Any) -> Any:
    return _answer(start_response, b'{"noread": true}')


_BEHAVIOURS = {
    "header-crlf": _with_header("X-Bad", "a\r\nX-Injected: 1"),
    "header-lf": _with_header("X-Bad", "a\nX-Injected: 1"),
    "header-cr": _with_header("X-Bad", "a\rX-Injected: 1"),
    "header-nul": _with_header("X-Bad", "a\0b"),
    "header-split": _with_header("X-Bad", "a\r\n\r\nHTTP/1.1 299 Split\r\nContent-Length: 0\r\n\r\n"),
    "header-non-latin": _with_header("X-Bad", "a\u20acb"),
    "name-crlf": _with_header("X-Bad: 1\r\nX-Injected", "1"),
    "name-space": _with_header("X Bad", "1"),
    "name-colon": _with_header("X-Bad:", "1"),
    "name-empty": _with_header("", "1"),
    "name-non-latin": _with_header("X-\u20ac", "1"),
    "status-crlf": _with_status("200 OK\r\nX-Injected: 1"),
    "status-99": _with_status("99 x"),
    "status-abc": _with_status("abc"),
    "status-1000": _with_status("1000 x"),
    "status-200": _with_status("200"),
    "status-empty": _with_status(""),
    "hop-connection": _with_header("Connection", "keep-alive"),
    "hop-transfer-encoding": _with_header("Transfer-Encoding", "chunked"),
    "body-204": _body_204,
    "body-204-length": _with_content_length("5", status="204 No Content"),
    "body-304": _with_content_length("5", status="304 Not Modified"),
    "too-long": _with_content_length("5", body=b"1234567890"),
    "too-short": _with_content_length("10"),
    "length-twice": _with_content_length("5", "3"),
    "length-text": _with_content_length("abc"),
    "length-negative": _with_content_length("-5"),
    "length-plus": _with_content_length("+5"),
    "yield-str": _yielding("text"),
    "yield-none": _yielding(None),
    "yield-int": _yielding(5),
    "head-body": _with_content_length("5"),
    "raise-before": _raise_before,
    "raise-after-start": _raise_after_start,
    "raise-mid": _raise_mid,
    "raise-mid-length": _raise_mid_length,
    "no-length": _no_length,
    "late-start": _late_start,
    "no-start": _no_start,
    "double-start": _double_start,
    "exc-info": _exc_info,
    "return-none": _return_none,
    "noread": _no_read,
}

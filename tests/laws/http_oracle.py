"""A second opinion about HTTP requests: the grammar of the RFCs as regular expressions, read off whole messages.

Written apart from the strategies, so that one shows the mistakes of the other. Slow, strict, not incremental.
Source: RFC 9110 (5.1, 5.5, 5.6), RFC 9112 (2.3, 3, 5, 6, 7.1), RFC 3986 (3.2).
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
PCHAR = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
PORT = rb"(?::[0-9]*)?"
ORIGIN = rb"(?:/" + PCHAR + rb"*)+(?:\?(?:" + PCHAR + rb"|[/?])*)?"
VALUE = rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") (\S+) (HTTP/(\d)\.(\d))\r\n")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[\t ]*(" + VALUE + rb")[\t ]*\r\n")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + QUOTED + rb"))?)*)\r\n")
TARGETS = {
    "origin": re.compile(ORIGIN),
    "absolute": re.compile(rb"http://" + HOST + PORT + rb"(?:" + ORIGIN + rb")?"),
    "authority": re.compile(HOST + rb":[0-9]+"),
    "asterisk": re.compile(rb"\*"),
}


class RefusedError(Exception):
    """The stream does not begin with a request."""


def read_request(stream: bytes) -> dict[str, object]:
    """What stands in the request at the head of `stream`; `length` is how long it is."""
    line = _match(REQUEST_LINE, stream, 0, "request line")
    method, target, version = line[1], line[2], (int(line[4]), int(line[5]))
    form = {b"CONNECT": "authority", b"OPTIONS": None}.get(method, "path")
    forms = ["origin", "absolute"] if form == "path" else [form] if form else ["origin", "absolute", "asterisk"]
    if version[0] != 1 or not any(TARGETS[name].fullmatch(target) for name in forms):
        raise RefusedError("version or target")
    fields, place = _read_fields(stream, line.end())
    hosts = [value for name, value in fields if name.lower() == b"host"]
    if len(hosts) > 1 or (version >= (1, 1) and not hosts) or not all(re.fullmatch(HOST + PORT, h) for h in hosts):
        raise RefusedError("Host")
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    body, trailers = b"", []
    if codings:
        if lengths or [coding.lower() for coding in codings] != [b"chunked"] or version < (1, 1):
            raise RefusedError("Transfer-Encoding")
        body, trailers, place = _read_chunks(stream, place)
    elif lengths:
        if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise RefusedError("Content-Length")
        body = stream[place : place + int(lengths[0])]
        place += int(lengths[0])
        if place > len(stream):
            raise RefusedError("cut short")
    return {
        "method": method,
        "target": target,
        "version": version,
        "fields": tuple(fields),
        "body": body,
        "trailers": tuple(trailers),
        "length": place,
    }


def _read_fields(stream: bytes, place: int) -> tuple[list[tuple[bytes, bytes]], int]:
    fields = []
    while not stream.startswith(b"\r\n", place):
        line = _match(FIELD_LINE, stream, place, "field line")
        fields.append((line[1], line[2]))
        place = line.end()
    return fields, place + 2


def _read_chunks(stream: bytes, place: int) -> tuple[bytes, list[tuple[bytes, bytes]], int]:
    body = b""
    while True:
        line = _match(CHUNK_LINE, stream, place, "chunk line")
        size, place = int(line[1], 16), line.end()
        if size == 0:
            return body, *_read_fields(stream, place)
        body += stream[place : place + size]
        place += size
        if stream[place : place + 2] != b"\r\n":
            raise RefusedError("chunk end")
        place += 2


def _match(pattern: re.Pattern[bytes], stream: bytes, place: int, what: str) -> re.Match[bytes]:
    match = pattern.match(stream, place)
    if match is None:
        raise RefusedError(what)
    return match

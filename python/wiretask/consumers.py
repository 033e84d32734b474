"""Stream consumers written in Rust: what cuts a stream of bytes into messages.

Each object reads *one* message: feed it with `received(data)` until `completed`, then look at `error` and
`value`; what it did not consume belongs to the next object. As a server's `parser_class` they run without the
interpreter:

    class Echo(ServerChannel):
        parser_class = Line                                   # with its default limit, or
        parser_class = Line.configured(max_bytes=1000)        # with yours, or
        parser_class = Delimiter.configured(b"\\r\\n.\\r\\n")     # where there is no default

A server calls `parser_class(adj)` for every message. Most take and ignore that argument, and take their limits
by keyword; `FixedStream` and `Delimiter` mean nothing without an argument of their own and so need
`configured()`. A subclass in Python works too, and is then a Python parser like any
other.

A program that is no server and wants all messages of a stream need not make a consumer for each:

    reader = MessageReader(Line.configured(max_bytes=1000))
    while reader.error is None and (block := file.read(65536)):
        for line in reader.received_many(block):
            ...

`HTTPRequest` and `HTTPResponse` have a head that can be asked before the body has come, and may pass the body on
instead of holding it:

    request = HTTPRequest(max_body_bytes=2**40, body_sink=open("upload", "wb"))
    while not request.completed:
        request.received(connection.recv(65536))
    if request.error is None:
        print(request.method, request.path, request.headers.get("content-type"))

Must not know: servers, tasks, sockets. Source: `wiretask.interfaces.IStreamConsumer` and its laws.
"""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import classImplements

from wiretask._native import (
    Chunked,
    ConsumerFactory,
    Delimiter,
    FixedStream,
    HTTPHeaders,
    HTTPRequest,
    HTTPResponse,
    LengthPrefixed,
    Line,
    MessageReader,
    StreamConsumer,
)
from wiretask.interfaces import IStreamConsumer

__all__ = [
    "Chunked",
    "ConsumerFactory",
    "Delimiter",
    "FixedStream",
    "HTTPHeaders",
    "HTTPRequest",
    "HTTPResponse",
    "LengthPrefixed",
    "Line",
    "MessageReader",
    "StreamConsumer",
]

classImplements(StreamConsumer, IStreamConsumer)
Mapping.register(HTTPHeaders)

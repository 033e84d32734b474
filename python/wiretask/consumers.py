"""Stream consumers written in Rust: what cuts a stream of bytes into messages.

Each object reads *one* message: feed it with `received(data)` until `completed`, then look at `error` and
`value`; what it did not consume belongs to the next object. As a server's `parser_class` they run without the
interpreter:

    class Echo(ServerChannel):
        parser_class = Line                                   # with its default limit, or
        parser_class = Line.configured(max_bytes=1000)        # with yours, or
        parser_class = Delimiter.configured(b"\\r\\n.\\r\\n")     # where there is no default

A server calls `parser_class(adj)` for every message. `Line` and `LengthPrefixed` take and ignore that
argument, and take their limits by keyword; `FixedStream` and `Delimiter` mean nothing without an argument of
their own and so need `configured()`. A subclass in Python works too, and is then a Python parser like any
other.

Must not know: servers, tasks, sockets. Source: `wiretask.interfaces.IStreamConsumer` and its laws.
"""

from __future__ import annotations

from zope.interface import classImplements

from wiretask._native import (
    ConsumerFactory,
    Delimiter,
    FixedStream,
    LengthPrefixed,
    Line,
    StreamConsumer,
)
from wiretask.interfaces import IStreamConsumer

__all__ = [
    "ConsumerFactory",
    "Delimiter",
    "FixedStream",
    "LengthPrefixed",
    "Line",
    "StreamConsumer",
]

classImplements(StreamConsumer, IStreamConsumer)

"""What each parser of HTTP/1.1 reads in a stream, in one form: ours, h11, httptools and `http.client`.

Strategy: each reader takes the first message of a stream and tells whether it was read, refused or is not all there,
and what was in it. Names of fields are in lower case, values without white space at their ends: no parser promises
more. What a parser cannot tell is None and is not compared. Must not judge: the rows of docs/http-differences.md do.
"""

from __future__ import annotations

import http.client
import io
from dataclasses import dataclass, field, fields
from typing import Any

from wiretask.consumers import HTTPRequest, HTTPResponse
from wiretask.errors import IncompleteMessageError

try:
    import h11
except ImportError:
    h11 = None
try:
    import httptools
except ImportError:
    httptools = None

Lines = list[tuple[bytes, bytes]]


@dataclass
class Reading:
    """The first message of a stream, as one parser reads it.

    Attributes:
        outcome: "read", "waits" (for more), or "refused".
        complaint: why it was refused, in the parser's words; not compared.
        first_line: method and target, or status and reason, the latter without white space at its ends.
        taken: how many bytes of the stream belong to the message.
    """

    outcome: str
    complaint: str = field(default="", compare=False)
    first_line: tuple[bytes, bytes] | None = None
    version: bytes | None = None
    fields: Lines | None = None
    body: bytes | None = None
    trailers: Lines | None = None
    keep_alive: bool | None = None
    taken: int | None = None


def difference(ours: Reading, theirs: Reading) -> tuple[str, str] | None:
    """What the two readings are called where they differ, ours first; None: they agree.

    A peer that waits where we refuse goes on, as one that reads: it gives no answer yet.
    """
    if ours.outcome == "refused" != theirs.outcome:
        return ours.complaint, "goes on"
    if ours.outcome == "waits":
        return None if theirs.outcome == "waits" else ("waits", theirs.outcome)
    if ours.outcome != theirs.outcome:
        return ours.outcome, theirs.outcome + (": " + theirs.complaint if theirs.complaint else "")
    if ours.outcome != "read":
        return None
    names = [
        attribute.name
        for attribute in fields(Reading)
        if attribute.compare
        and getattr(theirs, attribute.name) is not None
        and getattr(ours, attribute.name) != getattr(theirs, attribute.name)
    ]
    return ("read", "read otherwise: " + ", ".join(names)) if names else None


def normalised(lines: Any) -> Lines:
    """Fields in the form that is compared: h11 gives names, and the value of Transfer-Encoding, in lower case."""
    pairs = [(bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in lines]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in pairs]


def our_reading(stream: bytes, is_request: bool) -> Reading:
    """What `HTTPRequest` reads, or `HTTPResponse`, after which the stream ends."""
    consumer = HTTPRequest() if is_request else HTTPResponse()
    taken = consumer.received(stream)
    if isinstance(consumer, HTTPResponse):
        consumer.end_of_input()
    if not consumer.completed or isinstance(consumer.error, IncompleteMessageError):
        return Reading("waits")
    if consumer.error is not None:
        return Reading("refused", consumer.error.kind)
    if isinstance(consumer, HTTPRequest):
        first_line = (consumer.method.encode("latin-1"), consumer.target.encode("latin-1"))
    else:
        first_line = (b"%d" % consumer.status, consumer.reason.encode("latin-1").strip(b" \t"))
    return Reading(
        "read",
        first_line=first_line,
        version=consumer.version.encode(),
        fields=normalised(consumer.headers.raw_lines),
        body=consumer.body,
        trailers=normalised(consumer.trailers.raw_lines),
        keep_alive=consumer.keep_alive,
        taken=taken,
    )


def h11_reading(stream: bytes, is_request: bool) -> Reading:
    connection = h11.Connection(h11.SERVER if is_request else h11.CLIENT, max_incomplete_event_size=2**20)
    if not is_request:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    if stream:  # No bytes are the end of the stream to h11.
        connection.receive_data(stream)
    reading = Reading("read", body=b"")
    has_ended = False
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                reading.first_line = (event.method, event.target)
            elif isinstance(event, h11.Response | h11.InformationalResponse):
                reading.first_line = (b"%d" % event.status_code, event.reason.strip(b" \t"))
            if isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
                reading.version, reading.fields = event.http_version, normalised(event.headers)
            if isinstance(event, h11.InformationalResponse):
                break
            if isinstance(event, h11.Data):
                reading.body = (reading.body or b"") + bytes(event.data)
            elif event is h11.NEED_DATA and (is_request or has_ended):
                return Reading("waits")
            elif event is h11.NEED_DATA:
                connection.receive_data(b"")
                has_ended = True
            elif event in (h11.PAUSED, h11.ConnectionClosed()):
                return Reading("waits")
        else:
            reading.trailers = normalised(event.headers)
    except h11.RemoteProtocolError as error:
        if has_ended and "closed" in str(error).lower():
            return Reading("waits")
        return Reading("refused", str(error))
    if connection.their_state in (h11.DONE, h11.MUST_CLOSE):  # Else it waits for what the answer will be.
        reading.keep_alive = connection.their_state is h11.DONE and not has_ended
    reading.taken = len(stream) - len(connection.trailing_data[0])
    return reading


class _Callbacks:
    """What httptools has told so far."""

    def __init__(self) -> None:
        self.target = self.reason = self.body = b""
        self.fields: Lines = []
        self.trailers: Lines = []
        self.has_head = self.is_complete = self.keep_alive = False
        self.parser: Any = None

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_status(self, part: bytes) -> None:
        self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.has_head else self.fields).append((name, value))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.keep_alive = self.parser.should_keep_alive()


def httptools_reading(stream: bytes, is_request: bool) -> Reading:
    """Byte by byte: httptools does not tell otherwise where a message ends."""
    seen = _Callbacks()
    parser = (httptools.HttpRequestParser if is_request else httptools.HttpResponseParser)(seen)
    seen.parser = parser
    taken = 0
    while taken < len(stream) and not seen.is_complete:
        taken += 1
        try:
            parser.feed_data(stream[taken - 1 : taken])
        except httptools.HttpParserUpgrade:
            break
        except httptools.HttpParserError as error:
            return Reading("refused", str(error))
    # It cannot be told that the stream ends; that is the end of a message of no announced length.
    framing = {name.lower() for name, _ in seen.fields} & {b"content-length", b"transfer-encoding"}
    if not seen.is_complete and (is_request or not seen.has_head or framing):
        return Reading("waits")
    return Reading(
        "read",
        first_line=(
            (parser.get_method(), seen.target)
            if is_request
            else (b"%d" % parser.get_status_code(), seen.reason.strip(b" \t"))
        ),
        version=parser.get_http_version().encode(),
        fields=normalised(seen.fields),
        body=seen.body,
        trailers=normalised(seen.trailers),
        keep_alive=seen.keep_alive,
        taken=taken,
    )


class _Received(io.BytesIO):
    """A connection from which a stream is read; tells how far, even when it is closed."""

    def makefile(self, mode: str) -> _Received:
        return self

    def close(self) -> None:
        pass


def http_client_reading(stream: bytes, is_request: bool) -> Reading:
    """What `http.client` reads in an answer; it passes over interim ones and tells no trailers."""
    received = _Received(stream)
    response = http.client.HTTPResponse(received, method="GET")  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except http.client.IncompleteRead:
        return Reading("waits")
    except http.client.RemoteDisconnected:
        return Reading("waits")
    except (http.client.HTTPException, ValueError, OverflowError) as error:
        return Reading("refused", type(error).__name__)
    return Reading(
        "read",
        first_line=(b"%d" % response.status, response.reason.encode("latin-1")),
        version=b"1.0" if response.version == 10 else b"1.1",
        fields=normalised(
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
        ),
        body=body,
        keep_alive=not response.will_close,
        taken=received.tell(),
    )


PEERS = {"h11": h11_reading, "httptools": httptools_reading, "http.client": http_client_reading}
MISSING = {name for name, module in {"h11": h11, "httptools": httptools}.items() if module is None}

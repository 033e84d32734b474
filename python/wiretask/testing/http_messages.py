"""Strategies for well-formed HTTP/1.x requests and responses, with what a parser must read in them.

Every form that the grammar allows and parsers forget: the four forms of a target, white space around values,
repeated fields, bodies by length and in chunks with extensions and trailers. Bytes in, expectations out: must not
know any parser. What is *not* well formed is in `hostile_http`.

Source: RFC 9110 and RFC 9112.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["HTTPRequestExample", "HTTPResponseExample", "chunked_bodies", "http_requests", "http_responses"]

Fields = tuple[tuple[bytes, bytes], ...]

_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
_PATH_BYTES = b"aZ09-._~!$&'()*+,;=:@"
_VALUE_BYTES = b"aZ09!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \t\x80\xff"


@dataclass(frozen=True)
class HTTPRequestExample:
    """A request as it comes over the wire, and what stands in it.

    Attributes:
        stream: the request, with nothing behind it.
        method, target: as in the request line. version: (1, 0) or (1, 1).
        fields: name and value of each field line, in order, without the white space around a value.
        body: the content, decoded if it came in chunks; trailers: as fields.
        keep_alive: whether the connection stays open afterwards.
    """

    stream: bytes
    method: bytes
    target: bytes
    version: tuple[int, int]
    fields: Fields
    body: bytes
    trailers: Fields
    keep_alive: bool


@dataclass(frozen=True)
class HTTPResponseExample:
    """A response as it comes over the wire, and what stands in it.

    Attributes:
        ends_with_input: whether only the end of the stream ends the body. The others: as for a request.
    """

    stream: bytes
    version: tuple[int, int]
    status: int
    reason: bytes
    fields: Fields
    body: bytes
    trailers: Fields
    ends_with_input: bool


def tokens(max_size: int = 8) -> st.SearchStrategy[bytes]:
    """Names and methods: at least one token byte."""
    return st.lists(st.sampled_from(list(_TOKEN_BYTES)), min_size=1, max_size=max_size).map(bytes)


def field_values(max_size: int = 12) -> st.SearchStrategy[bytes]:
    """A field's value, without white space at its ends; may be empty."""
    return st.lists(st.sampled_from(list(_VALUE_BYTES)), max_size=max_size).map(
        lambda data: bytes(data).strip(b" \t")
    )


def plain_fields(max_size: int = 4) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Fields that mean nothing for framing, some of them known ones, some repeated."""
    known = st.sampled_from([b"Accept", b"accept", b"User-Agent", b"Cookie", b"X-Forwarded-For", b"Content_Length"])
    names = st.one_of(known, tokens().map(lambda name: b"X-" + name))
    return st.lists(st.tuples(names, field_values()), max_size=max_size)


def hosts() -> st.SearchStrategy[bytes]:
    """What may stand in Host: a name or address, maybe with a port."""
    names = st.sampled_from([b"a", b"example.com", b"127.0.0.1", b"[::1]", b"xn--bcher-kva.example", b"a-b.c_d"])
    return st.tuples(names, st.sampled_from([b"", b":80", b":65535"])).map(b"".join)


@st.composite
def chunked_bodies(draw: st.DrawFn, max_chunks: int = 3) -> tuple[bytes, bytes, Fields]:
    """A body in chunks as it comes over the wire, its content, and its trailers."""
    stream, body = [], []
    for content in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=max_chunks)):
        stream += [_chunk_size(draw, len(content)), content, b"\r\n"]
        body.append(content)
    stream.append(_chunk_size(draw, 0))
    trailers = draw(st.lists(st.tuples(tokens().map(lambda name: b"X-" + name), field_values()), max_size=2))
    stream += [_field_line(draw, name, value) for name, value in trailers]
    return b"".join([*stream, b"\r\n"]), b"".join(body), tuple(trailers)


def _chunk_size(draw: st.DrawFn, size: int) -> bytes:
    digits = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"000%X"])) % size
    extension = draw(st.sampled_from([b"", b"", b";a", b";a=b", b';a="b;c"', b";a;b=c"]))
    return digits + extension + b"\r\n"


def _field_line(draw: st.DrawFn, name: bytes, value: bytes) -> bytes:
    before, after = draw(st.sampled_from([(b" ", b""), (b"", b""), (b"\t ", b" \t"), (b"  ", b"")]))
    return name + b":" + before + value + after + b"\r\n"


@st.composite
def _targets(draw: st.DrawFn, host: bytes) -> tuple[bytes, bytes]:
    """A method and a target that fits it."""
    segment = st.lists(st.sampled_from(list(_PATH_BYTES)), max_size=6).map(bytes)
    escape = st.sampled_from([b"%20", b"%2F", b"%00", b"%C3%A9"])
    path = b"/" + b"/".join(draw(st.lists(st.one_of(segment, escape), max_size=3)))
    query = draw(st.sampled_from([b"", b"", b"?", b"?q=1", b"?a=b&c=/?:@"]))
    method = draw(st.one_of(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH"]), tokens()))
    match draw(st.sampled_from(["origin", "origin", "absolute", "authority", "asterisk"])):
        case "absolute" if method != b"CONNECT":
            return method, b"http://" + host + path + query
        case "authority":
            return b"CONNECT", host if host.endswith((b":80", b":65535")) else host + b":443"
        case "asterisk":
            return b"OPTIONS", b"*"
        case _:
            return (b"GET" if method == b"CONNECT" else method), path + query


@st.composite
def http_requests(draw: st.DrawFn, *, with_body: bool | None = None) -> HTTPRequestExample:
    """Well-formed requests of HTTP/1.0 and 1.1.

    Args:
        with_body: true: only those that announce a body; false: only others; None: both.
    """
    version = draw(st.sampled_from([(1, 1), (1, 1), (1, 0)]))
    host = draw(hosts())
    method, target = draw(_targets(host))
    fields = draw(plain_fields())
    if version == (1, 1) or draw(st.booleans()):
        # The authority of an absolute target has to stand in Host too (RFC 9112, 3.2.2).
        value = target if method == b"CONNECT" else host
        fields.insert(draw(st.integers(0, len(fields))), (draw(st.sampled_from([b"Host", b"host"])), value))
    connection = draw(st.sampled_from([b"", b"", b"close", b"keep-alive", b"Close", b"x, close"]))
    if connection:
        fields.append((b"Connection", connection))
    option = connection.lower()
    keep_alive = option == b"keep-alive" if version == (1, 0) else not option.endswith(b"close")
    may_have_body = method not in (b"CONNECT", b"GET", b"TRACE") if with_body is None else with_body
    raw, body = b"", b""
    trailers: Fields = ()
    if may_have_body and method not in (b"CONNECT", b"TRACE"):
        framing, raw, body, trailers = draw(_bodies(version))
        fields.insert(draw(st.integers(0, len(fields))), framing)
    line = b"%b %b HTTP/%d.%d\r\n" % (method, target, *version)
    head = line + b"".join(_field_line(draw, name, value) for name, value in fields) + b"\r\n"
    return HTTPRequestExample(head + raw, method, target, version, tuple(fields), body, trailers, keep_alive)


@st.composite
def _bodies(draw: st.DrawFn, version: tuple[int, int]) -> tuple[tuple[bytes, bytes], bytes, bytes, Fields]:
    """The field that frames a body, the body on the wire, its content and its trailers."""
    if version == (1, 1) and draw(st.booleans()):
        raw, body, trailers = draw(chunked_bodies())
        name = draw(st.sampled_from([b"Transfer-Encoding", b"transfer-encoding"]))
        return (name, draw(st.sampled_from([b"chunked", b"Chunked"]))), raw, body, trailers
    body = draw(st.one_of(st.binary(max_size=30), st.just(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n")))
    name = draw(st.sampled_from([b"Content-Length", b"content-length"]))
    return (name, b"%d" % len(body)), body, body, ()


@st.composite
def http_responses(draw: st.DrawFn, *, may_end_with_input: bool = True) -> HTTPResponseExample:
    """Well-formed final responses to a GET.

    Args:
        may_end_with_input: whether some have a body that only the end of the stream ends.
    """
    version = draw(st.sampled_from([(1, 1), (1, 1), (1, 0)]))
    status, reason = draw(
        st.sampled_from([(200, b"OK"), (204, b"No Content"), (304, b"Not Modified"), (404, b""), (599, b"\xe9 x")])
    )
    fields = draw(plain_fields())
    raw, body, ends_with_input = b"", b"", False
    trailers: Fields = ()
    if status not in (204, 304):
        if may_end_with_input and draw(st.integers(0, 3)) == 0:
            raw = body = draw(st.binary(max_size=30))
            ends_with_input = True
        else:
            framing, raw, body, trailers = draw(_bodies(version))
            fields.insert(draw(st.integers(0, len(fields))), framing)
    line = b"HTTP/%d.%d %d %b\r\n" % (*version, status, reason)
    head = line + b"".join(_field_line(draw, name, value) for name, value in fields) + b"\r\n"
    return HTTPResponseExample(head + raw, version, status, reason, tuple(fields), body, trailers, ends_with_input)

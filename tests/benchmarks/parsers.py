"""`parsers`: stream consumers alone, beside other parsers and beside what no parser can do without.

Strategy: one thread, no socket. In each round every side does the same work several times, and the processor time of
the thread is read before and after; so what else the machine does is counted as little as it can be. What a side
returns is compared with what the first one returns, before anything is measured. What is left out is said in a note.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from wiretask.consumers import Chunked, HTTPRequest, Line, MessageReader

from .machinery import ROOT, has_module
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["BROWSER_GET", "bench_parsers"]

METRICS = [
    Metric("cpu_us", "CPU, µs", 2),
    Metric("cpu_ns_per_byte", "CPU, ns/byte", 3),
]

_LINES = [
    "GET /articles/2026/11/parsers?ref=newsletter&utm_source=mail HTTP/1.1",
    "Host: www.example.com",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.com/articles",
    "Connection: keep-alive",
    "Cookie: session=c2Vzc2lvbi1vZi1hLXJlYWRlcg; theme=dark; seen=0123456789abcdef0123456789abcdef0; "
    "cart=eyJpdGVtcyI6WzEsMiwzXX; lang=en-US",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
    "",
    "",
]
#: What a browser sends for a page.
BROWSER_GET = "\r\n".join(_LINES).encode()

BLOCK_BYTES = 64 * 1024
BODY_CHUNKS = 16
TEXT_BLOCKS = 16

Reading = Callable[[], Any]


def bench_parsers(settings: Settings) -> Report:
    """Measure heads, chunked bodies and lines."""
    report = Report("parsers", "Parsers alone", METRICS, ["cpu_us"], "cpu_us")
    rounds = settings.parser_rounds
    heads = [("wiretask", read_all), *peers_on_heads(report)]
    report.cases.append(compared("a GET to str", rounds, 300, len(BROWSER_GET), heads))
    lazy = [("wiretask, headers as they are asked for", read_head), *heads[1:2]]
    report.cases.append(compared("a GET to an object", rounds, 300, len(BROWSER_GET), lazy, alike=False))
    for kibibytes in (1, 4, 16, 64, 256):
        stream = long_head(kibibytes * 1024)
        pieces = [stream[at : at + 1] for at in range(len(stream))]
        sides = [("wiretask", partial(read_dribbled, pieces))]
        name = f"a head of {kibibytes} KiB, byte by byte"
        report.cases.append(compared(name, min(rounds, 5), 256 // kibibytes, len(stream), sides))
    for name, size, sides in body_cases():
        report.cases.append(compared(name, rounds, 80 * BLOCK_BYTES // size, size, sides, alike=False))
    for what, block in (("text", text_block()), *((f"lines of {n} bytes", even_lines(n)) for n in (20, 80, 200))):
        blocks = [block] * TEXT_BLOCKS
        sides = [
            ("wiretask, MessageReader(Line)", partial(read_lines, blocks)),
            ("io.BytesIO.readlines", partial(readlines, blocks)),
        ]
        report.cases.append(compared(f"64 KiB of {what}", rounds, 4, TEXT_BLOCKS * BLOCK_BYTES, sides))
    report.notes.append(examined_bytes())
    return report


def compared(
    name: str, rounds: int, repeats: int, size: int, sides: list[tuple[str, Reading]], *, alike: bool = True
) -> Case:
    """Measure the sides, which must all return the same if they are `alike`."""
    expected = sides[0][1]()
    for side, read in sides:
        if alike and read() != expected:
            raise AssertionError(f"{name}: {side} reads something else")

    def measure(read: Reading) -> dict[str, float]:
        read()
        before = time.thread_time_ns()
        for _ in range(repeats):
            read()
        nanoseconds = (time.thread_time_ns() - before) / repeats
        return {"cpu_us": nanoseconds / 1000, "cpu_ns_per_byte": nanoseconds / size}

    return measure_rounds(Case(name), rounds, [(side, partial(measure, read)) for side, read in sides])


def read_head() -> HTTPRequest:
    request = HTTPRequest()
    request.received(BROWSER_GET)
    return request


def read_all() -> tuple[str, str, list[tuple[str, str]]]:
    """Method, path and all headers as str: what every side has to return."""
    request = HTTPRequest()
    request.received(BROWSER_GET)
    return request.method, request.path, request.headers.lines


def peers_on_heads(report: Report) -> list[tuple[str, Reading]]:
    """The peers that are installed, reading the GET into the same."""
    sides: list[tuple[str, Reading]] = []
    if has_module("httptools"):
        sides.append(("httptools, callbacks that store str", httptools_reading()))
    else:
        report.notes.append("httptools is not installed: left out.")
    if has_module("h11"):
        sides.append(("h11", h11_reading()))
    else:
        report.notes.append("h11 is not installed: left out.")
    return sides


def httptools_reading() -> Reading:
    from httptools import HttpRequestParser

    class Stored:
        __slots__ = ("headers", "url")

        def __init__(self) -> None:
            self.headers: list[tuple[str, str]] = []

        def on_url(self, url: bytes) -> None:
            self.url = url.decode("latin-1")

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def read() -> tuple[str, str, list[tuple[str, str]]]:
        stored = Stored()
        parser = HttpRequestParser(stored)
        parser.feed_data(BROWSER_GET)
        return parser.get_method().decode("latin-1"), stored.url.partition("?")[0], stored.headers

    return read


def h11_reading() -> Reading:
    import h11

    def read() -> tuple[str, str, list[tuple[str, str]]]:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(BROWSER_GET)
        request = connection.next_event()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw_items()]
        return request.method.decode("latin-1"), request.target.decode("latin-1").partition("?")[0], headers

    return read


def long_head(size: int) -> bytes:
    """A head of so many bytes, in fields of 1 KiB."""
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n"
    filling = size - len(start) - len(end)
    fields = b"".join(b"X-Filler: %b\r\n" % (b"y" * (1024 - 12)) for _ in range(filling // 1024 + 1))
    return start + fields[:filling].rstrip(b"\r\n").ljust(filling, b"y") + end


def read_dribbled(pieces: list[bytes]) -> bool:
    request = HTTPRequest(max_head_bytes=2**20, max_fields=10_000)
    received = request.received
    for piece in pieces:
        received(piece)
    if request.error is not None or not request.completed:
        raise AssertionError(f"the head was not read: {request.error}")
    return True


def body_cases() -> Iterator[tuple[str, int, list[tuple[str, Reading]]]]:
    """Bodies in chunks of 64 KiB, and the copies that nobody who wants their content can do without."""
    content = bytes(range(256)) * (BLOCK_BYTES // 256)
    chunk = b"%x\r\n" % BLOCK_BYTES + content + b"\r\n"
    view = memoryview(content)

    def feed(body: Chunked, chunks: int) -> Chunked:
        for _ in range(chunks):
            body.received(chunk)
        body.received(b"0\r\n\r\n")
        if body.error is not None or not body.completed:
            raise AssertionError(f"the body was not read: {body.error}")
        return body

    def copy_each() -> bool:
        for _ in range(BODY_CHUNKS):
            bytes(view)
        return True

    one = ("a copy of the content", lambda: bytes(view))
    many = ("a copy of each chunk's content", copy_each)
    yield "a chunk of 64 KiB, decoded", BLOCK_BYTES, [("wiretask", lambda: bool(feed(Chunked(), 1))), one]
    yield "a chunk of 64 KiB, as bytes", BLOCK_BYTES, [("wiretask", lambda: len(feed(Chunked(), 1).value)), one]
    to_sink = ("wiretask", lambda: bool(feed(Chunked(body_sink=len), BODY_CHUNKS)))
    yield "16 chunks of 64 KiB, to a sink", BODY_CHUNKS * BLOCK_BYTES, [to_sink, many]


def text_block() -> bytes:
    """64 KiB of text as it is written: the documents of this repository."""
    text = b"".join(path.read_bytes() for path in sorted((ROOT / "docs").glob("*.md")))
    return (text * (BLOCK_BYTES // len(text) + 1))[: BLOCK_BYTES - 1] + b"\n"


def even_lines(size: int) -> bytes:
    """64 KiB of lines of so many bytes each, the last a shorter one."""
    return ((b"x" * (size - 1) + b"\n") * (BLOCK_BYTES // size + 1))[: BLOCK_BYTES - 1] + b"\n"


def read_lines(blocks: list[bytes]) -> int:
    reader = MessageReader(Line)
    return sum(len(reader.received_many(block)) for block in blocks)


def readlines(blocks: list[bytes]) -> int:
    return sum(len(io.BytesIO(block).readlines()) for block in blocks)


def examined_bytes() -> str:
    """How often a byte of a dribbled head is looked at: counted in Rust, by a test that prints it."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return "cargo is not there: bytes examined were not counted."
    command = [cargo, "test", "--quiet", "--package", "wiretask-protocol", "--test", "laws", "--"]
    command += ["--nocapture", "--exact", "a_head_byte_by_byte_is_looked_at_less_than_three_times"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("Bytes examined"))

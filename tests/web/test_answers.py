"""How answers are framed, and what becomes of the connection. Source: PEP 3333, RFC 9110, RFC 9112."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_peer import CutShortError
from sites import Site, errors_of, until

Serve = Callable[..., Site]
TEXT = ("Content-Type", "text/plain")


class Blocks:
    """An iterable without a length that counts how often it was closed."""

    def __init__(self, blocks: list[bytes], *, fail_at: int | None = None, fail_close: bool = False) -> None:
        self.blocks, self.fail_at, self.fail_close = iter(blocks), fail_at, fail_close
        self.closed, self.given = 0, 0

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> bytes:
        if self.given == self.fail_at:
            raise ValueError("on purpose")
        self.given += 1
        return next(self.blocks)

    def close(self) -> None:
        self.closed += 1
        if self.fail_close:
            raise ValueError("close on purpose")


def answering(blocks: Any, *headers: tuple[str, str], status: str = "200 OK") -> Any:
    """Return an application that answers with what `blocks()` returns."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        is_bare = status[:3] in ("204", "304")
        start_response(status, [*([] if is_bare else [TEXT]), *headers])
        return blocks() if callable(blocks) else blocks

    return application


def generated(*blocks: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(blocks)


@pytest.mark.parametrize(
    ("blocks", "headers", "framing", "body"),
    [
        ([b"one"], (), "length", b"one"),
        ([], (), "length", b""),
        ([b""], (), "length", b""),
        ((b"one",), (), "length", b"one"),
        (generated(), (), None, b""),
        (generated(b""), (), None, b""),
        (generated(b"a", b"", b"b"), (), "chunked", b"ab"),
        (generated(b"a", b"b"), (("Content-Length", "2"),), "length", b"ab"),
        ([b"a", b"b"], (("Content-Length", "2"),), "length", b"ab"),
        ([b"a", b"b"], (("content-LENGTH", "2"),), "length", b"ab"),
        (generated(b"x" * 100_000, b"y" * 100_000), (), "chunked", b"x" * 100_000 + b"y" * 100_000),
    ],
    ids=[
        "list",
        "empty list",
        "list of nothing",
        "tuple",
        "no block",
        "generator of nothing",
        "generator",
        "generator with length",
        "list with length",
        "length in other letters",
        "large",
    ],
)
@pytest.mark.parametrize("validated", [True, False])
def test_every_body_has_one_framing_and_the_connection_is_kept(
    serving: Serve, blocks: Any, headers: Any, framing: str | None, body: bytes, validated: bool
) -> None:
    with serving(answering(blocks, *headers), validated=validated).connect() as peer:
        for _ in range(3):
            answer = peer.ask()
            assert (answer.status, answer.body) == (200, body)
            if not validated:  # the validator's iterator hides the length of a list
                assert framing is None or answer.framing == framing
            assert not answer.ends_connection


@pytest.mark.parametrize("blocks", [[], [b"a", b"bc"], generated(b"a", b"bc")], ids=["empty", "list", "generator"])
@pytest.mark.parametrize("headers", [(), (("Content-Length", "{}"),)], ids=["no length", "length"])
def test_head_has_the_headers_of_get_and_no_body(serving: Serve, blocks: Any, headers: Any) -> None:
    size = 0 if blocks == [] else 3
    headers = tuple((name, value.format(size)) for name, value in headers)
    # What the application did not say depends on the body, which it need not make for HEAD (RFC 9110 9.3.2).
    left_out = {"date"} if headers else {"date", "content-length", "transfer-encoding"}
    with serving(answering(blocks, ("X-A", "b"), *headers), validated=False).connect() as peer:
        head, get = peer.ask("HEAD"), peer.ask("GET")
        kept = [[one for one in answer.headers if one[0] not in left_out] for answer in (head, get)]
        assert kept[0] == kept[1]
        assert not head.ends_connection
        assert len(get.body) == size


def test_head_of_an_application_that_knows_about_head(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "1000")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"x" * 1000]

    with serving(application).connect() as peer:
        assert peer.ask("HEAD").get("content-length") == "1000"
        assert len(peer.ask("GET").body) == 1000


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_answers_that_have_no_body_keep_the_connection(serving: Serve, status: str, method: str) -> None:
    with serving(answering([], ("ETag", '"x"'), status=status)).connect() as peer:
        for _ in range(3):
            answer = peer.ask(method)
            assert answer.status == int(status[:3])
            assert answer.get("transfer-encoding") is None
            assert not answer.ends_connection


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("blocks", [[b"body"], generated(b"bo", b"dy")], ids=["list", "generator"])
def test_a_body_where_none_belongs_is_not_sent(serving: Serve, status: str, blocks: Any) -> None:
    with serving(answering(blocks, status=status), validated=False).connect() as peer:
        peer.send_request()
        answer = peer.read_answer()
        assert answer.status == int(status[:3])
        if answer.ends_connection:
            assert peer.is_closed_by_server()
        else:
            assert peer.ask().status == int(status[:3])


@pytest.mark.parametrize(("status", "method"), [("200 OK", "HEAD"), ("204 None", "GET"), ("304 Same", "GET")])
def test_an_endless_body_of_which_nothing_is_wanted_is_closed_and_ends(
    serving: Serve, status: str, method: str
) -> None:
    made: list[Blocks] = []

    def application(environ: dict[str, Any], start_response: Any) -> Blocks:
        start_response(status, [TEXT])
        made.append(Blocks([]))
        made[-1].blocks = itertools.repeat(b"more")
        return made[-1]

    with serving(application, validated=False, threads=1).connect() as peer:
        for _ in range(2):
            assert peer.ask(method).status == int(status[:3])
    until(lambda: len(made) == 2 and all(one.closed for one in made), "the close")
    assert [(one.given, one.closed) for one in made] == [(1, 1)] * 2


def test_an_application_that_writes_without_end_to_a_head_notices_that_its_client_goes(serving: Serve) -> None:
    noticed = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        try:
            while True:
                write(b"more")
                time.sleep(0.01)
        except OSError:
            noticed.set()
            raise

    with serving(application, validated=False).connect() as peer:
        peer.send_request("HEAD")
        assert peer.read_head().status == 200
    assert noticed.wait(20)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("length", [(), (("Content-Length", "3"),)], ids=["bare", "length"])
@pytest.mark.parametrize("blocks", [[b"abc"], generated(b"ab", b"c"), []], ids=["list", "generator", "empty"])
def test_a_205_has_an_empty_body(serving: Serve, method: str, length: Any, blocks: Any) -> None:
    with serving(answering(blocks, *length, status="205 Reset Content"), validated=False).connect() as peer:
        for _ in range(2):
            answer = peer.ask(method)
            assert (answer.status, answer.get("content-length"), answer.body) == (205, "0", b"")
            assert answer.get("transfer-encoding") is None


def test_http_1_0_is_answered_without_chunks_and_then_closed(serving: Serve) -> None:
    with serving(answering(generated(b"a", b"b"))).connect() as peer:
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = peer.read_answer()
        assert (answer.framing, answer.body) == ("close", b"ab")


@pytest.mark.parametrize("validated", [True, False])
def test_http_1_0_is_kept_where_both_agree_on_it_and_the_length_is_known(serving: Serve, validated: bool) -> None:
    with serving(answering([b"ab"], ("Content-Length", "2")), validated=validated).connect() as peer:
        for _ in range(3):
            peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = peer.read_answer()
            assert (answer.framing, answer.body) == ("length", b"ab")
            assert (answer.get("connection") or "").lower() == "keep-alive"
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert peer.read_answer().ends_connection
        assert peer.is_closed_by_server()


def test_connection_close_ends_the_connection_after_the_answer(serving: Serve) -> None:
    with serving(answering([b"ab"])).connect() as peer:
        answer = peer.ask(headers={"Connection": "foo, CLOSE"})
        assert answer.body == b"ab"
        assert (answer.get("connection") or "").lower() == "close"
        assert peer.is_closed_by_server()


def test_nothing_after_a_request_that_ends_the_connection_is_served(serving: Serve) -> None:
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [TEXT])
        return [b"x"]

    with serving(application).connect() as peer:
        peer.send(b"GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert peer.read_answer().body == b"x"
        assert peer.is_closed_by_server()
    assert seen == ["/1"]


def test_pipelined_requests_are_answered_in_order_though_the_first_takes_longest(serving: Serve) -> None:
    release = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/0":
            release.wait(20)
        start_response("200 OK", [TEXT])
        return [environ["PATH_INFO"].encode(), environ["wsgi.input"].read(100)]

    with serving(application).connect() as peer:
        for number in range(40):
            if number % 3:
                peer.send_request("GET", f"/{number}")
            else:
                peer.send_request("POST", f"/{number}", body=b" body")
        release.set()
        bodies = [peer.read_answer().body for _ in range(40)]
    assert bodies == [f"/{number}".encode() + (b"" if number % 3 else b" body") for number in range(40)]


def test_a_request_byte_by_byte_is_answered_like_a_whole_one(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [environ["wsgi.input"].read(100)]

    with serving(application).connect() as peer:
        for (
            byte
        ) in b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n":
            peer.send(bytes([byte]))
        assert peer.read_answer().body == b"abc"


def test_a_slow_request_keeps_no_other_connection_waiting(serving: Serve) -> None:
    release = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            release.wait(20)
        start_response("200 OK", [TEXT])
        return [b"x"]

    site = serving(application, threads=2)
    with site.connect() as slow:
        slow.send_request("GET", "/slow")
        assert [site.ask().body for _ in range(10)] == [b"x"] * 10
        release.set()
        assert slow.read_answer().body == b"x"


# ---- Content-Length that is not kept ----


@pytest.mark.parametrize(
    "blocks", [[b"12345"], generated(b"123", b"45"), generated(), []], ids=["list", "generator", "none", "empty"]
)
def test_an_answer_that_stays_below_its_length_is_cut_and_logged(serving: Serve, caplog: Any, blocks: Any) -> None:
    with serving(answering(blocks, ("Content-Length", "10")), validated=False).connect() as peer:
        peer.send_request()
        assert peer.read_head().get("content-length") == "10"
        assert peer.read_to_end() == b"".join(blocks() if callable(blocks) else blocks)
    assert until(lambda: caplog.records, "the message")


@pytest.mark.parametrize(
    ("blocks", "excess"),
    [([b"1234567890"], 5), (generated(b"123", b"4567", b"890"), 2), (lambda: itertools.repeat(b"12345"), 5)],
    ids=["list", "generator", "endless"],
)
def test_an_answer_never_exceeds_its_length(serving: Serve, caplog: Any, blocks: Any, excess: int) -> None:
    with serving(answering(blocks, ("Content-Length", "5")), validated=False).connect() as peer:
        answer = peer.ask()
        assert (answer.status, answer.body) == (200, b"12345")
        if answer.ends_connection:
            assert peer.is_closed_by_server()
        else:
            assert peer.ask().body == b"12345"
    assert f"{excess} bytes beyond" in until(lambda: caplog.text, "the message")
    assert "GET /" in caplog.text


@pytest.mark.parametrize("rest", [[b"short"], [b"x" * 5_000_000] * 2, [None]], ids=["shorter", "longer", "no bytes"])
def test_a_list_that_is_changed_while_it_is_sent_keeps_to_its_length_or_is_cut(
    serving: Serve, caplog: Any, rest: list[Any]
) -> None:
    body: list[Any] = [b"a" * 4_000_000, b"b" * 1_000_000]

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        return body if environ["PATH_INFO"] == "/list" else [b"next"]

    held_back = {"outbuf_spool_limit": 0, "outbuf_high_watermark": 1000, "outbuf_wait_seconds": 20}
    with serving(application, validated=False, **held_back).connect(receive_buffer_bytes=4096) as peer:
        peer.send_request("GET", "/list")
        assert peer.read_head().get("content-length") == "5000000"
        body[1:] = rest
        peer.send_request("GET", "/")
        if len(rest) > 1:
            assert peer._take(5_000_000) == b"a" * 4_000_000 + b"x" * 1_000_000
            assert peer.read_answer().body == b"next"
        else:
            sent = peer.read_to_end()
            assert sent == b"a" * 4_000_000 + (rest[0] or b"")
            assert until(lambda: caplog.records, "the message")


# ---- close() of the iterable ----


@pytest.mark.parametrize("length", [(), (("Content-Length", "6"),)], ids=["chunked", "length"])
def test_the_iterable_is_closed_once_after_the_last_block(serving: Serve, length: Any) -> None:
    made: list[Blocks] = []

    def application(environ: dict[str, Any], start_response: Any) -> Blocks:
        start_response("200 OK", [TEXT, *length])
        made.append(Blocks([b"abc", b"def"]))
        return made[-1]

    with serving(application, validated=False).connect() as peer:
        for method in ("GET", "HEAD", "GET"):
            peer.ask(method)
    until(lambda: len(made) == 3 and all(one.closed for one in made), "the close")
    assert [one.closed for one in made] == [1, 1, 1]


@pytest.mark.parametrize("fail_at", [0, 1, 2])
def test_the_iterable_is_closed_once_when_it_raises(serving: Serve, fail_at: int) -> None:
    blocks = Blocks([b"abc", b"def", b"ghi"], fail_at=fail_at)
    with serving(answering(blocks), validated=False).connect() as peer:
        peer.send_request()
        try:
            assert peer.read_answer().status == 500
        except CutShortError:
            assert fail_at > 0
    until(lambda: blocks.closed, "the close")
    assert blocks.closed == 1


def test_the_iterable_is_closed_once_when_the_answer_cannot_begin(serving: Serve) -> None:
    blocks = Blocks([b"abc"])

    def application(environ: dict[str, Any], start_response: Any) -> Blocks:
        if environ["PATH_INFO"] == "/status":
            start_response("bad", [TEXT])
        return blocks

    site = serving(application, validated=False)
    assert site.ask("GET", "/no-start").status == 500
    until(lambda: blocks.closed, "the close")
    assert blocks.closed == 1


@pytest.mark.parametrize("length", [(), (("Content-Length", str(400 * 65536)),)], ids=["chunked", "length"])
def test_the_iterable_is_closed_once_when_the_client_has_gone(serving: Serve, length: Any) -> None:
    blocks = Blocks([b"x" * 65536] * 400)
    with serving(answering(blocks, *length), validated=False, outbuf_high_watermark=65536).connect() as peer:
        peer.send_request()
        peer.read_head()
        peer.reset()
    until(lambda: blocks.closed, "the close")
    time.sleep(0.05)
    assert blocks.closed == 1


def test_r20_a_close_that_raises_is_logged_and_the_answer_is_whole(serving: Serve, caplog: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Blocks:
        start_response("200 OK", [TEXT, ("Content-Length", "3")])
        return Blocks([b"abc"], fail_close=environ["PATH_INFO"] == "/bad")

    site = serving(application, validated=False, threads=1)
    assert site.ask("GET", "/bad").body == b"abc"
    assert site.ask("GET", "/good").body == b"abc"
    assert until(lambda: [text for text in errors_of(caplog) if "close on purpose" in text], "the message")


# ---- what is no block ----


@pytest.mark.parametrize(
    "block", ["text", None, 5, [b"x"], bytearray(b"x"), memoryview(b"x")], ids=lambda it: str(type(it))
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_block_that_is_no_bytes_is_an_error_of_the_application(
    serving: Serve, caplog: Any, block: Any, is_first: bool
) -> None:
    blocks = [block] if is_first else [b"abc", block]
    with serving(answering(lambda: iter(blocks)), validated=False).connect() as peer:
        peer.send_request()
        try:
            assert peer.read_answer().status == 500
        except CutShortError:
            assert not is_first
        assert peer.is_closed_by_server()
    assert errors_of(caplog)


@pytest.mark.parametrize("returned", [None, 5, "text"], ids=repr)
def test_what_is_no_iterable_of_blocks_is_answered_by_500(serving: Serve, caplog: Any, returned: Any) -> None:
    site = serving(answering(lambda: returned), validated=False)
    assert site.ask().status == 500
    assert errors_of(caplog)


def test_a_string_of_bytes_is_sent_though_it_is_a_mistake_or_is_refused(serving: Serve) -> None:
    # Iterating over bytes gives numbers, so taken literally this is an error; no server may send garbage.
    answer = serving(answering(lambda: b"text"), validated=False).ask()
    assert (answer.status, answer.body) == (200, b"text") or answer.status == 500


# ---- exceptions of the application ----


def failing(kind: type[BaseException], at: str) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/bad":
            start_response("200 OK", [TEXT])
            return [b"fine"]
        if at == "call":
            raise kind("secret words")
        start_response("200 OK", [TEXT, ("X-Never", "sent")])
        if at == "started":
            raise kind("secret words")
        return later()

    def later() -> Iterator[bytes]:
        if at == "first block":
            raise kind("secret words")
        yield b"part"
        raise kind("secret words")

    return application


KINDS = [ValueError, MemoryError, RecursionError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration]


@pytest.mark.parametrize("at", ["call", "started"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_r16_r17_r21_an_exception_before_the_first_byte_is_answered_by_500(
    serving: Serve, caplog: Any, kind: type[BaseException], at: str
) -> None:
    site = serving(failing(kind, at), validated=False, threads=1)
    with site.connect() as peer:
        answer = peer.ask("GET", "/bad")
        assert answer.status == 500
        assert answer.get("x-never") is None
        assert b"secret" not in answer.body
        assert b"Traceback" not in answer.body
        assert answer.ends_connection
        assert peer.is_closed_by_server()
    assert any("secret words" in text for text in errors_of(caplog))
    assert site.ask().body == b"fine"  # the worker lives


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt], ids=lambda kind: kind.__name__)
def test_r17_r21_an_exception_of_a_generator_before_its_first_block_is_answered_by_500(
    serving: Serve, caplog: Any, kind: type[BaseException]
) -> None:
    site = serving(failing(kind, "first block"), threads=1)
    assert site.ask("GET", "/bad").status == 500
    assert any("secret words" in text for text in errors_of(caplog))
    assert site.ask().body == b"fine"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt], ids=lambda kind: kind.__name__)
def test_r18_r21_an_exception_after_the_first_byte_cuts_the_answer(
    serving: Serve, caplog: Any, kind: type[BaseException]
) -> None:
    site = serving(failing(kind, "later"), threads=1)
    with site.connect() as peer:
        peer.send_request("GET", "/bad")
        with pytest.raises(CutShortError) as cut:
            peer.read_answer()
    assert cut.value.part == b"part"
    assert until(lambda: [text for text in errors_of(caplog) if "secret words" in text], "the message")
    assert site.ask().body == b"fine"


def test_tracebacks_are_shown_to_clients_only_if_asked_for(serving: Serve) -> None:
    answer = serving(failing(ValueError, "call"), expose_tracebacks=True).ask("GET", "/bad")
    assert answer.status == 500
    assert b"secret words" in answer.body
    assert b"Traceback" in answer.body


def test_a_message_of_an_error_names_the_request(serving: Serve, caplog: Any) -> None:
    serving(failing(ValueError, "call")).ask("GET", "/bad")
    assert any("/bad" in text for text in errors_of(caplog))

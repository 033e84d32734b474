"""What an application may do with `start_response` and `write`, and what is refused. Source: PEP 3333, RFC 9110."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_peer import CutShortError
from sites import Site, errors_of

Serve = Callable[..., Site]
TEXT = ("Content-Type", "text/plain")


def raised(kind: type[BaseException] = ValueError) -> Any:
    """Return the exc_info of an exception."""
    try:
        raise kind("on purpose")
    except kind:
        return sys.exc_info()


def test_write_sends_before_the_iterable_does(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        write(b"one ")
        write(b"")
        write(b"two ")
        return [b"three"]

    assert serving(application).ask().body == b"one two three"


def test_write_keeps_to_a_length_that_was_given(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "6")])(b"abc")
        return [b"def"]

    answer = serving(application).ask()
    assert (answer.framing, answer.body) == ("length", b"abcdef")


def test_nothing_can_be_written_behind_the_end_of_an_answer(serving: Serve) -> None:
    """It would stand before the next answer, and be taken for a part of it."""
    kept: list[Any] = []
    raised: list[type[BaseException]] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        for write in kept:
            try:
                write(b"late")
            except Exception as error:
                raised.append(type(error))
        headers = [TEXT, ("Content-Length", "2")] if environ["PATH_INFO"] == "/length" else [TEXT]
        kept.append(start_response("200 OK", headers))
        return iter([b"a", b"b"])

    with serving(application, validated=False).connect() as peer:
        assert [peer.ask("GET", target).body for target in ("/chunked", "/length", "/")] == [b"ab"] * 3
    assert raised == [RuntimeError] * 3


def test_what_write_was_given_is_on_its_way_when_the_next_block_waits(serving: Serve) -> None:
    import threading

    go_on = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "4")])(b"ab")
        go_on.wait(20)
        return [b"cd"]

    with serving(application).connect() as peer:
        peer.send_request()
        peer.read_head()
        assert peer._take(2) == b"ab"
        go_on.set()
        assert peer._take(2) == b"cd"


def test_each_block_of_a_generator_is_on_its_way_before_the_next_is_asked_for(serving: Serve) -> None:
    import threading

    steps = threading.Semaphore(0)

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "3")])
        for letter in (b"a", b"b", b"c"):
            yield letter
            assert environ["PATH_INFO"] == "/again" or steps.acquire(timeout=20)

    with serving(application).connect() as peer:
        peer.send_request()
        peer.read_head()
        for letter in (b"a", b"b", b"c"):
            assert peer._take(1) == letter
            steps.release()
        assert peer.can_ask_again()


@pytest.mark.parametrize("kind", ["list", "generator"])
def test_an_error_before_the_headers_are_sent_replaces_them(serving: Serve, kind: str) -> None:
    def as_list(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("X-First", "1"), ("Content-Length", "1000")])
        start_response("503 Replaced", [TEXT], raised())
        return [b"replaced"]

    def as_generator(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT, ("X-First", "1")])
        yield b""  # the headers must wait for a block that is not empty
        start_response("503 Replaced", [TEXT], raised())
        yield b"replaced"

    answer = serving(as_list if kind == "list" else as_generator).ask()
    assert (answer.status, answer.reason, answer.get("x-first"), answer.body) == (503, "Replaced", None, b"replaced")


def test_an_error_after_the_headers_are_sent_is_raised_again(serving: Serve, caplog: Any) -> None:
    caught = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b"sent"
        try:
            start_response("500 Late", [TEXT], raised(ZeroDivisionError))
        except ZeroDivisionError as error:
            caught.append(error)
            raise

    with serving(application).connect() as peer:
        peer.send_request()
        with pytest.raises(CutShortError) as cut:
            peer.read_answer()
    assert cut.value.part == b"sent"
    assert len(caught) == 1
    assert any("ZeroDivisionError" in text for text in errors_of(caplog))


def test_r19_a_second_start_without_an_error_is_refused(serving: Serve, caplog: Any) -> None:
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        try:
            start_response("200 OK", [TEXT])
        except AssertionError as error:
            seen.append(error)
            raise
        return [b"never"]

    assert serving(application).ask().status == 500
    assert len(seen) == 1
    assert errors_of(caplog)


def test_r19_a_second_start_with_exc_info_is_what_counts(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        start_response("418 Teapot", [TEXT], raised())
        start_response("503 Last", [TEXT, ("Content-Length", "4")], raised())
        return [b"last"]

    answer = serving(application).ask()
    assert (answer.status, answer.body) == (503, b"last")


def test_exc_info_may_be_passed_by_name(serving: Serve) -> None:
    """PEP 3333 forbids it; waitress and gunicorn take it, so that there are applications that do it."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT], exc_info=None)
        start_response("503 Service Unavailable", [TEXT], exc_info=raised())
        return [b"sorry"]

    answer = serving(application, validated=False).ask()
    assert (answer.status, answer.body) == (503, b"sorry")


def test_status_and_headers_by_name_are_an_error_of_the_application(serving: Serve, caplog: Any) -> None:
    """PEP 3333 has them by position, and servers call them otherwise; docs/from-waitress.md says so."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status="200 OK", headers=[TEXT])
        return [b"not sent"]

    assert serving(application, validated=False).ask().status == 500
    assert "TypeError" in errors_of(caplog)[0]


@pytest.mark.parametrize(("result", "kind"), [(None, "None"), (b"text", "bytes"), ("text", "str")])
def test_an_application_that_returns_no_list_is_told_what_to_return(
    serving: Serve, caplog: Any, result: Any, kind: str
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        return result

    assert serving(application, validated=False).ask().status == 500
    assert f"an application returns an iterable of bytes, like [b'...'], and not {kind}" in str(errors_of(caplog))


def test_an_empty_bytes_is_an_empty_answer(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        return b""

    answer = serving(application, validated=False).ask()
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("kind", [TypeError, AttributeError, NotImplementedError])
def test_an_answer_that_does_not_know_its_length_is_sent_in_parts(serving: Serve, kind: type[Exception]) -> None:
    class Parts:
        def __len__(self) -> int:
            raise kind

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        return Parts()

    assert serving(application, validated=False).ask().body == b"ab"


def test_an_application_that_never_starts_is_answered_by_500(serving: Serve, caplog: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return [b"never"] if environ["PATH_INFO"] == "/block" else []

    site = serving(application, validated=False)
    assert [site.ask("GET", path).status for path in ("/block", "/empty")] == [500, 500]
    assert len(errors_of(caplog)) == 2


REFUSED_HEADERS = {
    "CR in a value": ("X-A", "a\rb"),
    "LF in a value": ("X-A", "a\nX-B: c"),
    "CRLF in a value": ("X-A", "a\r\nX-B: c"),
    "folded value": ("X-A", "a\r\n b"),
    "CRLF at the end of a value": ("X-A", "a\r\n"),
    "NUL in a value": ("X-A", "a\0b"),
    "control character in a value": ("X-A", "a\x01b"),
    "DEL in a value": ("X-A", "a\x7fb"),
    "beyond latin-1 in a value": ("X-A", "\u20ac"),
    "lone surrogate in a value": ("X-A", "\udcff"),
    "bytes for a value": ("X-A", b"a"),
    "number for a value": ("X-A", 5),
    "None for a value": ("X-A", None),
    "empty name": ("", "a"),
    "blank in a name": ("X A", "a"),
    "blank after a name": ("X-A ", "a"),
    "tab in a name": ("X\tA", "a"),
    "colon in a name": ("X-A:", "a"),
    "CRLF in a name": ("X-A\r\nX-B", "a"),
    "NUL in a name": ("X\0A", "a"),
    "parenthesis in a name": ("X(A)", "a"),
    "beyond ASCII in a name": ("X-\xe9", "a"),
    "beyond latin-1 in a name": ("X-\u20ac", "a"),
    "bytes for a name": (b"X-A", "a"),
    "three of a tuple": ("X-A", "a", "b"),
    "one of a tuple": ("X-A",),
    "hop-by-hop Connection": ("Connection", "keep-alive"),
    "hop-by-hop Keep-Alive": ("Keep-Alive", "timeout=5"),
    "hop-by-hop Proxy-Authenticate": ("Proxy-Authenticate", "Basic"),
    "hop-by-hop Proxy-Authorization": ("Proxy-Authorization", "Basic"),
    "hop-by-hop TE": ("TE", "trailers"),
    "hop-by-hop Trailer": ("trailer", "X-A"),
    "hop-by-hop Transfer-Encoding": ("TRANSFER-encoding", "chunked"),
    "hop-by-hop Upgrade": ("Upgrade", "websocket"),
    "Content-Length that is no number": ("Content-Length", "abc"),
    "Content-Length beyond all numbers": ("Content-Length", "99999999999999999999999"),
    "Content-Length below zero": ("Content-Length", "-1"),
    "Content-Length with a sign": ("Content-Length", "+1"),
    "Content-Length with an underscore": ("Content-Length", "1_0"),
    "Content-Length in other digits": ("Content-Length", "\xb2"),
    "Content-Length of a list": ("Content-Length", "3, 3"),
    "empty Content-Length": ("Content-Length", ""),
}
REFUSED_STATUSES = {
    "empty": "",
    "no number": "abc",
    "two digits": "99 Low",
    "four digits": "1000 High",
    "a sign": "+20 OK",
    "blank before": " 200 OK",
    "no blank": "200OK",
    "CRLF": "200 OK\r\nX-B: c",
    "LF": "200 OK\nX-B: c",
    "NUL": "200 O\0K",
    "beyond latin-1": "200 \u20ac",
    "bytes": b"200 OK",
    "a number": 200,
    "None": None,
    "interim": "100 Continue",
    "switching": "101 Switching Protocols",
    "other digits": "\xb200 OK",
}


@pytest.mark.parametrize("header", REFUSED_HEADERS.values(), ids=REFUSED_HEADERS)
def test_a_header_that_would_break_the_answer_is_answered_by_500(serving: Serve, caplog: Any, header: Any) -> None:
    refuse(serving, caplog, "200 OK", [TEXT, header])


@pytest.mark.parametrize("status", REFUSED_STATUSES.values(), ids=REFUSED_STATUSES)
def test_a_status_that_would_break_the_answer_is_answered_by_500(serving: Serve, caplog: Any, status: Any) -> None:
    refuse(serving, caplog, status, [TEXT])


@pytest.mark.parametrize(
    "headers",
    [None, "X-A: b", [("X-A", "b"), None], [["X-A"]], 5, (("X-A", "b"),), {"X-A": "b"}.items(), [["X-A", "b"]]],
    ids=repr,
)
def test_headers_that_are_no_list_of_pairs_are_answered_by_500(serving: Serve, caplog: Any, headers: Any) -> None:
    refuse(serving, caplog, "200 OK", headers)


def refuse(serving: Serve, caplog: Any, status: Any, headers: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/good":
            start_response("200 OK", [TEXT])
        else:
            start_response(status, headers)
        return [b"body"]

    site = serving(application, validated=False, threads=1)
    with site.connect() as peer:
        answer = peer.ask()
        assert answer.status == 500
        assert answer.get("x-a") is None
        assert answer.get("x-b") is None
        assert b"Traceback" not in answer.body
        assert answer.ends_connection
        assert peer.is_closed_by_server()
    assert errors_of(caplog)
    assert site.ask("GET", "/good").body == b"body"


ALLOWED = [
    ("X-Empty", ""),
    ("X-Latin", "caf\xe9"),
    ("X-Tab", "a\tb"),
    ("x-lower!#$%&'*+.^_`|~9", "token"),
    ("Set-Cookie", "a=b; Path=/"),
]


@pytest.mark.parametrize("header", ALLOWED, ids=lambda header: header[0])
def test_what_the_grammar_allows_is_sent_as_it_is(serving: Serve, header: tuple[str, str]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, header])
        return []

    assert serving(application, validated=False).ask().get(header[0]) == header[1]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", (200, "OK")),
        ("299 Some thing", (299, "Some thing")),
        ("599 \xe9", (599, "\xe9")),
        ("404 ", (404, "")),
    ],
)
def test_any_status_with_three_digits_is_sent_as_it_is(
    serving: Serve, status: str, expected: tuple[int, str]
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [TEXT, ("Content-Length", "0")])
        return []

    answer = serving(application, validated=False).ask()
    assert (answer.status, answer.reason) == expected


def test_several_headers_of_a_name_keep_their_order(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("Set-Cookie", "b=1"), ("X-A", "x"), ("Set-Cookie", "a=2")])
        return []

    answer = serving(application).ask()
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["b=1", "a=2"]


def test_the_headers_are_taken_when_they_are_given(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [TEXT, ("X-A", "before")]
        start_response("200 OK", headers)
        assert headers == [TEXT, ("X-A", "before")]
        return [b"x"]

    assert serving(application).ask().get("x-a") == "before"


def test_date_and_server_of_the_application_are_its_own(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [TEXT]
        if environ["PATH_INFO"] == "/own":
            headers += [("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "own/1")]
        start_response("200 OK", headers)
        return []

    site = serving(application, ident="ours")
    own = site.ask("GET", "/own")
    assert own.get("date") == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert "own/1" in (own.get("server") or "")
    ours = site.ask()
    assert ours.get("server") == "ours"
    from email.utils import parsedate_to_datetime

    date = ours.get("date")
    assert date is not None
    assert date.endswith(" GMT")
    assert parsedate_to_datetime(date).year >= 2024

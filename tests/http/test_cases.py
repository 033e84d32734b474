"""Requests that are easily read in two ways, and the one right reading of each: `cases.json`, a row a request.

A row: `stream` (that of the conformance case with the same id, unless it has its own), then one of `refused` (the
statuses that are right answers), `request` (what must have been read: body, path, host, where given) and
`incomplete`. Good requests may come before (`good_before`), and another one follows (`follow_up`): after a refusal
nothing of it may be read, else all of it. Every row is delivered whole, byte by byte, and cut after every CR and LF.
Source: RFC 9112, RFC 9110 (sections in the rows), advisories and tests of other servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from conformance_judge import expand
from parser_cases import read_parser_cases

from wiretask.consumers import HTTPRequest
from wiretask.errors import IncompleteMessageError

CASES = read_parser_cases()
FOLLOW_UP = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
BYTEWISE_MAX_BYTES = 70_000


def deliveries(stream: bytes) -> Iterator[tuple[str, list[bytes]]]:
    yield "whole", [stream]
    yield "lines", re.split(rb"(?<=[\r\n])", stream)
    if len(stream) <= BYTEWISE_MAX_BYTES:
        yield "bytes", [stream[index : index + 1] for index in range(len(stream))]


def read_all(pieces: list[bytes], limits: dict[str, int]) -> list[HTTPRequest]:
    """Return all requests, the last one perhaps with an error or not complete; nothing is fed after an error."""
    requests = [HTTPRequest(**limits)]
    for piece in pieces:
        rest = piece
        while rest:
            if requests[-1].completed:
                if requests[-1].error is not None:
                    assert requests[-1].received(b"".join(pieces)) == 0
                    return requests
                requests.append(HTTPRequest(**limits))
            rest = rest[requests[-1].received(rest) :]
    return requests


def seen(request: HTTPRequest) -> tuple[object, ...]:
    """All that can be seen of a request, comparable."""
    error = request.error
    if error is not None:
        return (error.kind, error.offset_bytes, error.status)
    if not request.completed:
        return ("incomplete",)
    return (request.head, request.body, request.headers.lines, request.trailers.lines, request.keep_alive)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}-{case['title'].replace(' ', '_')}" for case in CASES])
def test_every_delivery_is_read_in_the_one_right_way(case: dict[str, Any]) -> None:
    follow_up = case.get("follow_up", FOLLOW_UP).encode("latin-1")
    stream = expand(case["stream"]) + follow_up
    readings = []
    for _, pieces in deliveries(stream):
        requests = read_all(pieces, case.get("limits", {}))
        readings.append([seen(request) for request in requests])
        judge(case, requests, follow_up)
    assert all(reading == readings[0] for reading in readings)


def judge(case: dict[str, Any], requests: list[HTTPRequest], follow_up: bytes) -> None:
    before = case.get("good_before", 0)
    assert all(request.completed and request.error is None for request in requests[:before])
    request, *others = requests[before:]
    if case.get("incomplete"):
        assert not request.completed
        if case["stream"]:
            request.end_of_input()
            assert isinstance(request.error, IncompleteMessageError)
        return
    if "refused" in case:
        assert request.error is not None
        assert request.error.status in case["refused"], request.error
        assert (request.keep_alive, others) == (False, [])
        return
    assert request.error is None
    assert request.completed
    expected = case["request"]
    if "body" in expected:
        assert request.body == expand(expected["body"])
    for name in ("path", "host"):
        assert getattr(request, name) == expected.get(name, getattr(request, name))
    if follow_up:
        assert (others[-1].completed, others[-1].error) == (True, None)
        assert others[-1].head == follow_up
    else:
        assert others == []


def test_the_cases_tell_the_answers_apart() -> None:
    statuses = {status for case in CASES for status in case.get("refused", [])}
    assert {400, 413, 414, 417, 431, 501, 505} <= statuses
    assert sum("request" in case for case in CASES) > 40


def test_no_case_is_lost_and_each_has_a_name_and_a_verdict_of_its_own() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES) == 196
    assert all(len(case.keys() & {"refused", "request", "incomplete"}) == 1 for case in CASES)

"""The HTTP consumers against the laws, the good messages and the hostile ones of `wiretask.testing`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiretask import consumers
from wiretask.testing import (
    HOSTILE_RULES,
    ConsumerLaw,
    HostileRequest,
    HTTPRequestExample,
    HTTPResponseExample,
    check_stream_consumer,
    chunked_bodies,
    hostile_http_requests,
    http_requests,
    http_responses,
)

EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"

STREAMS = {
    "HTTPRequest": st.one_of(http_requests(), hostile_http_requests()).map(lambda example: example.stream),
    "HTTPResponse": http_responses().map(lambda example: example.stream),
    "Chunked": chunked_bodies().map(lambda example: example[0]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_http_consumer_obeys_the_laws(
    name: str, law_settings: Callable[[int], settings], count_examples: Callable[[str, int], None]
) -> None:
    report = check_stream_consumer(
        getattr(consumers, name),
        STREAMS[name],
        max_bytes=None,
        may_end_with_input=name == "HTTPResponse",
        # Long streams: each costs as much as ten of those in `test_consumer_laws.py`.
        settings=law_settings(40),
    )
    count_examples(name, report.examples)
    assert set(report.not_checked) <= {
        ConsumerLaw.ROUND_TRIP,
        ConsumerLaw.LINEAR_WORK,
        ConsumerLaw.BOUNDED_MEMORY,
    }


@given(http_requests(), st.sampled_from([b"", EVIL]))
def test_good_request_is_read_as_it_says(example: HTTPRequestExample, what_follows: bytes) -> None:
    request = consumers.HTTPRequest()
    assert request.received(example.stream + what_follows) == len(example.stream)
    assert (request.error, bytes(request.body)) == (None, example.body)
    assert (request.method, request.target) == (example.method.decode(), example.target.decode())
    assert request.keep_alive == example.keep_alive


@given(http_responses())
def test_good_response_is_read_as_it_says(example: HTTPResponseExample) -> None:
    response = consumers.HTTPResponse()
    assert response.received(example.stream) == len(example.stream)
    if example.ends_with_input:
        assert not response.completed
        response.end_of_input()
    assert (response.error, response.completed) == (None, True)
    assert (response.status, bytes(response.body)) == (example.status, example.body)


@pytest.mark.parametrize("rule", HOSTILE_RULES)
def test_hostile_request_gets_the_right_answer_and_nothing_behind_it_is_read(rule: str) -> None:
    @given(hostile_http_requests(rule))
    def check(hostile: HostileRequest) -> None:
        request = consumers.HTTPRequest()
        taken = request.received(hostile.stream + EVIL)
        assert request.error is not None
        assert request.error.status in hostile.statuses
        assert taken <= len(hostile.stream + EVIL)
        assert request.received(EVIL) == 0

    check()

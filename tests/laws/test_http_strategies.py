"""The HTTP strategies against second opinions: the grammar as regular expressions, and the standard library."""

from __future__ import annotations

import http.client
import io
import re

import pytest
from http_oracle import RefusedError, read_request
from hypothesis import assume, given
from hypothesis import strategies as st

from wiretask.testing import (
    HOSTILE_RULES,
    HostileRequest,
    HTTPRequestExample,
    HTTPResponseExample,
    hostile_http_requests,
    http_requests,
    http_responses,
    oversized_http_requests,
)

EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"


@given(http_requests(), st.sampled_from([b"", EVIL]))
def test_good_requests_are_read_as_they_say(example: HTTPRequestExample, what_follows: bytes) -> None:
    assert read_request(example.stream + what_follows) == {
        "method": example.method,
        "target": example.target,
        "version": example.version,
        "fields": example.fields,
        "body": example.body,
        "trailers": example.trailers,
        "length": len(example.stream),
    }


@pytest.mark.parametrize("with_body", [True, False])
def test_requests_with_a_body_or_without_can_be_had(with_body: bool) -> None:
    @given(http_requests(with_body=with_body))
    def check(example: HTTPRequestExample) -> None:
        names = {name.lower() for name, _ in example.fields}
        is_framed = bool(names & {b"content-length", b"transfer-encoding"})
        assert is_framed == (with_body and example.method != b"CONNECT")

    check()


class _Connection:
    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.stream)


@given(http_responses())
def test_good_responses_are_read_by_the_standard_library_as_they_say(example: HTTPResponseExample) -> None:
    # The standard library takes "chunked" with white space behind it for another coding.
    assume(not re.search(rb"(?i)chunked[ \t]+\r\n", example.stream))
    response = http.client.HTTPResponse(_Connection(example.stream), method="GET")  # type: ignore[arg-type]
    response.begin()
    assert (response.status, response.reason.encode("latin-1")) == (example.status, example.reason.strip())
    assert response.version == example.version[0] * 10 + example.version[1]
    assert response.read() == example.body
    found = [(name.encode("latin-1"), value.strip(" \t").encode("latin-1")) for name, value in response.getheaders()]
    assert found == list(example.fields)


@pytest.mark.parametrize("rule", HOSTILE_RULES)
def test_hostile_requests_are_no_requests(rule: str) -> None:
    @given(hostile_http_requests(rule), st.sampled_from([b"", EVIL]))
    def check(hostile: HostileRequest, what_follows: bytes) -> None:
        assert hostile.rule == rule
        assert hostile.statuses
        assert re.fullmatch(r"9110 \d+\.\d+(\.\d+)?|9112 \d+(\.\d+)*", hostile.source)
        with pytest.raises(RefusedError):
            read_request(hostile.stream + what_follows)

    check()


def test_unknown_rule_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match="line_ends_with_crlf"):
        hostile_http_requests("no such")


@given(oversized_http_requests(max_line_bytes=100, max_head_bytes=300, max_body_bytes=50))
def test_oversized_requests_are_beyond_the_limit_that_they_name(hostile: HostileRequest) -> None:
    line, _, _ = hostile.stream.partition(b"\r\n")
    head, _, _ = hostile.stream.partition(b"\r\n\r\n")
    found = {
        "target_size": len(line) > 100,
        "head_size": len(line) <= 100 and len(head) > 300,
        "body_size": len(line) <= 100 and len(head) <= 300,
    }
    assert [rule for rule, is_so in found.items() if is_so] == [hostile.rule]

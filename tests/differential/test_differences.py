"""No parser reads HTTP/1.1 otherwise than ours but where docs/http-differences.md says so, and says why.

Streams: what `wiretask.testing` makes, good, hostile and damaged; `recorded.py`; `tests/http/cases.json`. Each row of
the document has an example, which is played too, so that no row outlives its difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parser_cases import read_parser_cases
from readings import MISSING, PEERS, Reading, difference, our_reading
from recorded import RECORDED

from wiretask.testing import damaged, hostile_http_requests, http_requests, http_responses

ROOT = Path(__file__).parents[2]

FOLLOW_UP = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Row:
    """A difference that is known: `ours` and `theirs` as `difference` says them, in streams that match `where`."""

    peers: tuple[str, ...]
    ours: str
    theirs: str
    where: str
    example: bytes

    @property
    def is_request(self) -> bool:
        return not self.example.startswith(b"HTTP/")

    def covers(self, peer: str, found: tuple[str, str], stream: bytes, *, is_request: bool) -> bool:
        ours, theirs = found
        is_alike = ours == self.ours and (theirs == self.theirs or theirs.startswith(self.theirs + ", "))
        is_it = is_alike and peer in self.peers and is_request == self.is_request
        return is_it and re.search(self.where.encode(), stream) is not None


def rows() -> list[Row]:
    """The rows of the tables: ours, theirs, who, only where, example, why."""
    text = (ROOT / "docs/http-differences.md").read_text()
    found = []
    for line in re.findall(r"^\| `.*\|$", text, re.MULTILINE):
        ours, theirs, who, where, example, why = map(_plain, line.strip("|").split("|"))
        assert why, line
        stream = example.encode("latin-1").decode("unicode_escape").encode("latin-1")
        found.append(Row(tuple(who.split(", ")), ours, theirs, where, stream))
    return found


def _plain(cell: str) -> str:
    """The content of a cell that may be in one or two backticks."""
    cell = cell.strip()
    width = 2 if cell.startswith("``") else 1 if cell.startswith("`") and cell.count("`") == 2 else 0
    return cell[width : len(cell) - width].strip() if width else cell


ROWS = rows()


def check(stream: bytes, peer: str, *, is_request: bool) -> None:
    """Compare ours with one other parser."""
    judge(stream, peer, our_reading(stream, is_request), PEERS[peer](stream, is_request), is_request=is_request)


def judge(stream: bytes, peer: str, ours: Reading, theirs: Reading, *, is_request: bool) -> None:
    found = difference(ours, theirs)
    if found is not None and not any(row.covers(peer, found, stream, is_request=is_request) for row in ROWS):
        pytest.fail(f"an unknown difference: {found}\n  stream  {stream!r}\n  ours    {ours}\n  {peer}  {theirs}")


def as_answer(stream: bytes) -> bytes:
    """The same message with a status line for its request line."""
    return b"HTTP/1.1 200 OK" + stream[stream.find(b"\r\n") :]


def skip_if_missing(peer: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(peer in MISSING, reason=f"{peer} is not installed")


every_reader_of_requests = pytest.mark.parametrize(
    "peer", [pytest.param(peer, marks=skip_if_missing(peer)) for peer in PEERS if peer != "http.client"]
)
good = http_requests().map(lambda example: example.stream)
hostile = hostile_http_requests().map(lambda example: example.stream)
answers = http_responses().map(lambda example: example.stream)
STREAMS = {
    "good requests": good.map(lambda stream: stream + FOLLOW_UP),
    "hostile requests": hostile.map(lambda stream: stream + FOLLOW_UP),
    "damaged requests": damaged(st.one_of(good, hostile)),
    "good answers": answers,
    "hostile answers": hostile.map(as_answer),
    "damaged answers": damaged(st.one_of(answers, hostile.map(as_answer))),
}


@pytest.mark.parametrize(
    ("peer", "kind"),
    [
        pytest.param(peer, kind, marks=skip_if_missing(peer))
        for peer in PEERS
        for kind in STREAMS
        if "answers" in kind or peer != "http.client"
    ],
)
def test_no_difference_is_unknown(kind: str, peer: str) -> None:
    @given(STREAMS[kind])
    def compare(stream: bytes) -> None:
        check(stream, peer, is_request="requests" in kind)

    compare()


@every_reader_of_requests
def test_cases_are_read_alike(peer: str) -> None:
    for case in read_parser_cases():
        stream = case["stream"]
        if isinstance(stream, str) and not case.get("limits"):
            check(
                stream.encode("latin-1") + case.get("follow_up", FOLLOW_UP.decode()).encode("latin-1"),
                peer,
                is_request=True,
            )


@every_reader_of_requests
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_request_is_read_alike(name: str, peer: str) -> None:
    reading = our_reading(RECORDED[name] + FOLLOW_UP, is_request=True)
    assert (reading.outcome, reading.taken) == ("read", len(RECORDED[name]))
    check(RECORDED[name] + FOLLOW_UP, peer, is_request=True)


@pytest.mark.parametrize(
    ("row", "peer"),
    [
        pytest.param(
            row,
            peer,
            id=f"{row.ours}-{peer}-{index}",
            marks=skip_if_missing(peer),
        )
        for index, row in enumerate(ROWS)
        for peer in row.peers
    ],
)
def test_example_shows_the_difference_of_its_row(row: Row, peer: str) -> None:
    found = difference(our_reading(row.example, row.is_request), PEERS[peer](row.example, row.is_request))
    assert found is not None
    assert row.covers(peer, found, row.example, is_request=row.is_request)


def test_an_unknown_difference_is_noticed() -> None:
    stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    ours = our_reading(stream, is_request=True)
    judge(stream, "h11", ours, ours, is_request=True)
    for theirs in (Reading("waits"), Reading("refused", "no"), Reading("read", taken=5), Reading("read", body=b"x")):
        with pytest.raises(pytest.fail.Exception, match="an unknown difference"):
            judge(stream, "h11", ours, theirs, is_request=True)

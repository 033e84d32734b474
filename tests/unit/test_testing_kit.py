"""What stands around the kit's laws: its import, its cuts and streams, and how it looks at a consumer."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretask.consumers import Delimiter, LengthPrefixed, Line
from wiretask.testing import (
    cut_at,
    cuts,
    delimited,
    encode_varint,
    every_cut,
    length_prefixed,
    lines,
    outcome_of,
    single_bytes,
    telling_bytes,
)


def run_python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_without_hypothesis_the_import_fails_with_the_remedy_and_wiretask_works() -> None:
    program = (
        "import sys; sys.modules['hypothesis'] = None; import wiretask\n"
        "try:\n    import wiretask.testing\nexcept ImportError as error:\n    print(error)"
    )
    assert run_python(program) == "wiretask.testing needs Hypothesis: pip install 'wiretask[testing]'\n"


def test_wiretask_imports_neither_the_kit_nor_hypothesis() -> None:
    program = (
        "import sys, wiretask; print([name for name in sys.modules if 'hypothesis' in name or 'testing' in name])"
    )
    assert run_python(program) == "[]\n"


@given(st.data())
def test_every_drawn_cut_joins_to_the_data(data: st.DataObject) -> None:
    stream = data.draw(telling_bytes())
    allow_empty = data.draw(st.booleans())
    pieces = data.draw(cuts(stream, allow_empty=allow_empty))
    assert b"".join(pieces) == stream
    assert allow_empty or not stream or all(pieces)


def test_every_cut_of_short_data_is_drawn() -> None:
    wanted = {tuple(pieces) for pieces in every_cut(b"abcd")}
    drawn: set[tuple[bytes, ...]] = set()

    @given(cuts(b"abcd", allow_empty=False))
    def draw(pieces: list[bytes]) -> None:
        drawn.add(tuple(pieces))

    for _ in range(20):
        draw()
        if drawn == wanted:
            break
    assert len(wanted) == 8
    assert drawn == wanted


def test_cuts_are_counted_and_refused_where_there_are_too_many() -> None:
    assert [len(list(every_cut(b"x" * length))) for length in range(1, 6)] == [1, 2, 4, 8, 16]
    assert list(every_cut(b"")) == [[b""]]
    with pytest.raises(ValueError, match="use cuts"):
        next(every_cut(bytes(17)))
    assert cut_at(b"abc", [9, 1]) == [b"a", b"bc", b""]
    assert single_bytes(b"ab") == [b"a", b"b"]


@given(lines(12))
def test_lines_are_read_as_one_line(stream: bytes) -> None:
    consumer = Line()
    assert consumer.received(stream + b"more") == len(stream)
    assert consumer.error is None


@pytest.mark.parametrize("delimiter", [b"\0", b"\r\n", b"aab", b"abab"])
def test_delimited_streams_end_at_their_only_delimiter(delimiter: bytes) -> None:
    @given(delimited(delimiter))
    def check(stream: bytes) -> None:
        consumer = Delimiter(delimiter)
        assert consumer.received(stream + b"more") == len(stream)
        assert consumer.value + delimiter == stream

    check()


@pytest.mark.parametrize("size", [1, 2, 4, 8, "varint"])
@pytest.mark.parametrize("byteorder", ["big", "little"])
def test_length_prefixed_streams_are_read_as_one_message(size, byteorder) -> None:
    @given(length_prefixed(size, byteorder, max_bytes=300))
    def check(stream: bytes) -> None:
        consumer = LengthPrefixed(size=size, byteorder=byteorder)
        assert consumer.received(stream + b"more") == len(stream)
        assert consumer.error is None

    check()


def test_varint_has_its_shortest_form() -> None:
    assert [encode_varint(number).hex() for number in (0, 127, 128, 300)] == ["00", "7f", "8001", "ac02"]


def test_delimiter_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="empty"):
        delimited(b"")


class _Parsed:
    def __init__(self, fields: dict[str, str]) -> None:
        self.completed = True
        self.fields = fields
        self.head = _Head()

    def received(self, data: bytes) -> int:
        return 0


class _Head:
    def __init__(self) -> None:
        self.method = "GET"


def test_outcomes_are_equal_if_what_can_be_seen_is() -> None:
    first, second = outcome_of(_Parsed({"a": "b", "c": "d"}), 1), outcome_of(_Parsed({"a": "b", "c": "d"}), 1)
    assert first == second
    assert first != outcome_of(_Parsed({"c": "d", "a": "b"}), 1), "the order of fields matters"
    other = _Parsed({"a": "b", "c": "d"})
    other.head.method = "PUT"
    assert first != outcome_of(other, 1)
    assert "1 bytes consumed, completed, fields=" in str(first)

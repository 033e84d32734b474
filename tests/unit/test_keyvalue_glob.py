"""The patterns of the keyvalue example's KEYS. No server, no store."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretask.examples.keyvalue.glob import compile_glob


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (b"", [b""], [b"a"]),
        (b"*", [b"", b"a", b"\n"], []),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"helllo"]),
        (b"h*o", [b"ho", b"hello"], [b"hell"]),
        (b"a*b*c", [b"abc", b"axbxbxc"], [b"acb"]),
        (b"h[ae]llo", [b"hallo", b"hello"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (b"a\\*b", [b"a*b"], [b"axb"]),
        (b"a.c", [b"a.c"], [b"abc"]),
        (b"[]", [], [b"", b"]", b"a"]),
        (b"[\\]]", [b"]"], [b"\\"]),
        (b"a[bc", [b"ab", b"ac"], [b"a["]),
        (b"a\\", [b"a\\"], [b"a"]),
    ],
)
def test_glob_matches_as_in_redis(pattern: bytes, matching: list[bytes], others: list[bytes]) -> None:
    matches = compile_glob(pattern)
    assert [key for key in matching + others if matches(key)] == matching


def glob_by_definition(pattern: bytes) -> Callable[[bytes], bool]:
    """Return a test for patterns of `*`, `?` and plain bytes, by trying everything."""

    def matches(key: bytes, at: int = 0) -> bool:
        if at == len(pattern):
            return not key
        if pattern[at : at + 1] == b"*":
            return any(matches(key[skipped:], at + 1) for skipped in range(len(key) + 1))
        return bool(key) and pattern[at : at + 1] in (b"?", key[:1]) and matches(key[1:], at + 1)

    return matches


@given(
    st.text("ab*?", max_size=6).map(str.encode),
    st.text("ab", max_size=8).map(str.encode),
)
def test_glob_agrees_with_its_definition(pattern: bytes, key: bytes) -> None:
    assert bool(compile_glob(pattern)(key)) == glob_by_definition(pattern)(key)


def test_hostile_glob_costs_no_more_than_pattern_times_key() -> None:
    assert not compile_glob(b"*a" * 2000 + b"b")(b"a" * 10_000)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_any_pattern_means_something(pattern: bytes, key: bytes) -> None:
    compile_glob(pattern)(key)

"""docs/faults.md names tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "faults.md"

NAMED_TEST = re.compile(r"`((?:[\w./-]+/)?\w+\.(?:py|rs))::(\w+)`")
RUST_TEST = re.compile(r"#\[test\]\s*(?:#\[[^\]]*\]\s*)*(?:pub )?fn (\w+)")


def rows(document: str) -> dict[str, list[tuple[str, str]]]:
    """Return for each row of the first table which tests it names, as (file, test)."""
    found = {}
    for line in document.split("\n## ")[1].splitlines():
        if match := re.match(r"\| (R\d+) \|", line):
            assert match[1] not in found, f"{match[1]} stands there twice"
            found[match[1]] = NAMED_TEST.findall(line)
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file; none if there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    source = path.read_text()
    if path.suffix == ".rs":
        return frozenset(RUST_TEST.findall(source))
    return frozenset(
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_the_search_finds_names_in_both_languages() -> None:
    assert "test_the_search_finds_names_in_both_languages" in names_in("tests/architecture/test_fault_table.py")
    assert "never_goes_back" in names_in("rust/engine/src/clock.rs")
    assert names_in("tests/no_such_file.py") == frozenset()


def test_every_row_names_a_test() -> None:
    table = rows(DOCUMENT.read_text())
    assert len(table) >= 40
    assert [row for row, tests in table.items() if not tests] == []


def test_every_named_test_exists() -> None:
    named = NAMED_TEST.findall(DOCUMENT.read_text())
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []

"""Deadlines are kept on clocks that nobody can set. Fault R47; tests/wire/test_faults_clock.py sets the other one."""

from __future__ import annotations

import ast
import re

import pytest
from test_imports import MODULES, modules_of, rust_code

WALL_CLOCK_IN_RUST = re.compile(
    r"\b(SystemTime|UNIX_EPOCH|CLOCK_REALTIME\w*|CLOCK_TAI|gettimeofday|OffsetDateTime|chrono)\b|libc::time\b"
)

WALL_CLOCK = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime", "CLOCK_REALTIME"},
    "datetime": {"datetime", "date"},
}

#: Those that tell somebody what time it is, which is no deadline.
TELLS_THE_TIME = {"wiretask.examples.keyvalue.connection_commands"}
RUST_TELLS_THE_TIME = {"binding": {"date"}, "engine": {"access_log"}}


def wall_clock_names(source: str) -> set[str]:
    """Return the names of the wall clock that Python code uses, as `module.name`."""
    modules: dict[str, str] = {}
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in WALL_CLOCK}
        elif isinstance(node, ast.ImportFrom) and node.module in WALL_CLOCK:
            names = {alias.name for alias in node.names}
            found |= {f"{node.module}.{name}" for name in names & WALL_CLOCK[node.module]}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id, "")
            if node.attr in WALL_CLOCK.get(module, ()):
                found.add(f"{module}.{node.attr}")
    return found


def test_the_search_finds_wall_clocks_and_lets_monotonic_ones_pass() -> None:
    assert wall_clock_names("import time as t\nt.time(); t.monotonic()") == {"time.time"}
    assert wall_clock_names("def f():\n    from time import time_ns, monotonic") == {"time.time_ns"}
    assert wall_clock_names("import datetime\ndatetime.datetime.now(); datetime.timedelta(1)") == {
        "datetime.datetime"
    }
    assert WALL_CLOCK_IN_RUST.search("std::time::SystemTime::now()")
    assert not WALL_CLOCK_IN_RUST.search("std::time::Instant::now(); libc::CLOCK_MONOTONIC_COARSE")


@pytest.mark.parametrize("crate", ["protocol", "engine", "binding"])
def test_no_rust_looks_at_the_wall_clock(crate: str) -> None:
    sources = modules_of(crate)
    assert {
        name for name, source in sources.items() if WALL_CLOCK_IN_RUST.search(rust_code(source))
    } == RUST_TELLS_THE_TIME.get(crate, set())


def test_no_python_looks_at_the_wall_clock_but_to_tell_the_time() -> None:
    found = {name: names for name, path in MODULES.items() if (names := wall_clock_names(path.read_text()))}
    assert set(found) <= TELLS_THE_TIME, found

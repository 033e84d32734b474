"""The cases of `cases.json`: what a parser has to make of a stream; `conformance_cases.json` has it for servers.

A row has what it says itself, and of title, rfc, stream, good_before and follow_up what it does not say from the
conformance case with its id.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: By the names here: the names there.
TAKEN_OVER = {name: name for name in ("title", "rfc", "good_before", "follow_up")} | {"stream": "bytes"}


def read_parser_cases() -> list[dict[str, Any]]:
    """Return all rows, each with everything that it says or takes over.

    Raises:
        KeyError: there is no conformance case with the id of a row.
    """
    of_servers = {case["id"]: case for case in json.loads((HERE / "conformance_cases.json").read_text())["cases"]}
    cases = json.loads((HERE / "cases.json").read_text())
    return [taken_over(of_servers[case["id"]]) | case for case in cases]


def taken_over(case: dict[str, Any]) -> dict[str, Any]:
    """Return what a row takes over from a conformance case."""
    return {ours: case[theirs] for ours, theirs in TAKEN_OVER.items() if theirs in case}

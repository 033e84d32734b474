"""docs/fuzzing.md, run as a user would: each version of its parser is found out by the law that it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from wiretask.testing import ConsumerLaw, LawBroken, check_stream_consumer

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fuzzing.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
OUTPUTS = [text for language, text in BLOCKS if language == "text"]
SEARCH = settings(max_examples=100, derandomize=True, database=None)


def scope_after(changes: int) -> dict[str, Any]:
    """The names of the first program, its class changed by so many of the methods that follow, and the test."""
    parser, test, *methods = PROGRAMS
    scope: dict[str, Any] = {}
    exec(parser, scope)
    exec(test, scope)
    for text in methods[:changes]:
        changed: dict[str, Any] = {}
        exec("if True:\n" + text, scope, changed)
        for name, value in changed.items():
            setattr(scope["Frame"], name, value)
    return scope


def finding(changes: int) -> LawBroken:
    scope = scope_after(changes)
    with pytest.raises(LawBroken) as caught:
        check_stream_consumer(
            scope["Frame"], scope["frames"], scope["encode"], values=scope["values"], max_bytes=1000, settings=SEARCH
        )
    return caught.value


@pytest.mark.parametrize(("changes", "output"), list(enumerate(OUTPUTS)))
def test_each_version_breaks_the_law_that_the_document_shows(changes: int, output: str) -> None:
    found = str(finding(changes)).splitlines()
    shown = output.splitlines()
    # The first line and the law; another Hypothesis may come upon another stream first.
    assert [line.split() for line in found[:2]] == [line.split() for line in shown[:2]]


def test_last_version_passes_the_test_of_the_document_and_all_laws() -> None:
    scope = scope_after(len(OUTPUTS))
    scope["test_frame_obeys_the_laws"]()
    report = check_stream_consumer(
        scope["Frame"], scope["frames"], scope["encode"], values=scope["values"], max_bytes=1000, settings=SEARCH
    )
    assert (report.checked, report.not_checked) == (set(ConsumerLaw), {})


def test_what_the_document_pins_and_its_dispatcher_hold() -> None:
    scope = scope_after(len(OUTPUTS))
    pinned, dispatcher = PROGRAMS[-2:]
    exec(pinned, scope)
    exec(dispatcher, scope)
    scope["test_dispatcher_obeys_the_laws"]()
    with pytest.raises(LawBroken):
        exec(pinned, scope_after(0))


if __name__ == "__main__":
    for number in range(len(OUTPUTS)):
        print(finding(number), end="\n\n")

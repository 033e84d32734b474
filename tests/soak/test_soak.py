"""The soak program itself: a run of seconds is clean, each rule of the judge finds what breaks it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import prove
import pytest
import soak_report
import verdict
from checked_connection import CheckedConnection, Ended
from conversation import Request, answer_to
from line_plot import line_plot
from measuring import Sample
from observations import EarlyEnd, Latency, Observations, Window
from sabotage import KINDS

MEGABYTE = 1024 * 1024


def clean_run() -> Observations:
    """Return what a run of 400 seconds without any fault looks like."""
    counts = {
        "bare tasks": 5,
        "bare tasks served": 3,
        "bare tasks cancelled": 2,
        "request tasks": 7,
        "request tasks served": 7,
        "errors raised": 3,
        "errors logged": 2,
        "errors answered": 1,
        "channels opened": 4,
        "channels closed": 4,
    }
    return Observations(
        seed="test",
        asked_seconds=400.0,
        begin=1000.0,
        end=1400.0,
        samples=[Sample(1000.0 + second, 50 * MEGABYTE, 30, 20, second * 0.3) for second in range(401)],
        latencies=[Latency(1000.0 + second, (1.0, 2.0, 3.0)) for second in range(400)],
        windows=[Window("native", "restart", 1100.0, 1101.0)],
        early_ends=[EarlyEnd("native", 1100.5, 1100.6, 3, "cut by a restart")],
        held_before=["descriptor socket", "thread loop"],
        held_after=["descriptor socket", "thread loop"],
        closed_before=["descriptor pipe"],
        closed_after=["descriptor pipe"],
        is_drained=True,
        idle_seconds=3.0,
        idle_cpu_seconds=0.01,
        statement={"counts": counts, "faults": [], "without_outcome": [], "without_outcome_count": 0},
        client_counts={"client": {"answers checked": 1000, "behaviour pipeline": 3}},
        stderr={"the server": ""},
        exit_codes={"the server": 0},
        processes=("the server",),
    )


def in_accounts(**changes: Any) -> dict[str, Any]:
    statement = clean_run().statement
    assert statement is not None
    counts = statement["counts"] | {name.replace("_", " "): number for name, number in changes.items()}
    return {"statement": statement | {"counts": counts}}


def growing(megabytes: float) -> dict[str, Any]:
    samples = clean_run().samples
    return {
        "samples": [
            sample._replace(resident_bytes=int(sample.resident_bytes + megabytes * MEGABYTE * index / 400))
            for index, sample in enumerate(samples)
        ]
    }


def test_clean_run_has_no_violation() -> None:
    assert verdict.judge(clean_run()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"faults": ["something"]}, "something"),
        ({"early_ends": [EarlyEnd("native", 1050.0, 1060.0, 3, "why?")]}, "ended for no reason: why?"),
        ({"early_ends": [EarlyEnd("native", 1103.0, 1104.0, 0, "after it")]}, "ended for no reason: after it"),
        ({"early_ends": [EarlyEnd("hooked", 1100.5, 1100.6, 3, "another's")]}, "ended for no reason: another's"),
        ({"statement": None}, "no account"),
        ({"statement": in_accounts()["statement"] | {"faults": ["twice"]}}, "twice"),
        (
            in_accounts(bare_tasks=6)["statement"] | {"without_outcome": ["a"], "without_outcome_count": 1},
            "neither service() nor cancel() called: a",
        ),
        (in_accounts(bare_tasks_served=4), "5 bare tasks were made, but 6 ended"),
        (in_accounts(request_tasks=8), "8 request tasks were made, but 7 ended"),
        (in_accounts(errors_logged=3), "3 errors were raised on purpose, but 3 logged and 1 answered"),
        (in_accounts(errors_logged=1), "3 errors were raised on purpose, but 1 logged and 1 answered"),
        (in_accounts(channels_closed=3), "handle_close 3 times"),
        ({"client_counts": {"client": {"answers checked": 5}}}, "only 5 answers"),
        ({"is_drained": False}, "connections or tasks were left"),
        ({"held_after": ["descriptor socket"] * 3 + ["thread loop"]}, "+2 descriptor socket"),
        ({"closed_after": ["descriptor pipe", "thread worker"]}, "+1 thread worker"),
        ({"held_after": ["descriptor socket"]}, "-1 thread loop"),
        (growing(30), "memory grew"),
        ({"idle_cpu_seconds": 0.5}, "used 0.50 s CPU"),
        ({"idle_seconds": 0.0}, "was not measured"),
        ({"exit_codes": {}}, "the server had to be killed"),
        ({"exit_codes": {"the server": -11}}, "exit code -11"),
        ({"stderr": {"the server": "Traceback"}}, "wrote to stderr:\nTraceback"),
    ],
)
def test_judge_names_each_violation(changes: dict[str, Any], words: str) -> None:
    if "without_outcome" in changes:
        changes = {"statement": changes}
    [violation] = verdict.judge(dataclasses.replace(clean_run(), **changes))
    assert words in violation


@pytest.mark.parametrize(
    "changes",
    [
        growing(10),
        growing(30) | {"asked_seconds": 60.0},
        {"early_ends": [EarlyEnd("native", 1101.5, 1130.0, 3, "noticed late")]},
        {"early_ends": [EarlyEnd("native", 1050.0, 1100.1, 3, "idle before")]},
    ],
)
def test_judge_lets_pass_what_is_within_the_limits(changes: dict[str, Any]) -> None:
    assert verdict.judge(dataclasses.replace(clean_run(), **changes)) == []


def test_many_violations_of_one_kind_are_cut_short() -> None:
    seen = dataclasses.replace(clean_run(), faults=[f"fault {number}" for number in range(100)])
    violations = verdict.judge(seen)
    assert len(violations) == verdict.MOST_EXAMPLES + 1
    assert violations[-1].startswith("... and 90 more")


ASKED = Request("p0t1-5", 0, "parts", 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda answer: answer.replace(b"1/3", b"2/3"), "wrong answer"),
        (lambda answer: answer.replace(b"p0t1-5.0", b"p0t1-6.0"), "wrong answer"),
        (lambda answer: answer + answer, "bytes that nobody asked for"),
        (lambda answer: answer[:-1], "closed, while 1 answers were due"),
        (lambda answer: b"", "closed, while 1 answers were due"),
        (lambda answer: answer, None),
    ],
)
def test_checked_connection_reports_what_is_wrong_with_an_answer(
    change: Callable[[bytes], bytes], words: str | None
) -> None:
    reported: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        talk = CheckedConnection(
            ASKED.connection,
            "native",
            listener.getsockname()[1],
            "test",
            lambda **event: reported.append(event),
        )
        served, _ = listener.accept()
        with served:
            talk.send(talk.request(ASKED.kind, ASKED.argument))
            assert served.recv(1000) == ASKED.encode()
            served.sendall(change(answer_to(ASKED, is_error_answered=False)))
        talk.expect_end()
        with contextlib.suppress(Ended):
            while True:
                talk.read_some(7)
    texts = [event["text"] for event in reported]
    assert texts == [] if words is None else len(texts) == 1 and words in texts[0]


def test_request_survives_the_wire_and_a_changed_one_does_not() -> None:
    line = ASKED.encode().rstrip(b"\n")
    assert Request.decode(line) == ASKED
    for position in range(len(line)):
        changed = bytearray(line)
        changed[position] ^= 1
        with pytest.raises(ValueError, match="no client has sent"):
            Request.decode(bytes(changed))


def test_every_sabotage_has_the_words_by_which_it_is_known() -> None:
    assert set(prove.WORDS) == set(KINDS)


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_plot_is_a_drawing_with_a_line_for_each_series_within_its_frame(is_logarithmic: bool) -> None:
    series = {"a < b": [(float(x), float(x % 50)) for x in range(5000)], "flat": [(0.0, 0.0), (60.0, 0.0)]}
    drawing = ElementTree.fromstring(line_plot("Title", "x", "y", series, is_logarithmic=is_logarithmic))
    lines = [element.attrib["points"] for element in drawing.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 2
    for x, y in re.findall(r"([\d.-]+),([\d.-]+)", " ".join(lines)):
        assert 0 <= float(x) <= 860
        assert 0 <= float(y) <= 300


def test_page_and_plots_are_written_and_name_no_place_of_this_machine(tmp_path: Path) -> None:
    soak_report.write(clean_run(), [], tmp_path)
    page = (tmp_path / "soak.md").read_text()
    drawn = re.findall(r"\]\((.+?)\)", page)
    assert sorted(path.name for path in (tmp_path / "soak").iterdir()) == sorted(Path(name).name for name in drawn)
    assert str(Path.home()) not in page
    assert str(Path(__file__).parents[2]) not in page


def test_a_page_without_anything_seen_can_be_written(tmp_path: Path) -> None:
    seen = Observations(seed="1", asked_seconds=60.0, faults=["it did not start"])
    soak_report.write(seen, verdict.judge(seen), tmp_path)
    assert "it did not start" in (tmp_path / "soak.md").read_text()


@pytest.mark.parametrize("kind", [None, "wrong-answer"])
def test_short_run_finds_nothing_but_what_was_broken_on_purpose(kind: str | None) -> None:
    is_as_expected, text = prove.is_found(kind, 3)
    assert is_as_expected, text

"""The benchmarks compute, print and draw what was measured. Nothing here measures anything.

Strategy: texts as the kernel and the tools print them, and figures small enough to reckon by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import pytest

from wiretask import _native

from .accounting import (
    descendants,
    parse_resident_bytes,
    parse_schedstat,
    peak_bytes,
    process_cpu_ns,
    resident_bytes,
    spent_ns,
    thread_cpu_ns,
)
from .bar_chart import BAR, bars
from .document import DOCUMENT, PLOTS, RESULTS, rendered
from .echo import strace_counts
from .keyvalue import requests_per_second
from .measuring import release_build
from .parsers import BROWSER_GET, body_cases, even_lines, long_head, read_all, read_dribbled, read_lines, readlines
from .results import Case, Metric, Report, Results, Spread, merged
from .tables import as_markdown, as_text, rows_of
from .wrk import parse_wrk

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def case() -> Case:
    """Three rounds, in the second of which the machine was twice as slow for both sides."""
    return Case(
        "32 <lines>",
        [
            {"wiretask": {"cpu": 10.0}, "peer & co": {"cpu": 8.0, "rate": 1000.0}},
            {"wiretask": {"cpu": 20.0}, "peer & co": {"cpu": 16.0, "rate": 3000.0}},
            {"wiretask": {"cpu": 12.0}, "peer & co": {"cpu": 8.0, "rate": 2000.0}},
        ],
    )


@pytest.fixture
def report(case: Case) -> Report:
    metrics = [Metric("cpu", "CPU, µs", 1), Metric("rate", "messages/s"), Metric("never", "never measured")]
    return Report("echo", "Echo", metrics, ["cpu"], "cpu", [case], ["uvloop is missing."])


def test_the_first_number_of_schedstat_is_the_time_on_a_processor() -> None:
    assert parse_schedstat("497295182 76263 11\n") == 497295182


@pytest.mark.parametrize("text", ["", "1 2", "1 2 3 4", "a b c"])
def test_another_text_is_no_schedstat(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_schedstat(text)


def test_what_all_threads_spent_is_summed_and_new_threads_count_whole() -> None:
    assert spent_ns({1: 100, 2: 50}, {1: 130, 2: 50, 3: 7}) == 37


def test_a_thread_that_ended_takes_its_account_with_it() -> None:
    with pytest.raises(ValueError, match="1 of 2 threads ended"):
        spent_ns({1: 100, 2: 50}, {1: 130})


def test_every_living_thread_has_an_account() -> None:
    is_done, is_there = threading.Event(), threading.Event()
    numbers = [threading.get_native_id()]

    def wait() -> None:
        numbers.append(threading.get_native_id())
        is_there.set()
        is_done.wait(30)

    thread = threading.Thread(target=wait)
    thread.start()
    is_there.wait(30)
    accounts = thread_cpu_ns(os.getpid())
    is_done.set()
    thread.join()
    assert set(numbers) <= accounts.keys()
    assert accounts[numbers[0]] > 0


def test_resident_memory_is_that_of_rss() -> None:
    text = "55fb18c44000-7ffcfc485000 ---p 00000000 00:00 0   [rollup]\nRss:    1612 kB\nPss:     309 kB\n"
    assert parse_resident_bytes(text) == 1612 * 1024
    assert resident_bytes(os.getpid()) > 1_000_000
    with pytest.raises(ValueError, match="no line with Rss"):
        parse_resident_bytes("Pss: 309 kB\n")


def test_a_server_is_the_process_that_was_started_and_all_that_descend_from_it() -> None:
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", grandchild], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        found = descendants(os.getpid())
        assert child.pid in found
        assert len(descendants(child.pid)) == 1
        assert descendants(child.pid)[0] in found
        assert process_cpu_ns(child.pid) > 0
    assert child.pid not in descendants(os.getpid())
    assert process_cpu_ns(child.pid) == 0


def test_what_threads_have_spent_stays_in_the_account_of_their_process() -> None:
    def work() -> None:
        end = process_cpu_ns(os.getpid()) + 30_000_000
        while process_cpu_ns(os.getpid()) < end:
            sum(range(1000))

    before = process_cpu_ns(os.getpid())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert process_cpu_ns(os.getpid()) >= before + 30_000_000


def test_the_peak_is_at_least_what_is_there_now() -> None:
    assert peak_bytes(os.getpid()) > 1_000_000
    assert peak_bytes(os.getpid()) >= resident_bytes(os.getpid()) * 9 // 10


def test_what_wrk_prints_is_read_and_failures_are_no_figures() -> None:
    figures = '{"messages": 100, "seconds": 1.0, "p50_us": 5, "p99_us": 9, "failures": 0}'
    text = f"Running 1s test\n  100 requests\n{figures}\n"
    assert parse_wrk(text) == {"messages": 100, "seconds": 1.0, "p50_us": 5, "p99_us": 9}
    for wrong in (text.replace('"failures": 0', '"failures": 1'), text.replace("100,", "0,"), "unable to connect\n"):
        with pytest.raises(RuntimeError, match=r"failed|no figures"):
            parse_wrk(wrong)


def test_system_calls_are_read_from_what_strace_prints() -> None:
    head = "strace: Process 7 detached\n    calls syscall\n--------- ----------------\n"
    text = head + "      812 futex\n       40 sendto\n--------- ----------------\n      852 total\n"
    assert strace_counts(text) == {"futex": 812, "sendto": 40, "total": 852}


def test_rate_and_p99_are_read_from_what_redis_benchmark_prints() -> None:
    head = '"test","rps","avg_latency_ms","p50_latency_ms","p99_latency_ms","max_latency_ms"\n'
    row = '"SET","35587.19","1.0","0.9","4.079","6.0"\n'
    assert requests_per_second(head + row) == pytest.approx({"rate": 35587.19, "p99_us": 4079.0})
    with pytest.raises(ValueError, match="0 results"):
        requests_per_second(head)


def test_spread_is_median_lowest_and_highest() -> None:
    assert Spread.of([3.0, 1.0, 8.0]) == Spread(3.0, 1.0, 8.0)
    assert Spread.of([1.0, 2.0]) == Spread(1.5, 1.0, 2.0)
    assert Spread.of([]) is None


def test_ratios_are_computed_within_the_rounds(case: Case) -> None:
    assert case.ratios("peer & co", "cpu") == Spread(1.25, 1.25, 1.5)  # of the medians it would be 12 / 8


def test_a_round_without_a_measure_has_no_ratio(case: Case) -> None:
    assert case.ratios("peer & co", "rate") is None
    del case.rounds[0]["peer & co"]
    case.rounds[1]["peer & co"]["cpu"] = 0.0
    assert case.ratios("peer & co", "cpu") == Spread(1.5, 1.5, 1.5)


def test_results_come_back_from_json(report: Report) -> None:
    results = Results({"date": "2026-01-01"}, [report])
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def test_a_table_has_medians_and_ratios_and_no_empty_column(report: Report) -> None:
    assert rows_of(report) == [
        ["case", "side", "CPU, µs", "messages/s", "ratio: CPU"],
        ["32 <lines>", "wiretask", "12.0", "", ""],
        ["", "peer & co", "8.0", "2,000", "1.25 (1.25 to 1.50)"],
    ]


def test_a_table_can_be_printed_in_two_ways() -> None:
    rows = [["case", "side", "µs"], ["one", "wiretask", "12"]]
    assert as_text(rows) == "case  side      µs\n------------------\none   wiretask  12"
    assert as_markdown(rows) == "| case | side | µs |\n| --- | --- | ---: |\n| one | wiretask | 12 |"


def test_bars_are_as_long_as_their_medians(report: Report) -> None:
    chart = ElementTree.fromstring(bars(report))
    widths = [float(bar.get("width", "")) for bar in chart.iter(f"{SVG}rect") if bar.get("x")]
    assert widths == pytest.approx([BAR * 12 / 20, BAR * 8 / 20], abs=0.1)  # the longest round fills the width
    words = [element.text for element in chart.iter(f"{SVG}text")]
    assert {"32 <lines>", "wiretask", "12.0", "peer & co", "8.0"} <= set(words)


def test_the_document_keeps_its_prose_and_gets_new_blocks(report: Report) -> None:
    document = "Prose.\n<!-- about -->\nold\n<!-- end -->\nMore.\n<!-- echo -->\n<!-- end -->\n"
    results = Results({"date": "2026-01-01"}, [report])
    filled, plots = rendered(document, results)
    assert filled.startswith(
        "Prose.\n<!-- about -->\n- date: 2026-01-01\n<!-- end -->\nMore.\n<!-- echo -->\n![Echo: "
    )
    assert "old" not in filled
    assert "- uvloop is missing." in filled
    assert plots.keys() == {"echo.svg"}
    assert rendered(filled, results) == (filled, plots)


def test_a_block_without_results_is_an_error(report: Report) -> None:
    with pytest.raises(KeyError, match="idle"):
        rendered("<!-- idle -->\n<!-- end -->", Results({}, [report]))


def test_the_document_shows_the_results_that_are_kept_beside_it() -> None:
    results = Results.from_json(json.loads(RESULTS.read_text()))
    document, plots = rendered(DOCUMENT.read_text(), results)
    assert document == DOCUMENT.read_text(), "run: python -m tests.benchmarks --render"
    assert plots == {path.name: path.read_text() for path in PLOTS.glob("*.svg")}


def test_a_debug_build_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "__build_profile__", "debug")
    with pytest.raises(SystemExit, match="debug build"):
        release_build()
    monkeypatch.setattr(_native, "__build_profile__", "release")
    assert release_build().endswith("release build")


def test_what_parsers_are_measured_with_is_what_the_tables_say() -> None:
    assert len(BROWSER_GET) == 703
    method, path, headers = read_all()
    assert (method, path, len(headers)) == ("GET", "/articles/2026/11/parsers", 14)
    head = long_head(4096)
    assert len(head) == 4096
    assert read_dribbled([head[at : at + 1] for at in range(len(head))])
    for lines in (20, 80, 200):
        block = even_lines(lines)
        assert len(block) == 64 * 1024
        assert read_lines([block]) == readlines([block])
    for _name, _size, sides in body_cases():
        for _side, read in sides:
            assert read()


def test_what_was_measured_anew_takes_the_place_of_the_old(report: Report) -> None:
    other, newer = (Report(name, "T", report.metrics, [], "cpu") for name in ("idle", "echo"))
    both = merged(Results({"run": "old"}, [report, other]), Results({"run": "new"}, [newer]))
    assert both.about == {"run": "new"}
    assert both.reports == [other, newer]

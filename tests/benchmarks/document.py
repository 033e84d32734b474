"""Makes the tables and plots of docs/benchmarks.md out of the results beside it.

Strategy: the prose is written by hand. What stands between `<!-- NAME -->` and `<!-- end -->` is replaced: `about`
by a description of the run, the name of a benchmark by its plot, table and notes.
Must not know: how anything was measured.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from .bar_chart import bars
from .results import Report, Results
from .tables import as_markdown, rows_of

__all__ = ["DOCUMENT", "RESULTS", "rendered", "write_document"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
PLOTS = DOCUMENT.parent / "benchmarks"
RESULTS = PLOTS / "results.json"
BLOCK = re.compile(r"<!-- (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def rendered(document: str, results: Results) -> tuple[str, dict[str, str]]:
    """Return the document with its blocks filled, and the plots by file name.

    Raises:
        KeyError: the document has a block for which there is no result.
    """
    blocks = {report.name: report_block(report) for report in results.reports}
    blocks["about"] = about_block(results)
    filled = BLOCK.sub(lambda found: f"<!-- {found[1]} -->\n{blocks[found[1]]}\n<!-- end -->", document)
    return filled, {f"{report.name}.svg": bars(report) for report in results.reports if report.cases}


def report_block(report: Report) -> str:
    """Return what the document shows of a report."""
    parts = []
    if report.cases:
        parts.append(f"![{report.title}: {report.metric(report.plotted).heading}](benchmarks/{report.name}.svg)")
        parts.append(as_markdown(rows_of(report)))
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in dict.fromkeys(report.notes)))
    return "\n\n".join(parts)


def about_block(results: Results) -> str:
    """Return what the document says of the run."""
    about = results.about
    lines = [f"- {name}: {value}" for name, value in about.items()]
    return "\n".join(lines)


def write_document() -> None:
    """Fill the document and write the plots, from the results that are kept beside it."""
    results = Results.from_json(json.loads(RESULTS.read_text()))
    document, plots = rendered(DOCUMENT.read_text(), results)
    DOCUMENT.write_text(document)
    for name, svg in plots.items():
        (PLOTS / name).write_text(svg)

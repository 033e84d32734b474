"""Tables of a report: for the terminal and for Markdown.

Strategy: one list of rows, two ways to print it. A ratio is that of the case's first side over the side of the row.
Must not know: how anything was measured.
"""

from __future__ import annotations

from .results import Report, Spread

__all__ = ["as_markdown", "as_text", "rows_of"]


def rows_of(report: Report) -> list[list[str]]:
    """Return the table of the report, headings first; only columns in which something stands."""
    headings = ["case", "side", *(metric.heading for metric in report.metrics)]
    headings += [f"ratio: {short(report.metric(key).heading)}" for key in report.ratios]
    rows = []
    for case in report.cases:
        for side in case.sides:
            row = [case.name if side == case.sides[0] else "", side]
            for metric in report.metrics:
                spread = case.values(side, metric.key)
                row.append("" if spread is None else f"{spread.median:,.{metric.digits}f}")
            for key in report.ratios:
                spread = case.ratios(side, key) if side != case.sides[0] else None
                row.append("" if spread is None else ratio_text(spread))
            rows.append(row)
    kept = [index for index in range(len(headings)) if index < 2 or any(row[index] for row in rows)]
    return [[row[index] for index in kept] for row in [headings, *rows]]


def short(heading: str) -> str:
    """Return a heading without its unit."""
    return heading.split(",")[0]


def ratio_text(spread: Spread) -> str:
    """Return the median, and in brackets the lowest and the highest."""
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def as_text(rows: list[list[str]]) -> str:
    """Return the rows in columns; numbers to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def as_markdown(rows: list[list[str]]) -> str:
    """Return the rows as a Markdown table."""
    marks = ["---" if index < 2 else "---:" for index in range(len(rows[0]))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], marks, *rows[1:]])

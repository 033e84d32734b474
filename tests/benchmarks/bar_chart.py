"""A bar chart of a report as SVG: a group for each case, a bar for each side.

Strategy: the cases of a report may lie far apart, so each group has a scale of its own; the number stands beside the
bar, and a thin line shows the lowest and the highest round.
Must not know: how anything was measured.
"""

from __future__ import annotations

from svg_drawing import document, line, rectangle, text

from .results import Case, Metric, Report

__all__ = ["bars"]

WIDTH, LABEL, BAR, ROW, GAP, TOP = 820, 250, 430, 22, 38, 46
SUBJECT, PEER, FAINT = "#b3541e", "#7d93a8", "#59636e"


def bars(report: Report) -> str:
    """Return the chart of the report's `plotted` metric."""
    metric = report.metric(report.plotted)
    drawn = [case for case in report.cases if any(case.values(side, metric.key) for side in case.sides)]
    parts: list[str] = []
    top = TOP
    for case in drawn:
        group, height = group_of(case, metric, top)
        parts += group
        top += height
    title = f"{report.title}: {metric.heading}"
    return document(title, WIDTH, top, [text(16, 26, title, 15), *parts])


def group_of(case: Case, metric: Metric, top: int) -> tuple[list[str], int]:
    """Return the lines of SVG for one case, from `top` down, and how high it is."""
    spreads = {side: spread for side in case.sides if (spread := case.values(side, metric.key)) is not None}
    longest = max((spread.high for spread in spreads.values()), default=0.0) or 1.0
    parts = [text(16, top + 14, case.name, 13, weight="bold")]
    for index, (side, spread) in enumerate(spreads.items()):
        y = top + 22 + index * ROW
        width, low, high = (max(0.0, BAR * value / longest) for value in (spread.median, spread.low, spread.high))
        colour = SUBJECT if side == case.sides[0] else PEER
        parts.append(text(LABEL - 8, y + 13, side, 12, FAINT, anchor="end"))
        parts.append(rectangle(LABEL, y + 2, width, 15, colour))
        parts.append(line(LABEL + low, y + 9.5, LABEL + high, y + 9.5))
        parts.append(text(LABEL + max(width, high) + 8, y + 14, f"{spread.median:,.{metric.digits}f}", 12))
    return parts, 22 + len(spreads) * ROW + GAP - 22

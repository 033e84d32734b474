"""A bar chart of a report as SVG: a group for each case, a bar for each side.

Strategy: text and rectangles written by hand, no library. The cases of a report may lie far apart, so each group
has a scale of its own; the number stands beside the bar, and a thin line shows the lowest and the highest round.
Must not know: how anything was measured.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from .results import Case, Metric, Report

__all__ = ["bars"]

WIDTH, LABEL, BAR, ROW, GAP, TOP = 820, 250, 430, 22, 38, 46
SUBJECT, PEER, INK, FAINT = "#b3541e", "#7d93a8", "#1f2328", "#59636e"


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
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
        f' role="img" font-family="sans-serif" font-size="13">'
    )
    frame = f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>'
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", frame, text(16, 26, title, INK, 15), *parts, "</svg>", ""]
    )


def group_of(case: Case, metric: Metric, top: int) -> tuple[list[str], int]:
    """Return the lines of SVG for one case, from `top` down, and how high it is."""
    spreads = {side: spread for side in case.sides if (spread := case.values(side, metric.key)) is not None}
    longest = max((spread.high for spread in spreads.values()), default=0.0) or 1.0
    parts = [text(16, top + 14, case.name, INK, 13, "bold")]
    for index, (side, spread) in enumerate(spreads.items()):
        y = top + 22 + index * ROW
        width, low, high = (max(0.0, BAR * value / longest) for value in (spread.median, spread.low, spread.high))
        colour = SUBJECT if side == case.sides[0] else PEER
        parts.append(text(LABEL - 8, y + 13, side, FAINT, 12, anchor="end"))
        parts.append(f'<rect x="{LABEL}" y="{y + 2}" width="{width:.1f}" height="15" fill="{colour}"/>')
        parts.append(
            f'<line x1="{LABEL + low:.1f}" y1="{y + 9.5}" x2="{LABEL + high:.1f}" y2="{y + 9.5}" stroke="{INK}"/>'
        )
        parts.append(text(LABEL + max(width, high) + 8, y + 14, f"{spread.median:,.{metric.digits}f}", INK, 12))
    return parts, 22 + len(spreads) * ROW + GAP - 22


def text(
    x: float, y: float, words: str, colour: str, size: int, weight: str = "normal", anchor: str = "start"
) -> str:
    """Return a text element."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor}">{escape(words)}</text>'
    )

"""Line plots as SVG, for the report.

Must not know: what is plotted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import svg_drawing as svg

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45
GRID = "#dddddd"
COLOURS = ("#1f6feb", "#d1242f", "#2da44e", "#8250df")
MOST_POINTS = 800

Points = Sequence[tuple[float, float]]
#: From a value to its place on an axis, 0 to 1.
_Place = Callable[[float], float]


def line_plot(
    title: str, x_label: str, y_label: str, series: Mapping[str, Points], *, is_logarithmic: bool = False
) -> str:
    """Return an SVG document with one line a series.

    Args:
        series: points (x, y) in order of x, by the names that the legend gives. x and y are finite; where the
            y axis is logarithmic, y below 0.001 counts as that.
        is_logarithmic: of the y axis. A linear one begins at 0.
    """
    points = [point for line in series.values() for point in line] or [(0.0, 0.0)]
    x_end = max(x for x, _ in points) or 1.0
    if is_logarithmic:
        y_scale = _logarithmic([max(y, 0.001) for _, y in points])
    else:
        y_scale = _linear(max(y for _, y in points))
    ticks, place = y_scale
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(x: float) -> float:
        return LEFT + plot_width * x / x_end

    def down(y: float) -> float:
        return TOP + plot_height * (1 - place(y))

    parts = [
        svg.text(LEFT, 20, title, 15),
        svg.text(WIDTH - RIGHT, HEIGHT - 8, x_label, 12, anchor="end"),
        svg.text(LEFT, TOP - 6, y_label, 12, anchor="end"),
    ]
    for tick in ticks:
        parts.append(svg.line(LEFT, down(tick), WIDTH - RIGHT, down(tick), GRID))
        parts.append(svg.text(LEFT - 6, down(tick) + 4, f"{tick:g}", 12, anchor="end"))
    for tick in _round_steps(x_end):
        parts.append(svg.text(across(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", 12, anchor="middle"))
    legend = WIDTH - RIGHT
    for (name, line), colour in reversed(list(zip(series.items(), COLOURS, strict=False))):
        parts.append(svg.polyline([(across(x), down(y)) for x, y in _thinned(line)], colour))
        parts.append(svg.text(legend, 20, name, 12, colour, anchor="end"))
        legend -= 8 * len(name) + 24
    return svg.document(title, WIDTH, HEIGHT, parts)


def _linear(highest: float) -> tuple[list[float], _Place]:
    ticks = _round_steps(highest * 1.05 or 1.0)
    end = max(ticks[-1], highest * 1.05) or 1.0
    return ticks, lambda y: y / end


def _logarithmic(values: list[float]) -> tuple[list[float], _Place]:
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    ticks = [10.0**exponent for exponent in range(low, high + 1)]
    return ticks, lambda y: (math.log10(max(y, 10.0**low)) - low) / (high - low)


def _round_steps(end: float) -> list[float]:
    """Return 0 and about five round numbers up to `end`."""
    step = 10.0 ** math.floor(math.log10(end / 4)) if end > 0 else 1.0
    for factor in (1, 2, 5, 10):
        if end / (step * factor) <= 6:
            step *= factor
            break
    return [step * index for index in range(int(end / step) + 1)]


def _thinned(line: Points) -> Points:
    """Return at most `MOST_POINTS` points: of each group the one that is highest, so that no peak is lost."""
    size = math.ceil(len(line) / MOST_POINTS) or 1
    return [max(line[start : start + size], key=lambda point: point[1]) for start in range(0, len(line), size)]

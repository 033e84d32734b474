"""Elements of an SVG drawing, and the drawing around them, as text: no library, nothing but strings.

Lengths and places are in pixels, from the upper left corner. Must not know: what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

__all__ = ["INK", "document", "line", "polyline", "rectangle", "text"]

INK = "#1f2328"


def document(title: str, width: int, height: int, parts: Iterable[str]) -> str:
    """Return a whole drawing on white ground, which calls itself `title` to those who cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" font-family="sans-serif" font-size="13">'
    )
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", ground, *parts, "</svg>", ""])


def text(
    x: float, y: float, words: str, size: int, colour: str = INK, *, weight: str = "normal", anchor: str = "start"
) -> str:
    """Return words that begin, end or have their middle at x, as `anchor` says, and stand on y."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor}">{escape(words)}</text>'
    )


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    """Return a filled rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" fill="{colour}"/>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = INK) -> str:
    """Return a thin straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def polyline(points: Iterable[tuple[float, float]], colour: str) -> str:
    """Return a thin line from point to point."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.3" points="{path}"/>'

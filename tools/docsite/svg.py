"""A few shapes as SVG text, in one style. Fonts are the reader's own; nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

__all__ = ["attributes", "document", "line", "rectangle", "text"]

_STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2933; }
.small { font-size: 11px; fill: #52606d; }
.label { font-size: 11px; fill: #334e68; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
.title { font-size: 15px; font-weight: 600; }
.box { fill: #eef4fb; stroke: #486581; stroke-width: 1.2; }
.final { fill: #e3f9e5; stroke: #2f8132; stroke-width: 2; }
.bad { fill: #ffe3e3; stroke: #ab091e; stroke-width: 2; }
.edge { fill: none; stroke: #486581; stroke-width: 1.3; marker-end: url(#arrow); }
.late { stroke-dasharray: 5 4; stroke: #ab091e; }
.life { stroke: #9fb3c8; stroke-dasharray: 3 4; }
.deadline { stroke: #c65d21; stroke-width: 1; stroke-dasharray: 6 3; }
.note { fill: #fff8e6; stroke: #c99a2e; }
"""


def document(width: int, height: int, title: str, shapes: Iterable[str]) -> str:
    """A whole picture on white."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label={quoteattr(title)}>',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#486581"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *shapes,
            "</svg>",
            "",
        ]
    )


def attributes(**given: object) -> str:
    """Attributes, with underscores as hyphens."""
    return " ".join(f"{name.rstrip('_').replace('_', '-')}={quoteattr(str(value))}" for name, value in given.items())


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """One line of text; ``y`` is its baseline."""
    return f"<text {attributes(x=x, y=y, class_=kind, text_anchor=anchor)}>{escape(words)}</text>"


def rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A box with round corners."""
    return f"<rect {attributes(x=x, y=y, width=width, height=height, rx=7, class_=kind)}/>"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line; of kind ``edge`` it has an arrow at its end."""
    return f"<line {attributes(x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)}/>"

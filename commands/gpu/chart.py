"""A result's ratios as a picture: bars in an SVG, which needs no library and shows on any page."""

from __future__ import annotations

import html
from typing import Any

from .results import Result
from .table import TITLES

_CHARTED = ("attention", "gradients", "steps")
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 900, 330, 120, 16, 6, 46
_COLOR, _SPREAD, _GRAY = "#0072B2", "#D55E00", "#888888"  # Okabe and Ito's, which color-blind readers can tell apart
_LEAST = 1.2  # the axis reaches from 0 to this at least, so that plain's line is seen


def chart(result: Result) -> str:
    """Return an SVG of how long each case took beside its baseline, with the spread of the pairs."""
    groups = [(name, _rows(result, name)) for name in _CHARTED]
    groups = [(name, rows) for name, rows in groups if rows]
    longest = max([_LEAST, *(row["ratio_high"] or row["ratio"] for _, rows in groups for row in rows)])
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    parts, y = [_text(_LEFT // 20, 22, result.title, size=13)], _TOP
    for name, rows in groups:
        parts.append(_text(_LEFT // 20, y + _BAR, f"{TITLES[name]}: time / baseline", size=13, weight="bold"))
        y += _BAR + 2 * _GAP
        for row in rows:
            parts += _bar(row, y, scale)
            y += _BAR + _GAP
        y += 2 * _GAP
    if not groups:
        parts.append(_text(_LEFT // 20, y + _BAR, "No pairs were measured."))
        y += _BAR + _GAP
    one = _LEFT + scale
    line = f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{_TOP}" y2="{y}" stroke="{_GRAY}" stroke-dasharray="3 3"/>'
    size = f'viewBox="0 0 {_WIDTH} {y + _GAP}" width="{_WIDTH}" height="{y + _GAP}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', line, *parts, "</svg>"]) + "\n"


def _rows(result: Result, name: str) -> list[dict[str, Any]]:
    section = result.sections.get(name)
    rows = section.rows if section else []
    return [row for row in rows if row["ratio"] is not None and row["case"] != row["against"]]


def _bar(row: dict[str, Any], y: int, scale: float) -> list[str]:
    width, middle = row["ratio"] * scale, y + _BAR / 2
    end = max(width, (row["ratio_high"] or 0) * scale)
    parts = [
        _text(_LEFT - _GAP, y + _BAR - 4, row["case"], anchor="end"),
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_COLOR}"/>',
        _text(_LEFT + end + _GAP, y + _BAR - 4, f"{row['ratio']:.3f}"),
    ]
    if row["ratio_low"] is not None:
        low, high = (_LEFT + row[name] * scale for name in ("ratio_low", "ratio_high"))
        line = f'x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"'
        parts.append(f'<line {line} stroke="{_SPREAD}" stroke-width="3"/>')
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f"<text {place}>{html.escape(text)}</text>"

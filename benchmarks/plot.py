"""Plots as SVG, drawn by pure functions: bars with their spread, and lines over minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.measured import Spread, readable

_WIDTH, _LABEL_WIDTH, _BAR, _GAP, _TOP = 900, 380, 18, 10, 34
_PLOT_WIDTH = _WIDTH - _LABEL_WIDTH - 90
_COLOURS = ("#2f6f8f", "#c46a2b", "#5c8a3a", "#8a4f7d")
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A median with its spread, and the goal that it is held against, if there is one."""

    label: str
    found: Spread
    goal: float | None = None


def bars(title: str, unit: str, given: Sequence[Bar]) -> str:
    """Draw a bar a value, its spread as a thin line, its goal as a stroke across it."""
    most = max(max(bar.found.most, bar.goal or 0.0) for bar in given) or 1.0
    parts = [_text(10, 20, f"{title} ({unit})", bold=True)]
    for number, bar in enumerate(given):
        top = _TOP + number * (_BAR + _GAP)
        middle = top + _BAR / 2
        end = _LABEL_WIDTH + _PLOT_WIDTH * bar.found.median / most
        parts.append(_text(_LABEL_WIDTH - 8, top + 14, bar.label, anchor="end"))
        width = f"{end - _LABEL_WIDTH:.1f}"
        parts.append(f'<rect x="{_LABEL_WIDTH}" y="{top}" width="{width}" height="{_BAR}" fill="{_COLOURS[0]}"/>')
        low, high = (_LABEL_WIDTH + _PLOT_WIDTH * value / most for value in (bar.found.least, bar.found.most))
        parts.append(_line((low, middle), (high, middle), "#111"))
        beside = max(end, high)
        if bar.goal is not None:
            across = _LABEL_WIDTH + _PLOT_WIDTH * bar.goal / most
            parts.append(_line((across, top - 3), (across, top + _BAR + 3), _COLOURS[1], width=3))
            beside = max(beside, across)
        parts.append(_text(beside + 6, top + 14, readable(bar.found.median)))
    return _whole(parts, _TOP + len(given) * (_BAR + _GAP) + 6)


def lines(title: str, given: Mapping[str, Sequence[float]]) -> str:
    """Draw a line a name, minute after minute, each against its own greatest value, which stands beside its name."""
    height, left, right = 220, 50, _WIDTH - 20
    parts = [_text(10, 20, title, bold=True)]
    for number, (name, values) in enumerate(given.items()):
        colour, most = _COLOURS[number % len(_COLOURS)], max(values, default=0.0) or 1.0
        step = (right - left) / max(len(values) - 1, 1)
        points = " ".join(
            f"{left + place * step:.1f},{_TOP + 30 + (height - 60) * (1 - value / most):.1f}"
            for place, value in enumerate(values)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(left + number * 210, _TOP + 12, f"{name} (top: {readable(most)})", colour=colour))
    floor = _TOP + height - 30
    parts.append(_line((left, floor), (right, floor), "#999"))
    parts.append(_text((left + right) / 2, floor + 18, "minutes", anchor="middle"))
    return _whole(parts, floor + 30)


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = "#111") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, width: int = 1) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _whole(parts: Sequence[str], height: float) -> str:
    return "\n".join([_HEAD.format(width=_WIDTH, height=round(height)), *parts, "</svg>"]) + "\n"

"""Charts as SVG text: bars with intervals, and a scatter of two systems' scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "BarGroup", "Point", "bar_chart", "scatter_chart"]

_LABEL_WIDTH = 190
_PLOT_WIDTH = 520
_BAR_HEIGHT = 16
_GROUP_GAP = 14
_AXIS_HEIGHT = 28
_SCATTER = 420
_MARGIN = 54


@dataclass(frozen=True, slots=True)
class Bar:
    """A value from 0 to 1 and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BarGroup:
    """A row of bars under one label, one bar a system."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A query's score under two systems."""

    label: str
    x: float
    y: float


def bar_chart(groups: Sequence[BarGroup], *, title: str) -> str:
    """Return horizontal bars with whiskers; the axis ends at the next tenth above everything drawn."""
    top = max((max(bar.high, bar.value) for group in groups for bar in group.bars), default=0.0)
    end = min(1.0, max(0.1, math.ceil(top * 10 - 1e-9) / 10))
    heights = [len(group.bars) * _BAR_HEIGHT + _GROUP_GAP for group in groups]
    height = sum(heights) + _AXIS_HEIGHT
    parts = [_open(_LABEL_WIDTH + _PLOT_WIDTH + 70, height, title), *_bar_axis(end, sum(heights))]
    y = _GROUP_GAP / 2
    for group, room in zip(groups, heights, strict=True):
        middle = y + (room - _GROUP_GAP) / 2
        parts.append(_text(_LABEL_WIDTH - 10, middle, group.label, anchor="end", kind="label"))
        for place, bar in enumerate(group.bars):
            parts += _bar(bar, y + place * _BAR_HEIGHT, place, end)
        y += room
    return "".join([*parts, "</svg>"])


def scatter_chart(points: Sequence[Point], *, x_label: str, y_label: str, title: str) -> str:
    """Return the points in a unit square with its diagonal; points on one spot are one larger dot that names them."""
    size = _SCATTER + 2 * _MARGIN
    parts = [_open(size, size, title), *_scatter_axes(x_label, y_label)]
    spots: dict[tuple[float, float], list[str]] = defaultdict(list)
    for point in points:
        spots[round(point.x, 3), round(point.y, 3)].append(point.label)
    for (x, y), labels in sorted(spots.items(), key=lambda spot: -len(spot[1])):
        kind = "up" if y > x else "down" if y < x else "level"
        shown = ", ".join(labels[:12]) + (f" and {len(labels) - 12} more" if len(labels) > 12 else "")
        parts.append(
            f'<circle class="dot {kind}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="{_radius(len(labels)):.1f}">'
            f"<title>{escape(shown)}: {x:g} and {y:g}</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def _bar(bar: Bar, y: float, place: int, end: float) -> list[str]:
    width, low, high = (max(0.0, value) / end * _PLOT_WIDTH for value in (bar.value, bar.low, bar.high))
    middle = y + _BAR_HEIGHT / 2
    tip = f"{100 * bar.value:.1f} (95 % interval {100 * bar.low:.1f} to {100 * bar.high:.1f})"
    box = f'x="{_LABEL_WIDTH}" y="{y + 1.5:.1f}" width="{width:.1f}" height="{_BAR_HEIGHT - 3}" rx="2"'
    left, right = f"{_LABEL_WIDTH + low:.1f}", f"{_LABEL_WIDTH + high:.1f}"
    line = f"M{left} {middle:.1f}H{right}M{left} {middle - 3:.1f}v6M{right} {middle - 3:.1f}v6"
    return [
        f'<rect class="bar system{place}" {box}><title>{tip}</title></rect>',
        f'<path class="whisker" d="{line}"/>',
        _text(_LABEL_WIDTH + max(width, high) + 6, middle, f"{100 * bar.value:.1f}", anchor="start", kind="value"),
    ]


def _bar_axis(end: float, height: float) -> list[str]:
    step = 0.05 if end <= 0.3 else 0.1 if end <= 0.6 else 0.2
    parts: list[str] = []
    for number in range(round(end / step) + 1):
        x = _LABEL_WIDTH + number * step / end * _PLOT_WIDTH
        parts.append(f'<path class="grid" d="M{x:.1f} 0V{height:.1f}"/>')
        parts.append(_text(x, height + 14, f"{100 * number * step:g}", anchor="middle", kind="tick"))
    return parts


def _scatter_axes(x_label: str, y_label: str) -> list[str]:
    parts = [f'<path class="diagonal" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>']
    for number in range(6):
        at = number / 5
        parts.append(f'<path class="grid" d="M{_x(at)} {_y(0)}V{_y(1)}M{_x(0)} {_y(at)}H{_x(1)}"/>')
        parts.append(_text(_x(at), _y(0) + 16, f"{at:g}", anchor="middle", kind="tick"))
        parts.append(_text(_x(0) - 8, _y(at), f"{at:g}", anchor="end", kind="tick"))
    middle = _MARGIN + _SCATTER / 2
    parts.append(_text(middle, _y(0) + 38, x_label, anchor="middle", kind="label"))
    turned = f'transform="translate(14 {middle}) rotate(-90)" text-anchor="middle"'
    return [*parts, f'<text class="label" {turned}>{escape(y_label)}</text>']


def _radius(points: int) -> float:
    return min(16.0, 2.8 + 1.2 * math.sqrt(points))


def _x(value: float) -> float:
    return _MARGIN + value * _SCATTER


def _y(value: float) -> float:
    return _MARGIN + (1.0 - value) * _SCATTER


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )


def _text(x: float, y: float, text: str, *, anchor: str, kind: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central">'
        f"{escape(text)}</text>"
    )

"""Charts as SVG text: bars with intervals, lines, and a scatter of two systems' scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "BarGroup", "Line", "Point", "bar_chart", "line_chart", "scatter_chart"]

_LABEL_WIDTH = 190
_PLOT_WIDTH = 520
_BAR_HEIGHT = 16
_GROUP_GAP = 14
_AXIS_HEIGHT = 28
_SCATTER = 420
_LINES_HEIGHT = 220
_LINES_LEFT = 44
_MARGIN = 54


@dataclass(frozen=True, slots=True)
class Bar:
    """A value from -1 to 1 and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BarGroup:
    """A row of bars under one label: one place, and colour, a system, empty where it has no value."""

    label: str
    bars: tuple[Bar | None, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Values from 0 to 1 at some places, of one system."""

    label: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A query's score under two systems."""

    label: str
    x: float
    y: float


def bar_chart(groups: Sequence[BarGroup], *, title: str) -> str:
    """Return horizontal bars with whiskers; the axis ends at the next tenth beyond everything drawn, 0 is on it."""
    ends = [end for group in groups for bar in group.bars if bar for end in (bar.low, bar.value, bar.high)]
    axis = _Axis(
        max(-1.0, math.floor(min(ends, default=0.0) * 10 + 1e-9) / 10) if min(ends, default=0.0) < 0.0 else 0.0,
        min(1.0, max(0.1, math.ceil(max(ends, default=0.0) * 10 - 1e-9) / 10)),
    )
    heights = [len(group.bars) * _BAR_HEIGHT + _GROUP_GAP for group in groups]
    height = sum(heights) + _AXIS_HEIGHT
    parts = [_open(_LABEL_WIDTH + _PLOT_WIDTH + 70, height, title), *_bar_axis(axis, sum(heights))]
    y = _GROUP_GAP / 2
    for group, room in zip(groups, heights, strict=True):
        middle = y + (room - _GROUP_GAP) / 2
        parts.append(_text(_LABEL_WIDTH - 10, middle, group.label, anchor="end", kind="label"))
        for place, bar in enumerate(group.bars):
            parts += _bar(bar, y + place * _BAR_HEIGHT, place, axis) if bar else []
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


def line_chart(lines: Sequence[Line], *, places: Sequence[str], title: str) -> str:
    """Return one line a system over named places at equal distances, from 0 to 1, with its label at its end."""
    height = _LINES_HEIGHT + 2 * _AXIS_HEIGHT
    step = _PLOT_WIDTH / max(1, len(places) - 1)
    parts = [_open(_LINES_LEFT + _PLOT_WIDTH + _LABEL_WIDTH, height, title)]
    for number in range(6):
        y = _line_y(number / 5)
        parts.append(f'<path class="grid" d="M{_LINES_LEFT} {y:.1f}H{_LINES_LEFT + _PLOT_WIDTH}"/>')
        parts.append(_text(_LINES_LEFT - 8, y, f"{20 * number}", anchor="end", kind="tick"))
    for number, place in enumerate(places):
        parts.append(_text(_LINES_LEFT + number * step, height - 12, place, anchor="middle", kind="tick"))
    ends = _apart([_line_y(line.values[-1]) for line in lines])
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        spots = [(_LINES_LEFT + at * step, _line_y(value), value) for at, value in enumerate(line.values)]
        route = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in spots)
        parts.append(f'<path class="line system{number}" d="M{route}"/>')
        for (x, y, value), place in zip(spots, places, strict=True):
            tip = f"{escape(line.label)}, {escape(place)}: {100 * value:.1f}"
            parts.append(
                f'<circle class="system{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{tip}</title></circle>'
            )
        parts.append(_text(_LINES_LEFT + _PLOT_WIDTH + 10, end, line.label, anchor="start", kind="label"))
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where the bars' axis starts and ends."""

    start: float
    end: float

    def x(self, value: float) -> float:
        """Return where a value lies; what is beyond an end lies there."""
        share = (min(self.end, max(self.start, value)) - self.start) / (self.end - self.start)
        return _LABEL_WIDTH + share * _PLOT_WIDTH


def _bar(bar: Bar, y: float, place: int, axis: _Axis) -> list[str]:
    zero, value, low, high = (axis.x(number) for number in (0.0, bar.value, bar.low, bar.high))
    middle = y + _BAR_HEIGHT / 2
    tip = f"{100 * bar.value:.1f} (95 % interval {100 * bar.low:.1f} to {100 * bar.high:.1f})"
    box = (
        f'x="{min(zero, value):g}" y="{y + 1.5:.1f}" width="{abs(value - zero):.1f}" height="{_BAR_HEIGHT - 3}" rx="2"'
    )
    line = f"M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 3:.1f}v6M{high:.1f} {middle - 3:.1f}v6"
    return [
        f'<rect class="bar system{place}" {box}><title>{tip}</title></rect>',
        f'<path class="whisker" d="{line}"/>' if bar.low < bar.high else "",
        _text(max(zero, value, high) + 6, middle, f"{100 * bar.value:.1f}", anchor="start", kind="value"),
    ]


def _bar_axis(axis: _Axis, height: float) -> list[str]:
    length = axis.end - axis.start
    step = 0.05 if length <= 0.3 else 0.1 if length <= 0.6 else 0.2
    parts: list[str] = []
    for number in range(math.ceil(axis.start / step - 1e-9), math.floor(axis.end / step + 1e-9) + 1):
        x = axis.x(number * step)
        kind = "whisker" if number == 0 and axis.start < 0.0 else "grid"
        parts.append(f'<path class="{kind}" d="M{x:.1f} 0V{height:.1f}"/>')
        parts.append(_text(x, height + 14, f"{round(100 * number * step, 6):g}", anchor="middle", kind="tick"))
    return parts


def _line_y(value: float) -> float:
    return _AXIS_HEIGHT / 2 + (1.0 - value) * _LINES_HEIGHT


def _apart(ys: Sequence[float]) -> list[float]:
    """Move labels that would cover each other apart, downwards, in the order of their places."""
    moved = list(ys)
    lowest = -math.inf
    for number in sorted(range(len(ys)), key=lambda n: ys[n]):
        moved[number] = lowest = max(ys[number], lowest + _BAR_HEIGHT)
    over = max(0.0, lowest - _line_y(0.0) - _AXIS_HEIGHT / 2)
    return [y - over for y in moved]


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

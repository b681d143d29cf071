"""Charts as SVG: bars with intervals, lines over cutoffs, and a scatter plot of two systems' scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from reasonembed_rag.pages.rendering import render_template

__all__ = ["Bar", "Point", "bar_chart", "line_chart", "scatter_chart"]

_LABEL_WIDTH = 190
_WIDEST_LABEL = 380
_CHARACTER_WIDTH = 6.6
_PLOT_WIDTH = 520
_BAR_HEIGHT = 16
_GROUP_GAP = 14
_AXIS_HEIGHT = 28
_SCATTER = 420
_LINES_HEIGHT = 220
_LINES_LEFT = 44
_MARGIN = 54
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A value from -1 to 1 and its interval; None where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, ...]:
        """The interval's two ends; empty without one."""
        return () if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Point:
    """A query's score under two systems."""

    label: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class _Shape:
    """An SVG element: its tag, CSS class, attributes, and its text (the tooltip of anything but a text)."""

    tag: Literal["path", "rect", "circle", "text"]
    kind: str
    place: Mapping[str, float | str]
    text: str = ""


def bar_chart(groups: Mapping[str, Sequence[Bar | None]], *, title: str) -> Markup:
    """Return horizontal bars with whiskers, grouped by label.

    The position in a group is the system and its colour, None where it has no value. The axis includes 0 and ends at
    the tenth beyond every value.
    """
    ends = [end for bars in groups.values() for bar in bars if bar for end in (bar.value, *bar.ends)]
    left = min(_WIDEST_LABEL, max(_LABEL_WIDTH, 20 + _CHARACTER_WIDTH * max(map(len, groups), default=0)))
    axis = _Axis(
        left,
        max(-1.0, math.floor(min([0.0, *ends]) * 10 + 1e-9) / 10),
        min(1.0, max(0.1, math.ceil(max([0.0, *ends]) * 10 - 1e-9) / 10)),
    )
    heights = [len(bars) * _BAR_HEIGHT + _GROUP_GAP for bars in groups.values()]
    shapes = _bar_axis(axis, sum(heights))
    y = _GROUP_GAP / 2
    for (label, bars), height in zip(groups.items(), heights, strict=True):
        shown = _shortened(label, int((left - 20) / _CHARACTER_WIDTH))
        shapes.append(_text("label", left - 10, y + (height - _GROUP_GAP) / 2, shown, anchor="end"))
        for number, bar in enumerate(bars):
            shapes += _bar(bar, y + number * _BAR_HEIGHT, number, axis) if bar else []
        y += height
    return _svg(left + _PLOT_WIDTH + 70, sum(heights) + _AXIS_HEIGHT, title, shapes)


def scatter_chart(points: Sequence[Point], *, x: tuple[str, int], y: tuple[str, int], title: str) -> Markup:
    """Return the points in a unit square with its diagonal; points that coincide are one larger dot naming them all.

    x and y are the names and the colours of the two systems; a dot has the colour of the one with the higher score.
    """
    shapes = _scatter_axes(x[0], y[0])
    labels_at: dict[tuple[float, float], list[str]] = defaultdict(list)
    for point in points:
        labels_at[round(point.x, 3), round(point.y, 3)].append(point.label)
    for (across, up), labels in sorted(labels_at.items(), key=lambda spot: -len(spot[1])):
        kind = f"system{y[1]}" if up > across else f"system{x[1]}" if up < across else "level"
        more = f"; and {len(labels) - _MOST_NAMES} more" if len(labels) > _MOST_NAMES else ""
        place = {"cx": _x(across), "cy": _y(up), "r": min(16.0, 2.8 + 1.2 * math.sqrt(len(labels)))}
        tip = f"{'; '.join(labels[:_MOST_NAMES])}{more}: {across:g} and {up:g}"
        shapes.append(_Shape("circle", f"dot {kind}", place, tip))
    return _svg(_SCATTER + 2 * _MARGIN, _SCATTER + 2 * _MARGIN, title, shapes)


def line_chart(lines: Mapping[str, Sequence[float]], *, ticks: Sequence[str], title: str) -> Markup:
    """Return one line per label, its values from 0 to 1 over equally spaced ticks, labelled at its end."""
    right = _LINES_LEFT + _PLOT_WIDTH
    xs = [_LINES_LEFT + number * _PLOT_WIDTH / max(1, len(ticks) - 1) for number in range(len(ticks))]
    shapes: list[_Shape] = []
    for number in range(6):
        y = _line_y(number / 5)
        shapes.append(_path("grid", f"M{_LINES_LEFT} {y:.1f}H{right}"))
        shapes.append(_text("tick", _LINES_LEFT - 8, y, f"{20 * number}", anchor="end"))
    height = _LINES_HEIGHT + 2 * _AXIS_HEIGHT
    shapes += [_text("tick", x, height - 12, tick, anchor="middle") for x, tick in zip(xs, ticks, strict=True)]
    label_ys = _spread([_line_y(values[-1]) for values in lines.values()])
    for number, ((label, values), label_y) in enumerate(zip(lines.items(), label_ys, strict=True)):
        points = [(x, _line_y(value)) for x, value in zip(xs, values, strict=True)]
        shapes.append(_path(f"line system{number}", f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)}"))
        for (x, y), tick, value in zip(points, ticks, values, strict=True):
            tip = f"{label}, {tick}: {100 * value:.1f}"
            shapes.append(_Shape("circle", f"system{number}", {"cx": x, "cy": y, "r": 3.5}, tip))
        shapes.append(_text("label", right + 10, label_y, label))
    return _svg(right + _LABEL_WIDTH, height, title, shapes)


@dataclass(frozen=True, slots=True)
class _Axis:
    """The bars' horizontal axis: where it begins, and its range."""

    left: float
    start: float
    end: float

    def x(self, value: float) -> float:
        """Return the position of a value; values outside the range are moved to its ends."""
        share = (min(self.end, max(self.start, value)) - self.start) / (self.end - self.start)
        return self.left + share * _PLOT_WIDTH


def _shortened(label: str, most: int) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _bar(bar: Bar, y: float, system: int, axis: _Axis) -> list[_Shape]:
    zero, value = axis.x(0.0), axis.x(bar.value)
    middle = y + _BAR_HEIGHT / 2
    box = {"x": min(zero, value), "y": y + 1.5, "width": abs(value - zero), "height": _BAR_HEIGHT - 3.0, "rx": 2.0}
    tip, whisker, end = f"{100 * bar.value:.1f}", [], max(zero, value)
    if bar.ends:
        tip += " (95 % interval {:.1f} to {:.1f})".format(*(100 * end for end in bar.ends))
        low, high = (axis.x(end) for end in bar.ends)
        path = f"M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 3:.1f}v6M{high:.1f} {middle - 3:.1f}v6"
        whisker, end = [_path("whisker", path)] if low < high else [], max(end, high)
    return [
        _Shape("rect", f"bar system{system}", box, tip),
        *whisker,
        _text("value", end + 6, middle, f"{100 * bar.value:.1f}"),
    ]


def _bar_axis(axis: _Axis, height: float) -> list[_Shape]:
    length = axis.end - axis.start
    step = 0.05 if length <= 0.3 else 0.1 if length <= 0.6 else 0.2
    shapes: list[_Shape] = []
    for number in range(math.ceil(axis.start / step - 1e-9), math.floor(axis.end / step + 1e-9) + 1):
        x = axis.x(number * step)
        shapes.append(_path("whisker" if number == 0 and axis.start < 0.0 else "grid", f"M{x:.1f} 0V{height:.1f}"))
        shapes.append(_text("tick", x, height + 14, f"{round(100 * number * step, 6):g}", anchor="middle"))
    return shapes


def _line_y(value: float) -> float:
    return _AXIS_HEIGHT / 2 + (1.0 - value) * _LINES_HEIGHT


def _spread(ys: Sequence[float]) -> list[float]:
    """Move overlapping labels downwards in order of height, then all of them up if the last one is too low."""
    moved = list(ys)
    lowest = -math.inf
    for number in sorted(range(len(ys)), key=lambda n: ys[n]):
        moved[number] = lowest = max(ys[number], lowest + _BAR_HEIGHT)
    over = max(0.0, lowest - _line_y(0.0) - _AXIS_HEIGHT / 2)
    return [y - over for y in moved]


def _scatter_axes(x_label: str, y_label: str) -> list[_Shape]:
    shapes = [_path("diagonal", f"M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}")]
    for number in range(6):
        at = number / 5
        shapes.append(_path("grid", f"M{_x(at)} {_y(0)}V{_y(1)}M{_x(0)} {_y(at)}H{_x(1)}"))
        shapes.append(_text("tick", _x(at), _y(0) + 16, f"{at:g}", anchor="middle"))
        shapes.append(_text("tick", _x(0) - 8, _y(at), f"{at:g}", anchor="end"))
    middle = _MARGIN + _SCATTER / 2
    upright = _text("label", middle, _y(0) + 38, x_label, anchor="middle")
    turned = _text("label", 10, middle, y_label, anchor="middle", transform=f"rotate(-90 10 {middle})")
    return [*shapes, upright, turned]


def _x(value: float) -> float:
    return _MARGIN + value * _SCATTER


def _y(value: float) -> float:
    return _MARGIN + (1.0 - value) * _SCATTER


def _path(kind: str, d: str) -> _Shape:
    return _Shape("path", kind, {"d": d})


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "start", **more: str) -> _Shape:
    place: dict[str, float | str] = {"x": x, "y": y, "text-anchor": anchor, "dominant-baseline": "central", **more}
    return _Shape("text", kind, place, text)


def _svg(width: float, height: float, title: str, shapes: Sequence[_Shape]) -> Markup:
    return Markup(render_template("chart.svg.j2", width=width, height=height, title=title, shapes=shapes))  # noqa: S704  # the template escapes

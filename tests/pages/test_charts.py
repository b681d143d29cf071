"""Charts put every value where it belongs."""

import itertools
import xml.etree.ElementTree as ET

import pytest

from reasonembed_rag.pages.charts import Bar, bar_chart, line_chart

_SVG = "{http://www.w3.org/2000/svg}"


def test_a_bar_below_0_goes_to_the_left_of_one_above_it():
    groups = {"x": (Bar(0.2, 0.1, 0.3), Bar(-0.1, -0.15, -0.05))}
    chart = ET.fromstring(bar_chart(groups, title="t"))
    up, down = ((float(bar.get("x")), float(bar.get("width"))) for bar in chart.iter(f"{_SVG}rect"))
    assert up[1] == pytest.approx(2 * down[1], abs=0.1)
    assert down[0] + down[1] == pytest.approx(up[0], abs=0.1)
    assert up[1] == pytest.approx(520 * 0.2 / 0.5, abs=0.1)
    ticks = [text.text for text in chart.iter(f"{_SVG}text") if text.get("class") == "tick"]
    assert ticks == ["-20", "-10", "0", "10", "20", "30"]


def test_values_beyond_the_axis_end_at_it():
    chart = ET.fromstring(bar_chart({"x": (Bar(-3.0, -4.0, 2.0),)}, title="t"))
    (bar,) = chart.iter(f"{_SVG}rect")
    assert float(bar.get("x")) == 190
    assert float(bar.get("width")) == pytest.approx(260, abs=0.1)


@pytest.mark.parametrize("length", [5, 40, 55, 90])
def test_a_label_of_any_length_begins_within_the_chart(length):
    chart = ET.fromstring(bar_chart({"W" * length: (Bar(0.5),), "short": (Bar(0.4),)}, title="t"))
    label, _ = (text for text in chart.iter(f"{_SVG}text") if text.get("class") == "label")
    left = min(float(bar.get("x")) for bar in chart.iter(f"{_SVG}rect"))
    assert left == pytest.approx(min(380, max(190, 20 + 6.6 * length)), abs=0.1)
    assert float(label.get("x")) - 6.6 * len(label.text) >= 0
    assert (label.text == "W" * length) == (length <= 55 - 1)


def test_a_line_passes_through_its_values_and_labels_keep_apart():
    lines = {"a <&>": (0.0, 0.5, 1.0), "b": (0.2, 0.2, 0.99), "c": (0.0, 0.0, 0.98)}
    chart = ET.fromstring(line_chart(lines, ticks=("5", "10", "20"), title="t"))
    assert len([path for path in chart.iter(f"{_SVG}path") if path.get("class").startswith("line")]) == 3
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in chart.iter(f"{_SVG}circle")]
    assert [x for x, _ in dots[:3]] == pytest.approx([44, 304, 564])
    low, middle, high = (y for _, y in dots[:3])
    assert low - middle == pytest.approx(middle - high) == pytest.approx(110)
    assert [dot.find(f"{_SVG}title").text for dot in chart.iter(f"{_SVG}circle")][:2] == [
        "a <&>, 5: 0.0",
        "a <&>, 10: 50.0",
    ]
    labels = sorted(float(text.get("y")) for text in chart.iter(f"{_SVG}text") if text.get("class") == "label")
    assert min(after - before for before, after in itertools.pairwise(labels)) >= 16
    assert labels[-1] <= 220 + 28

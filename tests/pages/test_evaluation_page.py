"""The page shows the reports' figures and needs nothing beside it."""

import dataclasses
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import Example, QueryResult, RetrievalTask, Run, System, score_run
from reasonembed_rag.files import write_text
from reasonembed_rag.hits import Hits
from reasonembed_rag.pages.charts import Bar, Point, bar_chart, scatter_chart
from reasonembed_rag.pages.evaluation import report_page

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_SVG = "{http://www.w3.org/2000/svg}"


def _report(name, places, *, system):
    examples = tuple(Example(f"q{n}", f"why {'so ' * n}", ("gold",)) for n in range(len(places)))
    results = []
    for example, place in zip(examples, places, strict=True):
        ids = [f"d{n}" for n in range(12)]
        ids[place] = "gold"
        results.append(QueryResult(example.id, Hits(tuple(ids), -np.arange(12, dtype=np.float32)), 0.002))
    task = RetrievalTask(name, None, (), examples, warnings=("a <defect> & more",))
    return score_run(
        Run(tuple(results), 12), task, system=System(name=system), command="reasonembed eval run --x '<1>'"
    )


_FIRST = [
    _report("biology", [0, 0, 3, 11, 11], system="<script>A</script> & co"),
    _report("pony", [1, 2, 11], system="<script>A</script> & co"),
]
_SECOND = [_report("pony", [1, 2, 0], system="B"), _report("biology", [0, 1, 0, 11, 11], system="B")]


def _svgs(page):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]


def test_bars_are_as_long_as_their_values():
    groups = {"x": (Bar(0.2, 0.1, 0.3), Bar(0.4, 0.35, 0.45)), "y <&>": (Bar(0.0, 0.0, 0.0),)}
    chart = ET.fromstring(bar_chart(groups, title="t <&>"))
    widths = [float(bar.get("width")) for bar in chart.iter(f"{_SVG}rect")]
    assert widths[1] == pytest.approx(2 * widths[0])
    assert widths[2] == 0.0
    assert widths[1] == pytest.approx(520 * 0.4 / 0.5)
    assert "y <&>" in [text.text for text in chart.iter(f"{_SVG}text")]


def test_points_on_one_spot_are_one_dot_that_names_them_all():
    points = [Point("a", 0.0, 0.0), Point("b<", 0.0, 0.0), Point("c", 0.25, 1.0), Point("d", 0.5, 0.1)]
    chart = ET.fromstring(scatter_chart(points, x_label="first", y_label="second", title="t"))
    dots = {dot.find(f"{_SVG}title").text: dot for dot in chart.iter(f"{_SVG}circle")}
    assert list(dots) == ["a, b<: 0 and 0", "c: 0.25 and 1", "d: 0.5 and 0.1"]
    assert [dot.get("class") for dot in dots.values()] == ["dot level", "dot up", "dot down"]
    assert float(dots["c: 0.25 and 1"].get("cy")) < float(dots["d: 0.5 and 0.1"].get("cy"))


def test_two_systems_stand_side_by_side_task_by_task():
    page = report_page(_FIRST, _SECOND)
    bars, scatter = _svgs(page)
    assert len(list(bars.iter(f"{_SVG}rect"))) == 4
    titles = [bar.find(f"{_SVG}title").text for bar in bars.iter(f"{_SVG}rect")]
    expected = [_FIRST[0], _SECOND[1], _FIRST[1], _SECOND[0]]
    for title, report in zip(titles, expected, strict=True):
        assert title.startswith(f"{100 * report.mean_present['nDCG@10']:.1f} (95 % interval")
    assert len(list(scatter.iter(f"{_SVG}circle"))) >= 3
    assert "mean of tasks" in page
    assert "1 / 2 / 0" in page


def test_one_system_has_bars_and_no_comparison():
    page = report_page(_FIRST, measure="MRR")
    assert len(_svgs(page)) == 1
    assert "compared" not in page
    assert "MRR by task" in page


def test_times_have_columns_where_there_are_any():
    assert "p95 ms" in report_page(_FIRST)
    assert "p95 ms" not in report_page([dataclasses.replace(report, latency=None) for report in _FIRST])


def test_the_page_is_self_contained_and_escapes_what_it_shows():
    page = report_page(_FIRST, _SECOND)
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    assert set(re.findall(r"https?://[^\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert "&lt;script&gt;A&lt;/script&gt; &amp; co" in page
    assert "a &lt;defect&gt; &amp; more" in page
    assert "reasonembed eval run --x &#39;&lt;1&gt;&#39;" in page


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(EvaluationError, match=r"\breport\b"):
        report_page([])
    with pytest.raises(EvaluationError, match=r"\bmeasure\b.*'accuracy'"):
        report_page(_FIRST, measure="accuracy")
    with pytest.raises(EvaluationError, match=r"\bbiology\b"):
        report_page(_FIRST, _SECOND[:1])


@pytest.mark.skipif(_BROWSER is None, reason="no Chromium or Chrome is installed")
def test_a_real_browser_draws_the_page(tmp_path):
    path, picture = tmp_path / "page.html", tmp_path / "page.png"
    write_text(report_page(_FIRST, _SECOND), path)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    drawn = subprocess.run(
        [_BROWSER, *options, "--window-size=900,1400", f"--screenshot={picture}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "CONSOLE" not in drawn.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    dumped = subprocess.run(
        [_BROWSER, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert dumped.count("<rect") == 4
    assert dumped.count("<section>") == 8

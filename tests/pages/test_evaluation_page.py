"""The page shows the reports' figures and needs nothing beside it."""

import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from selectolax.lexbor import LexborHTMLParser

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import (
    Example,
    QueryResult,
    Results,
    RetrievalTask,
    Run,
    System,
    score_run,
    top_hits_of,
)
from reasonembed_rag.files import write_text
from reasonembed_rag.hits import Hits
from reasonembed_rag.pages import queries
from reasonembed_rag.pages.charts import Bar, Point, bar_chart, scatter_chart
from reasonembed_rag.pages.evaluation import report_page

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_SVG = "{http://www.w3.org/2000/svg}"


_NASTY = "</script><script>alert(1)</script> <!-- & \u2028"
_DOCUMENTS = (Document("gold", f"{_NASTY} is gold"), *(Document(f"d{n}", f"text {n} " * 90) for n in range(12)))


def _results(name, places, *, system):
    examples = tuple(Example(f"q{n}", f"why {'so ' * n}{_NASTY}", ("gold",)) for n in range(len(places)))
    results = []
    for example, place in zip(examples, places, strict=True):
        ids = [f"d{n}" for n in range(12)]
        ids[place] = "gold"
        results.append(QueryResult(example.id, Hits(tuple(ids), -np.arange(12, dtype=np.float32)), 0.002))
    task = RetrievalTask(name, None, _DOCUMENTS, examples, warnings=("a <defect> & more",))
    run = Run(tuple(results), 12)
    report = score_run(run, task, system=System(name=system), command="reasonembed eval run --x '<1>'")
    return Results((report,), {name: top_hits_of(run, task)})


def _joined(*results):
    return Results(
        tuple(report for one in results for report in one.reports),
        {label: hits for one in results for label, hits in one.top_hits.items()},
    )


_A, _B = "<script>A</script> & co", "B"
_FIRST = _joined(_results("biology", [0, 0, 3, 11, 11], system=_A), _results("pony", [1, 2, 11], system=_A))
_SECOND = _joined(_results("pony", [1, 2, 0], system=_B), _results("biology", [0, 1, 0, 11, 11], system=_B))
_THIRD = _joined(_results("pony", [0, 0, 0], system="C"), _results("biology", [0, 0, 0, 0, 0], system="C"))


def _data(page):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(found)


def _words(page):
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


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


def test_a_bar_without_an_interval_shows_none():
    chart = ET.fromstring(bar_chart({"x": (Bar(0.2),)}, title="t"))
    (bar,) = chart.iter(f"{_SVG}rect")
    assert bar.find(f"{_SVG}title").text == "20.0"
    assert not [path for path in chart.iter(f"{_SVG}path") if path.get("class") == "whisker"]


def test_points_on_one_spot_are_one_dot_that_names_them_and_has_the_colour_of_the_better_system():
    points = [Point("a", 0.0, 0.0), Point("b<", 0.0, 0.0), Point("c", 0.25, 1.0), Point("d", 0.5, 0.1)]
    chart = ET.fromstring(scatter_chart(points, x=("first", 0), y=("second", 2), title="t"))
    dots = {dot.find(f"{_SVG}title").text: dot for dot in chart.iter(f"{_SVG}circle")}
    assert list(dots) == ["a; b<: 0 and 0", "c: 0.25 and 1", "d: 0.5 and 0.1"]
    assert [dot.get("class") for dot in dots.values()] == ["dot level", "dot system2", "dot system0"]
    assert float(dots["c: 0.25 and 1"].get("cy")) < float(dots["d: 0.5 and 0.1"].get("cy"))


def test_two_systems_stand_side_by_side_task_by_task():
    page = report_page(_FIRST, _SECOND)
    bars, scatter = _svgs(page)
    assert len(list(bars.iter(f"{_SVG}rect"))) == 4
    titles = [bar.find(f"{_SVG}title").text for bar in bars.iter(f"{_SVG}rect")]
    one, other = _FIRST.reports, _SECOND.reports
    for title, report in zip(titles, [one[0], other[1], one[1], other[0]], strict=True):
        assert title.startswith(f"{100 * report.mean_present['nDCG@10']:.1f} (95 % interval")
    assert len(list(scatter.iter(f"{_SVG}circle"))) >= 3
    assert "1 / 3 / 1" in page
    assert "Holm" in page


def test_three_systems_are_compared_pair_by_pair_with_wider_intervals():
    page = _words(report_page(_FIRST, _SECOND, _THIRD))
    assert "98.33 % each" in page
    for pair in (f"B beside {_A}", f"C beside {_A}", "C beside B"):
        assert page.count(pair) == 3  # the mean of the tasks, and each task


def test_one_system_has_its_queries_from_the_lowest_score_and_no_comparison():
    page = report_page(_FIRST, measure="MRR")
    assert len(_svgs(page)) == 1
    assert "compared" not in page
    assert "MRR x 100 by task" in page
    scores = [row["scores"][0] for row in _data(page)["rows"]]
    assert scores == sorted(scores)


def test_queries_are_listed_by_their_text_from_the_largest_difference_with_gold_and_hits():
    data = _data(report_page(_FIRST, _SECOND))
    spreads = [abs(row["scores"][1] - row["scores"][0]) for row in data["rows"]]
    assert spreads == sorted(spreads, reverse=True)
    assert all(row["question"].startswith("why ") for row in data["rows"])
    row, detail = data["rows"][0], data["details"][0]
    assert (data["tasks"][row["task"]], row["id"], row["scores"]) == ("pony", "q2", [0.0, 1.0])
    ((gold, *ranks),) = detail["gold"]
    assert (data["documents"][gold][0], ranks) == ("gold", [12, 1])
    first, second = detail["hits"]
    assert (len(first), second[0][0]) == (10, gold)
    assert gold not in [number for number, _ in first]
    assert {"words in the query: up to 3", "kind of question: no question"} & {
        data["slices"][number] for row in data["rows"] for number in row["slices"]
    }


def test_long_texts_end_at_a_word_and_what_is_left_is_counted():
    data = _data(report_page(_FIRST))
    texts = {identity: (text, more) for identity, text, more in data["documents"]}
    text, more = texts["d3"]
    assert text.endswith(("text", "3"))
    assert len(text) + more == len(_DOCUMENTS[4].content.strip())


def test_a_page_too_large_leaves_out_the_texts_of_the_last_queries_and_counts_them(monkeypatch):
    monkeypatch.setattr(queries, "_MOST_BYTES", 2_000)
    page = report_page(_FIRST, _SECOND)
    left_out = sum(detail is None for detail in _data(page)["details"])
    assert 0 < left_out < 8
    assert _data(page)["details"][0] is not None
    assert f"The texts and hits of {left_out} of the 8 queries listed" in page
    assert "documents are cut at 160 characters" in page
    assert max(len(text) for _, text, _ in _data(page)["documents"]) <= 160
    monkeypatch.setattr(queries, "_MOST_ROWS", 3)
    page = report_page(_FIRST, _SECOND)
    assert len(_data(page)["rows"]) == 3
    assert "the first 3 queries; 5 are left out" in page


def test_a_property_of_too_many_values_is_no_filter_and_is_named(monkeypatch):
    monkeypatch.setattr(queries, "_MOST_LEVELS", 2)
    page = report_page(_FIRST, _SECOND)
    assert "The list has no filter by words in the query: it has" in page
    assert not any(level.startswith("words in the query") for level in _data(page)["slices"])


def test_reports_without_their_texts_say_how_to_have_them():
    page = report_page(_FIRST.reports, _SECOND.reports)
    assert "The texts and hits of 8 queries are not known" in page
    assert "--data" in page
    assert {row["question"] for row in _data(page)["rows"]} == {f"query q{n}" for n in range(5)}


def test_hits_known_of_one_system_only_are_shown_for_it():
    data = _data(report_page(_FIRST, _SECOND.reports))
    assert all(second is None and len(first) == 10 for first, second in (one["hits"] for one in data["details"]))
    assert data["details"][0]["gold"][0][2] == 0


def test_costs_that_nobody_measured_are_named_and_the_others_have_columns():
    page = report_page(_FIRST)
    assert "p95 ms</th>" in page
    assert "LLM calls</th>" not in page
    assert "Not measured for any system: encoding s" in page
    untimed = [dataclasses.replace(report, latency=None) for report in _FIRST.reports]
    assert "p95 ms</th>" not in report_page(untimed)
    assert page.count("not measured") < report_page(_SECOND, untimed).count("not measured")


def test_too_few_hits_for_a_measure_are_warned_of():
    report = _FIRST.reports[0]
    few = [dataclasses.replace(query, found=4) for query in report.queries[:2]]
    page = report_page([dataclasses.replace(report, queries=(*few, *report.queries[2:]))])
    assert "2 for nDCG@10, recall@10; the fewest hits are 4" in page
    assert page.count("†") > report_page([report]).count("†")


def test_one_query_has_no_interval():
    one, other = (_results("one", [place], system=name) for place, name in ((0, "A"), (3, "B")))
    page = report_page(one, other)
    assert "one query per task: nothing to resample" in page
    assert "(95 % interval" not in page


def test_the_page_is_self_contained_and_escapes_what_it_shows():
    page = report_page(_FIRST, _SECOND)
    assert not re.search(r"<link|<img|src=|@import|url\(|style=|\son\w+=", page)
    assert set(re.findall(r"https?://[^\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert "&lt;script&gt;A&lt;/script&gt; &amp; co" in page
    assert "a &lt;defect&gt; &amp; more" in page
    assert "reasonembed eval run --x &#39;&lt;1&gt;&#39;" in page
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    assert _data(page)["documents"][0][1] == f"{_NASTY} is gold"


def test_the_policy_allows_the_page_s_own_style_and_script_and_nothing_else():
    page = report_page(_FIRST, _SECOND)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    rules = dict(rule.split(" ", 1) for rule in html.unescape(policy).split("; "))
    for kind, tag in (("style", "style"), ("script", "script")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"


def test_every_control_has_a_label_and_every_scrolling_part_takes_the_focus():
    tree = LexborHTMLParser(report_page(_FIRST, _SECOND, _THIRD))
    controls = tree.css("form#filters input, form#filters select")
    assert [control.attributes["name"] for control in controls] == [
        "words", "first", "second", "outcome", "task", "slice", "order"
    ]  # fmt: skip
    assert all(control.parent.tag == "label" and control.parent.text(deep=False).strip() for control in controls)
    parts = tree.css(".scroll")
    assert all(part.attributes["tabindex"] == "0" and part.attributes["aria-label"] for part in parts)
    targets = {link.attributes["href"][1:] for link in tree.css("nav a, a.skip")}
    assert all(tree.css_first(f"#{target}") is not None for target in targets)
    assert len(tree.css("h1")) == 1
    assert all(heading.attributes.get("scope") == "col" for heading in tree.css("th"))


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(EvaluationError, match=r"\breport\b"):
        report_page([])
    with pytest.raises(EvaluationError, match=r"\bmeasure\b.*'accuracy'"):
        report_page(_FIRST, measure="accuracy")
    with pytest.raises(EvaluationError, match=r"\bbiology\b"):
        report_page(_FIRST, _SECOND.reports[:1])
    with pytest.raises(EvaluationError, match=r"\b7\b.*\b6\b"):
        report_page(*[_FIRST] * 7)


@pytest.fixture
def browse(tmp_path):
    """Return a function that opens a page in a browser and returns its document after `script` has run."""
    if _BROWSER is None:
        pytest.skip("no Chromium or Chrome is installed")

    def run(page, *options):
        path = tmp_path / "page.html"
        write_text(page, path)
        shared = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        done = subprocess.run(
            [_BROWSER, *shared, "--enable-logging=stderr", *options, path.as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "CONSOLE" not in done.stderr
        return LexborHTMLParser(done.stdout)

    return run


def test_a_real_browser_lists_the_queries_and_reports_no_error(browse):
    tree = browse(report_page(_FIRST, _SECOND), "--dump-dom")
    questions = [one.text() for one in tree.css("#queries .question")]
    assert len(questions) == 8
    assert all("</script><script>alert(1)</script>" in question for question in questions)
    assert tree.css_first("#count").text() == "8 of 8 queries"
    assert tree.css_first("#queries .up").text() == "▲ +1.000"
    assert not any("alert(1)" in one.text() for one in tree.css("script:not(#data)"))


_CHOICES = [
    ({"outcome": "won"}, ["pony q2", "biology q2"]),
    ({"outcome": "lost"}, ["biology q1"]),
    ({"outcome": "level", "task": "1"}, ["pony q0", "pony q1"]),
    ({"words": "WHY so", "task": "0", "order": "loss"}, ["biology q1", "biology q3", "biology q4", "biology q2"]),
    ({"order": "lowest", "task": "1"}, ["pony q1", "pony q0", "pony q2"]),
    ({"first": "1", "second": "0", "outcome": "won"}, ["biology q1"]),
    ({"words": "nothing has this"}, []),
]
_DRIVER = """
const told = CHOICES.map((choices) => {
  form.reset();
  for (const [name, value] of Object.entries(choices)) form.elements[name].value = value;
  form.dispatchEvent(new Event("input"));
  return chosen.map((row) => `${data.tasks[row.task]} ${row.id}`);
});
const opened = body(data.rows[0]).map((part) => part.outerHTML).join("");
document.body.append(Object.assign(document.createElement("pre"), {id: "told", textContent: JSON.stringify(told)}));
document.body.append(Object.assign(document.createElement("pre"), {id: "opened", textContent: opened}));
"""


def test_choices_filter_and_sort_and_a_query_opens_to_its_hits_in_a_real_browser(browse):
    driver = _DRIVER.replace("CHOICES", json.dumps([choices for choices, _ in _CHOICES]))
    page = re.sub(r"<meta http-equiv[^>]+>", "", report_page(_FIRST, _SECOND))  # the policy lets no driver run
    tree = browse(page.replace("</body>", f"<script>{driver}</script></body>"), "--dump-dom")
    assert json.loads(tree.css_first("#told").text()) == [found for _, found in _CHOICES]
    opened = LexborHTMLParser(tree.css_first("#opened").text())
    assert "B: rank 1" in opened.css_first("div.gold").text()
    assert f"{_A}: rank 12" in opened.css_first("div.gold").text()
    first, second = opened.css("section")
    assert [len(one.css("li")) for one in (first, second)] == [10, 10]
    assert (first.css_first(".badge"), second.css_first("li").css_first(".badge").text()) == (None, "gold")
    assert "alert(1)" not in "".join(script.text() for script in opened.css("script"))

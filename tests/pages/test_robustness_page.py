"""The page shows what the reports hold and needs nothing beside it."""

import dataclasses
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import Example, RetrievalTask, RunOptions, System
from reasonembed_rag.pages.robustness import robustness_page
from reasonembed_rag.perturb import Rewording
from reasonembed_rag.retrieval import BM25
from reasonembed_rag.robustness import (
    AttackScore,
    DefenceScore,
    PoisonReport,
    RobustnessOptions,
    compare_models,
    geometry,
    robustness,
)

_SVG = "{http://www.w3.org/2000/svg}"
_DOCUMENTS = tuple(Document(f"d{n}", f"planet {chr(97 + n) * 4} moves around") for n in range(12))
_EXAMPLES = tuple(Example(f"q{n}", f"why would <b> {chr(97 + n) * 4} move & turn", (f"d{n}",)) for n in range(12))
_OPTIONS = RobustnessOptions(
    kinds=("misspelling", "reordering", "naturalizing"), seeds=(5, 27), rewording=Rewording(), asking=RunOptions(k=10)
)
_POISON = PoisonReport(
    task="toy",
    model="words",
    queries=6,
    attacker_queries=6,
    guard_queries=6,
    documents=12,
    tokens=50,
    steps=100,
    candidates=100,
    seed=0,
    clean_ndcg=0.5,
    attacks=(
        AttackScore(name="hotflip", passages=10, success={5: 0.5, 20: 0.9}, example="<poison> text"),
        AttackScore(name="random", passages=10, success={5: 0.0, 20: 0.1}, example="noise"),
    ),
    defences=(
        DefenceScore(
            name="hubness_guard",
            success={"hotflip": {5: 0.0, 20: 0.05}, "random": {5: 0.0, 20: 0.1}},
            clean_ndcg=0.49,
            clean_dropped=0.02,
        ),
    ),
    hub_k=20,
    hub_z=6.0,
    hub_share=0.03,
    hub_ranks=(1, None),
    similarity=((0.1, 0.8),),
)


def _report(name, *, task="toy", judged=True):
    examples = _EXAMPLES if judged else tuple(dataclasses.replace(e, gold_ids=()) for e in _EXAMPLES)
    made = RetrievalTask(task, None, _DOCUMENTS, examples, warnings=("a <defect>",))
    report = robustness(BM25(_DOCUMENTS), made, system=System(name=name), options=_OPTIONS, command="x '<1>'")
    figures = {"documents": geometry(np.random.default_rng(0).standard_normal((30, 4)))}
    return dataclasses.replace(report, geometry=figures, skipped={"paraphrasing": "none <given>"})


@pytest.fixture(scope="module")
def plain():
    return _report("<script>A</script> & co")


def _svgs(page):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]


def test_bars_are_the_drop_rates_and_the_table_lists_them(plain):
    page = robustness_page([plain])
    bars, shape = _svgs(page)
    titles = [bar.find(f"{_SVG}title").text for bar in bars.iter(f"{_SVG}rect")]
    assert titles == [
        f"{100 * r.drops['nDCG@10'].rate:.1f} (95 % interval {100 * r.drops['nDCG@10'].interval.low:.1f} to "
        f"{100 * r.drops['nDCG@10'].interval.high:.1f})"
        for r in plain.kinds
    ]
    assert f"{100 * plain.kind('misspelling').drops['nDCG@10'].rate:+.1f}" in page
    assert len(list(shape.iter(f"{_SVG}rect"))) == 2
    assert "paraphrasing skipped: none &lt;given&gt;" in page


def test_the_page_is_self_contained_and_escapes_what_it_shows(plain):
    page = robustness_page([dataclasses.replace(plain, poison=_POISON)])
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    assert set(re.findall(r"https?://[^\"']+", page)) == {"http://www.w3.org/2000/svg"}
    for text in ("<poison>", "<defect>", "why would <b>"):
        assert text not in page
    assert "x &#39;&lt;1&gt;&#39;" in page


def test_poison_is_drawn_as_one_line_per_attack_and_listed_with_the_defences(plain):
    page = robustness_page([dataclasses.replace(plain, poison=_POISON)])
    lines = _svgs(page)[1]
    assert len([path for path in lines.iter(f"{_SVG}path") if path.get("class").startswith("line")]) == 2
    told = [dot.find(f"{_SVG}title").text for dot in lines.iter(f"{_SVG}circle")]
    assert told[:2] == ["HotFlip, k = 5: 50.0", "HotFlip, k = 20: 90.0"]
    places = "passages among 14: 1, not found"
    for text in ("<td>90.0</td>", "<td>5.0</td>", "49.00", "-1.00", "2.0", places):
        assert text in page


def test_two_systems_share_the_bars_and_are_compared(plain):
    other = _report("B")
    comparison = compare_models([plain.clean, other.clean])
    page = robustness_page([plain, other], comparison)
    assert len(list(_svgs(page)[0].iter(f"{_SVG}rect"))) == 6
    assert "Tax and gain" in page
    assert "no reasoning task" in page
    assert "B, by task" in page
    assert "by task" not in robustness_page([plain, other])


def test_several_tasks_have_sections_of_their_own(plain):
    page = robustness_page([plain, _report("<script>A</script> & co", task="other")])
    assert len(_svgs(page)) == 3
    assert "Drop rate of nDCG@10, %, other" in page


def test_without_judgements_the_agreement_is_drawn(plain):
    blind = _report("B", judged=False)
    page = robustness_page([blind])
    titles = [bar.find(f"{_SVG}title").text for bar in _svgs(page)[0].iter(f"{_SVG}rect")]
    assert titles[0].startswith(f"{100 * blind.kind('misspelling').overlap_at_10.mean:.1f} (")
    assert "Share of the ten best documents that stay" in page
    assert "nDCG@10</th>" not in page


def _colours(svg):
    return [bar.get("class").split()[-1] for bar in svg.iter(f"{_SVG}rect")]


def test_a_kind_that_one_system_lacks_leaves_its_place_empty(plain):
    fewer = dataclasses.replace(_report("B"), kinds=plain.kinds[1:])
    chart = _svgs(robustness_page([plain, fewer]))[0]
    assert _colours(chart) == ["system0", *["system0", "system1"] * 2]


def test_a_system_has_one_colour_on_every_task_for_any_order_of_the_reports(plain):
    second = [_report("B", task="other"), _report("<script>A</script> & co", task="other"), _report("B", task="third")]
    page = robustness_page([plain, _report("B"), *second])
    for chart, task in zip(_svgs(page), (["system0", "system1"], ["system0", "system1"], ["system1"]), strict=False):
        assert _colours(chart) == task * 3
    keys = re.findall(r'<span class="key (system\d)"></span>(.+?)(?=<|; drop)', page.partition("Geometry")[0])
    assert {(name, colour) for colour, name in keys} == {
        ("&lt;script&gt;A&lt;/script&gt; &amp; co", "system0"),
        ("B", "system1"),
    }


def test_what_cannot_be_shown_is_refused(plain):
    with pytest.raises(EvaluationError, match=r"\breport\b"):
        robustness_page([])
    with pytest.raises(EvaluationError, match=r"<script>A</script> & co\b.*\btoy\b"):
        robustness_page([plain, plain])
    many = [dataclasses.replace(plain, system=System(name=str(n))) for n in range(5)]
    with pytest.raises(EvaluationError, match=r"\b5\b.*\b4\b"):
        robustness_page(many)


def test_a_loss_a_gain_and_no_change_are_told_apart(plain):
    for rate, kind in ((0.2, "down"), (-0.2, "up"), (0.0, "")):
        first, *others = plain.kinds
        drop = dataclasses.replace(first.drops["nDCG@10"], rate=rate)
        changed = dataclasses.replace(first, drops={**first.drops, "nDCG@10": drop})
        page = robustness_page([dataclasses.replace(plain, kinds=(changed, *others))])
        assert f'<span class="{kind}">{100 * rate:+.1f}</span>' in page


def test_a_drop_that_cannot_be_computed_is_a_dash_that_says_why(plain):
    first, *others = plain.kinds
    drop = dataclasses.replace(first.drops["nDCG@10"], rate=None, interval=None)
    changed = dataclasses.replace(first, drops={**first.drops, "nDCG@10": drop})
    page = robustness_page([dataclasses.replace(plain, kinds=(changed, *others))])
    assert page.count('title="the clean queries score 0: there is nothing to drop from">—</span>') == 3


def test_figures_without_an_interval_are_drawn_without_one(plain):
    shape = _svgs(robustness_page([plain]))[-1]
    assert all("interval" not in bar.find(f"{_SVG}title").text for bar in shape.iter(f"{_SVG}rect"))


def test_too_few_hits_are_warned_of(plain):
    queries = tuple(dataclasses.replace(query, found=3) for query in plain.clean.queries)
    few = dataclasses.replace(plain, clean=dataclasses.replace(plain.clean, queries=queries))
    assert "12 for nDCG@10, recall@10; the fewest hits are 3" in robustness_page([few])
    assert "fewest hits" not in robustness_page([plain])

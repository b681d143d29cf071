"""The page of an ablation shows its figures, names what hurts, and needs nothing beside it."""

from __future__ import annotations

import dataclasses
import re

from reasonembed_rag import Document, Hits
from reasonembed_rag.ablation import ablate
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.pages import ablation_page
from reasonembed_rag.pipeline import Pipeline, PipelineStage

IDS = [f"{number:02}" for number in range(20)]
DOCUMENTS = [Document(one, one) for one in IDS]
EXAMPLES = tuple(Example(f"q{number}", f"<{number}>", (IDS[0],)) for number in range(20))
TASKS = [RetrievalTask(name, None, DOCUMENTS, EXAMPLES) for name in ("made", "a <second>")]


class InOrder:
    def __init__(self, inner=None):
        self.turned = inner is not None

    def search(self, queries, *, k, excluded_ids=None):
        ids = tuple(IDS[::-1] if self.turned else IDS)[:k]
        return [Hits(ids, [float(len(IDS) - rank) for rank in range(len(ids))]) for _ in queries]


def _page():
    ablation = ablate(lambda task: Pipeline(InOrder(), [PipelineStage("<turn>", InOrder)]), TASKS)
    return ablation, ablation_page(ablation)


def test_it_shows_every_variant_with_its_figures_and_says_what_hurts():
    ablation, page = _page()
    assert [gain.verdict for effect in ablation.effects for gain in effect.gains] == ["hurts"] * 3
    assert "<b>hurts</b>" in page
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for task in ("made", "a &lt;second&gt;", "mean of tasks"):
        assert f" &lt;turn&gt; {task} hurts -100.00 " in text
    for variant in ("full", "without &lt;turn&gt;", "&lt;turn&gt; alone", "no stage"):
        assert f" {variant} " in text
    assert "no stage 100.00 100.00 100.00" in text
    assert "full 0.00 0.00 0.00" in text
    assert re.findall(r"<svg[^>]*aria-label=\"nDCG@10 by variant, ([^\"]*)\"", page) == ["made", "a &lt;second&gt;"]


def test_it_escapes_names_and_needs_no_network_or_script():
    _, page = _page()
    assert "<turn>" not in page
    assert "<second>" not in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|@import", page)


def test_it_warns_where_fewer_hits_came_back_than_the_measure_looks_at():
    ablation, page = _page()
    assert "fewest hits" not in page
    full, *others = ablation.variants
    first, *rest = full.tasks
    queries = tuple(dataclasses.replace(query, found=3) for query in first.report.queries)
    few = dataclasses.replace(first, report=dataclasses.replace(first.report, queries=queries))
    variants = (dataclasses.replace(full, tasks=(few, *rest)), *others)
    assert "20 for nDCG@10; the fewest hits are 3" in ablation_page(dataclasses.replace(ablation, variants=variants))

"""Ablation: which variants are run, what a stage gains within the pipeline and alone, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from reasonembed_rag import Document, Hits
from reasonembed_rag.ablation import ablate
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import Example, RetrievalTask, compare, evaluate
from reasonembed_rag.pipeline import Pipeline, PipelineStage
from reasonembed_rag.protocols import Retriever, Usage

IDS = [f"{number:02}" for number in range(30)]
TASK = RetrievalTask(
    "made",
    "dev",
    [Document(identity, identity) for identity in IDS],
    tuple(Example(f"q{number}", IDS[number], (IDS[number],)) for number in range(20)),
)


class InOrder:
    """Find the documents in the order of their ids, whatever is asked."""

    def search(self, queries, *, k, excluded_ids=None):
        return [Hits(tuple(IDS[:k]), [float(len(IDS) - rank) for rank in range(min(k, len(IDS)))]) for _ in queries]


@dataclass
class First:
    """Put the document that is asked for first, or last; one call of a chat model per query."""

    inner: Retriever
    gold_last: bool = False
    calls: int = 0

    def search(self, queries, *, k, excluded_ids=None):
        self.calls += len(queries)
        return [
            Hits.ranked(
                hit if hit.id != query else type(hit)(hit.id, -99.0 if self.gold_last else 99.0) for hit in hits
            )
            for query, hits in zip(queries, self.inner.search(queries, k=len(IDS)), strict=True)
        ]

    def usage(self):
        return Usage(llm_calls=self.calls, llm_tokens=7 * self.calls, llm_cost=0.5 * self.calls)


@dataclass
class Idle:
    """Change nothing."""

    inner: Retriever

    def search(self, queries, *, k, excluded_ids=None):
        return self.inner.search(queries, k=k, excluded_ids=excluded_ids)


def _build(*stages):
    made = {
        "good": PipelineStage("good", First),
        "bad": PipelineStage("bad", lambda inner: First(inner, gold_last=True)),
        "idle": PipelineStage("idle", Idle),
    }
    return lambda task: Pipeline(InOrder(), [made[name] for name in stages])


def test_every_variant_is_measured_and_equal_ones_are_run_once():
    ran = []
    result = ablate(_build("idle", "good"), [TASK], on_variant=lambda task, variant: ran.append((task, variant)))
    assert [(variant.name, variant.stages) for variant in result.variants] == [
        ("full", ("idle", "good")),
        ("without idle", ("good",)),
        ("without good", ("idle",)),
        ("idle alone", ("idle",)),
        ("good alone", ("good",)),
        ("no stage", ()),
    ]
    assert ran == [("made", "idle + good"), ("made", "good"), ("made", "idle"), ("made", "no stage")]


def test_effects_are_paired_differences_and_verdicts_follow_their_intervals():
    result = ablate(_build("idle", "good", "bad"), [TASK])
    effects = {effect.stage: effect.mean for effect in result.effects}
    assert {name: effect.verdict for name, effect in effects.items()} == {
        "idle": "not shown to help", "good": "not shown to help", "bad": "hurts",
    }  # fmt: skip
    assert effects["good"].alone.interval.low > 0
    assert ablate(_build("idle", "good"), [TASK]).effects[1].mean.verdict == "helps"
    expected = compare(
        evaluate(Pipeline(InOrder()), TASK, system="plain"), evaluate(First(InOrder()), TASK, system="good")
    )
    assert effects["good"].alone == expected.mean
    assert (effects["bad"].better, effects["bad"].worse) == (expected.tasks[0].worse, len(TASK.examples))


def test_a_stage_that_helps_on_one_task_and_hurts_on_another_has_a_verdict_on_each():
    last = RetrievalTask("last", "dev", TASK.documents, tuple(replace(one, gold_ids=("00",)) for one in TASK.examples))
    (effect,) = ablate(_build("good"), [TASK, last]).effects
    assert {gain.task: gain.verdict for gain in effect.tasks} == {"made (dev)": "helps", "last (dev)": "hurts"}
    assert [gain.within for gain in effect.tasks] == [gain.alone for gain in effect.tasks]
    assert effect.gains == (*effect.tasks, effect.mean)
    assert effect.mean.better == effect.tasks[0].better > 0
    assert effect.mean.worse == effect.tasks[1].worse > 0
    (alone,) = ablate(_build("good"), [TASK]).effects
    assert alone.gains == alone.tasks
    assert alone.tasks[0].within == alone.mean.within


def test_costs_are_those_of_the_variant():
    result = ablate(_build("good", "idle"), [TASK, RetrievalTask("other", None, TASK.documents, TASK.examples[:5])])
    calls = {variant.name: (variant.llm_calls(), variant.llm_tokens()) for variant in result.variants}
    assert calls["full"] == calls["without idle"] == calls["good alone"] == (25, 175)
    assert calls["without good"] == calls["no stage"] == (0, 0)
    assert [result.variants[0].llm_cost(), result.variants[-1].llm_cost()] == [12.5, None]
    assert all(variant.latency("p95") >= variant.latency("p50") > 0 for variant in result.variants)


def test_what_cannot_be_ablated_is_refused_before_a_query():
    unjudged = RetrievalTask("unjudged", None, TASK.documents, (Example("q", "00", ()),))
    with pytest.raises(InputError, match="no task"):
        ablate(_build("good"), [])
    with pytest.raises(InputError, match="no stage to leave out"):
        ablate(_build(), [TASK])
    with pytest.raises(EvaluationError, match="no gold id"):
        ablate(_build("good"), [TASK, unjudged], on_variant=lambda *_: pytest.fail("a variant ran"))
    made = iter([_build("good"), _build("good", "idle")])

    def differing(task):
        return next(made)(task)

    with pytest.raises(InputError, match=r"stages \('good', 'idle'\) for other, \('good',\) before; want the same"):
        ablate(differing, [TASK, RetrievalTask("other", None, TASK.documents, TASK.examples)])
    with pytest.raises(InputError, match="got two tasks named made; want each once"):
        ablate(_build("good"), [TASK, TASK])

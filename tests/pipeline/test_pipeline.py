"""Pipelines: what stages do to a search, which can be left out, and what each has cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from reasonembed_rag import BM25, Document, Hits
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import ExpandedRetriever, Pipeline, ReplayedExpander, VectorFeedback
from reasonembed_rag.pipeline import PipelineStage as Stage
from reasonembed_rag.protocols import Retriever, Usage

DOCUMENTS = [Document(str(number), text) for number, text in enumerate(["red fox", "blue fox", "red hen", "grey cat"])]


@dataclass
class Reversed:
    """Turn every ranking around; a call of a chat model for each query."""

    inner: Retriever
    calls: int = 0
    work: object = lambda: None

    def search(self, queries, *, k, excluded_ids=None):
        self.work()
        self.calls += len(queries)
        found = self.inner.search(queries, k=k, excluded_ids=excluded_ids)
        return [Hits(hits.ids[::-1], -hits.scores[::-1]) for hits in found]

    def usage(self):
        inner = getattr(self.inner, "usage", Usage)()
        return Usage(
            llm_calls=self.calls + (inner.llm_calls or 0), llm_tokens=10 * self.calls + (inner.llm_tokens or 0)
        )


@dataclass
class Twice:
    """Search twice, as a feedback loop does."""

    inner: Retriever
    seen: list = field(default_factory=list)

    def search(self, queries, *, k, excluded_ids=None):
        self.seen.append(excluded_ids)
        self.inner.search(queries, k=k, excluded_ids=excluded_ids)
        return self.inner.search(queries, k=k, excluded_ids=excluded_ids)


def test_without_stages_it_returns_what_its_retriever_returns():
    bm25 = BM25(DOCUMENTS)
    pipeline = Pipeline(bm25)
    asked = {"k": 3, "excluded_ids": [["0"], []]}
    assert pipeline.search(["red fox", "cat"], **asked) == bm25.search(["red fox", "cat"], **asked)
    assert isinstance(pipeline, Retriever)


def test_the_first_stage_is_innermost_and_exclusions_reach_the_retriever():
    twice = Twice(BM25(DOCUMENTS))
    pipeline = Pipeline(BM25(DOCUMENTS), [Stage("turn", Reversed), Stage("twice", lambda inner: _keep(twice, inner))])
    (hits,) = pipeline.search(["red fox"], k=4, excluded_ids=[["1"]])
    assert hits.ids == BM25(DOCUMENTS).search(["red fox"], k=4, excluded_ids=[["1"]])[0].ids[::-1]
    assert twice.seen == [[["1"]]]


def _keep(stage, inner):
    stage.inner = inner
    return stage


def test_stages_can_be_left_out_and_stand_alone():
    pipeline = Pipeline(BM25(DOCUMENTS), [Stage("turn", Reversed), Stage("again", Reversed)])
    plain = BM25(DOCUMENTS).search(["red fox"], k=4)[0].ids
    assert pipeline.search(["red fox"], k=4)[0].ids == plain
    assert pipeline.without("turn").search(["red fox"], k=4)[0].ids == plain[::-1]
    assert [stage.name for stage in pipeline.only(["again"]).stages] == ["again"]
    with pytest.raises(InputError, match=r"no stage is named gone; the pipeline has turn, again"):
        pipeline.without("gone")


def test_two_stages_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"several stages are named turn; want each name once"):
        Pipeline(BM25(DOCUMENTS), [Stage("turn", Reversed), Stage("turn", Reversed)])
    with pytest.raises(InputError, match="named retrieve"):
        Pipeline(BM25(DOCUMENTS), [Stage("retrieve", Reversed)])


def test_each_stage_is_charged_what_it_used_itself(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def wait(seconds):
        return lambda: clock.__setitem__(0, clock[0] + seconds)

    stages = [
        Stage("slow", lambda inner: Reversed(inner, work=wait(4.0))),
        Stage("twice", Twice),
        Stage("turn", lambda inner: Reversed(inner, work=wait(1.0))),
    ]
    pipeline = Pipeline(BM25(DOCUMENTS), stages)
    pipeline.search(["red fox", "cat"], k=2)
    retrieve, slow, twice, turn = pipeline.costs()
    assert [cost.searches for cost in (retrieve, slow, twice, turn)] == [2, 2, 1, 1]
    assert (slow.llm_calls, slow.llm_tokens, twice.llm_calls, turn.llm_calls) == (4, 40, 0, 2)
    assert (retrieve.seconds, slow.seconds, twice.seconds, turn.seconds) == ((0, 0), (2, 2), (0,), (0.5,))
    assert pipeline.usage() == Usage(llm_calls=6, llm_tokens=60)


def test_costs_begin_with_the_pipeline():
    used = Reversed(BM25(DOCUMENTS))
    used.search(["cat"], k=1)
    pipeline = Pipeline(used)
    assert pipeline.usage().llm_calls == 0
    pipeline.search(["cat"], k=1)
    assert pipeline.usage().llm_calls == 1


def test_documents_encoded_before_the_pipeline_was_made_are_among_its_costs():
    class Encoded(BM25):
        def usage(self):
            return Usage(encoding_seconds=2.0, document_tokens=30, index_bytes=400, query_tokens=5)

    assert Pipeline(Encoded(DOCUMENTS)).usage() == Usage(
        encoding_seconds=2.0, document_tokens=30, index_bytes=400, query_tokens=0
    )


def test_a_search_that_fails_is_charged_and_the_next_is_timed_from_zero():
    def broken(inner):
        class Broken:
            def search(self, queries, *, k, excluded_ids=None):
                if queries == ["bad"]:
                    raise RuntimeError
                return inner.search(queries, k=k, excluded_ids=excluded_ids)

        return Broken()

    pipeline = Pipeline(BM25(DOCUMENTS), [Stage("broken", broken)])
    with pytest.raises(RuntimeError):
        pipeline.search(["bad"], k=1)
    pipeline.search(["cat"], k=1)
    assert pipeline.costs()[1].searches == 2
    assert min(pipeline.costs()[1].seconds) >= 0


def test_a_stage_that_cannot_be_around_the_one_before_it_names_both():
    said = ReplayedExpander({"cat": ["grey"]})
    stages = [
        Stage("reasoning", lambda inner: ExpandedRetriever(inner, said)),
        Stage("feedback", VectorFeedback),
    ]
    with pytest.raises(InputError, match=r"stage 'feedback', around 'reasoning': ExpandedRetriever gives no vectors"):
        Pipeline(BM25(DOCUMENTS), stages)

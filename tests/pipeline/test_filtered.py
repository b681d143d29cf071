"""Filters as a stage: what is dropped, what moves up, whose vectors are compared, and what is refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import pytest

from reasonembed_rag import Document, Hits
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import (
    FilteredRetriever,
    Fusion,
    HubGuardedRetriever,
    HubnessGuard,
    NearDuplicateFilter,
    Pipeline,
    PipelineStage,
    RerankedRetriever,
    StageContext,
    TrustFilter,
    Weighted,
    read_pipeline,
)
from reasonembed_rag.pipeline.hub_guarded import read_reference_queries

COUNT = 12
DOCUMENTS = [Document(f"d{number:02}", f"w{number} v{number}") for number in range(COUNT)]
VECTORS = np.eye(COUNT, dtype=np.float32)
VECTORS[[1, 4]] = VECTORS[0]  # copies of the first one
BY_ID = {document.id: document for document in DOCUMENTS}


@dataclass
class Listed:
    """Find the documents in the order of their ids, without those excluded."""

    with_texts: bool = True
    asked: list[int] = field(default_factory=list)
    excluded: list = field(default_factory=list)

    def search(self, queries, *, k, excluded_ids=None):
        self.asked.append(k)
        self.excluded.append(excluded_ids)
        bans = excluded_ids or [()] * len(queries)
        return [self._one(k, ban) for ban in bans]

    def _one(self, k, ban):
        found = [document for document in DOCUMENTS if document.id not in ban][:k]
        scores = [1.0 - 0.01 * int(document.id[1:]) for document in found]
        return Hits(tuple(one.id for one in found), scores, tuple(found) if self.with_texts else None)


class WithVectors(Listed):
    def vectors_of(self, ids):
        return VECTORS[[int(one[1:]) for one in ids]]


class Backwards:
    def rerank(self, queries, hits, *, k=None):
        return [one.reordered(range(len(one))[::-1], -np.arange(len(one))) for one in hits]


def test_dropped_hits_leave_what_is_behind_moves_up_and_scores_stay():
    filtered = FilteredRetriever(WithVectors(), [NearDuplicateFilter()], depth=6)
    (hits,) = filtered.search(["q"], k=6)
    assert hits.ids == ("d00", "d02", "d03", "d05", "d06", "d07")
    assert hits.scores.tolist() == pytest.approx([1.0, 0.98, 0.97, 0.95, 0.94, 0.93])
    assert filtered.dropped == 2


@pytest.mark.parametrize("k", [1, 3, 4, 7])
def test_fewer_hits_are_the_first_of_more(k):
    many = FilteredRetriever(WithVectors(), [NearDuplicateFilter()], depth=4).search(["q"], k=10)[0]
    few = FilteredRetriever(WithVectors(), [NearDuplicateFilter()], depth=4).search(["q"], k=k)[0]
    assert few == many[:k]
    assert len(few) == k


def test_exclusions_come_before_the_cut():
    guard = FilteredRetriever(Listed(), [HubnessGuard(frozenset({"d02"}))])
    assert guard.search(["q"], k=2, excluded_ids=[["d00", "d01"]])[0].ids == ("d03", "d04")


def test_a_filter_with_an_embed_of_its_own_needs_no_vectors_and_is_given_texts():
    seen = []

    def embed(texts):
        seen.extend(texts)
        return np.ones((len(texts), 2))

    filtered = FilteredRetriever(Listed(with_texts=False), [NearDuplicateFilter(embed=embed)], documents=BY_ID)
    assert filtered.search(["q"], k=5)[0].ids == ("d00",)
    assert seen == [document.content for document in DOCUMENTS]


def test_each_filter_sees_what_the_one_before_it_kept():
    filters = [HubnessGuard(frozenset({"d00"})), NearDuplicateFilter()]
    assert FilteredRetriever(WithVectors(), filters).search(["q"], k=3)[0].ids == ("d01", "d02", "d03")


def test_vectors_are_found_behind_other_stages_and_in_a_fusion():
    by_stages = Pipeline(
        WithVectors(),
        [
            PipelineStage("turn", lambda inner: RerankedRetriever(inner, Backwards(), depth=12)),
            PipelineStage("filter", lambda inner: FilteredRetriever(inner, [NearDuplicateFilter()])),
        ],
    )
    assert by_stages.search(["q"], k=12)[0].ids == tuple(f"d{number:02}" for number in range(11, 1, -1))
    fused = Fusion([Weighted(Listed(), 1.0), Weighted(WithVectors(), 1.0)])
    assert "d01" not in FilteredRetriever(fused, [NearDuplicateFilter()]).search(["q"], k=12)[0].ids


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="Listed gives no vectors of its documents; want a filter with a model"):
        FilteredRetriever(Listed(), [TrustFilter()])
    with pytest.raises(InputError, match="got no filter"):
        FilteredRetriever(WithVectors(), [])
    with pytest.raises(InputError, match="depth is 1"):
        FilteredRetriever(WithVectors(), [TrustFilter()], depth=1)
    with pytest.raises(InputError, match="hits have no documents"):
        FilteredRetriever(Listed(with_texts=False), [HubnessGuard(frozenset())]).search(["q"], k=1)
    with pytest.raises(InputError, match="has no embed"):
        TrustFilter().keep(DOCUMENTS)


def test_what_is_dropped_is_told_once(caplog):
    filtered = FilteredRetriever(WithVectors(), [NearDuplicateFilter()])
    with caplog.at_level(logging.WARNING):
        filtered.search(["q", "r"], k=4)
        filtered.search(["q"], k=4)
    assert [record.message for record in caplog.records] == [
        "NearDuplicateFilter: 2 of 12 hits of a query are dropped; `dropped` counts"
    ]
    assert filtered.dropped == 6


def _hub_for(queries):
    """A retriever that finds one document for every query, and another one for each."""

    class Finder:
        searches = 0

        def search(self, asked, *, k, excluded_ids=None):
            self.searches += 1
            bans = excluded_ids or [()] * len(asked)
            ranked = [("hub", f"own-{queries.index(one)}") for one in asked]
            kept = [tuple(one for one in found if one not in ban)[:k] for found, ban in zip(ranked, bans, strict=True)]
            return [Hits(ids, np.arange(len(ids), 0, -1)) for ids in kept]

    return Finder()


def test_a_hub_is_found_by_reference_queries_once_and_searched_no_more():
    queries = [f"question {number}" for number in range(40)]
    finder = _hub_for(queries)
    guard = HubGuardedRetriever(finder, queries=queries[:30], documents=1000)
    assert guard.k == 10
    assert finder.searches == 0
    assert [hits.ids for hits in guard.search(queries[30:32], k=5)] == [("own-30",), ("own-31",)]
    assert guard.search(queries[39:], k=5, excluded_ids=[["own-39"]])[0].ids == ()
    assert (guard.flagged, finder.searches) == (("hub",), 3)


def test_without_hubs_nothing_changes():
    guard = HubGuardedRetriever(WithVectors(), queries=["a", "b"], documents=COUNT, share=1.0, z=99.0)
    assert guard.search(["q"], k=3) == WithVectors().search(["q"], k=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queries": []}, "no reference queries"),
        ({"documents": 0}, "documents is 0"),
        ({"k": 0}, "k is 0"),
        ({"share": 45.0}, r"share is 45\.0"),
    ],
)
def test_a_guard_that_could_not_work_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        HubGuardedRetriever(Listed(), **({"queries": ["a"], "documents": 9} | settings))


def test_reference_queries_are_lines_or_json_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    (tmp_path / "a.jsonl").write_text('{"query": "one", "gold_ids": []}\n{"query": "two"}\n')
    assert read_reference_queries(tmp_path / "a.txt") == read_reference_queries(tmp_path / "a.jsonl") == ["one", "two"]
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n')
    with pytest.raises(InputError, match=r"b.jsonl:1: \"query\" is None"):
        read_reference_queries(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=r"gone.txt: cannot be read"):
        read_reference_queries(tmp_path / "gone.txt")


def test_filters_are_stages_of_a_file(tmp_path):
    (tmp_path / "queries.txt").write_text("q\nr\n")
    path = tmp_path / "pipeline.toml"
    path.write_text("""
[[stage]]
kind = "hubness-guard"
path = "queries.txt"
share = 1.0
z = 0.5
k = 1
[[stage]]
kind = "near-duplicates"
depth = 6
similarity = 0.99
[[stage]]
kind = "trust-filter"
n = 1
""")
    context = StageContext(documents=BY_ID, corpus_size=COUNT)
    pipeline = read_pipeline(path).build(WithVectors(), context)
    assert pipeline.search(["q"], k=3)[0].ids == ("d01", "d02", "d03")  # d00 is a hub, d04 a copy
    assert pipeline.only(["near-duplicates"]).search(["q"], k=4)[0].ids == ("d00", "d02", "d03", "d05")
    with pytest.raises(InputError, match="want StageContext"):
        read_pipeline(path).build(WithVectors(), StageContext(documents=BY_ID))

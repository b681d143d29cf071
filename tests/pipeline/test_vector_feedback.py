"""Vector feedback is Rocchio's formula over the documents found first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.pipeline import Pipeline, PipelineStage
from reasonembed_rag.pipeline.vector_feedback import VectorFeedback
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import BM25, DenseRetriever

DOCUMENTS = [Document(name, text) for name, text in zip("abcde", ["aab", "bbc", "ccd", "dda", "abcd"], strict=True)]


def _dense(letter_embedder):
    return DenseRetriever(letter_embedder(), DOCUMENTS)


def test_two_documents_move_the_query_as_computed_by_hand(letter_embedder):
    # q = aab = 2a + b. Nearest: a (5), then e (3) before d (2) and b (2). Their mean m = 1.5a + b + .5c + .5d;
    # q' = .5q + .5m = 1.75a + b + .25c + .25d. Scores: a 4.5; e 3.25; d 1.75 + .5 = 2.25; b 2 + .25 = 2.25; c .75.
    hits = VectorFeedback(_dense(letter_embedder), depth=2, query_weight=0.5).search(["aab"], k=9)[0]
    assert list(zip(hits.ids, hits.scores.tolist(), strict=True)) == [
        ("a", 4.5), ("e", 3.25), ("d", 2.25), ("b", 2.25), ("c", 0.75)
    ]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    banned=st.lists(st.lists(st.sampled_from("abcde")), min_size=2, max_size=2),
    depth=st.integers(1, 6), weight=st.sampled_from([0.0, 0.25, 0.5, 1.0]), k=st.integers(1, 6),
)  # fmt: skip
def test_scores_are_the_formula_and_excluded_documents_are_not_fed_back(letter_embedder, banned, depth, weight, k):
    dense = _dense(letter_embedder)
    found = VectorFeedback(dense, depth=depth, query_weight=weight).search(["ab", "cd"], k=k, excluded_ids=banned)
    for query, own, hits in zip(["ab", "cd"], banned, found, strict=True):
        first = dense.search([query], k=depth, excluded_ids=[own])[0]
        query_D = letter_embedder().encode_queries([query])[0].astype(np.float64)
        fed = dense.vectors_of(first.ids).mean(axis=0, dtype=np.float64) if len(first) else query_D
        moved = (weight * query_D + (1 - weight) * fed).astype(np.float32)
        assert hits == dense.search_vectors(moved[None], k=k, excluded_ids=[own])[0]


def test_the_whole_weight_on_the_query_is_the_bare_search(letter_embedder):
    dense = _dense(letter_embedder)
    feedback = VectorFeedback(dense, query_weight=1.0)
    assert feedback.search(["ab", "cd"], k=3) == dense.search(["ab", "cd"], k=3)
    assert isinstance(feedback, Retriever)
    assert feedback.usage().index_bytes == dense.usage().index_bytes > 0


def test_it_works_as_a_stage_of_a_pipeline_which_passes_vectors_on(letter_embedder):
    stage = PipelineStage("feedback", lambda inner: VectorFeedback(inner, depth=2))
    pipeline = Pipeline(_dense(letter_embedder), [stage])
    assert pipeline.search(["aab"], k=5) == VectorFeedback(_dense(letter_embedder), depth=2).search(["aab"], k=5)
    searched, own = pipeline.costs()
    assert (searched.name, own.name, own.searches) == ("retrieve", "feedback", 1)
    assert searched.searches == 4  # vectors of the query, a first search, vectors of documents, the second search


@pytest.mark.parametrize(
    ("options", "told"), [({"depth": 0}, "depth is 0"), ({"query_weight": 1.5}, "query_weight is 1.5")]
)
def test_settings_that_cannot_be_are_refused(letter_embedder, options, told):
    with pytest.raises(InputError, match=told):
        VectorFeedback(_dense(letter_embedder), **options)
    with pytest.raises(InputError, match="BM25 gives no vectors"):
        VectorFeedback(BM25(DOCUMENTS))

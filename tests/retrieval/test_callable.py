"""Functions become retrievers; what they return is taken in their order."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval.callable import CallableRetriever, hits_in_order, keep


def _plain(hits):
    return list(zip(hits.ids, hits.scores.tolist(), strict=True))


def test_a_function_is_asked_for_what_the_exclusions_will_take():
    asked = []

    def search(query, k):
        asked.append((query, k))
        return list("abcdefgh")[:k]

    retriever = CallableRetriever(search)
    found = retriever.search(["one", "two"], k=2, excluded_ids=[["a", "c", "zz"], []])
    assert asked == [("one", 5), ("two", 2)]
    assert [hits.ids for hits in found] == [("b", "d"), ("a", "b")]
    assert isinstance(retriever, Retriever)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["b", "a"], [("b", 2.0), ("a", 1.0)]),
        ([("b", 0.5), ("a", 0.5), ("c", 0.25)], [("b", 0.5), ("a", 0.5), ("c", 0.25)]),
        (Hits(("b",), np.asarray([3], np.float32)), [("b", 3.0)]),
        ([("near", 0.25), ("far", 0.75)], [("near", -0.25), ("far", -0.75)]),
        ([("a", 0.5), ("b", 0.75), ("c", 0.25)], [("a", 3.0), ("b", 2.0), ("c", 1.0)]),
        ([], []),
    ],
)
def test_ids_pairs_and_hits_are_taken_in_the_function_s_order(answer, expected):
    assert _plain(CallableRetriever(lambda query, k: answer).search(["q"], k=5)[0]) == expected


@pytest.mark.parametrize(
    ("answer", "culprit"),
    [
        (["a", ("b", 1.0)], "a"),
        ([("a", 1.0), "b"], "b"),
        ([("a",)], ("a",)),
        ([(1, 2.0)], (1, 2.0)),
        (None, None),
        ("ab", "ab"),
        ([3], 3),
        ([("a", None)], ("a", None)),
    ],
)
def test_anything_else_is_refused(answer, culprit):
    with pytest.raises(InputError, match=re.escape(repr(culprit))):
        CallableRetriever(lambda query, k: answer).search(["q"], k=5)


@given(st.lists(st.floats(-5, 5, width=32), max_size=6))
def test_hits_always_rank_as_the_ids_stand(scores):
    ids = [f"d{n}" for n in range(len(scores))]
    hits = hits_in_order(ids, scores)
    assert hits.ids == tuple(ids)
    assert list(hits.scores) == sorted(hits.scores, reverse=True)
    if scores == sorted(scores, reverse=True):
        assert hits.scores.tolist() == scores


def test_a_score_that_is_not_a_number_is_passed_on_for_the_harness_to_find():
    assert np.isnan(hits_in_order(["a", "b"], [1.0, float("nan")]).scores[1])


def test_ids_and_scores_of_unlike_number_are_refused():
    with pytest.raises(InputError, match=r"\b2\b.*\b1\b"):
        hits_in_order(["a", "b"], [1.0])


def test_exclusions_go_before_the_cut():
    hits = Hits(("a", "b", "c"), np.asarray([3, 2, 1], np.float32))
    assert _plain(keep(hits, ["a"], 1)) == [("b", 2.0)]
    assert _plain(keep(hits, [], 5)) == [("a", 3.0), ("b", 2.0), ("c", 1.0)]

"""Exact search against sorting everything in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.retrieval import exact
from reasonembed_rag.retrieval.exact import exact_search


def by_sorting(queries, documents, ids, k, excluded):
    found = []
    for query, banned in zip(queries, excluded, strict=True):
        scored = [(float(np.float32(query @ row)), name) for row, name in zip(documents, ids, strict=True)]
        found.append([pair for pair in sorted(scored, reverse=True) if pair[1] not in banned][:k])
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_search_equals_sorting_all_with_ties_by_larger_id_and_exclusions_before_the_cut(data):
    number = st.integers(-2, 2)  # few values: many ties
    documents = np.array(data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=12)), dtype=np.float32)
    queries = np.array(data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=4)), dtype=np.float32)
    ids = data.draw(st.permutations([f"d{n}" for n in range(len(documents))]))
    excluded = [data.draw(st.sets(st.sampled_from([*ids, "absent"]))) for _ in queries]
    k = data.draw(st.integers(1, 15))
    hits = exact_search(queries, documents, ids, k=k, excluded_ids=excluded)
    got = [list(zip(map(float, hit.scores), hit.ids, strict=True)) for hit in hits]
    assert got == by_sorting(queries, documents, ids, k, excluded)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    queries, documents = (rng.standard_normal((n, 8)).astype(np.float32) for n in (9, 30))
    ids = [str(n) for n in range(30)]
    whole = exact_search(queries, documents, ids, k=5)
    monkeypatch.setattr(exact, "_BLOCK_SCORES", 60)
    assert [hit.ids for hit in exact_search(queries, documents, ids, k=5)] == [hit.ids for hit in whole]


@pytest.mark.parametrize(
    ("queries", "documents", "ids", "k", "message"),
    [
        (np.zeros(3), np.zeros((5, 8)), "abcde", 1, r"\(3,\).*\(5, 8\)"),
        (np.zeros((1, 8)), np.zeros((5, 8)), "abc", 1, r"\b5\b.*\b3\b"),
        (np.zeros((1, 8)), np.zeros((5, 8)), "abcde", 0, r"\bk\b.*\b0\b"),
        (np.full((1, 8), np.nan), np.zeros((5, 8)), "abcde", 1, "NaN"),
    ],
)
def test_arguments_that_disagree_are_named(queries, documents, ids, k, message):
    with pytest.raises(InputError, match=message):
        exact_search(queries, documents, list(ids), k=k)


@pytest.mark.parametrize("size", [50, 333, 1001])
def test_equal_documents_tie_wherever_they_stand(size):
    rng = np.random.default_rng(0)
    document = rng.standard_normal(384).astype(np.float32)
    queries = rng.standard_normal((3, 384)).astype(np.float32)
    ids = [f"d{n:04}" for n in range(size)]
    for hit in exact_search(queries, np.repeat(document[None], size, axis=0), ids, k=size):
        assert list(hit.ids) == sorted(ids, reverse=True)
        assert len(set(hit.scores.tolist())) == 1

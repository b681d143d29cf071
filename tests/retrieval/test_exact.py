"""An index prepared once equals exact search, however its vectors are cut into shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.retrieval import exact
from reasonembed_rag.retrieval.exact import ExactIndex, exact_scores, exact_search, top_rows


def _vectors(rng, count, dimension=7):
    """Few distinct values, so that ties are common."""
    return rng.integers(-2, 3, size=(count, dimension)).astype(np.float32) / np.float32(3)


def _same(left, right):
    assert [hits.ids for hits in left] == [hits.ids for hits in right]
    for ours, theirs in zip(left, right, strict=True):
        np.testing.assert_array_equal(ours.scores, theirs.scores)


@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(0, 4),
    documents=st.integers(1, 40),
    shard=st.integers(1, 50),
    k=st.integers(1, 45),
    block=st.sampled_from([1, 60, 10**6]),
)
def test_shards_are_searched_as_one(seed, queries, documents, shard, k, block):
    rng = np.random.default_rng(seed)
    query_vectors, document_vectors = _vectors(rng, queries), _vectors(rng, documents)
    ids = [f"d{number}" for number in rng.permutation(documents)]
    excluded = [
        [*rng.choice(ids, size=rng.integers(0, documents + 1), replace=False), "unknown"] for _ in range(queries)
    ]
    shards = [document_vectors[start : start + shard] for start in range(0, documents, shard)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BLOCK_SCORES", block)
        found = ExactIndex(shards, ids).search(query_vectors, k=k, excluded_ids=excluded)
    _same(found, exact_search(query_vectors, document_vectors, ids, k=k, excluded_ids=excluded))


@given(
    seed=st.integers(0, 2**32 - 1),
    documents=st.integers(1, 60),
    shard=st.integers(1, 70),
    k=st.integers(1, 20),
    share=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    half=st.booleans(),
)
def test_allowed_rows_are_searched_as_if_the_others_were_not_there(seed, documents, shard, k, share, half):
    rng = np.random.default_rng(seed)
    vectors = _vectors(rng, documents).astype(np.float16 if half else np.float32)
    queries = _vectors(rng, 3)
    allowed = rng.random(documents) < share
    excluded = [rng.choice(documents, size=rng.integers(0, documents + 1), replace=False) for _ in queries]
    shards = [vectors[start : start + shard] for start in range(0, documents, shard)]
    largest = float(np.linalg.norm(vectors.astype(np.float32), axis=1).max())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BLOCK_ROWS", 7)
        found = top_rows(shards, queries, k=k, allowed=allowed, excluded_rows=excluded, largest_norm=largest)
        for query, banned, best in zip(queries, excluded, found, strict=True):
            left = np.setdiff1d(np.flatnonzero(allowed), banned)
            scores = exact_scores(query, vectors[left])
            cut = np.sort(scores)[-k:].min(initial=np.inf)
            wanted = [(row, score) for row, score in zip(left, scores, strict=True) if score >= cut]
            assert list(zip(best.rows, best.scores, strict=True)) == wanted


def test_one_by_one_is_all_at_once_to_the_last_bit():
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((500, 33)).astype(np.float32)
    index = ExactIndex([vectors], [str(row) for row in range(500)])
    queries = rng.standard_normal((20, 33)).astype(np.float32)
    _same(index.search(queries, k=100), [index.search(query[None], k=100)[0] for query in queries])


def test_no_documents_bring_no_hits():
    assert ExactIndex([], []).search(np.ones((1, 3), np.float32), k=2)[0].ids == ()


def test_the_size_is_that_of_the_vectors():
    assert ExactIndex([np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)], ["a", "b", "c"]).nbytes == 36


_ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("shards", "ids", "message"),
    [
        ([_ONES], ["a"], r"\b2\b.*\b1\b"),
        ([_ONES, np.ones((1, 4), np.float32)], ["a", "b", "c"], r"\(2, 3\).*\(1, 4\)"),
        ([np.ones(2, np.float32)], ["a", "b"], r"\(2,\).*\(N, D\)"),
        ([_ONES], ["a", "a"], r"'a'.*\bunique\b"),
        ([_ONES * np.nan], ["a", "b"], r"\bdocument\b.*\bNaN\b"),
        ([_ONES * np.inf], ["a", "b"], r"\bdocument\b.*\binf"),
    ],
)
def test_bad_documents_are_named(shards, ids, message):
    with pytest.raises(InputError, match=message):
        ExactIndex(shards, ids)


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        (np.ones((1, 4), np.float32), {"k": 1}, r"\(1, 4\)"),
        (np.ones(3, np.float32), {"k": 1}, r"\(3,\)"),
        (_ONES, {"k": 0}, r"\bk\b.*\b0\b"),
        (_ONES, {"k": 1, "excluded_ids": [[]]}, r"\b2\b.*\b1\b"),
        (_ONES * np.nan, {"k": 1}, r"\bquery\b.*\bNaN\b"),
    ],
)
def test_bad_searches_are_named(queries, options, message):
    with pytest.raises(InputError, match=message):
        ExactIndex([_ONES], ["a", "b"]).search(queries, **options)

"""Fused retrievers add weighted shares, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.fusion import Fusion, Weighted
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import BM25, DenseRetriever


class _Fixed:
    def __init__(self, scores):
        self.scores, self.asked = scores, []

    def search(self, queries, *, k, excluded_ids=None):
        self.asked.append(k)
        bans = excluded_ids or [()] * len(queries)
        return [self._of(banned, k) for banned in bans]

    def _of(self, banned, k):
        kept = sorted(((s, i) for i, s in self.scores.items() if i not in banned), reverse=True)[:k]
        return Hits(tuple(i for _, i in kept), np.asarray([s for s, _ in kept], dtype=np.float32))


_PARTS = st.lists(
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(-4, 4).map(float), max_size=6), min_size=2, max_size=3
)


@given(parts=_PARTS, weights=st.lists(st.sampled_from([0.25, 1.0, 3.0]), min_size=3, max_size=3), k=st.integers(1, 8))
def test_rank_fusion_is_its_formula(parts, weights, k):
    hybrid = Fusion([Weighted(_Fixed(s), w) for s, w in zip(parts, weights, strict=False)], fusion="ranks")
    expected = {}
    for scores, weight in zip(parts, weights, strict=False):
        for rank, identity in enumerate(_Fixed(scores)._of((), 99).ids, start=1):
            expected[identity] = expected.get(identity, 0.0) + weight / (60 + rank)
    _check(hybrid, expected, k)


@given(parts=_PARTS, weights=st.lists(st.sampled_from([0.25, 1.0, 3.0]), min_size=3, max_size=3), k=st.integers(1, 8))
def test_score_fusion_scales_each_part_to_one(parts, weights, k):
    hybrid = Fusion([Weighted(_Fixed(s), w) for s, w in zip(parts, weights, strict=False)])
    expected = {}
    for scores, weight in zip(parts, weights, strict=False):
        low, high = min(scores.values(), default=0), max(scores.values(), default=0)
        for identity, score in scores.items():
            share = (score - low) / (high - low) if high > low else 1.0
            expected[identity] = expected.get(identity, 0.0) + weight * share
    _check(hybrid, expected, k)


def _check(hybrid, expected, k):
    hits = hybrid.search(["q"], k=k)[0]
    ordered = sorted(((np.float32(score), identity) for identity, score in expected.items()), reverse=True)[:k]
    assert list(hits.ids) == [identity for _, identity in ordered]
    np.testing.assert_allclose(hits.scores, [score for score, _ in ordered], rtol=1e-6)


def test_exclusions_and_depth_reach_every_part():
    parts = [_Fixed({"a": 2.0, "b": 1.0}), _Fixed({"a": 1.0, "c": 2.0})]
    hybrid = Fusion(parts, depth=7)
    found = hybrid.search(["q", "r"], k=3, excluded_ids=[["a"], []])
    assert [sorted(hits.ids) for hits in found] == [["b", "c"], ["a", "b", "c"]]
    hybrid.search(["q"], k=9)
    assert [part.asked for part in parts] == [[7, 9], [7, 9]]
    assert isinstance(hybrid, Retriever)


def test_a_heavy_part_decides_and_usage_is_the_sum(letter_embedder):
    documents = [Document("a", "moon moon"), Document("b", "tide"), Document("c", "m" * 12)]
    bm25, dense = BM25(documents), DenseRetriever(letter_embedder(), documents)
    for weights, best in [((9.0, 1.0), "a"), ((1.0, 9.0), "c")]:
        hybrid = Fusion([Weighted(part, weight) for part, weight in zip((bm25, dense), weights, strict=True)])
        assert hybrid.search(["moom moon"], k=1)[0].ids == (best,)
    usage = hybrid.usage()
    assert usage.index_bytes == bm25.usage().index_bytes + dense.usage().index_bytes
    assert usage.encoding_seconds == dense.usage().encoding_seconds
    assert usage.llm_calls is None


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        (1, {}, r"\b1\b.*\btwo\b"),
        (2, {"fusion": "votes"}, r"\bfusion\b.*'votes'.*\branks, scores\b"),
        (2, {"depth": 0}, r"\bdepth\b.*\b0\b"),
    ],
)
def test_bad_settings_are_named(parts, options, message):
    with pytest.raises(InputError, match=message):
        Fusion([Weighted(_Fixed({}))] * parts, **options)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_above_nothing_is_refused(weight):
    with pytest.raises(InputError, match=rf"\bweight\b.*{weight}"):
        Fusion([Weighted(_Fixed({})), Weighted(_Fixed({}), weight)])


class _WithDocuments(_Fixed):
    def _of(self, banned, k):
        hits = super()._of(banned, k)
        return Hits(hits.ids, hits.scores, tuple(Document(identity, identity.upper()) for identity in hits.ids))


def test_documents_are_carried_through_where_each_is_known():
    first, second = {"a": 2.0, "b": 1.0}, {"a": 1.0, "c": 2.0}
    (both,) = Fusion([_WithDocuments(first), _WithDocuments(second)]).search(["q"], k=3)
    assert {hit.id: hit.document.content for hit in both} == {"a": "A", "b": "B", "c": "C"}
    (half,) = Fusion([_WithDocuments(first), _Fixed(second)]).search(["q"], k=3)
    assert half.documents is None
    assert half.ids == both.ids
    (known,) = Fusion([_WithDocuments(first), _Fixed({"b": 1.0, "a": 0.5})]).search(["q"], k=2)
    assert [document.content for document in known.documents] == [identity.upper() for identity in known.ids]

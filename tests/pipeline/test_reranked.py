"""A retriever with a reranker behind it: nothing is lost, nothing invented, and what is not reranked stays behind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.pipeline.reranked import InterpolatedReranker, RerankedRetriever
from reasonembed_rag.protocols import Metered, Reranker, Retriever, Usage

_DOCUMENTS = {name: Document(name, f"text of {name}") for name in "abcdefgh"}


class _Fixed:
    """Finds the letters in the order of the query."""

    def __init__(self, *, bare=False):
        self.bare = bare

    def search(self, queries, *, k, excluded_ids=None):
        bans = excluded_ids or [()] * len(queries)
        return [
            self._of([name for name in query if name not in banned][:k])
            for query, banned in zip(queries, bans, strict=True)
        ]

    def _of(self, names):
        documents = None if self.bare else tuple(_DOCUMENTS[name] for name in names)
        return Hits(tuple(names), np.arange(len(names), 0, -1), documents)

    def usage(self):
        return Usage(query_tokens=3, llm_calls=1)


class _ByLetter:
    """Ranks by letter, and gives each its place from the end as a score."""

    def __init__(self, scores=None, error=None):
        self.scores, self.error, self.seen = scores, error, []

    def rerank(self, queries, hits, *, k=None):
        self.seen += [one.ids for one in hits]
        if self.error is not None:
            raise self.error
        return [self._of(one)[:k] for one in hits]

    def _of(self, hits):
        score_of = self.scores or {name: float(-ord(name)) for name in hits.ids}
        return Hits.ranked(Hit(hit.id, score_of[hit.id], hit.document) for hit in hits)

    def usage(self):
        return Usage(llm_calls=2, llm_tokens=10)


def test_the_first_are_reranked_and_the_others_stay_behind_in_their_order():
    retriever = RerankedRetriever(_Fixed(), _ByLetter(), depth=3)
    (hits,) = retriever.search(["hgfbac"], k=6)
    assert hits.ids == tuple("fghbac")
    assert [document.id for document in hits.documents] == list(hits.ids)
    assert list(hits) == list(Hits.ranked(hits))
    assert retriever.search(["hgfbac"], k=2)[0].ids == tuple("fg")
    assert isinstance(retriever, Retriever)
    assert isinstance(retriever, Metered)
    assert retriever.usage() == Usage(query_tokens=3, llm_calls=3, llm_tokens=10)


@given(st.permutations("abcdefgh"), st.integers(1, 10), st.integers(1, 10), st.sets(st.sampled_from("abcdefgh")))
def test_it_returns_the_retriever_s_hits_without_the_excluded_ones(order, depth, k, banned):
    query = "".join(order)
    kept = [name for name in order if name not in banned]
    (hits,) = RerankedRetriever(_Fixed(), _ByLetter(), depth=depth).search([query], k=k, excluded_ids=[banned])
    assert hits.ids == tuple([*sorted(kept[:depth]), *kept[depth:]][:k])
    assert Hits.ranked(hits).ids == hits.ids


def test_documents_are_looked_up_where_the_hits_have_none():
    for lookup in (_DOCUMENTS, _DOCUMENTS.__getitem__):
        (hits,) = RerankedRetriever(_Fixed(bare=True), _ByLetter(), documents=lookup).search(["ba"], k=2)
        assert hits.documents == (_DOCUMENTS["a"], _DOCUMENTS["b"])


@pytest.mark.parametrize(("lookup", "said"), [(None, "documents="), ({"a": _DOCUMENTS["a"]}, "'b'")])
def test_hits_without_documents_are_refused_before_anything_is_reranked(lookup, said):
    reranker = _ByLetter()
    with pytest.raises(InputError, match=said):
        RerankedRetriever(_Fixed(bare=True), reranker, documents=lookup).search(["a", "ba"], k=2)
    assert not reranker.seen


def test_a_reranker_that_loses_a_hit_is_refused():
    class Loses(_ByLetter):
        def _of(self, hits):
            return hits[1:]

    with pytest.raises(InputError, match="Loses"):
        RerankedRetriever(_Fixed(), Loses()).search(["abc"], k=3)


def test_a_chat_model_that_is_gone_is_an_error_unless_the_first_order_is_to_be_kept(caplog):
    gone = _ByLetter(error=ChatError("no such model"))
    with pytest.raises(ChatError, match="no such model"):
        RerankedRetriever(_Fixed(), gone).search(["cba"], k=3)
    kept = RerankedRetriever(_Fixed(), gone, fall_back=True)
    assert [hits.ids for hits in kept.search(["cba", "b"], k=2)] == [("c", "b"), ("b",)]
    kept.search(["a"], k=2)
    assert kept.fallbacks == 3
    assert [record.message for record in caplog.records] == ["reranking is left out: no such model"]


def test_interpolation_scales_both_scores_and_mixes_them():
    hits = [_hits({"a": 0.9, "b": 0.5, "c": 0.1})]
    reranker = _ByLetter({"a": 10.0, "b": 40.0, "c": 20.0})
    (mixed,) = InterpolatedReranker(reranker, weight=0.25).rerank(["?"], hits)
    assert dict(zip(mixed.ids, mixed.scores.tolist(), strict=True)) == pytest.approx(
        {"a": 0.75, "b": 0.625, "c": 0.25 / 3}
    )
    assert mixed.ids == ("a", "b", "c")
    assert InterpolatedReranker(reranker, weight=1.0).rerank(["?"], hits, k=2)[0].ids == ("b", "c")
    assert InterpolatedReranker(reranker, weight=0.0).rerank(["?"], hits)[0].ids == ("a", "b", "c")
    assert isinstance(InterpolatedReranker(reranker), Reranker)
    assert InterpolatedReranker(reranker).usage() == reranker.usage()


def test_equal_scores_count_as_one_and_ties_go_by_id():
    (mixed,) = InterpolatedReranker(_ByLetter({"a": 5.0, "b": 5.0})).rerank(["?"], [_hits({"a": 1.0, "b": 1.0})])
    assert (mixed.ids, mixed.scores.tolist()) == (("b", "a"), [1.0, 1.0])
    assert [len(hits) for hits in InterpolatedReranker(_ByLetter()).rerank(["?"], [_hits({})])] == [0]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_is_a_share(weight):
    with pytest.raises(InputError, match="weight"):
        InterpolatedReranker(_ByLetter(), weight=weight)


def test_a_depth_is_at_least_one():
    with pytest.raises(InputError, match="depth is 0"):
        RerankedRetriever(_Fixed(), _ByLetter(), depth=0)


def _hits(scores):
    return Hits.ranked(Hit(name, score, _DOCUMENTS[name]) for name, score in scores.items())

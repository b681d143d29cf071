"""BM25 equals its formula, whatever the index does to be fast."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import bm25
from reasonembed_rag.retrieval.analyzer import EnglishAnalyzer
from reasonembed_rag.retrieval.bm25 import BM25

_WORDS = st.sampled_from(
    ["list", "lists", "calls", "grow", "value", "évalué", "3.14", "the", "moon's", "Tides", "水", "x_y"]
)
_TEXTS = st.lists(_WORDS, max_size=8).map(" ".join)


def _brute_force(texts, query, *, variant, k1, b):
    """Write the formula down once more, term by term."""
    analyzer = EnglishAnalyzer()
    documents = [Counter(analyzer.terms(text)) for text in texts]
    average = sum(sum(document.values()) for document in documents) / len(documents)
    frequency = Counter(term for document in documents for term in document)
    asked = Counter(term for term in analyzer.terms(query) if term in frequency)

    def weight(term, count, length):
        idf = math.log((len(texts) + 1) / (frequency[term] + 0.5))
        return idf * count / (count + k1 * (1 - b + b * length / average))

    def score(document):
        total = 0.0
        for term in asked.keys() & document.keys():
            on_query = weight(term, asked[term], asked.total()) if variant == "query-side" else asked[term]
            total += on_query * weight(term, document[term], document.total())
        return total

    return [score(document) for document in documents]


def _documents(texts):
    return [Document(f"d{number:02}", text) for number, text in enumerate(texts)]


@given(
    texts=st.lists(_TEXTS, min_size=1, max_size=12),
    query=_TEXTS,
    variant=st.sampled_from(["bag-of-words", "query-side"]),
    k1=st.floats(0.0, 3.0),
    b=st.floats(0.0, 1.0),
)
def test_every_score_is_the_formula_s(texts, query, variant, k1, b):
    index = BM25(_documents(texts), variant=variant, k1=k1, b=b)
    expected = _brute_force(texts, query, variant=variant, k1=k1, b=b)
    np.testing.assert_allclose(index.score_all(query), expected, rtol=1e-6, atol=1e-12)


@given(texts=st.lists(_TEXTS, min_size=1, max_size=12), query=_TEXTS, k=st.integers(1, 6), data=st.data())
def test_search_is_all_scores_sorted_with_exclusions_taken_out_before_the_cut(texts, query, k, data):
    documents = _documents(texts)
    index = BM25(documents)
    excluded = data.draw(st.sets(st.sampled_from([document.id for document in documents] + ["unknown"])))
    scores = index.score_all(query).astype(np.float32)
    kept = [(s, d.id) for s, d in zip(scores, documents, strict=True) if s > 0 and d.id not in excluded]
    hits = index.search([query], k=k, excluded_ids=[excluded])[0]
    assert list(zip(hits.scores, hits.ids, strict=True)) == sorted(kept, reverse=True)[:k]


@settings(max_examples=20)
@given(texts=st.lists(_TEXTS, min_size=1, max_size=12), query=_TEXTS)
def test_counting_in_blocks_changes_nothing(texts, query):
    whole = BM25(_documents(texts)).score_all(query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bm25, "_BLOCK_TOKENS", 3)
        np.testing.assert_array_equal(BM25(_documents(texts)).score_all(query), whole)


def test_many_queries_are_one_by_one():
    index = BM25(_documents(["tides and moons", "list of calls", "default values"]))
    queries, excluded = ["moon", "call", "none"], [["d00"], [], []]
    together = index.search(queries, k=2, excluded_ids=excluded)
    for query, banned, hits in zip(queries, excluded, together, strict=True):
        alone = index.search([query], k=2, excluded_ids=[banned])[0]
        assert (alone.ids, alone.scores.tolist()) == (hits.ids, hits.scores.tolist())


def test_equal_scores_go_to_the_larger_id_at_the_cut():
    index = BM25([Document(identity, "tide") for identity in ("b", "a", "c")])
    assert index.search(["tides"], k=2)[0].ids == ("c", "b")


def test_a_document_without_a_shared_term_is_not_found():
    index = BM25(_documents(["tide", "moon"]))
    assert index.search(["moon"], k=5)[0].ids == ("d01",)
    assert index.search(["sun"], k=5)[0].ids == ()


def test_bm25_is_a_retriever():
    assert isinstance(BM25(_documents(["tide"])), Retriever)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"documents": []}, r"\bdocuments\b"),
        ({"documents": [Document("a", "x"), Document("a", "y")]}, r"'a'.*\bunique\b"),
        ({"variant": "bm42"}, r"\bvariant\b.*'bm42'.*\bbag-of-words, query-side\b"),
        ({"k1": -1.0}, r"\bk1\b.*-1\.0\b"),
        ({"b": 1.5}, r"\bb\b.*\b1\.5\b"),
        ({"k1": math.nan}, r"\bk1\b.*\bnan\b"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        BM25(**{"documents": _documents(["tide"]), **arguments})


@pytest.mark.parametrize(("k", "excluded", "message"), [(0, None, r"\bk\b.*\b0\b"), (1, [[], []], r"\b1\b.*\b2\b")])
def test_bad_searches_are_named(k, excluded, message):
    with pytest.raises(InputError, match=message):
        BM25(_documents(["tide"])).search(["tide"], k=k, excluded_ids=excluded)


def test_without_pystemmer_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "Stemmer", None)
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[eval\]"):
        BM25(_documents(["tide"]))

"""Poisoned copies of a corpus and attack success, against counting by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval import BM25, DenseRetriever
from reasonembed_rag.robustness.poison import (
    CachedEmbedder,
    attack_success,
    poisoned_copy,
    poisoned_rag,
    random_texts,
    success_rates,
)


def by_hand(bag, queries, documents, poison, k, *, excluded=()):
    """Count the queries whose k best inner products hold one of the passages."""
    kept = [document for document in documents if document.id not in excluded]
    found = 0
    for query in queries:
        vector = bag.encode_queries([query])[0]
        honest = sorted(bag.encode_documents([document.content for document in kept]) @ vector, reverse=True)
        best = max(bag.encode_documents(list(poison)) @ vector)
        found += sum(score > best for score in honest) < k
    return found / len(queries)


def test_success_is_the_share_of_queries_with_a_passage_among_the_best(bag, task):
    queries = [example.query for example in task.examples]
    poison = [" ".join(queries[0].split()[:6]), " ".join(bag.words[:5])]
    rates = attack_success(bag, queries, task.documents, poison, ks=(1, 5, 20, 152))
    assert rates == {k: by_hand(bag, queries, task.documents, poison, k) for k in (1, 5, 20, 152)}
    assert rates[152] == 1.0
    assert rates[1] < rates[20]


def test_the_cutoff_counts_places_from_one():
    hits = [Hits(("a", "b", "x"), np.zeros(3, np.float32)), Hits(("y", "a"), np.zeros(2, np.float32)), Hits((), [])]
    assert success_rates(hits, ["x", "y"], ks=(1, 2, 3)) == {1: 1 / 3, 2: 1 / 3, 3: 2 / 3}


def test_excluded_documents_make_room_for_poison(bag, task):
    queries = [example.query for example in task.examples]
    poison = [queries[3][:30]]
    excluded = [document.id for document in task.documents[:100]]
    rates = attack_success(bag, queries, task.documents, poison, ks=(5,), excluded_ids=[excluded] * len(queries))
    assert rates == {5: by_hand(bag, queries, task.documents, poison, 5, excluded=excluded)}


def test_any_index_can_be_attacked_and_the_original_is_not_touched(task):
    before = copy.deepcopy(task.documents)
    made = []

    def build(documents):
        made.append(documents)
        return BM25(documents)

    queries = [example.query for example in task.examples[:5]]
    assert attack_success(build, queries, task.documents, [queries[0]], ks=(1,)) == {1: 0.2}
    assert task.documents == before
    assert len(made) == 1
    assert made[0] is not task.documents
    assert made[0][: len(before)] == list(before)


def test_a_finished_retriever_cannot_be_attacked(bag, task):
    retriever = DenseRetriever(bag, task.documents)
    with pytest.raises(InputError, match=r"\bDenseRetriever\b.*\bembedder\b"):
        attack_success(retriever, ["a"], task.documents, ["b"])


def test_passages_have_ids_that_no_document_has():
    documents = [Document("poison/0", "a"), Document("b", "b")]
    poisoned = poisoned_copy(documents, ["x", "y"])
    assert len({document.id for document in poisoned}) == 4
    assert [document.content for document in poisoned] == ["a", "b", "x", "y"]


@pytest.mark.parametrize(
    ("queries", "poison", "ks", "message"),
    [
        ([], ["x"], (5,), r"\bqueries\b"),
        (["q"], [], (5,), r"\badversarial\b"),
        (["q"], ["x"], (), r"\bks\b.*\(\)"),
        (["q"], ["x"], (0, 5), r"\bks\b.*\(0, 5\)"),
    ],
)
def test_an_attack_without_queries_passages_or_cutoffs_is_refused(bag, task, queries, poison, ks, message):
    with pytest.raises(InputError, match=message):
        attack_success(bag, queries, task.documents, poison, ks=ks)


def test_poisoned_rag_puts_each_query_before_each_of_its_texts():
    assert poisoned_rag(["q", "r"], [["x", "y"], ["z"]]) == ("q x", "q y", "r z")
    with pytest.raises(InputError, match=r"\b1\b.*\b2\b"):
        poisoned_rag(["q"], [["x"], ["y"]])


def test_random_texts_are_the_corpus_s_words_in_number_and_repeatable(task):
    texts = random_texts(task.documents, count=7, words=13)
    words = {word for document in task.documents for word in document.content.split()}
    assert len(texts) == len(set(texts)) == 7
    assert all(len(text.split()) == 13 and set(text.split()) <= words for text in texts)
    assert texts == random_texts(task.documents, count=7, words=13)
    assert texts != random_texts(task.documents, count=7, words=13, seed=1)
    with pytest.raises(EvaluationError, match=r"\bcorpus\b"):
        random_texts([Document("a", " ")], count=1, words=1)


def test_kept_vectors_are_the_embedders_and_are_made_once(make_embedder):
    words = make_embedder()
    kept = CachedEmbedder(words)
    texts = ["a b", "c", "a b", "d"]
    for encode in (kept.encode_documents, kept.encode_queries, lambda one: kept.encode_queries(one, instruction="i")):
        first, again = encode(texts[:3]), encode(texts)
        assert np.array_equal(again[:3], first)
    asked = [texts for _, texts in words.calls]
    assert asked == [["a b", "c"], ["d"]] * 3
    assert np.array_equal(kept.encode_documents(texts), words.encode_documents(texts))
    assert np.array_equal(kept.encode_queries(texts, instruction="i"), words.encode_queries(texts, instruction="i"))
    assert kept.encode_documents([]).shape == (0, words.dimension)

"""The hubness scan: shares counted by hand, poison found first, clean results restored."""

from __future__ import annotations

import numpy as np
import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.hubness import count_hubs, ranks_of, robust_z, scan_hubs
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_rag.robustness import hotflip, poisoned_copy


def hits(*lists: str) -> list[Hits]:
    return [Hits(tuple(ids), np.zeros(len(ids), np.float32)) for ids in lists]


def test_shares_count_the_queries_that_hold_a_document_among_their_best():
    scan = count_hubs(hits("abc", "bad", "bzz", "cab"), k=2, documents=6)
    assert [(hub.id, hub.share) for hub in scan.hubs] == [("a", 0.75), ("b", 0.75), ("c", 0.25), ("z", 0.25)]
    assert ranks_of(scan, ["b", "z", "d"]) == (2, 4, None)


def test_the_z_score_is_taken_over_all_documents_found_or_not():
    shares = np.asarray([0.75, 0.75, 0.25, 0.25, 0.0, 0.0])
    expected = (shares - 0.25) / (1.4826 * 0.25)
    scan = count_hubs(hits("ab", "ba", "bz", "ca"), k=2, documents=6)
    assert [hub.z for hub in scan.hubs] == pytest.approx(expected[:4])
    assert scan.flagged(z=1.3, share=0.7) == ("a", "b")
    assert scan.flagged(z=1.4, share=0.7) == ()
    assert scan.flagged(z=0.0, share=0.8) == ()


def test_where_most_documents_are_never_found_the_mean_deviation_stands_in():
    values = np.asarray([0.0] * 9 + [1.0])
    assert robust_z(values)[-1] == pytest.approx(1.0 / (1.2533 * 0.1))
    assert robust_z(np.full(4, 0.3)).tolist() == [0.0] * 4
    assert robust_z(np.empty(0)).tolist() == []


def test_a_scan_without_queries_is_refused(bag, task):
    with pytest.raises(InputError, match=r"\breference\b"):
        scan_hubs(DenseRetriever(bag, task.documents), [], task.documents)


def test_poison_comes_first_and_its_removal_restores_clean_results_exactly(large_bag, large_task):
    queries = [example.query for example in large_task.examples]
    poison = hotflip(large_bag, queries[::2], large_task.documents, passages=6, tokens=15, steps=60)
    poisoned = poisoned_copy(large_task.documents, poison.texts)
    retriever = DenseRetriever(large_bag, poisoned)
    scan = scan_hubs(retriever, queries[1::2], poisoned, k=3)
    own = [document.id for document in poisoned[-6:]]
    assert sorted(ranks_of(scan, own)) == [1, 2, 3, 4, 5, 6]
    first = [hub.id for hub in scan.hubs[:6]]
    clean = DenseRetriever(large_bag, large_task.documents).search(queries, k=20)
    restored = retriever.search(queries, k=20, excluded_ids=[first] * len(queries))
    assert [found.ids for found in restored] == [found.ids for found in clean]
    assert all(np.array_equal(one.scores, other.scores) for one, other in zip(restored, clean, strict=True))
    assert [found.ids for found in retriever.search(queries, k=20)] != [found.ids for found in clean]

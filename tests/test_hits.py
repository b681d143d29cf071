"""Hits behave as the sequence that they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag import Document, Hit, Hits
from reasonembed_rag.errors import InputError

_DOCUMENTS = tuple(Document(name, name * 2) for name in "abc")
_HITS = Hits(("a", "b", "c"), np.float32([0.5, 0.25, 0.125]), _DOCUMENTS)
_BARE = Hits(("a", "b", "c"), np.float32([0.5, 0.25, 0.125]))


def test_iterating_gives_each_hit_with_its_document_where_it_is_known():
    assert list(_HITS) == [
        Hit("a", 0.5, _DOCUMENTS[0]),
        Hit("b", 0.25, _DOCUMENTS[1]),
        Hit("c", 0.125, _DOCUMENTS[2]),
    ]
    assert list(_BARE) == [Hit("a", 0.5), Hit("b", 0.25), Hit("c", 0.125)]
    assert all(type(hit.score) is float for hit in _BARE)


@pytest.mark.parametrize("hits", [_HITS, _BARE])
def test_positions_slices_and_subsets_are_those_of_the_list_of_hits(hits):
    listed = list(hits)
    assert len(hits) == 3
    assert [hits[0], hits[-1]] == [listed[0], listed[-1]]
    assert type(hits[1].score) is float
    assert list(hits[1:]) == listed[1:]
    assert list(hits[:0]) == list(hits.take([])) == []
    assert list(hits.take([2, 0])) == [listed[2], listed[0]]


def test_hits_are_equal_by_ids_scores_and_documents():
    again = Hits(_HITS.ids, _HITS.scores.copy(), _HITS.documents)
    assert again == _HITS
    assert _HITS[:2] != _HITS
    assert _HITS != _BARE
    assert Hits(("a",), [1.0]) != Hits(("b",), [1.0])
    assert Hits(("a",), [1.0]) != Hits(("a",), [0.5])
    assert Hits((), []) == Hits((), np.empty(0, np.float32))
    assert _BARE != ["a", "b", "c"]


def test_scores_become_float32():
    assert Hits(("a",), [0.1]).scores.dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((("a", "b"), [1.0]), r"\b2\b.*\(1,\)"),
        ((("a",), [[1.0]]), r"\b1\b.*\(1, 1\)"),
        ((("a",), [1.0], _DOCUMENTS), r"\b1\b.*\b3\b"),
    ],
)
def test_lengths_that_differ_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Hits(*fields)


@given(st.data())
def test_a_new_order_is_the_one_that_sorting_by_score_and_id_gives(data):
    ids = data.draw(st.lists(st.text("ab", min_size=1, max_size=3), unique=True, max_size=12))
    order = data.draw(st.permutations(range(len(ids))))
    scores = data.draw(st.lists(st.sampled_from([0.0, 1.0, 1.0 - 1e-7, 50.0, np.nan, np.inf]), max_size=len(ids)))
    hits = Hits(tuple(ids), np.zeros(len(ids)), tuple(Document(name, name) for name in ids)).reordered(order, scores)
    assert hits.ids == tuple(ids[position] for position in order)
    assert [document.id for document in hits.documents] == list(hits.ids)
    assert list(hits) == list(Hits.ranked(hits))
    written = [Hit(hit.id, float(f"{hit.score:.7g}")) for hit in hits]
    assert Hits.ranked(written).ids == hits.ids


def test_a_new_order_keeps_scores_that_rank_it():
    again = _HITS.reordered([1, 2, 0], [3.0, 2.0, 1.0])
    assert (again.ids, again.scores.tolist()) == (("b", "c", "a"), [3.0, 2.0, 1.0])
    tied = _HITS.reordered([2, 1, 0], [3.0, 3.0, 3.0])
    assert tied.scores.tolist() == [3.0, 3.0, 3.0]
    assert _HITS.reordered([1, 0], [7.0]).scores[1] == pytest.approx(7.0, abs=1e-4)

"""Rows from grades: thresholds, order, what is no row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_training.remixer.cards import load_card
from reasonembed_training.remixer.config import RowConfig
from reasonembed_training.remixer.records import GeneratedQuery, JudgedCandidates, aligned
from reasonembed_training.remixer.rows import make_row

CARD = load_card("pony")
QUERY = GeneratedQuery(id="pony/s", source_id="s", query="why", length="<100", education="PhD")


def _make(grades: list[int], **config):
    documents = {f"d{number}": Document(f"d{number}", f"text {number}") for number in range(len(grades))}
    judged = JudgedCandidates(id=QUERY.id, ids=tuple(documents), grades=tuple(grades))
    documents["s"] = Document("s", "the source")
    return make_row(CARD, QUERY, judged, documents, RowConfig(**config), reasoning_query="thoughts")


def test_grades_from_the_threshold_on_are_positives_in_the_retrievers_order():
    row = _make([2, 3, 5, 1, 4]).record
    assert (row.pos_ids, row.pos_scores, row.pos) == (("d1", "d2", "d4"), (3, 5, 4), ("text 1", "text 2", "text 4"))
    assert (row.neg_ids, row.neg_scores, row.neg) == (("d0", "d3"), (2, 1), ("text 0", "text 3"))
    assert (row.prompt, row.task, row.train_group_size, row.batch_size) == (CARD.instruction, "pony", 64, 2)
    assert (row.id, row.source_id, row.query, row.reasoning_query) == ("pony/s", "s", "why", "thoughts")
    assert row.excluded == ("the source",)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1), st.sampled_from([(1, 2), (1, 5), (2, 3), (2, 4), (3, 5), (4, 5)]))
def test_every_grade_is_a_positive_a_negative_or_counted_as_neither(grades: list[int], cuts: tuple[int, int]):
    low, high = cuts
    outcome = _make(grades, negative_to=low, positive_from=high)
    positives, negatives = sum(grade >= high for grade in grades), sum(grade <= low for grade in grades)
    assert (outcome.record is not None) == (positives > 0 and negatives > 0)
    if outcome.record is not None:
        assert (len(outcome.record.pos), len(outcome.record.neg)) == (positives, negatives)
    between = len(grades) - positives - negatives
    assert outcome.drops.get("grade between positive and negative", 0) == between


@pytest.mark.parametrize(("grades", "reason"), [([1, 2], "no positive"), ([3, 5], "no negative")])
def test_a_query_with_only_one_kind_makes_no_row(grades, reason):
    outcome = _make(grades)
    assert (outcome.record, outcome.drops) == (None, {reason: 1})


@pytest.mark.parametrize("cuts", [(3, 3), (0, 3), (2, 6), (4, 3)])
def test_thresholds_that_overlap_are_refused(cuts):
    with pytest.raises(TrainingError, match=rf"\bpositive_from\b.*\b{cuts[1]}\b.*\bnegative_to\b.*\b{cuts[0]}\b"):
        RowConfig(negative_to=cuts[0], positive_from=cuts[1])


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=20))
def test_records_with_some_left_out_are_aligned_by_id(kept: list[bool]):
    queries = [
        GeneratedQuery(id=str(n), source_id="s", query="q", length="<100", education="e") for n in range(len(kept))
    ]
    others = [
        JudgedCandidates(id=query.id, ids=(), grades=()) for query, keep in zip(queries, kept, strict=True) if keep
    ]
    pairs = list(aligned(queries, others))
    assert [query for query, _ in pairs] == queries
    assert [other.id if other else None for _, other in pairs] == [
        query.id if keep else None for query, keep in zip(queries, kept, strict=True)
    ]

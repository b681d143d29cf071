"""Slices part the judged queries and show where a system fails."""

import sys

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation.slices import QuerySlice, slices_of
from reasonembed_rag.evaluation.task import Example, RetrievalTask

_EXAMPLES = (
    Example("1", "tide", ("t",), extra={"reasoning_type": "causal"}),
    Example("2", "why do the tides rise", ("t", "m"), extra={"reasoning_type": "causal"}),
    Example("3", "which list grows between calls of one function", ("l",), extra={"reasoning_type": "deductive"}),
    Example("unjudged", "nothing", ()),
)
_TASK = RetrievalTask(
    "toy", None, (Document("t", "a tide"), Document("m", "the moon"), Document("l", "defaults are shared")), _EXAMPLES
)


def _by(task, by, values):
    return [(part.level, part.queries, part.mean) for part in slices_of(task, values) if part.by == by]


def test_queries_are_parted_by_length_gold_overlap_and_type():
    values = {"1": 1.0, "2": 0.5}
    assert _by(_TASK, "words in the query", values) == [("up to 1", 1, 1.0), ("to 5", 1, 0.5), ("over 5", 1, 0.0)]
    assert _by(_TASK, "gold documents", values) == [("1", 2, 0.5), ("2 to 3", 1, 0.5)]
    assert _by(_TASK, "query words in gold", values) == [("up to 0%", 1, 0.0), ("to 25%", 1, 0.5), ("over 25%", 1, 1.0)]
    assert _by(_TASK, "reasoning type", values) == [("causal", 2, 0.75), ("deductive", 1, 0.0)]


def test_every_cut_holds_each_judged_query_once():
    parts = slices_of(_TASK, {})
    for by in {part.by for part in parts}:
        assert sum(part.queries for part in parts if part.by == by) == 3


def test_a_cut_that_parts_nothing_is_left_out():
    same = tuple(Example(str(n), "one two", ("t",)) for n in range(4))
    assert slices_of(RetrievalTask("toy", None, _TASK.documents, same), {}) == ()


def test_without_documents_or_stemmer_there_is_no_overlap(monkeypatch):
    without = RetrievalTask("toy", None, (), _EXAMPLES)
    assert _by(without, "query words in gold", {}) == []
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    assert _by(_TASK, "query words in gold", {}) == []
    assert _by(_TASK, "gold documents", {}) != []


@pytest.mark.parametrize(("gold", "level"), [(1, "1"), (3, "2 to 3"), (4, "4 to 7"), (7, "4 to 7"), (8, "8 or more")])
def test_bands_of_gold_have_whole_borders(gold, level):
    others = 1 if gold > 1 else 5
    examples = tuple(Example(name, "q", tuple(map(str, range(n)))) for name, n in [("a", gold), ("b", others)])
    parts = slices_of(RetrievalTask("toy", None, (), examples), {"a": 1.0})
    assert QuerySlice("gold documents", level, 1, 1.0) in parts

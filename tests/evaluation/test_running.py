"""Retrievers are asked fairly, and what they get wrong is named."""

import re

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.run import RunOptions, run_retriever
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.hits import Hits

_TASK = RetrievalTask(
    "toy",
    None,
    tuple(Document(identity, identity * 2) for identity in "abcdef"),
    tuple(Example(str(n), f"question {n}", ("a",), ("f",) if n == 1 else ()) for n in range(7)),
)


class _Scripted:
    """Return the same hits for every query but one, which gets its own or raises."""

    def __init__(self, at=None, odd=None):
        self.at, self.odd = at, odd
        self.calls = []

    def search(self, queries, *, k, excluded_ids=None):
        self.calls.append((list(queries), k, [list(ids) for ids in excluded_ids]))
        if isinstance(self.odd, Exception) and self.at in queries:
            raise self.odd
        return [self.odd if query == self.at else Hits(("a", "b"), np.asarray([2, 1], "f")) for query in queries]


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (100, [7])])
def test_every_query_is_asked_once_with_its_exclusions_and_timed_where_it_is_alone(batch_size, sizes):
    retriever = _Scripted()
    run = run_retriever(retriever, _TASK, options=RunOptions(k=3, batch_size=batch_size))
    assert [len(queries) for queries, _, _ in retriever.calls] == sizes
    assert [query for queries, _, _ in retriever.calls for query in queries] == [e.query for e in _TASK.examples]
    assert {k for _, k, _ in retriever.calls} == {3}
    assert [ids for _, _, lists in retriever.calls for ids in lists] == [list(e.excluded_ids) for e in _TASK.examples]
    alone = [size == 1 for size in sizes for _ in range(size)]
    assert [result.seconds is not None for result in run.results] == alone


def test_the_retriever_sees_neither_gold_nor_documents():
    retriever = _Scripted()
    run_retriever(retriever, _TASK)
    assert not any("a" in excluded for _, _, lists in retriever.calls for excluded in lists)


def test_progress_is_reported_after_each_call():
    told = []
    run_retriever(_Scripted(), _TASK, options=RunOptions(batch_size=3), progress=lambda *p: told.append(p))
    assert told == [(3, 7), (6, 7), (7, 7)]


def _hits(ids, scores):
    return Hits(tuple(ids), np.asarray(scores, dtype=np.float32))


_FAULTS = {
    "raises": (ValueError("no such index"), "ValueError: no such index"),
    "repeats": (_hits("aba", [3, 2, 1]), r"\b1\b.*\bdocument"),
    "excluded": (_hits("af", [3, 2]), "excluded"),
    "unknown": (_hits("az", [3, 2]), "corpus"),
    "nan": (_hits("ab", [3, np.nan]), "finite"),
    "too many": (_hits("abcd", [4, 3, 2, 1]), r"\b4\b.*\b3\b"),
}


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("fault", _FAULTS)
def test_a_fault_stops_the_run_at_its_query(fault, batch_size):
    odd, message = _FAULTS[fault]
    options = RunOptions(k=3, batch_size=batch_size)
    with pytest.raises(EvaluationError, match=rf"'1'.*{message}"):
        run_retriever(_Scripted("question 1", odd), _TASK, options=options)


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("fault", _FAULTS)
def test_keeping_going_reports_the_fault_and_asks_the_others(fault, batch_size):
    odd, message = _FAULTS[fault]
    options = RunOptions(k=3, batch_size=batch_size, keep_going=True)
    run = run_retriever(_Scripted("question 1", odd), _TASK, options=options)
    assert [result.id for result in run.results] == [example.id for example in _TASK.examples]
    assert re.search(message, run.results[1].problem)
    assert run.results[1].hits.ids == ()
    assert all(r.problem is None and r.hits.ids == ("a", "b") for r in run.results if r.id != "1")


def test_a_count_of_answers_other_than_that_of_queries_is_a_fault():
    class Short(_Scripted):
        def search(self, queries, *, k, excluded_ids=None):
            return super().search(queries, k=k, excluded_ids=excluded_ids)[:-1]

    with pytest.raises(EvaluationError, match=r"'0'.*EvaluationError.*\b1\b.*\b0\b"):
        run_retriever(Short(), _TASK)


def test_fewer_hits_than_asked_for_are_not_a_fault():
    assert run_retriever(_Scripted(), _TASK, options=RunOptions(k=6)).results[0].hits.ids == ("a", "b")


def test_without_a_corpus_no_id_is_unknown():
    task = RetrievalTask("toy", None, (), _TASK.examples)
    assert run_retriever(_Scripted("question 1", _hits("z", [1])), task).results[1].hits.ids == ("z",)


@pytest.mark.parametrize("bad", [{"k": 0}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(bad):
    [name] = bad
    with pytest.raises(InputError, match=rf"\b{name}\b.*\b0\b"):
        RunOptions(**bad)

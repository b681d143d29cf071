"""The gold that a context holds is counted within its budget."""

import math

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.rag import Context, evaluate_context
from reasonembed_rag.evaluation.report import System
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.protocols import Usage

_DOCUMENTS = tuple(Document(name, f"{name} " * size) for name, size in [("a", 3), ("b", 4), ("c", 5), ("d", 1)])
_BY_ID = {document.id: document for document in _DOCUMENTS}
_TASK = RetrievalTask(
    "toy", None, _DOCUMENTS, (Example("1", "first", ("a", "c")), Example("2", "second", ("d",), excluded_ids=("b",)))
)
_SYSTEM = System(name="chain", through="langchain")


class _Chain:
    def __init__(self, contexts):
        self.contexts = contexts

    def answer(self, query):
        found = self.contexts[query]
        if isinstance(found, Exception):
            raise found
        return Context(tuple(_BY_ID[name] for name in found), answer=f"answer to {query}")

    def usage(self):
        return Usage(llm_calls=2)


def _by_query(report):
    return {query.id: query for query in report.queries}


def test_a_context_is_scored_whole_without_a_budget():
    report = evaluate_context(_Chain({"first": "bac", "second": "bd"}), _TASK, system=_SYSTEM)
    first, second = report.queries
    assert (first.gold_held, first.documents, first.size, first.left_out) == (("a", "c"), 3, 12, 0)
    ideal = 1 + 1 / math.log2(3)
    assert first.ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / ideal)
    assert (first.recall, first.precision) == (1.0, pytest.approx(2 / 3))
    assert first.answer == "answer to first"
    assert (second.gold_held, second.documents, second.precision) == (("d",), 1, 1.0)
    assert (report.recall, report.size) == (1.0, 6.5)
    assert report.report.usage.llm_calls == 2
    assert report.report.system.through == "langchain"


@pytest.mark.parametrize(("budget", "held"), [(2, ""), (3, "a"), (7, "a"), (11, "a"), (12, "ac"), (99, "ac")])
def test_documents_count_in_their_order_until_one_no_longer_fits(budget, held):
    report = evaluate_context(_Chain({"first": "abc", "second": "d"}), _TASK, system=_SYSTEM, budget=budget)
    first = _by_query(report)["1"]
    assert "".join(first.gold_held) == held
    assert first.size <= budget
    assert first.documents + first.left_out == 3


def test_an_excluded_document_takes_no_part_of_the_budget():
    report = evaluate_context(_Chain({"first": "", "second": "bd"}), _TASK, system=_SYSTEM, budget=1)
    assert _by_query(report)["2"].gold_held == ("d",)


def test_another_counter_gives_another_unit():
    report = evaluate_context(_Chain({"first": "abc", "second": ""}), _TASK, system=_SYSTEM, budget=6, count=len)
    assert _by_query(report)["1"].size == 6


def test_a_chain_that_fails_on_a_query_stops_or_counts_nothing():
    chain = _Chain({"first": RuntimeError("no model"), "second": "d"})
    with pytest.raises(EvaluationError, match=r"'1'.*RuntimeError: no model"):
        evaluate_context(chain, _TASK, system=_SYSTEM)
    report = evaluate_context(chain, _TASK, system=_SYSTEM, keep_going=True)
    assert (report.recall, report.ndcg, _by_query(report)["1"].documents) == (0.5, 0.5, 0)
    assert "no model" in report.report.queries[0].problem


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"\bbudget\b.*\b0\b"):
        evaluate_context(_Chain({}), _TASK, system=_SYSTEM, budget=0)

"""A chat model refines the query, re-ranks the list or stops; the list survives whatever it says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_chat import ScriptedChat, access_to
from stub_stages import LETTERS, Letters

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, CallSettings
from reasonembed_rag.pipeline.agentic import AgenticRetriever
from reasonembed_rag.pipeline.iterating import IterationSettings
from reasonembed_rag.pipeline.state_machine import StateMachineRetriever, read_action
from reasonembed_rag.protocols import Metered, Retriever


def refine(query):
    return json.dumps({"action": "refine query", "query": query})


def rerank(*ids):
    return json.dumps({"action": "re-rank", "ids": ids})


STOP = '{"action": "stop"}'


def _machine(*answers, start=3, budget=5, iterations=8, retriever=None, **access):
    """Return a machine whose chat gives these answers, one after the other, and the chat."""
    left = iter(answers)
    chat = ScriptedChat(lambda prompt, before: next(left))
    budgets = IterationSettings(start=start, budget=budget, iterations=iterations)
    access = access_to(chat, calls=CallSettings(concurrency=1, first_wait=0.0, attempts=2), **access)
    return StateMachineRetriever(retriever or Letters(), access, settings=budgets), chat


def _traced(*answers, query="abcdef", k=6, **options):
    machine, _ = _machine(*answers, **options)
    (trace,) = machine.trace([query], k=k)
    return "".join(trace.hits.ids), trace.ended, trace.actions


def test_each_action_changes_the_state_as_it_says():
    assert _traced(STOP) == ("abcdef", "stop", 1)
    assert _traced(rerank(3, 1), STOP) == ("cabdef", "stop", 2)
    assert _traced(refine("xay"), STOP) == ("abcxyd", "stop", 2)
    assert _traced(refine("xyz"), rerank(5, 4), STOP) == ("yxabcd", "stop", 3)


def test_a_refined_query_adds_no_more_than_the_budget_has_room_for():
    assert _traced(refine("xyz"), refine("uvw"), STOP, k=20) == ("abcxydef", "stop", 3)


def test_unknown_ids_are_dropped_and_missing_ones_keep_their_order_behind():
    assert _traced(rerank(9, "2", 2, "[3]", 0, None), STOP) == ("bcadef", "stop", 2)


def test_the_loop_ends_when_nothing_changed():
    assert _traced(rerank(1, 2, 3)) == ("abcdef", "unchanged", 1)
    assert _traced(rerank()) == ("abcdef", "unchanged", 1)
    assert _traced(refine("abcdef")) == ("abcdef", "unchanged", 1)
    assert _traced(refine("xa"), refine("xa")) == ("abcxde", "unchanged", 2), "only a new query goes on"
    assert _traced(refine("ab"), refine("ba"), STOP) == ("abcdef", "stop", 3), "so does one that finds nothing new"


def test_the_loop_ends_with_its_iterations():
    assert _traced(rerank(2), rerank(2), rerank(2), iterations=2) == ("abcdef", "iterations", 2)


def test_scores_are_those_of_the_rank():
    machine, _ = _machine(rerank(3, 1), STOP)
    (hits,) = machine.search(["abcdef"], k=5)
    assert hits.scores.tolist() == [360360, 180180, 120120, 90090, 72072]
    (many,) = StateMachineRetriever(_Many(), access_to(lambda prompt, before: STOP)).search(["?"], k=1500)
    assert Hits.ranked(many).ids == many.ids == tuple(f"d{n:04}" for n in range(1500))


class _Many:
    def search(self, queries, *, k, excluded_ids=None):
        ids = tuple(f"d{n:04}" for n in range(k))
        return [Hits(ids, [1.0] * k, tuple(Document(one, one) for one in ids)) for _ in queries]


def test_three_unreadable_answers_end_the_loop_each_asked_for_at_a_higher_temperature():
    machine, chat = _machine(rerank(2), "hm", "what", "who", parameters={"temperature": 0.2})
    (trace,) = machine.trace(["abc"], k=3)
    assert ("".join(trace.hits.ids), trace.ended, trace.actions) == ("bac", "unreadable", 1)
    assert chat.temperatures == [None, None, pytest.approx(0.3), pytest.approx(0.4)]
    assert dict(machine.report().unusable) == {"no action": 3}


def test_after_an_unreadable_answer_the_next_ones_stay_warmer():
    machine, chat = _machine("hm", rerank(2), STOP)
    assert machine.search(["abc"], k=3)[0].ids == tuple("bac")
    assert chat.temperatures == [None, pytest.approx(0.1), pytest.approx(0.1)]


def test_without_an_answer_the_list_stays_as_it_is():
    broken = ValueError("prompt refused")
    assert _traced(rerank(2), broken) == ("bacdef", "no answer", 1)
    assert _traced(broken) == ("abcdef", "no answer", 0)
    machine, _ = _machine(broken, STOP, rerank(2), STOP)
    assert ["".join(hits.ids) for hits in machine.search(["abc", "def", "ghi"], k=3)] == ["abc", "def", "hgi"]
    assert machine.report().failures == 1
    assert machine.report().kept == 2


def test_a_model_that_cannot_be_called_is_an_error():
    gone = ChatError("no such model", status_code=404)
    with pytest.raises(ChatError, match="no such model"):
        _traced(gone)


@pytest.mark.parametrize("kind", [StateMachineRetriever, AgenticRetriever])
def test_without_a_model_queries_keep_what_they_found_first_if_that_is_wanted(kind, caplog):
    access = access_to(lambda *_: ChatError("no such model", status_code=404))
    machine = kind(Letters(), access, fall_back=True)
    assert ["".join(hits.ids) for hits in machine.search(["cab", "d"], k=2)] == ["ca", "d"]
    assert [trace.ended for trace in machine.trace(["e"], k=1)] == ["no model"]
    assert machine.report().kept == 3
    assert caplog.text.count("no such model") == 1


def test_the_model_sees_query_and_list_as_json():
    machine, chat = _machine(refine("xa"), STOP)
    machine.search(["abc"], k=3)
    states = [json.loads(prompt[prompt.index("{") : prompt.rindex("]}") + 2]) for prompt in chat.prompts]
    assert states[0] == {
        "query": "abc",
        "written_queries": [],
        "documents": [{"id": n, "text": f'text of "{name}"'} for n, name in enumerate("abc", start=1)],
    }
    assert states[1]["written_queries"] == ["xa"]
    assert [document["text"] for document in states[1]["documents"]][3:] == ['text of "x"']
    assert read_action(Answer(chat.prompts[1]), size=4).value is None, "a model that repeats its prompt acts"


def test_exclusions_hold_for_every_search():
    machine, _ = _machine(refine("xyz"), STOP)
    assert machine.search(["abcdef"], k=9, excluded_ids=[{"b", "x"}])[0].ids == tuple("acdyzef")


def test_documents_are_looked_up_or_asked_for_before_the_model_is():
    machine = StateMachineRetriever(Letters(bare=True), access_to(lambda *_: rerank(2)), documents=LETTERS)
    assert machine.search(["ab"], k=2)[0].ids == tuple("ab")
    machine, chat = _machine(STOP, retriever=Letters(bare=True))
    with pytest.raises(InputError, match="documents="):
        machine.search(["ab"], k=2)
    assert not chat.calls


def test_it_is_a_metered_retriever_and_needs_no_model_where_nothing_is_found():
    machine, chat = _machine(STOP)
    assert isinstance(machine, Retriever)
    assert isinstance(machine, Metered)
    assert [len(hits) for hits in machine.search([""], k=5)] == [0]
    assert not chat.calls
    machine.search(["ab"], k=1)
    assert (machine.usage().query_tokens, machine.usage().llm_calls) == (1, 1)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('<think>{"action": "stop"}</think> {"action": "re-rank", "ids": [2]}', "re-rank"),
        ('```json\n{"action": "refine_query", "query": "x"}\n```', "refine"),
        ('{"action": "Rerank", "ids": [1]} {"action": "nothing"}', "re-rank"),
        ('{"action": "refine query", "query": "  "}', None),
        ('{"action": "re-rank", "ids": 3}', None),
        ('{"action": "refine query", "query": ', None),
        ("{'action': 'stop'}", None),
        ("stop", None),
        ("{" * 3000, None),
    ],
)
def test_the_last_action_that_can_be_read_counts(text, kind):
    found = read_action(Answer(text), size=3).value
    assert (found and found.kind) == kind


def test_a_written_query_is_bounded():
    assert len(read_action(Answer(refine("long " * 5000)), size=1).value.query) <= 1000


@pytest.mark.parametrize("bad", [{"start": 0}, {"budget": 5}, {"iterations": 0}, {"words": 0}])
def test_budgets_that_allow_nothing_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        IterationSettings(**bad)


def test_a_context_too_small_for_a_list_is_refused():
    with pytest.raises(InputError, match="context"):
        _machine(STOP, budget=25, context=2000)


_ANSWERS = st.lists(
    st.sampled_from([STOP, "hm", refine("mlk"), refine("fz"), rerank(3, 2), rerank(2, 9, 2), rerank(4), "{}"]),
    max_size=9,
)


@settings(deadline=None, max_examples=60)
@given(_ANSWERS, st.integers(1, 12), st.integers(1, 4), st.integers(0, 3))
def test_whatever_is_answered_nothing_is_lost_or_invented(answers, k, start, more):
    machine, chat = _machine(*answers, *["hm"] * 3, start=start, budget=start + more, iterations=5)
    (trace,) = machine.trace(["abcdef"], k=k)
    found = set("abcdef"[: max(k, start)]) | {name for query in trace.queries[1:] for name in query[:start]}
    assert len(set(trace.hits.ids)) == len(trace.hits)
    assert set(trace.hits.ids) <= found
    assert len(trace.hits) >= min(k, 6)
    assert trace.first.ids == tuple("abcdef"[:k])
    assert set("abcdef"[:start]) <= set(trace.hits.ids) or k < start + more
    assert Hits.ranked(trace.hits).ids == trace.hits.ids
    assert trace.actions <= 5
    assert chat.calls.total() <= 5 + 3

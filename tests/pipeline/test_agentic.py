"""A chat model says what is missing, that is searched for, and all lists are fused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_chat import ScriptedChat, access_to
from stub_stages import LETTERS, Letters

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, CallSettings
from reasonembed_rag.pipeline.agentic import AgenticRetriever, read_need
from reasonembed_rag.pipeline.iterating import IterationSettings
from reasonembed_rag.protocols import Metered, Retriever

ENOUGH = '{"enough": true}'


def need(query):
    return json.dumps({"missing": "something", "query": query})


def _agent(*answers, start=3, budget=8, iterations=8, retriever=None, **access):
    left = iter(answers)
    chat = ScriptedChat(lambda prompt, before: next(left))
    budgets = IterationSettings(start=start, budget=budget, iterations=iterations)
    access = access_to(chat, calls=CallSettings(concurrency=1, first_wait=0.0), **access)
    return AgenticRetriever(retriever or Letters(), access, settings=budgets), chat


def _traced(*answers, query="abcdef", k=6, **options):
    agent, _ = _agent(*answers, **options)
    (trace,) = agent.trace([query], k=k)
    return "".join(trace.hits.ids), trace.ended


def test_a_query_with_enough_keeps_its_hits_as_they_are():
    agent, _ = _agent(ENOUGH)
    assert agent.search(["abcdef"], k=6) == Letters().search(["abcdef"], k=6)
    assert agent.report().kept == 1


def test_what_is_missing_is_searched_for_and_fused_by_reciprocal_rank():
    agent, _ = _agent(need("bx"), ENOUGH)
    (trace,) = agent.trace(["abcdef"], k=6)
    assert trace.hits.ids == tuple("baxcde"), "b has 1/62 + 1/61, a 1/61, x 1/62, c 1/63"
    assert trace.hits.scores[:4].tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    assert (trace.queries, trace.ended, trace.actions) == (("abcdef", "bx"), "stop", 2)
    assert trace.changed


def test_the_loop_ends_when_there_is_nothing_new_or_a_budget_is_spent():
    assert _traced(need("ba")) == ("abcdef", "unchanged")
    assert _traced(need("abcdef")) == ("abcdef", "unchanged")
    assert _traced(need("xb"), need("xb")) == ("bxacde", "unchanged")
    assert _traced(need("xyz"), budget=5)[1] == "budget"
    assert "z" not in _traced(need("xyz"), budget=5, k=20)[0]
    assert _traced(need("x"), need("y"), iterations=2)[1] == "iterations"


def test_an_unreadable_answer_is_asked_for_again_then_what_was_found_is_returned():
    assert _traced("hm", ENOUGH) == ("abcdef", "stop")
    assert _traced(need("x"), "hm", "hm") == ("xabcde", "no answer")
    assert _traced(ValueError("refused")) == ("abcdef", "no answer")


def test_the_model_sees_what_was_found_and_what_was_searched_for():
    agent, chat = _agent(need("bx"), ENOUGH)
    agent.search(["abc"], k=3)
    states = [json.loads(prompt[prompt.index("{") : prompt.rindex("]}") + 2]) for prompt in chat.prompts]
    assert states[0]["written_queries"] == []
    assert states[1]["written_queries"] == ["bx"]
    assert [one["text"][-2] for one in states[1]["documents"]] == list("baxc")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('{"enough": true, "query": "x"}', ""),
        ('{"enough": false, "missing": "m", "query": "two\\n words"}', "two words"),
        ('<think>{"enough": true}</think>{"missing": "m", "query": "q"}', "q"),
        ('{"enough": "yes"}', None),
        ('{"query": 3}', None),
        ("enough", None),
    ],
)
def test_a_decision_is_read(text, query):
    assert read_need(Answer(text)).value == query


def test_exclusions_and_documents_hold_for_every_search():
    agent, _ = _agent(need("xyb"), ENOUGH, retriever=Letters(bare=True))
    with pytest.raises(InputError, match="documents="):
        agent.search(["abc"], k=3)
    budgets = IterationSettings(start=3, budget=8)
    answers = iter([need("xyb"), ENOUGH])
    access = access_to(lambda *_: next(answers))
    known = AgenticRetriever(Letters(bare=True), access, settings=budgets, documents=LETTERS)
    (hits,) = known.search(["abc"], k=9, excluded_ids=[{"b", "x"}])
    assert hits.ids == ("y", "a", "c")
    assert isinstance(known, Retriever)
    assert isinstance(known, Metered)
    assert known.usage().llm_calls == 2
    assert [len(one) for one in known.search([""], k=2)] == [0]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([ENOUGH, "hm", need("mlk"), need("fz"), need("bcm")]), max_size=9),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_whatever_is_answered_nothing_is_lost_or_invented(answers, k, start, more):
    agent, _ = _agent(*answers, *["hm"] * 12, start=start, budget=start + more, iterations=5)
    (trace,) = agent.trace(["abcdef"], k=k)
    found = set("abcdef"[: max(k, start)]) | {name for query in trace.queries[1:] for name in query[:start]}
    assert len(set(trace.hits.ids)) == len(trace.hits)
    assert set(trace.hits.ids) <= found
    assert len(trace.hits) >= min(k, 6)
    assert len(set(trace.hits.ids) - set("abcdef"[: max(k, start)])) <= more
    assert Hits.ranked(trace.hits).ids == trace.hits.ids

"""Chat models write texts for queries; what they cannot write is counted, and the query stays."""

from __future__ import annotations

import json
import re

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.llm import CallSettings, ChatAccess, ChatModelSettings
from reasonembed_rag.pipeline.expand_chat import DecomposingExpander, HypothesisExpander, ReasoningExpander
from reasonembed_rag.pipeline.expand_feedback import FeedbackExpander, FeedbackSettings, repeated
from reasonembed_rag.pipeline.expand_prompts import decomposition_prompt, feedback_prompt, search_reasoning_prompt
from reasonembed_rag.pipeline.expand_replayed import ReplayedExpander
from reasonembed_rag.pipeline.prompt_writer import first_words
from reasonembed_rag.protocols import Expansion, QueryExpander
from reasonembed_rag.retrieval import BM25
from reasonembed_rag.tasks import DEFAULT_CARD, get_task

ONE_BY_ONE = CallSettings(concurrency=1, first_wait=0.0, asked_again=0)


class Model:
    """Answer by a function of the query in the prompt, and keep the prompts."""

    def __init__(self, answer):
        self.answer, self.prompts = answer, []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        return self.answer(re.search(r"<query>\n(.*?)\n</query>", prompt, re.DOTALL)[1])


def _access(answer, **changed):
    return ChatAccess(chat=Model(answer), calls=ONE_BY_ONE, **changed)


def _answer(query):
    if query == "fails":
        raise RuntimeError("lost")
    return "" if query == "empty" else f"Thoughts that bear on {query}."


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (lambda access: ReasoningExpander(access, samples=2), lambda text: Expansion(queries=(text, text))),
        (HypothesisExpander, lambda text: Expansion(documents=(text,))),
    ],
)
def test_a_query_that_fails_gets_an_empty_expansion_and_is_counted(kind, made):
    expander = kind(_access(_answer, pilot=None))
    expected = [made("Thoughts that bear on tides."), Expansion(), Expansion(), made("Thoughts that bear on cells.")]
    assert expander.expand(["tides", "fails", "empty", "cells"]) == expected
    samples = len(expected[0].queries + expected[0].documents)
    report = expander.report()
    assert (report.failures, dict(report.unusable)) == (samples, {"empty": samples})
    assert (report.unanswered, expander.usage().llm_calls) == (2 * samples, 3 * samples)
    assert isinstance(expander, QueryExpander)
    assert expander.expand([]) == []


def test_one_usable_sample_of_several_is_kept():
    answers = iter(["", "Second thoughts."])
    expander = ReasoningExpander(_access(lambda _: next(answers)), samples=2)
    assert expander.expand(["tides"]) == [Expansion(queries=("Second thoughts.",))]


def test_a_prompt_echoed_back_is_no_expansion():
    echo = search_reasoning_prompt(DEFAULT_CARD, "tides").splitlines()[-1]
    expander = ReasoningExpander(_access(lambda _: echo))
    assert expander.expand(["tides"]) == [Expansion()]
    assert dict(expander.report().unusable) == {"repeats the prompt": 1}


def test_prompts_speak_of_the_task():
    access = _access(_answer)
    ReasoningExpander(access, card=get_task("theoremqa_theorems")).expand(["tides"])
    HypothesisExpander(access, card=get_task("theoremqa_theorems")).expand(["tides"])
    DecomposingExpander(access, card=get_task("theoremqa_theorems"), parts=3).expand(["tides"])
    assert len(access.chat.prompts) == 3
    assert all("mathematics problem" in prompt and "theorem" in prompt for prompt in access.chat.prompts)
    assert "at most 3" in access.chat.prompts[-1]


def test_parts_are_read_with_their_interpretations_repeats_and_empty_ones_left_out():
    answer = (
        "<sub_query>moon pull</sub_query>\n<interpretation>How gravity acts.</interpretation>\n"
        "<sub_query>...</sub_query><sub_query>moon pull</sub_query> <interpretation>How gravity acts.</interpretation>"
        "<SUB_QUERY> sea depth </SUB_QUERY><sub_query>coasts</sub_query>"
    )
    expander = DecomposingExpander(_access(lambda _: answer), parts=2)
    assert expander.expand(["tides"]) == [Expansion(queries=("moon pull\n\nHow gravity acts.", "sea depth"))]
    unread = DecomposingExpander(_access(lambda _: "moon pull; sea depth"))
    assert unread.expand(["tides"]) == [Expansion()]
    assert dict(unread.report().unusable) == {"no sub-queries in it": 1}
    form = decomposition_prompt(DEFAULT_CARD, "tides", parts=4).split("once for each:\n")[1]
    assert DecomposingExpander(_access(lambda _: form)).expand(["tides"]) == [Expansion()]


DOCUMENTS = [
    Document(name, f"{name} tells of tides {extra}")
    for name, extra in [("a", "tides tides"), ("b", "tides"), ("c", ""), ("d", "moon moon moon moon")]
]
BY_ID = {document.id: document for document in DOCUMENTS}


def test_each_round_reads_the_best_documents_not_yet_read_and_none_that_is_excluded():
    access = _access(lambda query: f"The moon bears on {query}.")
    settings = FeedbackSettings(rounds=2, depth=1, words=3)
    expander = FeedbackExpander(access, settings=settings, documents=BY_ID)
    found = expander.expand(["tides", "tides"], retriever=BM25(DOCUMENTS), excluded_ids=[["a"], []])
    said = "The moon bears on tides."
    assert found == [Expansion(queries=(said, said))] * 2
    first, second, third = access.chat.prompts  # the same prompt is sent once
    assert "<found_1>\nb tells of\n</found_1>" in first
    assert "<found_1>\na tells of\n</found_1>" in second
    assert "<found_1>\nd tells of\n</found_1>" in third  # both queries: the moon was written of
    last = FeedbackExpander(access, settings=FeedbackSettings(accumulate=False), documents=BY_ID)
    assert last.expand(["tides"], retriever=BM25(DOCUMENTS)) == [Expansion(queries=(said,))]


def test_no_document_is_read_twice():
    access = _access(lambda query: f"Much bears on {query}.")
    expander = FeedbackExpander(access, settings=FeedbackSettings(rounds=5, depth=1, words=1), documents=BY_ID)
    (found,) = expander.expand(["tides"], retriever=BM25(DOCUMENTS))
    read = [re.search(r"<found_1>\n(.*?)\n</found_1>", prompt)[1] for prompt in access.chat.prompts]
    assert read == ["a", "b", "c", "d"]  # the fifth round finds nothing new, and asks for nothing
    assert len(found.queries) == 4


def test_a_round_that_fails_keeps_what_the_others_wrote():
    answers = iter(["First.", "", "Third."])
    settings = FeedbackSettings(rounds=3, depth=1)
    expander = FeedbackExpander(_access(lambda _: next(answers)), settings=settings, documents=BY_ID)
    assert expander.expand(["tides"], retriever=BM25(DOCUMENTS)) == [Expansion(queries=("First.", "Third."))]


class _WithTexts:
    def search(self, queries, *, k, excluded_ids=None):
        return [Hits.ranked([Hit("x", 1.0, Document("x", "own text"))], k=k) for _ in queries]


def test_the_hits_own_texts_are_read_and_unknown_ones_refused_before_the_model_is_asked():
    access = _access(_answer)
    settings = FeedbackSettings(rounds=1)
    FeedbackExpander(access, settings=settings).expand(["tides"], retriever=_WithTexts())
    assert "<found_1>\nown text\n</found_1>" in access.chat.prompts.pop()
    with pytest.raises(InputError, match="documents="):
        FeedbackExpander(access).expand(["tides"], retriever=BM25(DOCUMENTS))
    with pytest.raises(InputError, match="retriever"):
        FeedbackExpander(access).expand(["tides"])
    assert access.chat.prompts == []


def test_the_feedback_prompt_echoed_back_is_no_expansion():
    echo = feedback_prompt(DEFAULT_CARD, "tides", ["moon"]).split("</found_1>")[1]
    expander = FeedbackExpander(_access(lambda _: echo), documents=BY_ID)
    assert expander.expand(["tides"], retriever=BM25(DOCUMENTS)) == [Expansion()]


def test_documents_are_cut_to_their_first_words_as_they_are_written():
    assert first_words(" one\n two  three four ", 3) == "one\n two  three"
    assert first_words("one two ", 2) == "one two"
    assert first_words("na na na", 2) == "na na"


def test_the_query_is_repeated_by_the_formula():
    assert (
        repeated("Two words", ["One two three FOUR", "five six"], weight=1.5)
        == "two words " * 2 + "one two three four five six"
    )
    assert repeated("Two words", ["one"], weight=3.0) == "two words one"
    assert repeated("", ["one two"], weight=1.0).strip() == "one two"
    with pytest.raises(InputError, match="repeat_weight is 0"):
        repeated("q", ["one"], weight=0.0)


@pytest.mark.parametrize(
    "kind",
    [
        lambda: ReasoningExpander(_access(_answer), samples=0),
        lambda: HypothesisExpander(_access(_answer), documents=0),
        lambda: DecomposingExpander(_access(_answer), parts=0),
        lambda: FeedbackSettings(rounds=0),
        lambda: FeedbackSettings(repeat_weight=-1.0),
    ],
)
def test_numbers_that_ask_for_nothing_are_refused(kind):
    with pytest.raises(InputError, match=r"\b0\b|-1"):
        kind()


def test_recorded_texts_are_replayed_by_id_and_by_query_and_missing_ones_told_once(tmp_path, caplog):
    path = tmp_path / "reasoned.jsonl"
    lines = [
        {"id": "1", "reasoned_query": " first "}, {"id": "1", "reasoned_query": "second"},
        {"id": "other", "reasoned_query": "of another query"}, {"query": "moon", "reasoned_query": "third"},
        {"id": "2", "reasoned_query": " "},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    expander = ReplayedExpander.read(path, queries={"1": "tides", "2": "blank"})
    found = expander.expand(["moon", "blank", "tides", "unknown", "unknown"])
    assert [one.queries for one in found] == [("third",), (), ("first", "second"), (), ()]
    expander.expand(["unknown"])
    assert expander.missing == 2
    assert [record.message for record in caplog.records] == [
        "3 of 5 queries have no recorded text and are searched as they are"
    ]
    assert isinstance(expander, QueryExpander)


def test_an_optional_recording_of_other_queries_changes_nothing(tmp_path, caplog):
    path = tmp_path / "reasoned.jsonl"
    path.write_text(json.dumps({"id": "9", "reasoned_query": "x"}))
    expander = ReplayedExpander.read(path, queries={"1": "tides"}, optional=True)
    assert [one.queries for one in expander.expand(["tides"])] == [()]
    assert not caplog.records


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"id": "1", "reasoned_query": 3}, ":1: .*3"),
        ({"id": 1, "reasoned_query": "x"}, ":1: .*id, reasoned_query"),
        ({"id": "9", "reasoned_query": "x"}, "recording of the same queries"),
    ],
)
def test_a_recording_that_cannot_be_replayed_is_refused(tmp_path, line, told):
    path = tmp_path / "reasoned.jsonl"
    path.write_text(json.dumps(line))
    with pytest.raises(InputError, match=told):
        ReplayedExpander.read(path, queries={"1": "tides"})
    with pytest.raises(InputError, match=":1:"):
        ReplayedExpander.read(path)


class _TooLongError(Exception):
    status_code = 400


@pytest.mark.parametrize("kind", [ReasoningExpander, HypothesisExpander, DecomposingExpander, FeedbackExpander])
def test_a_prompt_over_the_context_is_asked_again_with_less_and_counted(kind):
    def answer(prompt):
        if len(prompt) > 4000:
            raise _TooLongError(f"the maximum context length is 1000 tokens, the prompt has {len(prompt) // 4}")
        return "<sub_query>moon</sub_query>" if kind is DecomposingExpander else "It is about the moon."

    documents = [Document("a", "tides " * 900)]
    retriever = BM25(documents)
    options = {"documents": {"a": documents[0]}} if kind is FeedbackExpander else {}
    expander = kind(ChatAccess(chat=answer, calls=ONE_BY_ONE), **options)
    (expansion,) = expander.expand(["why tides, " * 600], retriever=retriever)
    assert len(expansion.queries + expansion.documents) == 1
    report = expander.report()
    assert (report.unanswered, report.shortened >= 1, report.failures >= 1) == (0, True, True)


def test_a_query_longer_than_the_context_is_cut_before_it_is_sent():
    prompts = []
    access = ChatAccess(
        chat=lambda prompt: prompts.append(prompt) or "It is about the moon.",
        model=ChatModelSettings(name="m", context=1000, parameters={"max_tokens": 300}),
        calls=ONE_BY_ONE,
    )
    expander = ReasoningExpander(access)
    assert expander.expand(["why tides, " * 600]) == [Expansion(queries=("It is about the moon.",))]
    assert len(prompts[0]) < 4 * 700
    assert expander.report().shortened == 1

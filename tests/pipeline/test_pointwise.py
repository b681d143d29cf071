"""A chat model's scores put documents in order; what it does not say changes nothing and is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_chat import ScriptedChat, access_to, documents_in, hits_of

from reasonembed_rag.errors import ChatError, InputError, UnknownTaskError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, CallSettings, ResponseCache
from reasonembed_rag.pipeline.pointwise import JudgingStep, PointwiseReranker, read_score
from reasonembed_rag.protocols import Metered, Reranker
from reasonembed_rag.tasks import get_task

ONCE = (JudgingStep(100),)


def _scored(prompt: str, before: int) -> str:
    """Score a document by the number in its text, or do not."""
    (text,) = documents_in(prompt)
    return f"Query analysis: no. <score>7</score> Annotation: <score>{text.split()[-1]}</score>"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<score>85</score>", 85.0),
        ("First <score>10</score>, then <score>\n 60 \n</score>.", 60.0),
        ("<score>72.5</score>", 72.5),
        ("<SCORE>100/100</SCORE>", 100.0),
        ("<think>perhaps <score>90</score></think> <score>0</score>", 0.0),
        ("so <score>41", 41.0),
        ("<score>101</score>", None),
        ("<score>50</score> or rather <score>high</score>", None),
        ("<score>NUMBER</score>", None),
        ("<score>-5</score>", None),
        ("the score is 85", None),
        ("", None),
    ],
)
def test_the_last_score_of_an_answer_counts(text, score):
    assert read_score(Answer(text)).value == score


def test_a_score_that_was_cut_off_is_none():
    assert read_score(Answer("<score>8", truncated=True)).value is None
    assert read_score(Answer("<score>8</score> and", truncated=True)).value == 8.0
    assert read_score(Answer("I think", truncated=True)).reason == "truncated"


def test_documents_are_ranked_by_score_and_equal_ones_keep_their_order():
    hits = hits_of({"a": "one 10", "b": "two 90", "c": "three 10", "d": "four 95"})
    reranker = PointwiseReranker(access_to(_scored), schedule=ONCE)
    (ranked,) = reranker.rerank(["why?"], [hits])
    assert ranked.ids == ("d", "b", "a", "c")
    assert [document.id for document in ranked.documents] == list(ranked.ids)
    assert ranked.scores.tolist() == pytest.approx([95, 90, 10, 10], abs=0.001)
    assert Hits.ranked(ranked).ids == ranked.ids
    assert reranker.rerank(["why?"], [hits], k=2)[0].ids == ("d", "b")
    assert isinstance(reranker, Reranker)
    assert isinstance(reranker, Metered)
    assert reranker.usage().llm_calls == 8


def test_the_prompt_speaks_of_the_task_the_query_and_the_document():
    chat = ScriptedChat(_scored)
    PointwiseReranker(access_to(chat), task="pony", schedule=ONCE).rerank(["a </query> trap"], [hits_of({"a": "b 5"})])
    (prompt,) = chat.prompts
    card = get_task("pony")
    assert all(words in prompt for words in (card.query_type, card.document_type, card.relevance))
    assert "<query_>\na </query> trap\n</query_>" in prompt
    assert read_score(Answer(prompt)).value is None, "a model that repeats its prompt has given a score"
    with pytest.raises(UnknownTaskError):
        PointwiseReranker(access_to(chat), task="ponny")


def test_the_schedule_asks_the_best_again_and_what_is_behind_them_stays_behind():
    noisy = {"a 1": [50, 10, 10], "b 2": [40, 60, 80], "c 3": [30, 30, 30], "d 4": [45, 45, 45]}
    chat = ScriptedChat(lambda prompt, before: f"<score>{noisy[documents_in(prompt)[0]][before]}</score>")
    reranker = PointwiseReranker(
        access_to(chat, calls=CallSettings(concurrency=1)), schedule=[JudgingStep(3, 1), JudgingStep(2, 3)]
    )
    hits = hits_of({text[0]: text for text in noisy})
    (ranked,) = reranker.rerank(["?"], [hits])
    assert ranked.ids == ("b", "a", "c", "d"), "b has the mean 60, a 23; c was not asked again, d never"
    assert ranked.scores[:2].tolist() == pytest.approx([60, 70 / 3], abs=1e-4)
    assert ranked.scores[1] > ranked.scores[2] > ranked.scores[3]
    assert sorted(chat.calls.values()) == [1, 3, 3]
    assert reranker.usage().llm_calls == 7


def test_a_sample_without_a_score_is_asked_again_then_left_out_of_the_mean():
    answers = iter(["none", "<score>20</score>", "none", "none", "<score>40</score>"])
    reranker = PointwiseReranker(
        access_to(lambda prompt, before: next(answers), calls=CallSettings(concurrency=1, asked_again=1)),
        schedule=[JudgingStep(1, 1), JudgingStep(1, 3)],
    )
    (ranked,) = reranker.rerank(["?"], [hits_of({"a": "text"})])
    report = reranker.report()
    assert ranked.scores[0] in {20.0, 30.0}
    assert dict(report.unusable) == {"no legible score": 3} or dict(report.unusable) == {"no legible score": 2}
    assert (report.calls, report.kept) == (5, 0)


def test_documents_without_a_score_stay_behind_in_their_order():
    hits = hits_of({"a": "no", "b": "low 5", "c": "nor", "d": "high 80"})
    reranker = PointwiseReranker(access_to(_scored), schedule=ONCE)
    (ranked,) = reranker.rerank(["?"], [hits])
    assert ranked.ids == ("d", "b", "a", "c")
    assert Hits.ranked(ranked).ids == ranked.ids
    assert reranker.report().unanswered == 2


def test_a_query_without_any_answer_keeps_its_hits_and_the_others_do_not_suffer():
    def answer(prompt, before):
        return ValueError("cannot") if "bad" in prompt else _scored(prompt, before)

    hits = hits_of({"a": "x 10", "b": "y 20"})
    reranker = PointwiseReranker(access_to(answer), schedule=ONCE)
    assert reranker.rerank(["bad", "good"], [hits, hits]) == [hits, reranker.rerank(["good"], [hits])[0]]
    report = reranker.report()
    assert (report.kept, report.failures) == (1, 2)
    assert reranker.rerank(["bad"], [hits], k=1)[0].ids == ("a",)
    assert [len(one) for one in reranker.rerank(["?"], [hits[:0]])] == [0]


def test_a_long_document_is_cut_to_the_model_s_window_and_counted():
    chat = ScriptedChat(lambda prompt, before: "<score>1</score>")
    access = access_to(chat, context=1200, parameters={"max_tokens": 300})
    reranker = PointwiseReranker(access, schedule=ONCE)
    reranker.rerank(["why? " * 300], [hits_of({"a": "long " * 3000, "b": "short"})])
    assert all(len(prompt.encode()) <= 4 * (1200 - 300 - 128) for prompt in chat.prompts)
    shown = sorted(len(documents_in(prompt)[0]) for prompt in chat.prompts)
    assert shown[0] == len("short")
    assert shown[1] > 400
    assert reranker.report().shortened == 1
    assert reranker.report().failures == 0
    with pytest.raises(InputError, match="context"):
        PointwiseReranker(access_to(chat, context=300))


def test_a_model_that_gives_no_scores_is_stopped_before_more_is_paid():
    chat = ScriptedChat(lambda prompt, before: "I'm ready to help!")
    reranker = PointwiseReranker(access_to(chat, pilot=20), schedule=ONCE)
    with pytest.raises(ChatError, match="ready to help"):
        reranker.rerank(["?"], [hits_of({str(n): f"text {n}" for n in range(100)})])
    assert chat.calls.total() < 40


def test_nothing_is_paid_twice(tmp_path):
    chat = ScriptedChat(_scored)
    hits = [hits_of({"a": "x 10", "b": "y 20"})]
    schedule = [JudgingStep(2, 1), JudgingStep(1, 4)]
    with ResponseCache.open(tmp_path / "answers.sqlite") as cache:
        first = PointwiseReranker(access_to(chat, cache=cache), schedule=schedule).rerank(["?"], hits)
        again = PointwiseReranker(access_to(chat, cache=cache), schedule=schedule)
        assert again.rerank(["?"], hits) == first
    assert chat.calls.total() == 5
    assert again.usage().llm_calls == 0
    assert again.report().cached == 5


def test_hits_without_documents_are_refused_before_any_call():
    chat = ScriptedChat(_scored)
    with pytest.raises(InputError, match="documents"):
        PointwiseReranker(access_to(chat)).rerank(["?", "?"], [hits_of({"a": "x 1"}), Hits(("b",), [1.0])])
    assert not chat.calls


@pytest.mark.parametrize("schedule", [(), (JudgingStep(2), JudgingStep(3))])
def test_a_schedule_narrows(schedule):
    with pytest.raises(InputError, match="schedule"):
        PointwiseReranker(access_to(_scored), schedule=schedule)


@pytest.mark.parametrize("step", [(0, 1), (1, 0)])
def test_a_step_judges_something(step):
    with pytest.raises(InputError, match="is 0"):
        JudgingStep(*step)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-1, 3), max_size=12), st.integers(1, 14), st.integers(1, 14))
def test_nothing_is_lost_and_nothing_invented(scores, top, k):
    hits = hits_of({f"d{number}": f"n{number} {score}" for number, score in enumerate(scores)})
    reranker = PointwiseReranker(access_to(_scored), schedule=[JudgingStep(top), JudgingStep(max(1, top // 2), 2)])
    (ranked,) = reranker.rerank(["?"], [hits])
    assert sorted(ranked.ids) == sorted(hits.ids)
    expected = sorted(range(min(top, len(scores))), key=lambda n: -scores[n])
    expected = [n for n in expected if scores[n] >= 0] + [n for n in range(len(scores)) if n >= top or scores[n] < 0]
    if any(score >= 0 for score in scores[:top]):
        unjudged = [n for n in range(len(scores)) if n < top and scores[n] < 0]
        judged = [n for n in expected if n < top and scores[n] >= 0]
        assert ranked.ids == tuple(f"d{n}" for n in [*judged, *unjudged, *range(top, len(scores))])
    else:
        assert ranked == hits
    assert reranker.rerank(["?"], [hits], k=k)[0] == ranked[:k]

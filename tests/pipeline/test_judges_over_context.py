"""Chat judges ask shorter where the model's context is shorter than its settings say, and count it."""

from __future__ import annotations

import pytest
from judge_chat import access_to, documents_in, hits_of

from reasonembed_rag.pipeline import GroupwiseReranker, ListwiseReranker, PointwiseReranker
from reasonembed_rag.pipeline.pointwise import JudgingStep

TEXTS = {"long": "plain " * 900, "best": "short and grand", "other": "plain again"}


class _TooLongError(Exception):
    status_code = 400


def _judge(limit, answer):
    def chat(prompt, before):
        if len(prompt) > limit:
            raise _TooLongError(f"This model's maximum context length is {limit}, the prompt has {len(prompt)}")
        return answer(prompt, before)

    return chat


def _score(prompt, _before):
    (document,) = documents_in(prompt)
    return f"<score>{90 if 'grand' in document else 10}</score>"


def _numbers(prompt, _before):
    return "".join(
        f"[{number}]: {9 if 'grand' in text else 1}\n" for number, text in enumerate(documents_in(prompt), start=1)
    )


def _order(prompt, _before):
    texts = documents_in(prompt)
    best = next(number for number, text in enumerate(texts, start=1) if "grand" in text)
    return " > ".join(f"[{number}]" for number in [best, *(n for n in range(1, len(texts) + 1) if n != best)])


JUDGES = {
    "pointwise": (lambda access: PointwiseReranker(access, schedule=[JudgingStep(10)]), _score),
    "listwise": (ListwiseReranker, _order),
    "groupwise": (GroupwiseReranker, _numbers),
}


@pytest.mark.parametrize("kind", JUDGES)
def test_a_refused_prompt_is_asked_again_with_less_text(kind):
    make, answer = JUDGES[kind]
    generous = make(access_to(answer)).rerank(["what is grand?"], [hits_of(TEXTS)])
    judge = make(access_to(_judge(2200, answer)))
    found = judge.rerank(["what is grand?"], [hits_of(TEXTS)])
    assert [hits.ids for hits in found] == [hits.ids for hits in generous]
    report = judge.report()
    assert report.unanswered == 0
    assert report.shortened >= 1
    assert report.failures >= 1


@pytest.mark.parametrize("kind", JUDGES)
def test_where_nothing_is_short_enough_each_query_keeps_its_order_and_is_counted(kind):
    make, answer = JUDGES[kind]
    judge = make(access_to(_judge(10, answer)))
    hits = [hits_of(TEXTS) for _ in range(30)]  # more refusals than would stop the calls if they were failures
    found = judge.rerank([f"what is grand, {n}?" for n in range(30)], hits)
    assert found == hits
    assert judge.report().kept == 30
    assert judge.report().unanswered >= 30

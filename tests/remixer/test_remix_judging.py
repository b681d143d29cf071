"""Judging: groups, second asks, early stops."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm import Answer, ChatReply
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import JudgeConfig
from reasonembed_training.remixer.judging import judging_job
from reasonembed_training.remixer.quality import screening
from reasonembed_training.remixer.records import Candidates, GeneratedQuery, StageOutcome
from reasonembed_training.remixer.watching import watch_of

CARD = RemixCard(name="c", instruction="i", query_type="q", document_type="d", relevance="r", domain="d", goal="g")
QUERY = GeneratedQuery(id="c/s", source_id="s", query="why", length="<100", education="PhD")


def _judge(count: int, reply_to, **config) -> tuple[StageOutcome, list[list[int]]]:
    """Judge documents 0..count-1; return the outcome and which ones each prompt asked about."""
    documents = {f"d{number}": Document(f"d{number}", f"text {number}.") for number in range(count)}
    candidates = Candidates(id=QUERY.id, ids=tuple(documents), scores=(0.0,) * count, source_rank=None)
    again, pilot = config.pop("asked_again", 1), config.pop("pilot", 0)
    watch = watch_of(CARD, "judge", model="m", pilot=pilot, asked_again=again)
    job = judging_job(CARD, QUERY, candidates, documents, JudgeConfig(**config), watch=watch)
    asked = []
    try:
        asks = next(job)
        while True:
            replies = []
            for ask in asks:
                places = [int(number) for number in re.findall(r"text (\d+)\.", ask.prompt)]
                asked.append(places)
                replies.append(reply_to(places, ask.attempt))
            asks = job.send(replies)
    except StopIteration as stop:
        return stop.value, asked


def _grades(grade_of):
    """Reply with the grades of documents, in the form that their number asks for."""

    def reply_to(places: list[int], _attempt: int) -> ChatReply:
        if len(places) == 1:
            return ChatReply(answer=Answer(f"<score>{grade_of(places[0])}</score>"))
        lines = (f'<score document="{n}">{grade_of(place)}</score>' for n, place in enumerate(places, start=1))
        return ChatReply(answer=Answer("\n".join(lines)))

    return reply_to


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 7))
def test_judging_in_groups_ends_in_the_grades_of_judging_alone(grades: list[int], group: int):
    alone, asked_alone = _judge(len(grades), _grades(grades.__getitem__))
    grouped, asked = _judge(len(grades), _grades(grades.__getitem__), group=group)
    assert grouped == alone
    assert list(alone.record.grades) == grades
    assert len(asked_alone) == len(grades)
    assert len(asked) == -(-len(grades) // group)


def test_a_document_that_a_group_leaves_out_is_judged_alone():
    def reply_to(places: list[int], attempt: int) -> ChatReply:
        if len(places) > 1:
            return ChatReply(answer=Answer('<score document="2">4</score>'))
        return ChatReply(answer=Answer(f"<score>{places[0] + 1}</score>"))

    outcome, asked = _judge(3, reply_to, group=3)
    assert asked == [[0, 1, 2], [0], [2]]
    assert outcome.record.grades == (1, 4, 3)
    assert outcome.drops == {}


def test_a_group_whose_answer_holds_no_grade_is_judged_one_by_one():
    def reply_to(places: list[int], attempt: int) -> ChatReply:
        return ChatReply(answer=Answer("none" if len(places) > 1 else "<score>2</score>"))

    outcome, asked = _judge(2, reply_to, group=2)
    assert asked == [[0, 1], [0], [1]]
    assert outcome.record.grades == (2, 2)


def test_an_illegible_grade_is_asked_for_again_and_then_dropped():
    attempts = []

    def reply_to(places: list[int], attempt: int) -> ChatReply:
        attempts.append((places[0], attempt))
        legible = places[0] == 0 or (places[0] == 1 and attempt == 1)
        return ChatReply(answer=Answer("<score>3</score>" if legible else "it depends", truncated=places[0] == 3))

    outcome, _ = _judge(4, reply_to)
    assert attempts == [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)]
    assert outcome.record.ids == ("d0", "d1")
    assert outcome.drops == {"no legible grade": 1, "truncated": 1}
    assert _judge(4, reply_to, asked_again=0)[0].record.ids == ("d0",)


def test_no_more_than_the_first_answers_are_asked_for_before_they_are_known_to_be_usable():
    seen = []

    def ramble(places: list[int], attempt: int) -> ChatReply:
        seen.append(places[0])
        return ChatReply(answer=Answer("It depends."))

    with pytest.raises(
        ChatError, match=r"judge: 6 of the first 6 answers of m .*no legible grade: 'It depends\.'.*--set pil"
    ):
        _judge(20, ramble, pilot=6)
    assert seen == [0, 1, 2, 3, 4, 5]
    grades = _grades(lambda place: 1 + place % 5)
    assert _judge(20, grades, pilot=6)[0] == _judge(20, grades)[0]


def test_a_group_over_the_context_is_judged_one_by_one():
    def reply_to(places: list[int], attempt: int) -> ChatReply:
        if len(places) > 1 or places == [1]:
            return ChatReply(failure="maximum context length exceeded")
        return ChatReply(answer=Answer("<score>5</score>"))

    outcome, asked = _judge(3, reply_to, group=3)
    assert asked == [[0, 1, 2], [0], [1], [2]]
    assert outcome.record.ids == ("d0", "d2")
    assert outcome.drops == {"over the model's context": 1}


def test_failed_calls_drop_their_documents_and_say_whether_that_may_pass():
    def reply_to(places: list[int], attempt: int) -> ChatReply:
        if places[0] < 2:
            return ChatReply(failure="HTTP 400", permanent=places == [0])
        return ChatReply(answer=Answer("<score>1</score>"))

    outcome, asked = _judge(3, reply_to)
    assert outcome.drops == {"call failed": 1, "call failed, retryable": 1}
    assert outcome.retryable == 1
    assert len(asked) == 3


def test_a_query_without_any_grade_is_dropped():
    outcome, _ = _judge(2, lambda *_: ChatReply(answer=Answer("Who knows?")))
    assert outcome.record is None
    assert outcome.drops == {"no legible grade": 2, "no grade at all": 1}


def test_judging_stops_after_enough_clear_negatives_in_a_row():
    grades = [5, 1, 2, 1, 1, 1, 1, 1, 5, 5, 5, 5]
    outcome, asked = _judge(12, _grades(grades.__getitem__), stop_after=3, at_least=4)
    assert len(asked) == 7
    assert outcome.record.grades == (5, 1, 2, 1, 1, 1, 1)
    assert outcome.record.unjudged == 5


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 1, 1, 2, 3, 5]), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 25))
def test_what_the_report_says_of_early_stops_is_what_they_do(grades: list[int], stop_after: int, at_least: int):
    config = {"stop_after": stop_after, "at_least": at_least}
    outcome, asked = _judge(len(grades), _grades(grades.__getitem__), **config)
    told = screening([grades], JudgeConfig(**config), positive_from=3)
    positives = sum(grade >= 3 for grade in grades)
    found = sum(grade >= 3 for grade in outcome.record.grades)
    assert told.judgements_saved == pytest.approx(outcome.record.unjudged / len(grades))
    assert len(asked) == len(grades) - outcome.record.unjudged
    assert told.positives_lost == pytest.approx(1 - found / positives if positives else 0.0)
    assert told.queries_lost == (1.0 if positives and not found else 0.0)

"""A stage asks once, reads what it can, and counts the rest."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.cache import ResponseCache
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.client import ChatReply
from reasonembed_rag.llm.guard import AnswerGuard, ReadAnswer
from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings
from reasonembed_rag.llm.stage import ChatAccess, ChatStage, StageRequest

FAST = CallSettings(first_wait=0.0, concurrency=4, attempts=3)
GUARD = AnswerGuard("Say in other words what is asked for here.")


class Model:
    """Answer from a script per prompt, the last answer for ever; a prompt without one is answered in capitals."""

    def __init__(self, **script) -> None:
        self.script, self.calls, self.lock = script, Counter(), threading.Lock()

    def __call__(self, prompt: str) -> str | Answer:
        with self.lock:
            answers = self.script.get(prompt, [prompt.upper()])
            answer = answers[min(self.calls[prompt], len(answers) - 1)]
            self.calls[prompt] += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def _ask(stage, prompts, *, sample=0):
    return stage.ask([StageRequest(prompt, GUARD.check, sample) for prompt in prompts])


def _stage(model, **access):
    settings = ChatModelSettings(name="m", input_price=1.0, output_price=2.0)
    return ChatStage(ChatAccess(chat=model, model=settings, calls=FAST, **access), name="expand")


def test_answers_come_in_order_and_what_fails_is_none_and_counted():
    broken = ValueError("the prompt is not to its taste")
    broken.status_code = 400
    model = Model(
        b=[TimeoutError(), Answer("B", input_tokens=3, output_tokens=1)], c=[broken], d=["", "D at last"], e=[""]
    )
    stage = _stage(model)
    assert _ask(stage, ["a", "b", "c", "d", "e"]) == ["A", "B", None, "D at last", None]
    report = stage.report()
    assert (report.failures, report.retries, report.unanswered) == (1, 1, 2)
    assert dict(report.unusable) == {"empty": 3}
    assert report.calls == 6
    assert report.cost == pytest.approx((report.input_tokens + 2 * report.output_tokens) / 1e6)
    assert stage.usage().llm_tokens == report.input_tokens + report.output_tokens
    assert stage.usage().llm_cost == report.cost
    assert "not to its taste" in report.last_failure


def test_nothing_is_paid_for_twice_and_samples_are_answers_of_their_own(tmp_path):
    model = Model(a=["one", "two", "three"], e=["", "E"])
    with ResponseCache.open(tmp_path / "cache") as cache:
        first = _stage(model, cache=cache)
        found = [_ask(first, ["a", "e"]), _ask(first, ["a"], sample=1)]
        again = _stage(model, cache=cache)
        assert [_ask(again, ["a", "e"]), _ask(again, ["a"], sample=1)] == found == [["one", "E"], ["two"]]
    assert model.calls == {"a": 2, "e": 2}
    assert (again.report().calls, again.report().cached, again.usage().llm_calls) == (0, 4, 0)


def test_a_stage_stops_where_most_of_its_first_answers_are_unusable_and_pays_no_more():
    model = Model()
    model.script = {key: ["I'm ready to help!"] for key in "abcdef"}
    stage = _stage(model, pilot=8)
    assert [_ask(stage, [prompt]) for prompt in "xyz"] == [["X"], ["Y"], ["Z"]]
    assert [_ask(stage, [prompt]) for prompt in "ab"] == [[None], [None]]
    with pytest.raises(ChatError, match=r"5 of the first 8 .*talks to the asker: .*ready to help.*pilot=None"):
        _ask(stage, ["c"])
    paid = model.calls.total()
    with pytest.raises(ChatError, match="5 of the first 8"):
        _ask(stage, ["w"])
    assert model.calls.total() == paid == 8
    assert _ask(_stage(model, pilot=None), "abcdefw") == [None] * 6 + ["W"]


def test_a_stage_goes_on_where_half_of_its_first_answers_are_usable():
    stage = _stage(Model(a=[""], b=[""]), pilot=8)
    assert _ask(stage, ["a", "b", "x", "y", "z", "w"]) == [None, None, "X", "Y", "Z", "W"]
    assert _ask(stage, ["v"]) == ["V"]


def test_callers_that_come_at_once_together_ask_for_no_more_first_answers_than_are_looked_at():
    stage = _stage(Model(), pilot=4)
    jobs = [stage.asking([StageRequest(f"{caller}{number}", GUARD.check) for number in range(6)]) for caller in "abc"]
    assert [len(next(job)) for job in jobs] == [4, 1, 1]
    jobs[0].close()
    assert len(next(stage.asking([StageRequest(f"d{number}", GUARD.check) for number in range(6)]))) == 2


def test_what_is_asked_when_a_batch_is_stopped_does_not_hold_up_the_next():
    stopped = ValueError("no such key")
    stopped.status_code = 401
    stage = _stage(Model(a=[stopped], b=[stopped]), pilot=4)
    with pytest.raises(ChatError, match="no such key"):
        _ask(stage, ["a", "b"])
    assert stage._first.ask(10) == 4


def test_a_stage_that_was_stopped_asks_no_more_in_jobs_under_way():
    stage = _stage(Model(), pilot=2)
    bad = [StageRequest(prompt, lambda answer: ReadAnswer(None, "unusable")) for prompt in "ab"]
    other = stage.asking([StageRequest(f"c{number}", GUARD.check) for number in range(50)])
    first = stage.asking(bad, asked_again=0)
    assert (len(next(first)), len(next(other))) == (2, 1)
    with pytest.raises(ChatError, match="2 of the first 2"):
        first.send([ChatReply(answer=Answer("x"))] * 2)
    with pytest.raises(ChatError, match="2 of the first 2"):
        other.send([ChatReply(answer=Answer("x"))])


def test_jobs_that_wait_for_the_same_answer_are_all_closed_when_one_of_them_fails():
    def fail(answer):
        raise RuntimeError("cannot read")

    stage = _stage(Model(), pilot=4)
    with pytest.raises(RuntimeError, match="cannot read") as error:
        stage.run([stage.asking([StageRequest("a", fail)]) for _ in range(5)])
    assert stage._first.ask(10) == 4, error  # which holds the frames of the jobs, so that only closing them helps


def test_a_model_that_cannot_be_called_is_told_and_a_later_batch_may_succeed():
    refused = ValueError("no such key")
    refused.status_code = 401
    stage = _stage(Model(a=[refused, "A"]))
    with pytest.raises(ChatError, match="no such key"):
        _ask(stage, ["a"])
    assert _ask(stage, ["a", "b"]) == ["A", "B"]


def test_a_cache_needs_a_model_with_a_name(tmp_path):
    with ResponseCache.open(tmp_path / "cache") as cache, pytest.raises(InputError, match="no name"):
        ChatAccess(chat=str.upper, cache=cache)
    with pytest.raises(InputError, match="pilot is 0"):
        ChatAccess(chat=str.upper, pilot=0)


def test_jobs_ask_in_steps_and_at_other_temperatures_and_what_they_note_is_told(caplog):
    class Warm(Model):
        def at_temperature(self, prompt: str, temperature: float) -> str:
            return f"{prompt} at {temperature}"

    stage = _stage(Warm(b=[""]))

    def job(first):
        (once,) = yield from stage.asking([StageRequest(first, GUARD.check)])
        twice = yield from stage.asking([StageRequest(str(once), GUARD.check, temperature=0.5)] * 2)
        stage.note(repaired=1, shortened=first == "a", kept=once is None)
        return twice

    assert stage.run([job("a"), job("b")]) == [["A at 0.5"] * 2, ["None at 0.5"] * 2]
    report = stage.report()
    assert (report.repaired, report.shortened, report.kept, report.unanswered) == (2, 1, 1, 1)
    assert len(caplog.records) == 2, "one word on what was cut, one on what has no answer"


def test_a_prompt_leaves_room_for_the_answer():
    def longest(**settings):
        return ChatStage(ChatAccess(chat=str, model=ChatModelSettings(name="m", **settings)), name="s").prompt_tokens

    assert longest(context=1000, parameters={"max_tokens": 100}) == 772
    assert longest(context=1000) == 622

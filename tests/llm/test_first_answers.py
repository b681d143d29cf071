"""What is asked for while a stage's first answers are not known to be usable."""

from __future__ import annotations

from reasonembed_rag.llm import Answer, FirstAnswers


def test_no_more_is_asked_for_than_is_still_to_be_looked_at_and_one_for_each_later_caller():
    first = FirstAnswers(20, stage="judge", model="small", otherwise="stop")
    assert [first.ask(12), first.ask(12), first.ask(12)] == [12, 8, 1]
    for _ in range(12):
        first.add(Answer("fine"), None)
    assert first.ask(12) == 1  # 8 to look at, 9 under way
    for _ in range(10):
        first.lose()
    assert first.ask(12) == 8
    for _ in range(8):
        first.add(Answer("fine"), None)
    assert first.ask(12) == 12  # all were looked at, and are usable

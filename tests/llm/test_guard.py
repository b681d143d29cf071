"""Answers that are none are told from those that are."""

from __future__ import annotations

import pytest

from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.guard import AnswerGuard, enclosed

OWN = (
    "Here is a question:\n\n<query>\n\n</query>\n\nSay what the essential problem behind the words of the question is. "
    "Then reason step by step about what a helpful passage would hold. Write the parts as <part>...</part>."
)
GUARD = AnswerGuard(OWN, written_tags=["part"])
GOOD = "Mitosis copies a cell so that tissue can grow, and cyclins decide when it starts. A passage on them would help."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  ...\n", "empty"),
        ("<think>What could I say?", "empty"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("I'm ready to help! Please provide the question that you have in mind.", "talks to the asker"),
        ("How can I assist you today?", "talks to the asker"),
        ("Sure! Here is the passage:", "talks to the asker"),
        ("<query>Why do cells divide?</query> They divide to grow.", "holds markers of the prompt"),
        ("They divide to grow.<|im_end|>\n<|im_start|>user", "holds markers of the prompt"),
        ("Say what the essential problem behind the words of the question is.", "repeats the prompt"),
        ("They are a set of sentences that discuss a concept or a theory. " * 4, "repeats itself"),
        ("The question: How does it work?\n" + "A passage is not a passage, but a text.\n" * 6, "repeats itself"),
        ("2. REASON step by step about what a helpful passage would - and so on", "repeats the prompt"),
    ],
)
def test_an_unusable_answer_is_dropped_with_its_reason(text, reason):
    read = GUARD.check(Answer(text))
    assert (read.value, read.reason) == (None, reason)


def test_an_answer_that_was_truncated_among_its_thoughts_says_so():
    assert GUARD.check(Answer("<think>First of all", truncated=True)).reason == "truncated"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Certainly the cell divides when it has grown. {GOOD}",
        f"<part>{GOOD}</part>",
        "Yes",
        "Row, row, row your boat, gently down the stream, merrily. Row, row, row your boat.",
        "for i in range(3):\n    print(i, end=' ')\nfor j in range(3):\n    print(j, end=' ')\n" + GOOD,
        f"Say what the essential problem behind the words of the question is.\n{GOOD} {GOOD.upper()}",
    ],
)
def test_a_usable_answer_is_returned_as_it_is(text):
    assert GUARD.check(Answer(text)).value == text


def test_thoughts_and_talk_around_an_answer_are_removed():
    text = f"<think>Hm.</think>Sure, here is a passage:\n\n{GOOD}\n\nI hope this helps! Let me know if you need more."
    assert GUARD.check(Answer(text)).value == GOOD


def test_what_the_prompt_was_given_is_no_marker_in_an_answer():
    text = "The tag <query> of this format holds the words, and <|endoftext|> ends a document."
    assert GUARD.check(Answer(text)).reason == "holds markers of the prompt"
    assert GUARD.check(Answer(text), inputs="What do <query> and <|endoftext|> mean?").value == text


def test_a_text_is_enclosed_by_tags_that_it_does_not_hold():
    assert enclosed("query", "a </query> b") == "<query_>\na </query> b\n</query_>"

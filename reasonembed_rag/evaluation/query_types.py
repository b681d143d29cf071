"""What kind of question a query is."""

from __future__ import annotations

import re

from reasonembed_rag.evaluation.task import Example

__all__ = ["query_type"]

_FIELDS = ("query_type", "reasoning_type")
_SENTENCE = re.compile(r"[^.!?\n]*\?")
_WHICH = {"whose": "who", "whom": "who"}
_QUESTION_WORD = re.compile(r"\b(what|which|why|how|when|where|who|whom|whose)\b", re.IGNORECASE)
_YES_NO = re.compile(
    r"\W*(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|might|must)\b", re.IGNORECASE
)


def query_type(example: Example) -> str:
    """Return the type that an example names ("query_type" or "reasoning_type"), else that of its first question.

    The form of the question is its question word, "yes or no", "question" without either, or "no question".
    """
    for name in _FIELDS:
        named = example.extra.get(name)
        if isinstance(named, str) and named:
            return named
    found = _SENTENCE.search(example.query)
    if found is None:
        return "no question"
    word = _QUESTION_WORD.search(found.group())
    if _YES_NO.match(found.group()):
        return "yes or no"
    return _WHICH.get(word.group().lower(), word.group().lower()) if word else "question"

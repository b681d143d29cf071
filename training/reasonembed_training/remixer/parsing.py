"""Parse a model's answer: a verdict, a query, grades; or the reason why it is none."""

from __future__ import annotations

import re

from reasonembed_rag.llm import Answer, AnswerGuard, ReadAnswer, without_thoughts

__all__ = ["parse_fields", "parse_grades", "parse_query", "parse_scores", "parse_verdict"]

_NO = re.compile(r"no\b")
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)
_LABEL = re.compile(r"\A(?:\*\*)?(?:query|question|post|problem)(?:\*\*)?:(?:\*\*)?\s+", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_MENTIONS_DOCUMENT = re.compile(
    r"\b(?:given|provided|above|following)\s+(?:passage|document|content|excerpt|context)\b"
    r"|\bthe\s+passage\b|\baccording\s+to\s+(?:this|the)\s+(?:text|document|excerpt)\b",
    re.IGNORECASE,
)
_SCORE = re.compile(r"<score(?:\s+document\s*=\s*[\"']?(\d+)[\"']?)?\s*>\s*([1-5])(?:\.0)?\s*</score>", re.IGNORECASE)


def parse_verdict(answer: Answer, guard: AnswerGuard) -> ReadAnswer[bool]:
    """Return whether an answer is exactly Yes, with or without a full stop; one that opens with No is a No."""
    said = without_thoughts(answer.text).casefold()
    if not answer.truncated and said.removesuffix(".") == "yes":
        return ReadAnswer(True)
    if _NO.match(said):
        return ReadAnswer(False)
    return ReadAnswer(None, guard.check(answer).reason or "neither Yes nor No")


def parse_query(answer: Answer, guard: AnswerGuard, *, document: str) -> ReadAnswer[str]:
    """Return the bare query of an answer, without code fences, quotation marks and a label around it.

    What the guard rejects, a truncated answer, and a query that mentions the document it was written from are unusable.
    """
    checked = guard.check(answer, inputs=document)
    if checked.value is None:
        return checked
    if answer.truncated:
        return ReadAnswer(None, "truncated")
    text = _bare(checked.value)
    if not any(character.isalnum() for character in text):
        return ReadAnswer(None, "empty")
    if _MENTIONS_DOCUMENT.search(text):
        return ReadAnswer(None, "points at its document")
    return ReadAnswer(text)


def parse_grades(answer: Answer, guard: AnswerGuard, *, documents: int, inputs: str) -> ReadAnswer[dict[int, int]]:
    """Return parse_scores of an answer that has any and is no copy of its prompt; talk around them is no harm."""
    grades = parse_scores(answer, documents=documents)
    if grades:
        copied = guard.copied(without_thoughts(answer.text), inputs=inputs)
        return ReadAnswer(grades) if copied is None else ReadAnswer(None, copied)
    if answer.truncated:
        return ReadAnswer(None, "truncated")
    return ReadAnswer(None, guard.check(answer, inputs=inputs).reason or "no legible grade")


def parse_scores(answer: Answer, *, documents: int) -> dict[int, int]:
    """Return the grade, 1 to 5, of each judged document by its index; documents without a readable grade are omitted.

    If a document is graded more than once, the last grade counts, as the analysis ends in it. A grade without a
    document number counts only if there is one document.
    """
    grades: dict[int, int] = {}
    for number, grade in _SCORE.findall(without_thoughts(answer.text)):
        index = int(number) - 1 if number else 0
        if (number or documents == 1) and 0 <= index < documents:
            grades[index] = int(grade)
    return grades


def parse_fields(answer: Answer, *names: str) -> dict[str, str]:
    """Return the texts between tags of these names, with normalised whitespace; missing or empty ones are omitted."""
    text = without_thoughts(answer.text)
    found = {name: re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL | re.IGNORECASE) for name in names}
    fields = {name: " ".join(match.group(1).split()) for name, match in found.items() if match}
    return {name: value for name, value in fields.items() if value}


def _bare(text: str) -> str:
    """Remove enclosing fences, labels and quotation marks until there are none."""
    while True:
        before = text
        text = text.strip()
        fenced = _FENCE.match(text)
        text = fenced.group(1) if fenced else text
        text = _LABEL.sub("", text)
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[-1] not in text[1:-1]:
            text = text[1:-1]
        if text == before:
            return text

"""Parse a model's answer: a yes, a query, a text, grades; or the reason why it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reasonembed_rag.llm import Answer, refuses, without_thoughts

__all__ = ["ParsedText", "is_yes", "parse_fields", "parse_query", "parse_scores", "parse_text"]

_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)
_LABEL = re.compile(r"\A(?:\*\*)?(?:query|question|post|problem)(?:\*\*)?:(?:\*\*)?\s+", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_MENTIONS_DOCUMENT = re.compile(
    r"\b(?:given|provided|above|following)\s+(?:passage|document|content|excerpt|context)\b"
    r"|\bthe\s+passage\b|\baccording\s+to\s+(?:this|the)\s+(?:text|document|excerpt)\b",
    re.IGNORECASE,
)
_SCORE = re.compile(r"<score(?:\s+document\s*=\s*[\"']?(\d+)[\"']?)?\s*>\s*([1-5])(?:\.0)?\s*</score>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedText:
    """A text, or the reason why there is none."""

    text: str | None
    reason: str | None = None


def is_yes(answer: Answer) -> bool:
    """Return whether an answer is exactly Yes, with or without a full stop; anything else is a No."""
    return not answer.truncated and without_thoughts(answer.text).removesuffix(".").casefold() == "yes"


def parse_text(answer: Answer) -> ParsedText:
    """Return an answer's text; a truncated one counts, a refusal does not."""
    text = without_thoughts(answer.text)
    if not text:
        return ParsedText(None, "truncated" if answer.truncated else "empty answer")
    if refuses(text):
        return ParsedText(None, "refused")
    return ParsedText(text)


def parse_query(answer: Answer) -> ParsedText:
    """Return the bare query of an answer, without code fences, quotation marks and a label around it.

    A truncated answer, a refusal, and a query that mentions the document it was written from are rejected.
    """
    parsed = parse_text(answer)
    if parsed.text is None:
        return parsed
    if answer.truncated:
        return ParsedText(None, "truncated")
    text = _bare(parsed.text)
    if not any(character.isalnum() for character in text):
        return ParsedText(None, "empty answer")
    if _MENTIONS_DOCUMENT.search(text):
        return ParsedText(None, "points at its document")
    return ParsedText(text)


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

"""Rankings by number as chat models write them: read, repaired, shown in windows, and added up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reasonembed_rag.llm import Answer, ReadAnswer, without_thoughts

__all__ = ["Ranking", "plain_numbers", "rank_sums", "read_ranking", "windows"]

_CHAIN = re.compile(r"\[?\d+\]?(?:\s*>\s*\[?\d+\]?)+|\[\s*\d+(?:\s*,\s*\d+)+\s*\]")
"""[3] > [1] or [3, 1]."""
_BRACKETED = re.compile(r"\[\s*(\d+)\s*\]")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Ranking:
    """Positions from 0, best first, each exactly once."""

    order: tuple[int, ...]
    repaired: bool
    """Whether the answer was no such ranking itself."""


def read_ranking(answer: Answer, *, size: int, prompt: str = "") -> ReadAnswer[Ranking]:
    """Return the ranking of `size` documents that an answer gives, repaired as RankLLM does.

    Thoughts are dropped, and what stands before the first "[3] > [1]" or "[3, 1]"; full-width, superscript and circled
    digits count. Numbers out of range and repeated ones are dropped, missing ones follow in their old order. An answer
    without any number in range is unusable, and so is a piece of the prompt, whose numbers rank nothing.
    """
    text = without_thoughts(answer.text).strip()
    if text in prompt and any(map(str.isalpha, text)):
        return ReadAnswer(None, "echo")
    numbers = _numbers(plain_numbers(text))
    named = list(dict.fromkeys(number - 1 for number in numbers if 1 <= number <= size))
    if not named:
        return ReadAnswer(None, "truncated" if answer.truncated else "no ranking")
    missing = [position for position in range(size) if position not in set(named)]
    return ReadAnswer(Ranking((*named, *missing), repaired=bool(missing) or len(numbers) != size))


def plain_numbers(text: str) -> str:
    """Return a text with its digits of every kind in ASCII: wide, super- and subscript; a circled number by itself."""
    return text if text.isascii() else "".join(map(_plain, text))


def windows(count: int, *, size: int, stride: int) -> Iterator[slice]:
    """Yield windows over `count` documents from the back of their list to its front, which the last one begins at."""
    stop = count
    while stop > 0:
        start = max(0, stop - size)
        yield slice(start, stop)
        if not start:
            return
        stop -= stride


def rank_sums(rankings: Sequence[Sequence[int]]) -> list[int]:
    """Return, for each position from 0, the sum of its ranks, from 1, over rankings of the same positions."""
    sums = [0] * len(rankings[0])
    for ranking in rankings:
        for rank, position in enumerate(ranking, start=1):
            sums[position] += rank
    return sums


def _numbers(text: str) -> list[int]:
    chain = _CHAIN.search(text)
    if chain is not None:
        text = text[chain.start() :]
    bracketed = _BRACKETED.findall(text)
    found = bracketed if len(bracketed) > 1 else _NUMBER.findall(text)
    return [int(number) for number in found if len(number) < 10]


def _plain(character: str) -> str:
    digit = unicodedata.digit(character, -1)
    if digit >= 0 and (character.isdecimal() or unicodedata.decomposition(character).startswith(("<super>", "<sub>"))):
        return str(digit)
    value = unicodedata.numeric(character, -1.0)
    if unicodedata.category(character) == "No" and value >= 0 and value.is_integer():
        return f" {int(value)} "
    return character

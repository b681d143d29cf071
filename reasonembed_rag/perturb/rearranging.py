"""Queries with swapped words, and queries reduced to keywords."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from reasonembed_rag.perturb.edits import Edit, PerturbedQuery, edited, unchanged
from reasonembed_rag.perturb.hashed_random import keys_of
from reasonembed_rag.perturb.selection import chosen_words, reason_to_keep, words_to_change
from reasonembed_rag.perturb.wording import Word, words_of

__all__ = ["naturalize", "reorder"]

_ALL = 1 << 40
"""More than any query has words: asks for all of them, in random order."""
_SPACE = re.compile(r"\s*")
_SPACE_AND_COMMAS = re.compile(r"[\s,;:]*")


def reorder(texts: Sequence[str], *, seed: int) -> list[PerturbedQuery]:
    """Return each text with max(int(0.1 n), 1) pairs of its n words swapped; pairs are random."""
    words = [words_of(text) for text in texts]
    keys = keys_of(texts, seed=seed, purpose="reordering")
    drawn = chosen_words(keys, [[True] * len(found) for found in words], times=_ALL)
    return [_reordered(*query) for query in zip(texts, words, drawn, strict=True)]


def _reordered(text: str, words: list[Word], drawn: list[int]) -> PerturbedQuery:
    reason = reason_to_keep(text, words, english=False)
    if reason is not None or len(words) == 1:
        return unchanged(text, reason or "one word")
    edits: list[Edit] = []
    left = list(drawn)
    while len(left) > 1 and len(edits) < 2 * words_to_change(len(words)):
        first = words[left.pop(0)]
        place = next((place for place in left if words[place].text != first.text), None)
        if place is not None:
            left.remove(place)
            second = words[place]
            edits.append(Edit(first.start, "exchange", first.text, second.text))
            edits.append(Edit(second.start, "exchange", second.text, first.text))
    if not edits:
        return unchanged(text, "no word that may change")
    return edited(text, "two words exchanged", sorted(edits, key=lambda edit: edit.start))


def naturalize(texts: Sequence[str]) -> list[PerturbedQuery]:
    """Return each text in lower case without its stop words, like a keyword query; nothing is random.

    Queries that are not English or consist of stop words only are left unchanged.
    """
    return [_naturalized(text, words_of(text)) for text in texts]


def _naturalized(text: str, words: list[Word]) -> PerturbedQuery:
    reason = reason_to_keep(text, words, english=True)
    if reason is not None:
        return unchanged(text, reason)
    lowered = [
        Edit(word.start, "lower case", word.text, word.text.lower())
        for word in words
        if not word.is_stop_word and word.text != word.text.lower()
    ]
    edits = lowered + _dropped(text, words)
    if not edits or all(word.is_stop_word for word in words):
        return unchanged(text, "no word that may change")
    return edited(text, "lower case without stop words", sorted(edits, key=lambda edit: edit.start))


def _dropped(text: str, words: list[Word]) -> list[Edit]:
    """Return the edits that delete runs of stop words, together with the space that would be doubled."""
    ends = {word.stop for word in words}
    edits: list[Edit] = []
    for run in _runs(text, words):
        start, stop = run[0].start, run[-1].stop
        behind = (_SPACE if text[:start].strip() else _SPACE_AND_COMMAS).match(text, stop)
        end = behind.end() if behind else stop
        if end == stop:  # punctuation or the end follows: delete the space before, and a comma with it
            bare = len(text[:start].rstrip(" \n\t,;:"))
            start = bare if bare in ends else len(text[:start].rstrip())
        edits.append(Edit(start, "stop words dropped", text[start:end], ""))
    return edits


def _runs(text: str, words: list[Word]) -> list[list[Word]]:
    """Return the stop words in runs that are separated by whitespace only."""
    runs: list[list[Word]] = []
    for before, word in itertools.pairwise([None, *words]):
        if word is None or not word.is_stop_word:
            continue
        if before is not None and before.is_stop_word and not text[before.stop : word.start].strip():
            runs[-1].append(word)
        else:
            runs.append([word])
    return runs

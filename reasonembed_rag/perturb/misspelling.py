"""Typing mistakes in a tenth of a query's words."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.perturb.edits import Edit, PerturbedQuery, edited, unchanged
from reasonembed_rag.perturb.hashed_random import keys_of, uniform
from reasonembed_rag.perturb.selection import chosen_words, reason_to_keep
from reasonembed_rag.perturb.wording import Word, words_of

__all__ = [
    "GENERATORS",
    "NEIGHBOURS",
    "OPERATIONS",
    "delete",
    "insert",
    "misspell",
    "press_neighbour",
    "substitute",
    "swap",
]

_NEIGHBOURS = (
    "q:was w:qeasd e:wsdfr r:edfgt t:rfghy y:tghju u:yhjki i:ujklo o:iklp p:ol a:qwszx s:qweadzx d:werfcxs f:ertgvcd "
    "g:rtyhbvd h:tyugjbn j:yuikmnh k:uiolmj l:iopk z:asx x:sdzc c:xdfv v:cfgb b:vghn n:bhjm m:njk"
)
NEIGHBOURS: Mapping[str, str] = {entry[0]: entry[2:] for entry in _NEIGHBOURS.split()}
"""The neighbouring keys of each letter on a QWERTY keyboard."""

_Operation = Callable[[str, float, float], str | None]
"""Takes a word and two numbers in [0, 1) that choose the position and the letter; None where it does not apply."""


def swap(word: str, place: float, _letter: float) -> str | None:
    """Swap a character with the next one; positions where both are the same are not drawn."""
    places = [i for i in range(len(word) - 1) if word[i] != word[i + 1]]
    if not places:
        return None
    at = places[int(place * len(places))]
    return f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"


def substitute(word: str, place: float, letter: float) -> str:
    """Replace a character by another ASCII letter."""
    at = int(place * len(word))
    others = string.ascii_letters.replace(word[at], "")
    return f"{word[:at]}{others[int(letter * len(others))]}{word[at + 1 :]}"


def press_neighbour(word: str, place: float, letter: float) -> str | None:
    """Replace a letter by that of a neighbouring key, in the same case."""
    places = [i for i, character in enumerate(word) if character.lower() in NEIGHBOURS]
    if not places:
        return None
    at = places[int(place * len(places))]
    keys = NEIGHBOURS[word[at].lower()]
    pressed = keys[int(letter * len(keys))]
    return f"{word[:at]}{pressed.upper() if word[at].isupper() else pressed}{word[at + 1 :]}"


def delete(word: str, place: float, _letter: float) -> str:
    """Delete a character."""
    at = int(place * len(word))
    return word[:at] + word[at + 1 :]


def insert(word: str, place: float, letter: float) -> str:
    """Insert an ASCII letter before a character."""
    at = int(place * len(word))
    return f"{word[:at]}{string.ascii_letters[int(letter * len(string.ascii_letters))]}{word[at:]}"


OPERATIONS: Mapping[str, _Operation] = {
    "swap": swap,
    "substitution": substitute,
    "QWERTY neighbour": press_neighbour,
    "deletion": delete,
    "insertion": insert,
}


MIXED = "one at random, lower-cased"
GENERATORS = (*OPERATIONS, MIXED)
"""One of them is drawn per query."""

_LEAST_LETTERS = 3

_GENERATOR, _OPERATION, _PLACE, _LETTER = 0, 1 << 20, 2 << 20, 3 << 20
"""The first index of each purpose's random numbers; except for the generator, the word's index is added."""


@dataclass(frozen=True, slots=True)
class _Edits:
    generator: str
    edits: tuple[Edit, ...]


def misspell(texts: Sequence[str], *, seed: int) -> list[PerturbedQuery]:
    """Return each text with one character edited in max(int(0.1 n), 1) of its n words.

    Stop words, words under three letters and words with digits are left alone; so are queries that are not English.
    """
    keys = keys_of(texts, seed=seed, purpose="misspelling")
    words = [words_of(text) for text in texts]
    reasons = [reason_to_keep(text, found, english=True) for text, found in zip(texts, words, strict=True)]
    may_change = [
        [_may_change(word) for word in found] if reason is None else [False] * len(found)
        for found, reason in zip(words, reasons, strict=True)
    ]
    chosen = chosen_words(keys, may_change)
    edits = iter(_edits(keys, words, chosen))
    return [
        unchanged(text, reason or "no word that may change") if not places else _variant(text, found, next(edits))
        for text, found, places, reason in zip(texts, words, chosen, reasons, strict=True)
    ]


def _may_change(word: Word) -> bool:
    text = word.text
    if not text.isalpha() and (any(map(str.isdigit, text)) or sum(map(str.isalpha, text)) < _LEAST_LETTERS):
        return False
    return len(text) >= _LEAST_LETTERS and not word.is_stop_word


def _edits(keys: NDArray[np.uint64], words: Sequence[list[Word]], chosen: Sequence[list[int]]) -> Iterator[_Edits]:
    """Yield the edits of each query that has chosen words."""
    generators = [GENERATORS[int(drawn * len(GENERATORS))] for drawn in uniform(keys, _GENERATOR).tolist()]
    query_W = np.repeat(np.arange(len(chosen)), [len(places) for places in chosen])
    place_W = np.asarray([place for places in chosen for place in places], dtype=np.int64)
    draws_W3 = uniform(keys[query_W][:, None], place_W[:, None] + np.asarray([_OPERATION, _PLACE, _LETTER]))
    draws = iter(draws_W3.tolist())
    for query, places in enumerate(chosen):
        if places:
            made = [_misspelt(words[query][place], generators[query], next(draws)) for place in places]
            yield _Edits(generators[query], tuple(edit for edit in made if edit is not None))


def _misspelt(word: Word, generator: str, draws: Sequence[float]) -> Edit | None:
    """Return the edit of one word: by the operation, or, if mixed, by a random one after lower-casing."""
    drawn, where, letter = draws
    mixed = generator == MIXED
    name = list(OPERATIONS)[int(drawn * len(OPERATIONS))] if mixed else generator
    after = OPERATIONS[name](word.text.lower() if mixed else word.text, where, letter)
    return None if after is None else Edit(word.start, name, word.text, after)


def _variant(text: str, words: list[Word], made: _Edits) -> PerturbedQuery:
    if not made.edits:
        return unchanged(text, "no word that may change")
    edits = list(made.edits)
    if made.generator == MIXED:
        misspelt = {edit.start for edit in edits}
        edits += [
            Edit(word.start, "lower case", word.text, word.text.lower())
            for word in words
            if word.start not in misspelt and word.text != word.text.lower()
        ]
    return edited(text, made.generator, sorted(edits, key=lambda edit: edit.start))

"""One typing mistake in a word: each operation edits exactly one character.

The keyboard's neighbours are those of TextAttack's QWERTY map.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping

__all__ = ["NEIGHBOURS", "OPERATIONS", "delete", "insert", "press_neighbour", "substitute", "swap"]

_NEIGHBOURS = (
    "q:was w:qeasd e:wsdfr r:edfgt t:rfghy y:tghju u:yhjki i:ujklo o:iklp p:ol a:qwszx s:qweadzx d:werfcxs f:ertgvcd "
    "g:rtyhbvd h:tyugjbn j:yuikmnh k:uiolmj l:iopk z:asx x:sdzc c:xdfv v:cfgb b:vghn n:bhjm m:njk"
)
NEIGHBOURS: Mapping[str, str] = {entry[0]: entry[2:] for entry in _NEIGHBOURS.split()}
"""The keys beside each letter of a QWERTY keyboard."""

_Operation = Callable[[str, float, float], str | None]
"""Takes a word and two numbers in [0, 1) that choose the place and the letter; None where it cannot apply."""


def swap(word: str, place: float, _letter: float) -> str | None:
    """Exchange a character and the next; places where both are the same letter are not drawn."""
    places = [i for i in range(len(word) - 1) if word[i] != word[i + 1]]
    if not places:
        return None
    at = places[int(place * len(places))]
    return f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"


def substitute(word: str, place: float, letter: float) -> str:
    """Put another ASCII letter in the place of a character."""
    at = int(place * len(word))
    others = string.ascii_letters.replace(word[at], "")
    return f"{word[:at]}{others[int(letter * len(others))]}{word[at + 1 :]}"


def press_neighbour(word: str, place: float, letter: float) -> str | None:
    """Press a key beside the right one, in the same case."""
    places = [i for i, character in enumerate(word) if character.lower() in NEIGHBOURS]
    if not places:
        return None
    at = places[int(place * len(places))]
    keys = NEIGHBOURS[word[at].lower()]
    pressed = keys[int(letter * len(keys))]
    return f"{word[:at]}{pressed.upper() if word[at].isupper() else pressed}{word[at + 1 :]}"


def delete(word: str, place: float, _letter: float) -> str:
    """Leave a character out."""
    at = int(place * len(word))
    return word[:at] + word[at + 1 :]


def insert(word: str, place: float, letter: float) -> str:
    """Put an ASCII letter before a character."""
    at = int(place * len(word))
    return f"{word[:at]}{string.ascii_letters[int(letter * len(string.ascii_letters))]}{word[at:]}"


OPERATIONS: Mapping[str, _Operation] = {
    "swap": swap,
    "substitution": substitute,
    "QWERTY neighbour": press_neighbour,
    "deletion": delete,
    "insertion": insert,
}

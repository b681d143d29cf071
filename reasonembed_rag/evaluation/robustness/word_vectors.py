"""Neighbours in a space of word vectors, as synonyms are made of them by TextAttack's counter-fitted GloVe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError

__all__ = ["Neighbours", "read_word_vectors"]

_FEWEST_NUMBERS = 2


class Neighbours(Mapping[str, tuple[str, ...]]):
    """The words whose vectors have at least the threshold's cosine with a word's, nearest first; found when asked."""

    def __init__(self, words: tuple[str, ...], vectors_WD: NDArray[np.float32], *, threshold: float, most: int) -> None:
        self._words = words
        self._vectors_WD = vectors_WD
        self._threshold = threshold
        self._most = most
        self._known: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, word: str) -> tuple[str, ...]:
        if word not in self._known:
            row = self._row_of[word]
            cosines_W = self._vectors_WD @ self._vectors_WD[row]
            near = [place for place in np.flatnonzero(cosines_W >= self._threshold).tolist() if place != row]
            near.sort(key=lambda place: (-float(cosines_W[place]), place))
            self._known[word] = tuple(self._words[place] for place in near[: self._most])
        return self._known[word]

    def __contains__(self, word: object) -> bool:
        return word in self._row_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self._words)}


def read_word_vectors(path: Path, *, threshold: float = 0.8, most: int = 20) -> Neighbours:
    """Read vectors in GloVe's text format: a word and its numbers a line.

    Only words in lower case are kept, and word2vec's first line of two numbers may stand. Raises InputError, naming
    file:line, for a line of another length.
    """
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                word, *numbers = line.split(" ")
                if number == 1 and len(numbers) < _FEWEST_NUMBERS:
                    continue
                row = _row(numbers, where=f"{path}:{number}", dimension=len(rows[0]) if rows else None)
                if word.isascii() and word.isalpha() and word.islower():
                    words.append(word)
                    rows.append(row)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read it as word vectors ({error})") from error
    if not rows:
        raise InputError(f"{path}: holds no word in lower case; want a word and its numbers a line")
    vectors_WD = np.stack(rows)
    lengths_W1 = np.linalg.norm(vectors_WD, axis=1, keepdims=True)
    return Neighbours(
        tuple(words),
        (vectors_WD / np.where(lengths_W1 > 0, lengths_W1, 1)).astype(np.float32),
        threshold=threshold,
        most=most,
    )


def _row(numbers: list[str], *, where: str, dimension: int | None) -> NDArray[np.float32]:
    try:
        row = np.asarray(numbers, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{where}: got {' '.join(numbers)!r:.60}; want numbers after the word") from error
    if len(row) < _FEWEST_NUMBERS or (dimension is not None and len(row) != dimension) or not np.isfinite(row).all():
        raise InputError(f"{where}: got {len(row)} numbers; want {dimension or 'two or more'}, all finite")
    return row

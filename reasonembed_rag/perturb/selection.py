"""Choose the words of each query to change: a tenth of them, at least one, at random among those that may change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.perturb.edits import UnchangedReason
from reasonembed_rag.perturb.hashed_random import uniform
from reasonembed_rag.perturb.wording import Word, is_english

__all__ = ["chosen_words", "reason_to_keep", "words_to_change"]

_SHARE = 0.1
_CHOICE = 4 << 20
"""The first index of the random numbers that order a query's words."""


def words_to_change(words: int) -> int:
    """Return the number of words to change in a query of this many (arXiv 2604.16576)."""
    return max(int(_SHARE * words), 1)


def reason_to_keep(text: str, words: list[Word], *, english: bool) -> UnchangedReason | None:
    """Return the reason why a query must be left unchanged, None if there is none."""
    if not text.strip():
        return "empty"
    if not words:
        return "no words but code or formulae"
    return "not English" if english and not is_english(words) else None


def chosen_words(
    keys: NDArray[np.uint64],
    may_change: Sequence[Sequence[bool]],
    *,
    times: int = 1,
) -> list[list[int]]:
    """Return the indices of the words drawn for each query, in the order of the draw.

    `times` multiplies the number of words to change. Fewer are returned where fewer may change.
    """
    lengths_Q = np.asarray([len(allowed) for allowed in may_change], dtype=np.int64)
    query_W = np.repeat(np.arange(len(lengths_Q)), lengths_Q)
    starts_Q = np.cumsum(lengths_Q) - lengths_Q
    place_W = np.arange(len(query_W)) - starts_Q[query_W]
    allowed_W = np.asarray([flag for allowed in may_change for flag in allowed], dtype=bool)
    query_W, place_W = query_W[allowed_W], place_W[allowed_W]
    order = np.lexsort((uniform(keys[query_W], place_W + _CHOICE), query_W))
    query_W, place_W = query_W[order], place_W[order]
    first_Q = np.searchsorted(query_W, np.arange(len(lengths_Q)))
    wanted_Q = times * np.asarray([words_to_change(length) for length in lengths_Q.tolist()], dtype=np.int64)
    taken = np.arange(len(query_W)) - first_Q[query_W] < wanted_Q[query_W]
    chosen: list[list[int]] = [[] for _ in may_change]
    for query, place in zip(query_W[taken].tolist(), place_W[taken].tolist(), strict=True):
        chosen[query].append(place)
    return chosen

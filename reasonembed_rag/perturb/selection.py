"""Which words of each query are changed: a tenth of them, at least one, drawn among those that may."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.perturb.draws import uniform
from reasonembed_rag.perturb.edits import Kept
from reasonembed_rag.perturb.wording import Word, is_english

__all__ = ["chosen_words", "obstacle", "words_to_change"]

_SHARE = 0.1
_CHOICE = 4 << 20
"""Where the draws that order a query's words start."""


def words_to_change(words: int) -> int:
    """Return how many of a query's words are changed (arXiv 2604.16576)."""
    return max(int(_SHARE * words), 1)


def obstacle(text: str, words: list[Word], *, english: bool) -> Kept | None:
    """Say why a query must be left as it is, None where it need not."""
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
    """Return the places of the words that were drawn for each query, in the order of the draw.

    times asks for so many times the words that are changed. Fewer come back where fewer may change.
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

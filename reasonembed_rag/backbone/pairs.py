"""Pairs of texts to token ids, with the special tokens between them, truncated in the second text first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.backbone.segments import SEGMENT
from reasonembed_rag.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["PairLengths", "PairTokenizer"]

_FIRST_SHARE = 0.75
"""The most of the room that a first text may take from a second one that does not fit."""


@dataclass(frozen=True, slots=True)
class PairLengths:
    """How many tokens of each text of a pair are read."""

    first: int
    second: int


class PairTokenizer:
    """Join the ids of two texts as the checkpoint's own tokenizer does for a pair."""

    def __init__(self, backend: Tokenizer, *, segments: bool) -> None:
        """With segments, the ids of each token type but the first are raised; see SEGMENT."""
        self._backend = backend
        first, second = self.ids(["a", "b"])
        pair = backend.encode("a", "b", add_special_tokens=True)
        types = np.asarray(pair.type_ids if segments else [0] * len(pair.ids), np.int32)
        framed = np.asarray(pair.ids, np.int32) + types * np.int32(SEGMENT)
        self._head, self._between, self._tail, self._raised = _frame(pair.ids, framed, types, first, second)

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text alone, without special tokens."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, np.int32) for encoding in encodings]

    def fit(self, first: int, second: int, *, max_length: int) -> PairLengths:
        """Return how many tokens of texts of these lengths fit: the second loses its end first.

        A first text keeps at most three quarters of the room where both do not fit, so that the second is never unread.
        Raises InputError where the special tokens leave no room for a token of each.
        """
        room = max_length - len(self._head) - len(self._between) - len(self._tail)
        if room < 2:
            raise InputError(f"max_length is {max_length}, of which a pair's special tokens leave {room}; want more")
        if first + second <= room:
            return PairLengths(first, second)
        kept = min(first, max(room - second, int(room * _FIRST_SHARE), 1))
        return PairLengths(kept, min(second, room - kept))

    def join(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the ids of a pair with its special tokens and segments."""
        return np.concatenate([self._head, first, self._between, second + self._raised, self._tail], dtype=np.int32)


def _frame(
    ids: list[int],
    framed: NDArray[np.int32],
    types: NDArray[np.int32],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], np.int32]:
    """Return what stands before, between and after the texts of a pair, and what raises the second's ids."""
    for start in range(len(ids) - len(first) + 1):
        after = start + len(first)
        for begin in range(after, len(ids) - len(second) + 1):
            end = begin + len(second)
            if ids[start:after] == first.tolist() and ids[begin:end] == second.tolist():
                raised = np.int32(types[begin] * SEGMENT)
                return framed[:start], framed[after:begin], framed[end:], raised
    raise ModelError("the tokenizer changes the texts' own ids when it joins a pair; want a tokenizer that does not")

"""From sequences of token ids to vectors, by one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.graph.pooling import pool_states

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

    Run = Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.float32]]

__all__ = ["batches", "embed", "padded"]

_BATCH_TOKENS = 256
"""More in one batch fall out of a core's cache; fewer leave the operators' own overhead visible."""
_ENOUGH_TOKENS = 96
"""A batch of so many takes no row of another length: masking its padding would take longer than another batch."""


def batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], *, most: int = _BATCH_TOKENS
) -> list[NDArray[np.int64]]:
    """Split rows, sorted by length, into batches of about as many tokens as one thread computes at best, or of `most`.

    A longer row is a batch by itself.
    """
    budget = min(most, _BATCH_TOKENS)
    parts = []
    start = 0
    while start < len(rows):
        longest = int(max(lengths[rows[start]], lengths[rows[-1]], 1))
        stop = start + max(1, budget // longest)
        enough = start - (-_ENOUGH_TOKENS // longest)
        if stop > enough:
            others = np.flatnonzero(lengths[rows[enough:stop]] != lengths[rows[start]])
            stop = enough + int(others[0]) if len(others) else stop
        parts.append(rows[start:stop])
        start = stop
    return parts


def embed(
    run: Run, sequences: Sequence[NDArray[np.int32]], spec: EmbeddingSpec, *, pad_id: int, skip: int
) -> NDArray[np.float32]:
    """Return the vectors (n, D) of sequences, computed as one right-padded batch."""
    lengths_B = np.asarray([len(sequence) for sequence in sequences], np.int32)
    return pool_states(run(padded(sequences, pad_id=pad_id), lengths_B), lengths_B, spec, skip=skip)


def padded(sequences: Sequence[NDArray[np.int32]], *, pad_id: int) -> NDArray[np.int32]:
    """Return sequences as rows (n, S), padded on the right."""
    ids_BS = np.full((len(sequences), max(len(sequence) for sequence in sequences)), pad_id, np.int32)
    for row, sequence in enumerate(sequences):
        ids_BS[row, : len(sequence)] = sequence
    return ids_BS

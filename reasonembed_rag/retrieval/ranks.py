"""The order of ids that decides ties: descending, as trec_eval has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError

__all__ = ["descending_ranks"]


def descending_ranks(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the place of each id among all of them in descending order; raises InputError for a repeated id."""
    if len(set(ids)) < len(ids):
        twice = next(identity for identity, count in Counter(ids).items() if count > 1)
        raise InputError(f"document id {twice!r} occurs twice; ids must be unique: rename or drop one")
    order = np.asarray(sorted(range(len(ids)), key=ids.__getitem__, reverse=True), dtype=np.int64)
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[order] = np.arange(len(ids))
    return ranks

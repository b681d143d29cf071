"""The segments of a pair, written into its token ids: a second segment's ids are raised by one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SEGMENT", "read_segments", "split_halfway"]

SEGMENT = 1 << 24
"""What token type t adds to an id is t times this; no vocabulary is as large.

So ids remain one array, and what plans, packs and runs sequences needs no second one for token types.
"""


def read_segments(ids: Any) -> tuple[Any, Any]:
    """Return the ids in the vocabulary and the token types of an array or a tensor."""
    types = ids // SEGMENT
    return ids - types * SEGMENT, types


def split_halfway(sequences: Sequence[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
    """Return sequences whose second halves are second segments, to check a forward that tells segments apart."""
    return [
        np.concatenate([ids[: len(ids) // 2], ids[len(ids) // 2 :] + np.int32(SEGMENT)], dtype=np.int32)
        for ids in sequences
    ]

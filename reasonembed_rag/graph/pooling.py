"""Pool states into vectors, in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["pool_states"]

_LEAST_NORM = 1e-12


def pool_states(
    states_BSD: NDArray[np.float32], lengths_B: NDArray[np.int32], spec: EmbeddingSpec, *, skip: int
) -> NDArray[np.float32]:
    """Return one vector per row of right-padded states, truncated and normalised as the spec says.

    Mean pooling skips the first `skip` tokens; a row without tokens after them gives its last state.
    """
    pooled_BD = np.empty((len(states_BSD), states_BSD.shape[2]), np.float32)
    for row, length in enumerate(lengths_B.tolist()):
        if spec.pooling == "cls":
            pooled_BD[row] = states_BSD[row, 0]
        elif spec.pooling == "last":
            pooled_BD[row] = states_BSD[row, length - 1]
        else:
            pooled_TD = states_BSD[row, min(skip, length - 1) : length]
            np.add.reduce(pooled_TD, axis=0, out=pooled_BD[row])  # mean() takes twice as long for few tokens
            pooled_BD[row] /= len(pooled_TD)
    vectors_BD = pooled_BD[:, : spec.dimension]
    if spec.normalize:
        norms_B1: Any = np.sqrt(np.add.reduce(vectors_BD * vectors_BD, axis=1, keepdims=True))
        vectors_BD = vectors_BD / np.maximum(norms_B1, _LEAST_NORM)
    return np.ascontiguousarray(vectors_BD)

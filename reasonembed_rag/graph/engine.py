"""The engine on ONNX Runtime: packs as small batches of similar length."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.backbone import RowVectors
from reasonembed_rag.errors import BackendError, InputError, ModelError
from reasonembed_rag.graph.cache import open_graph
from reasonembed_rag.graph.pooling import pool_states
from reasonembed_rag.graph.session import GraphSession, session_options, thread_count
from reasonembed_rag.graph.writing import supports, write_graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Tokens
    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["OnnxEngine"]

_BATCH = 4


class OnnxEngine:
    """Compute on this machine's CPU through ONNX Runtime.

    Raises ModelError for a model that it cannot run, and for weights that do not fit config.json.
    """

    def __init__(self, weights: EncoderWeights, *, dtype: str) -> None:
        reason = supports(weights.config)
        if reason is None and dtype != "float32":
            reason = f"dtype {dtype!r}"
        if reason is not None:
            raise ModelError(
                f"{weights.spec.model}: backend='onnx' cannot run it ({reason}); want backend='torch', "
                "which pip install 'reasonembed-rag[torch]' brings"
            )
        self._spec, self._pad_id = weights.spec, weights.pad_id
        options = functools.partial(session_options, threads=thread_count())
        write = functools.partial(write_graph, weights)
        self._session: GraphSession | None = GraphSession(
            functools.partial(open_graph, weights, dtype=dtype, options=options, write=write)
        )

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield the vectors of the packs in order."""
        if adapter is not None:
            raise InputError(f"unknown adapter {adapter!r}; adapters by name need backend='torch'")
        skip = 0 if self._spec.pool_prompt else tokens.skip
        for pack in packs:
            for start in range(0, len(pack), _BATCH):
                rows = pack[start : start + _BATCH]
                yield RowVectors(rows, self._vectors(tokens.rows(rows), skip=skip))

    def close(self) -> None:
        """Drop the model."""
        self._session = None

    def _vectors(self, sequences: Sequence[NDArray[np.int32]], *, skip: int) -> NDArray[np.float32]:
        if self._session is None:
            raise BackendError(f"the encoder of {self._spec.model} is closed; build a new one with from_pretrained")
        lengths_B = np.asarray([len(sequence) for sequence in sequences], np.int32)
        ids_BS = np.full((len(sequences), lengths_B.max()), self._pad_id, np.int32)
        for row, sequence in enumerate(sequences):
            ids_BS[row, : len(sequence)] = sequence
        return pool_states(self._session(ids_BS, lengths_B), lengths_B, self._spec, skip=skip)

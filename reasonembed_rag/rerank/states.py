"""Run sequences of token ids through an engine, whatever their number, in packs of a token budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.backbone import Tokens
from reasonembed_rag.encoder import plan_packs
from reasonembed_rag.errors import BackendError, InputError
from reasonembed_rag.forks import ForkLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Engine
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["PooledStates"]

_CPU_BUDGET = 2048
_GPU_BUDGET = 32768


class PooledStates:
    """The pooled states of sequences by one engine; threads may share it, their calls run one after another."""

    def __init__(self, engine: Engine, spec: EmbeddingSpec, *, device: str | None, token_budget: int | None) -> None:
        """Without a budget it is the encoder's own for the device. Raises InputError for a budget below 1."""
        if token_budget is not None and token_budget < 1:
            raise InputError(f"token_budget is {token_budget}; want at least 1")
        own = _GPU_BUDGET if str(device).startswith("cuda") else _CPU_BUDGET
        self._engine, self._spec, self._budget = engine, spec, token_budget or own
        self._lock = ForkLock()
        self.tokens = 0
        """The tokens computed since construction."""

    def __call__(self, sequences: Sequence[NDArray[np.int32]], *, shared: int = 0) -> NDArray[np.float32]:
        """Return the states (n, D) of n sequences whose first `shared` tokens are the same."""
        offsets = np.zeros(len(sequences) + 1, np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        flat = np.concatenate(sequences) if sequences else np.empty(0, np.int32)
        tokens = Tokens(flat, offsets, 0, shared=shared)
        states = np.empty((len(sequences), self._spec.dimension), np.float32)
        with self._lock:
            packs = plan_packs(tokens.lengths - shared, budget=self._budget)
            for part in self._engine.run(tokens, packs, adapter=None):
                states[part.rows] = part.vectors
            self.tokens += len(flat)
        if not np.isfinite(states).all():
            raise BackendError(
                f"{self._spec.model} gave states that are not finite in {self._spec.dtype}; "
                "the weights are damaged or overflow: check the files, or load with dtype='float32'"
            )
        return states

    def close(self) -> None:
        """Release the model's memory; later calls raise BackendError."""
        with self._lock:
            self._engine.close()

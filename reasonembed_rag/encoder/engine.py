"""The seam between planning and computing: packs of token sequences in, vectors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from reasonembed_rag.encoder.forward import PaddedForward
from reasonembed_rag.encoder.pooling import finish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.encoder.loading import LoadedModel
    from reasonembed_rag.encoder.tokens import Tokens

__all__ = ["Engine", "LocalEngine", "Part"]


class Part(NamedTuple):
    """The vectors (len(rows), D) of some rows of a call."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Engine(Protocol):
    """Compute the vectors of a call, pack by pack, in any order."""

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[Part]:
        """Yield the vectors of each pack as they are done; an error ends the call and leaves the engine usable."""

    def close(self) -> None:
        """Give back what the engine holds; a closed engine cannot run."""


class LocalEngine:
    """Compute in this process, on one device."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._spec = loaded.spec
        self._forward = PaddedForward(loaded.backbone, pooling=loaded.spec.pooling, pad_id=loaded.pad_id)

    def run(
        self,
        tokens: Tokens,
        packs: Sequence[NDArray[np.int64]],
        *,
        adapter: str | None,  # noqa: ARG002 - taken up by the packed forward
    ) -> Iterator[Part]:
        """Yield the vectors of each pack, in the order of the packs."""
        spec = self._spec
        skip = 0 if spec.pool_prompt else tokens.skip
        for rows in packs:
            with torch.inference_mode():
                pooled = self._forward(tokens.rows(rows), skip=skip)
                vectors = finish(pooled, dimension=spec.dimension, normalize=spec.normalize)
            yield Part(rows, vectors.cpu().numpy())

    def close(self) -> None:
        """Drop the model."""

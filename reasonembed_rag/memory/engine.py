"""The latent model as the engine of an Encoder: packs of tokens to vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from reasonembed_rag.backbone import RowVectors, finish
from reasonembed_rag.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Tokens
    from reasonembed_rag.memory.model import LatentModel
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["LatentEngine"]


class LatentEngine:
    """Compute the normalised mean of the latent states behind every text; an Engine."""

    def __init__(self, model: LatentModel, spec: EmbeddingSpec) -> None:
        self._model: LatentModel | None = model
        self._spec = spec
        self.reasoning = 0
        """Tokens that the backbone generates behind every text before its latents."""

    @property
    def model(self) -> LatentModel:
        """The model; raises BackendError after close."""
        if self._model is None:
            raise BackendError("the encoder is closed; load the model again")
        return self._model

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield the vectors of each pack; adapters are merged when the backbone is loaded, none is chosen per call."""
        del adapter
        model = self.model
        for rows in packs:
            with torch.inference_mode():
                texts = tokens.rows(rows)
                if self.reasoning:
                    texts = [self._reasoned(text) for text in texts]
                pooled_BD = model(texts).pooled_BD
                vectors_BD = finish(pooled_BD, dimension=self._spec.dimension, normalize=self._spec.normalize)
            yield RowVectors(rows, vectors_BD.cpu().numpy())

    def close(self) -> None:
        """Release the model."""
        self._model = None

    def _reasoned(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return ids with the likeliest tokens behind them, as the backbone alone generates them."""
        written, past, new = list(ids), None, ids
        for _ in range(self.reasoning):
            states_TD, past = self.model.plain([new], past=past)
            written.append(int(self.model.logits(states_TD[-1:]).argmax()))
            new = np.asarray(written[-1:], np.int32)
        return np.asarray(written, np.int32)

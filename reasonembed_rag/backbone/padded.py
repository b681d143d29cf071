"""The reference forward: padded tokens through a transformers model to pooled vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from reasonembed_rag.backbone.pooling import pool_padded
from reasonembed_rag.backbone.segments import read_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel

    from reasonembed_rag.spec import Pooling

__all__ = ["PaddedForward"]


class PaddedForward:
    """Run a transformers backbone on right-padded rows: correct for every architecture, but slow.

    Right padding keeps the positions of real tokens, and a causal mask hides the padding from them. own_mask gives a
    decoder a mask over all real tokens, for bidirectional attention; segments: ids hold token types. Works under
    autograd and in inference mode.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        pooling: Pooling,
        pad_id: int,
        own_mask: bool = False,
        segments: bool = False,
    ) -> None:
        self._backbone = backbone
        self._pooling: Pooling = pooling
        self._pad_id = pad_id
        self._own_mask = own_mask
        self._segments = segments

    def __call__(self, sequences: Sequence[NDArray[np.int32]], *, skip: int = 0) -> Tensor:
        """Return pooled float32 states (n, D) of n token sequences; mean pooling leaves out the first `skip` tokens."""
        lengths = np.asarray([len(sequence) for sequence in sequences])
        lengths_B = torch.from_numpy(lengths).to(self._backbone.device)
        hidden_BLD = self._states(sequences, lengths_B)
        skip_B = torch.full_like(lengths_B, skip) if skip else None
        return pool_padded(hidden_BLD, lengths_B, pooling=self._pooling, skip_B=skip_B)

    def token_states(
        self, sequences: Sequence[NDArray[np.int32]], attended: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Return the state (L, D) of every token of each sequence, of which only the first ones are attended to."""
        attended_B = torch.tensor(list(attended), device=self._backbone.device)
        hidden_BLD = self._states(sequences, attended_B).float().cpu().numpy()
        return [states[: len(ids)] for states, ids in zip(hidden_BLD, sequences, strict=True)]

    def _states(self, sequences: Sequence[NDArray[np.int32]], attended_B: Tensor) -> Tensor:
        """Return the states (B, L, D) of right-padded sequences, of which the first tokens are attended to."""
        longest = max(len(sequence) for sequence in sequences)
        ids = np.full((len(sequences), longest), self._pad_id, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
        device = self._backbone.device
        ids_BL = torch.from_numpy(ids).to(device)
        real_BL = torch.arange(ids_BL.shape[1], device=device) < attended_B[:, None]
        mask = self._bidirectional_mask(real_BL) if self._own_mask else real_BL.long()
        inputs = {"input_ids": ids_BL, "attention_mask": mask}
        if self._segments:
            inputs["input_ids"], inputs["token_type_ids"] = read_segments(ids_BL)
        hidden_BLD: Tensor = self._backbone(**inputs, **self._extra()).last_hidden_state
        return hidden_BLD

    def _bidirectional_mask(self, real_BL: Tensor) -> Tensor:
        """Return an additive mask (B, 1, L, L): 0 for real tokens, the lowest number for padding."""
        dtype = self._backbone.dtype
        hidden_B1LL = ~real_BL[:, None, None].expand(-1, 1, real_BL.shape[1], -1)
        return torch.zeros_like(hidden_B1LL, dtype=dtype).masked_fill_(hidden_B1LL, torch.finfo(dtype).min)

    def _extra(self) -> dict[str, bool]:
        return {"use_cache": False} if getattr(self._backbone.config, "use_cache", False) else {}

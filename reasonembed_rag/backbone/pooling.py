"""Pool the states of a text's tokens into one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from reasonembed_rag.spec import Pooling

__all__ = ["finish", "pool_padded"]


def pool_padded(hidden_BLD: Tensor, lengths_B: Tensor, *, pooling: Pooling, skip_B: Tensor | None = None) -> Tensor:
    """Return one float32 vector per row, (B, D), of right-padded states.

    skip_B is the number of leading tokens that mean pooling skips (a template before the text); None skips none. A row
    without tokens after them gives its last state.
    """
    if pooling == "cls":
        return hidden_BLD[:, 0].float()
    if pooling == "last":
        rows_B = torch.arange(len(hidden_BLD), device=hidden_BLD.device)
        return hidden_BLD[rows_B, lengths_B - 1].float()
    position_L = torch.arange(hidden_BLD.shape[1], device=hidden_BLD.device)
    counted_BL = position_L < lengths_B[:, None]
    if skip_B is not None:
        counted_BL &= position_L >= torch.minimum(skip_B, lengths_B - 1)[:, None]
    sum_BD = (hidden_BLD.float() * counted_BL[..., None]).sum(dim=1)
    return sum_BD / counted_BL.sum(dim=1, keepdim=True)


def finish(vectors_BD: Tensor, *, dimension: int, normalize: bool) -> Tensor:
    """Truncate float32 vectors to their first `dimension` numbers (Matryoshka), then normalise them if asked."""
    truncated_BD = vectors_BD[:, :dimension]
    return functional.normalize(truncated_BD, dim=-1) if normalize else truncated_BD

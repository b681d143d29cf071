"""Pooling: the states of a text's tokens to one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from reasonembed_rag.spec import Pooling

__all__ = ["finish", "pool_padded"]


def pool_padded(hidden_BLD: Tensor, lengths_B: Tensor, *, pooling: Pooling, skip_B: Tensor | None = None) -> Tensor:
    """Return one float32 vector a row, (B, D), of right-padded states.

    skip_B counts the leading tokens that mean pooling leaves out (a template before the text); None leaves out none. Of
    a row with no token after them the last token counts.
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
    """Cut float32 vectors to their first `dimension` numbers (Matryoshka), then scale them to length 1 where asked."""
    cut_BD = vectors_BD[:, :dimension]
    return functional.normalize(cut_BD, dim=-1) if normalize else cut_BD

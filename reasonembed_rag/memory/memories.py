"""Memories: the keys and values at a text's latent positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from reasonembed_rag.errors import InputError, SpecMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Memory", "joined_memories"]


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What a text is to the backbone that compressed it, in one size whatever the text's length."""

    values_N2KkD: Tensor
    """Keys before rotation, and values: (layers, 2, kv heads, k, head width), in the backbone's number format."""
    fingerprint: str
    """Of the latent model that made it; no other can read it."""

    @property
    def latents(self) -> int:
        """The number of latent positions, k."""
        return int(self.values_N2KkD.shape[3])

    @property
    def nbytes(self) -> int:
        """2 * layers * kv heads * head width * k * bytes per value."""
        return self.values_N2KkD.numel() * self.values_N2KkD.dtype.itemsize


def joined_memories(memories: Sequence[Memory], *, fingerprint: str, shape: Sequence[int]) -> Tensor:
    """Put memories side by side, as one row (1, layers, 2, kv heads, P, head width).

    Raises InputError for none, SpecMismatchError for memories of another model or latent count.
    """
    if not memories:
        raise InputError("no memories were given; want at least one, or texts")
    for number, memory in enumerate(memories):
        if not isinstance(memory, Memory):
            raise InputError(f"memories[{number}] is {type(memory).__name__}; want what compress returned")
        got = tuple(memory.values_N2KkD.shape)
        if memory.fingerprint != fingerprint or got != tuple(shape):
            raise SpecMismatchError(
                f"memories[{number}] was made by model {memory.fingerprint} with shape {got}; this one is "
                f"{fingerprint} with {tuple(shape)}: compress the texts again with this model"
            )
    return torch.cat([memory.values_N2KkD for memory in memories], dim=3)[None]

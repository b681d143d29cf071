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
    def number_format(self) -> str:
        """The backbone's, such as float32."""
        return str(self.values_N2KkD.dtype).removeprefix("torch.")

    @property
    def nbytes(self) -> int:
        """2 * layers * kv heads * head width * k * bytes per value."""
        return self.values_N2KkD.numel() * self.values_N2KkD.dtype.itemsize


def joined_memories(
    memories: Sequence[Memory], *, fingerprint: str, shape: Sequence[int], number_format: str
) -> Tensor:
    """Put memories side by side, as one row (1, layers, 2, kv heads, P, head width).

    number_format is the backbone's, such as float32. Raises InputError for none, SpecMismatchError for memories of
    another model, latent count or number format.
    """
    if not memories:
        raise InputError("no memories were given; want at least one, or texts")
    for number, memory in enumerate(memories):
        if not isinstance(memory, Memory):
            raise InputError(f"memories[{number}] is {type(memory).__name__}; want what compress returned")
        got = tuple(memory.values_N2KkD.shape)
        if (memory.fingerprint, got, memory.number_format) != (fingerprint, tuple(shape), number_format):
            raise SpecMismatchError(
                f"memories[{number}] was made by model {memory.fingerprint} with shape {got} in "
                f"{memory.number_format}; this one is {fingerprint} with {tuple(shape)} in {number_format}: compress "
                "the texts again with this model, loaded as it is now"
            )
    return torch.cat([memory.values_N2KkD for memory in memories], dim=3)[None]

"""Self-check: the packed forward is used only if it agrees with transformers on a few texts."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from reasonembed_rag.backbone.marks import is_marked, mark
from reasonembed_rag.backbone.processor import instruction_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from reasonembed_rag.backbone.packed import PackedForward
    from reasonembed_rag.backbone.padded import PaddedForward
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["FLOORS", "disagreement", "is_verified", "remember_verified"]

FLOORS = {"float32": 0.9999, "bfloat16": 0.999, "float16": 0.999, "int8": 0.95}
"""Lowest accepted cosine to transformers' forward in the same number format (int8: in float32)."""
_RECHECK_FLOOR = 0.95
_MAX_ERROR_RATIO = 1.5
"""Accepted distance of the packed forward to float32, relative to that of transformers' forward."""

_VERIFIED_BY = ("torch", "transformers", "tokenizers")


def disagreement(
    packed: PackedForward,
    padded: PaddedForward,
    sequences: Sequence[NDArray[np.int32]],
    *,
    floor: float,
    exact: Callable[[], PaddedForward] | None = None,
) -> str | None:
    """Return how the packed forward disagrees with the padded one, one text at a time; None if it agrees.

    In a 16-bit format two correct forwards of a deep model may differ by more than the floor. `exact` builds the padded
    forward in float32; the packed one is then also accepted if it is about as close to that as the padded one.
    """
    with torch.inference_mode():
        expected = _one_by_one(padded, sequences)
        try:
            got = _packed_ways(packed, sequences)
        except Exception as error:  # noqa: BLE001 - a forward that fails is not used; transformers' is
            return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        lowest = _lowest_cosine(got, expected)
        if lowest >= floor:  # False for NaN
            return None
        if exact is not None and lowest >= _RECHECK_FLOOR:
            reference = _one_by_one(exact(), sequences)
            if 1 - _lowest_cosine(got, reference) <= _MAX_ERROR_RATIO * (1 - _lowest_cosine([expected], reference)):
                return None
    return f"cosine {lowest:.6f} to transformers' forward, want {floor}"


def _one_by_one(padded: PaddedForward, sequences: Sequence[NDArray[np.int32]]) -> Tensor:
    return torch.cat([padded([sequence]) for sequence in sequences])


def _packed_ways(packed: PackedForward, sequences: Sequence[NDArray[np.int32]]) -> list[Tensor]:
    """Return the packed forward's states in one pack and, if it supports prefixes, after a prefix computed once."""
    order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
    whole = packed([sequences[row] for row in order])
    together = torch.empty_like(whole)
    together[order] = whole
    shared = min(3, len(sequences[-1]) - 1)
    if shared < 1 or not (packed.shares_prefixes and packed.pools_last):
        return [together]
    behind = packed([sequences[-1][shared:]], prefix=packed.prefix(sequences[-1][:shared]))
    return [together, torch.cat([together[:-1], behind])]


def _lowest_cosine(got: Sequence[Tensor], expected: Tensor) -> float:
    """Return the lowest cosine; NaN if any is NaN."""
    return torch.stack([torch.cosine_similarity(vectors, expected).min() for vectors in got]).min().item()


def is_verified(spec: EmbeddingSpec, *, device: str) -> bool:
    """Return whether this model passed before, on this kind of device and with these library versions."""
    return is_marked(_description(spec, device))


def remember_verified(spec: EmbeddingSpec, *, device: str) -> None:
    """Record that this model passed; a cache that cannot be written is ignored."""
    mark(_description(spec, device))


def _description(spec: EmbeddingSpec, device: str) -> str:
    versions = ",".join(f"{name}={metadata.version(name)}" for name in _VERIFIED_BY)
    own = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))
    return f"{spec.digest()}\n{device}\n{instruction_set()}\n{versions}\n{own}"

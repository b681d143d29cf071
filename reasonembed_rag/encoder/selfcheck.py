"""Right before fast: the packed forward must agree with transformers on a few texts, or it is not used."""

from __future__ import annotations

import contextlib
import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.encoder.forward import PaddedForward
    from reasonembed_rag.encoder.packed import PackedForward
    from reasonembed_rag.encoder.tokens import TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["FLOORS", "disagreement", "is_verified", "remember_verified", "self_check_sequences"]

FLOORS = {"float32": 0.9999, "bfloat16": 0.999, "float16": 0.999, "int8": 0.95}
"""The least cosine to transformers' own forward in the same number format (int8: to float32)."""

_SENTENCE = (
    "Default parameter values are evaluated once, when the function definition is executed; a list keeps growing. "
)
_VERIFIED_BY = ("torch", "transformers", "tokenizers")


def self_check_sequences(tokenizer: TextTokenizer, spec: EmbeddingSpec) -> list[NDArray[np.int32]]:
    """Return texts of several lengths, the longest past the blocks and windows of attention, as token ids."""
    texts = ["why?", "Two words", _SENTENCE, _SENTENCE * 3, "日本語 and code:\n\tdef f(x=[]): ...", _SENTENCE * 14]
    limit = min(spec.max_document_length, 320)
    tokens = tokenizer(texts, before="", after="", max_length=limit)
    return [tokens.ids[start:stop] for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


def disagreement(
    packed: PackedForward, padded: PaddedForward, sequences: Sequence[NDArray[np.int32]], *, floor: float
) -> str | None:
    """Return how the packed forward disagrees with the padded one, one text at a time; None where it agrees."""
    with torch.inference_mode():
        expected = torch.cat([padded([sequence]) for sequence in sequences])
        order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
        got = torch.empty_like(expected)
        got[order] = packed([sequences[row] for row in order])
        cosines = [torch.cosine_similarity(got, expected).min().item()]
        if packed.shares_prefixes and packed.pools_last:
            shared = min(3, len(sequences[-1]) - 1)
            with_prefix = packed([sequences[-1][shared:]], prefix=packed.prefix(sequences[-1][:shared]))
            cosines.append(torch.cosine_similarity(with_prefix, expected[-1:]).item())
    lowest = min(cosines)
    return None if lowest >= floor else f"cosine {lowest:.6f} to transformers' forward, want {floor}"


def is_verified(spec: EmbeddingSpec, *, device: str) -> bool:
    """Return whether this model agreed before, on this kind of device and with these library versions."""
    return _mark(spec, device).is_file()


def remember_verified(spec: EmbeddingSpec, *, device: str) -> None:
    """Note that this model agreed; a cache that cannot be written is done without."""
    with contextlib.suppress(OSError):
        mark = _mark(spec, device)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _mark(spec: EmbeddingSpec, device: str) -> Path:
    root = os.environ.get("REASONEMBED_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    versions = ",".join(f"{name}={metadata.version(name)}" for name in _VERIFIED_BY)
    own = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))
    parts = f"{spec.digest()}\n{device}\n{versions}\n{own}"
    return Path(root) / "reasonembed-rag" / "verified" / hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

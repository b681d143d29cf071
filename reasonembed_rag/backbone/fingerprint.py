"""Fingerprint the weights of a model: what tells the vectors of two models apart."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from reasonembed_rag.backbone.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_scaling

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["weights_fingerprint"]

_BLOCK = 1 << 16
_SAMPLES = 64
_SHIPPED = {
    "207c8cf8561bb84739055182dc76c73f": "7cc9f0ba5d0ee542ac1b69f93e1b1f1a",
}
"""What the default models' fingerprints were when no setting of an adapter was part of them: indexes and caches of that
time stay valid, since these models' settings are known. An entry goes when its model is trained anew."""


def weights_fingerprint(files: Iterable[Path]) -> str:
    """Return 32 hexadecimal digits from the names, the sizes and 64 evenly spaced blocks of weight files.

    For an adapter, the settings that scale it are included. Two trainings of a model differ in nearly every block, so a
    sample distinguishes them; a manual change of a few bytes may not be detected. Raises ModelError for an adapter
    whose settings are damaged.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(files, key=lambda path: (path.name, path.stat().st_size)):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for sample in range(_SAMPLES):
                file.seek(max(0, size - _BLOCK) * sample // (_SAMPLES - 1))
                digest.update(file.read(_BLOCK))
        if path.name == ADAPTER_WEIGHTS and (path.parent / ADAPTER_CONFIG).is_file():
            digest.update(adapter_scaling(path.parent).encode())
    found = digest.hexdigest()
    return _SHIPPED.get(found, found)

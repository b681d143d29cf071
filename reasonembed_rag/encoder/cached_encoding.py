"""Encode through a cache of vectors: the key of a text, and only what is missing computed."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Literal

import numpy as np

from reasonembed_rag.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.encoder.cache import VectorCache
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["encode_through_cache", "vector_keys"]

_logger = logging.getLogger(__name__)

_WINDOW = 16_384
"""Texts encoded between two writes: what a killed process can lose."""


def vector_keys(
    spec: EmbeddingSpec, texts: Sequence[str], *, role: Literal["query", "document"], affixes: tuple[str, str]
) -> list[bytes]:
    """Return a key of 20 bytes per text: a hash of everything that its vector depends on.

    spec is that of the call, its adapter included; affixes are the template before and after the text, instruction
    included. Every part is hashed with its length first, so that different parts never give the same bytes.
    """
    common = hashlib.blake2b(digest_size=20)
    for part in (spec.digest(), role, *affixes):
        _feed(common, part)
    keys: list[bytes] = []
    for text in texts:
        own = common.copy()
        _feed(own, text)
        keys.append(own.digest())
    return keys


def _feed(digest: hashlib.blake2b, part: str) -> None:
    raw = part.encode(errors="surrogatepass")
    digest.update(len(raw).to_bytes(8, "little"))
    digest.update(raw)


def encode_through_cache(
    texts: Sequence[str],
    cache: VectorCache,
    keys: Sequence[bytes],
    encode_missing: Callable[[list[str]], NDArray[np.float32]],
    *,
    dimension: int,
) -> NDArray[np.float32]:
    """Return float32 vectors (n, dimension) of the texts, encoding only those with missing keys, each key once.

    New vectors are written to the cache at intervals; if it cannot be written (a full disk), a warning is logged and
    the vectors are returned all the same. Raises StoreError for a cache that cannot be read, and what encode_missing
    raises.
    """
    if len(texts) != len(keys):
        raise InputError(f"got {len(texts)} texts and {len(keys)} keys; want one key per text")
    vectors = np.empty((len(texts), dimension), dtype=np.float32)
    found = cache.get(keys, dimension=dimension)
    vectors[found.rows] = found.vectors
    absent = np.ones(len(texts), dtype=bool)
    absent[found.rows] = False
    rows_of_key: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(absent).tolist():
        rows_of_key.setdefault(keys[row], []).append(row)
    missing = list(rows_of_key)
    for start in range(0, len(missing), _WINDOW):
        window = missing[start : start + _WINDOW]
        fresh = encode_missing([texts[rows_of_key[key][0]] for key in window])
        if fresh.shape != (len(window), dimension):
            raise InputError(f"encode_missing gave {fresh.shape}; want {(len(window), dimension)}")
        for key, vector in zip(window, fresh, strict=True):
            vectors[rows_of_key[key]] = vector
        try:
            cache.put(window, fresh)
        except StoreError as error:
            _logger.warning("%d vectors were computed but not cached: %s", len(window), error)
    return vectors

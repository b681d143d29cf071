"""Vectors of a whole corpus, in shards: in memory, or in a cache folder where an interrupted encoding continues."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_rag.files import replacing
from reasonembed_rag.protocols import Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EncodingProgress", "corpus_digest", "encode_corpus"]

EncodingProgress = Callable[[int, int], None]
"""Callback of (documents encoded, documents in all)."""

_SHARD_DOCUMENTS = 8192
_CALL_DOCUMENTS = 1024
"""Documents per call of the embedder: enough for its batches, few enough for frequent progress reports."""


def encode_corpus(
    embedder: Embedder,
    documents: Sequence[Document],
    *,
    cache: Path | None = None,
    shard_size: int = _SHARD_DOCUMENTS,
    progress: EncodingProgress | None = None,
) -> list[NDArray[np.float32]]:
    """Return the vectors of the documents' contents in shards of (shard_size, D); ids never reach the model.

    With a cache folder the shards are files in cache/<spec digest>/<corpus digest>, returned as read-only memory maps;
    only missing ones are encoded, and each is written whole or not at all, so a killed run loses one shard at most.
    Raises InputError for a folder that cannot be written, StoreError for a file there that is not the expected shard.
    """
    if shard_size < 1:
        raise InputError(f"shard_size is {shard_size}; want at least 1")
    report = progress or _ignore
    starts = range(0, len(documents), shard_size)
    if cache is None:
        return [_encode(embedder, documents, start, shard_size, report) for start in starts]
    spec = replace(embedder.spec, query_map=None)  # a map of queries leaves documents as they are
    folder = cache / spec.digest() / corpus_digest(documents, shard_size=shard_size)
    shards: list[NDArray[np.float32]] = []
    for number, start in enumerate(starts):
        path = folder / f"{number:06}.npy"
        stop = min(start + shard_size, len(documents))
        if not path.is_file():
            _write(path, _encode(embedder, documents, start, shard_size, report))
        shards.append(_open(path, (stop - start, embedder.dimension)))
        report(stop, len(documents))
    return shards


def corpus_digest(documents: Sequence[Document], *, shard_size: int) -> str:
    """Return 32 hexadecimal digits that change with any content, their order and the size of the shards."""
    digest = hashlib.blake2b(f"{shard_size}\n".encode(), digest_size=16)
    for document in documents:
        content = document.content.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _ignore(_done: int, _total: int) -> None:
    """Ignore a progress report."""


def _encode(
    embedder: Embedder, documents: Sequence[Document], start: int, size: int, report: EncodingProgress
) -> NDArray[np.float32]:
    """Encode one shard."""
    stop = min(start + size, len(documents))
    shard = np.empty((stop - start, embedder.dimension), dtype=np.float32)
    for first in range(start, stop, _CALL_DOCUMENTS):
        contents = [document.content for document in documents[first : min(first + _CALL_DOCUMENTS, stop)]]
        shard[first - start : first - start + len(contents)] = embedder.encode_documents(contents)
        report(first + len(contents), len(documents))
    return shard


def _write(path: Path, vectors: NDArray[np.float32]) -> None:
    try:
        with replacing(path) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(vectors), allow_pickle=False)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot write vectors there ({error.strerror}); "
            "want a writable folder with room, or no cache"
        ) from error


def _open(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not a shard of vectors ({error}); delete it and run again") from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise StoreError(
            f"{path}: holds {vectors.dtype} {vectors.shape}, want float32 {shape}; delete it and run again"
        )
    return np.asarray(vectors)

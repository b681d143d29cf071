"""Document vectors encoded in shards, kept on disk under what fixes them, and taken up again after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.atomic import replacing
from reasonembed_rag.documents import Document
from reasonembed_rag.embedder import Embedder
from reasonembed_rag.errors import InputError, StoreError

__all__ = ["EncodingProgress", "corpus_digest", "encode_corpus", "encode_corpus_to_disk"]

EncodingProgress = Callable[[int, int], None]
"""Told (documents encoded, documents in all)."""

_SHARD_DOCUMENTS = 8192
_CALL_DOCUMENTS = 1024
"""Documents given to the embedder at once: enough for its batches, few enough for news of the progress."""


def encode_corpus(
    embedder: Embedder,
    documents: Sequence[Document],
    *,
    shard_size: int = _SHARD_DOCUMENTS,
    progress: EncodingProgress | None = None,
) -> list[NDArray[np.float32]]:
    """Return the documents' vectors in shards of (shard_size, D), in memory; ids never reach the model."""
    starts = _starts(len(documents), shard_size)
    return [_encode(embedder, documents, start, shard_size, progress) for start in starts]


def encode_corpus_to_disk(
    embedder: Embedder,
    documents: Sequence[Document],
    *,
    folder: Path,
    shard_size: int = _SHARD_DOCUMENTS,
    progress: EncodingProgress | None = None,
) -> list[NDArray[np.float32]]:
    """Return the documents' vectors in shards mapped read-only from disk; only shards that are not there are encoded.

    They lie in folder/<spec digest>/<corpus digest>, each written whole or not at all: a killed run loses the shard it
    was at. Raises InputError where the folder cannot be written, StoreError for a file there that is not such a shard.
    """
    home = folder / embedder.spec.digest() / corpus_digest(documents, shard_size=shard_size)
    shards: list[NDArray[np.float32]] = []
    for number, start in enumerate(_starts(len(documents), shard_size)):
        path = home / f"{number:06}.npy"
        stop = min(start + shard_size, len(documents))
        if not path.is_file():
            _write(path, _encode(embedder, documents, start, shard_size, progress))
        shards.append(_open(path, (stop - start, embedder.dimension)))
        _tell(progress, stop, len(documents))
    return shards


def corpus_digest(documents: Sequence[Document], *, shard_size: int) -> str:
    """Return 32 hexadecimal digits that change with any content, their order and the size of the shards."""
    digest = hashlib.blake2b(f"{shard_size}\n".encode(), digest_size=16)
    for document in documents:
        content = document.content.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _starts(count: int, shard_size: int) -> range:
    if shard_size < 1:
        raise InputError(f"shard_size is {shard_size}; want at least 1")
    return range(0, count, shard_size)


def _encode(
    embedder: Embedder, documents: Sequence[Document], start: int, size: int, progress: EncodingProgress | None
) -> NDArray[np.float32]:
    """Encode one shard."""
    stop = min(start + size, len(documents))
    shard = np.empty((stop - start, embedder.dimension), dtype=np.float32)
    for first in range(start, stop, _CALL_DOCUMENTS):
        contents = [document.content for document in documents[first : min(first + _CALL_DOCUMENTS, stop)]]
        shard[first - start : first - start + len(contents)] = embedder.encode_documents(contents)
        _tell(progress, first + len(contents), len(documents))
    return shard


def _tell(progress: EncodingProgress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _write(path: Path, vectors: NDArray[np.float32]) -> None:
    try:
        with replacing(path) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(vectors), allow_pickle=False)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot keep vectors there ({error.strerror}); name a folder with room, or keep none"
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

"""What is in the folder of an index: its model, documents, files and state, without loading the model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.folder import StoreFolder
from reasonembed_stores.index_options import is_unfinished
from reasonembed_stores.opening import open_store

__all__ = ["IndexInfo", "inspect_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """What a saved index is."""

    path: Path
    store: str
    """FaissStore or ChromaStore."""
    format_version: int | None
    """That of a FaissStore's folder."""
    documents: int
    dimension: int | None
    dtype: str
    """How vectors are stored."""
    spec: EmbeddingSpec | None
    """The model that made the vectors; None where the store was made without one."""
    search: str
    """How it is searched, such as "exact over 120 vectors"."""
    bytes: int
    """On disk."""
    written: datetime
    """When a document was last written, in UTC."""
    is_unfinished: bool
    """Whether an index run was interrupted, so that documents may be missing."""


def inspect_index(path: str | Path) -> IndexInfo:
    """Describe the index in a folder; raises StoreError for one that is missing, foreign or damaged."""
    folder = Path(path)
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    store = open_store(folder)
    try:
        return IndexInfo(
            path=folder,
            store=type(store).__name__,
            format_version=StoreFolder(folder).read_manifest().version if isinstance(store, FaissStore) else None,
            documents=len(store),
            dimension=store.dimension,
            dtype=store.dtype if isinstance(store, FaissStore) else "float32",
            spec=store.spec,
            search=store.index if isinstance(store, FaissStore) else "hnsw of Chroma",
            bytes=sum(file.st_size for file in files),
            written=datetime.fromtimestamp(max((file.st_mtime for file in files if file.st_size), default=0.0), UTC),
            is_unfinished=is_unfinished(folder),
        )
    finally:
        store.close()

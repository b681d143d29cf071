"""What is in the folder of an index: its model, documents, files and state, without loading the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.enrichment import enrichment_failures
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.folder import StoreFolder
from reasonembed_stores.index_options import is_unfinished
from reasonembed_stores.opening import open_store
from reasonembed_stores.source_state import SourceState

__all__ = ["IndexInfo", "IndexedSource", "IndexedSources", "indexed_sources", "inspect_index"]


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A folder whose files were indexed."""

    root: Path
    prefix: str
    """What the names of its files begin with in the index: empty, or a folder's name and a slash."""
    files: int


@dataclass(frozen=True, slots=True)
class IndexedSources:
    """What an index was made of; empty for one that was not made of files."""

    sources: tuple[IndexedSource, ...] = ()
    kinds: Mapping[str, int] | None = None
    """The number of files by kind, the most frequent first."""

    def locate(self, name: str) -> Path | None:
        """Return where the file of this name is, as `path` in the metadata names it; None for no such file."""
        for source in sorted(self.sources, key=lambda source: -len(source.prefix)):
            path = source.root / name.removeprefix(source.prefix)
            if name.startswith(source.prefix) and path.exists():
                return path
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """What a saved index is."""

    path: Path
    store: str
    """FaissStore or ChromaStore."""
    format_version: int | None
    """That of a FaissStore's folder."""
    documents: int
    files: IndexedSources
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
    not_enriched: int = 0
    """Contents of an enriched index that are embedded alone, until the next run enriches them."""


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
            files=indexed_sources(folder),
            dimension=store.dimension,
            dtype=store.dtype if isinstance(store, FaissStore) else "float32",
            spec=store.spec,
            search=store.index if isinstance(store, FaissStore) else "hnsw of Chroma",
            bytes=sum(file.st_size for file in files),
            written=datetime.fromtimestamp(max((file.st_mtime for file in files if file.st_size), default=0.0), UTC),
            is_unfinished=is_unfinished(folder),
            not_enriched=len(enrichment_failures(folder)),
        )
    finally:
        store.close()


def indexed_sources(path: str | Path) -> IndexedSources:
    """Return what the index in a folder was made of; raises StoreError if that cannot be read."""
    with SourceState(Path(path)) as state:
        sources, files = state.sources(), state.files().values()
    counts = Counter(file.prefix for file in files)
    kinds = Counter(file.kind for file in files)
    return IndexedSources(
        tuple(
            IndexedSource(named.source.root, named.prefix, counts[named.prefix])
            for named in sorted(sources, key=lambda named: named.source.root)
        ),
        dict(kinds.most_common()) if sources else None,
    )

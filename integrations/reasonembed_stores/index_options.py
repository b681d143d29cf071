"""What a run of build_index may be told, and how it marks an index that is not complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import replacing
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.checks import check_enrichment
from reasonembed_stores.deleting import OnDelete
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.folder import check_free
from reasonembed_stores.opening import index_spec
from reasonembed_stores.windows import Progress

if TYPE_CHECKING:  # a search reads this file, and no chat model
    from reasonembed_rag.pipeline import EnrichmentFailures
    from reasonembed_stores.enrichment import Enrichment

__all__ = ["IndexOptions", "create_store", "is_unfinished", "unfinished_until_done"]

_MARK = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """The options of build_index."""

    sync: bool = False
    on_delete: OnDelete | None = None
    dtype: Literal["float32", "float16"] | None = None
    ann: Literal["auto", "flat", "hnsw", "ivf"] | None = None
    on_progress: Callable[[Progress], None] = lambda _: None
    on_message: Callable[[str], object] | None = None
    enrichment: Enrichment | None = None

    def check(self, to: Path) -> None:
        """Raise StoreError for a folder of something else, and InputError for what only a new store takes.

        Raises SpecMismatchError for an index of other enrichment.
        """
        if not (to / "manifest.json").exists():
            check_free(to)
        elif self.dtype is not None or self.ann is not None:
            raise InputError(f"{to} exists already; leave out dtype and ann, or index into another folder")
        else:
            check_enrichment(index_spec(to), None if self.enrichment is None else self.enrichment.name, name=str(to))

    def writer(self, embedder: Embedder) -> Embedder:
        """Return what embeds the documents: the embedder, with the enrichment if there is one."""
        return embedder if self.enrichment is None else self.enrichment.around(embedder)

    @property
    def again(self) -> EnrichmentFailures | frozenset[str]:
        """The contents of stored documents that are embedded again: those without the enrichment they should have."""
        return frozenset() if self.enrichment is None else self.enrichment.failures


def create_store(to: Path, spec: EmbeddingSpec, options: IndexOptions) -> FaissStore:
    """Create an empty store in a folder."""
    if options.enrichment is not None:
        spec = replace(spec, enrichment=options.enrichment.name)
    return FaissStore.create(to, spec=spec, dtype=options.dtype or "float32", ann=options.ann or "auto")


def is_unfinished(path: Path) -> bool:
    """Tell whether a run over this folder was interrupted, so that documents may be missing until it is run again."""
    return (path / _MARK).exists()


@contextmanager
def unfinished_until_done(path: Path) -> Iterator[None]:
    """Mark an index as unfinished while the block runs, and after it if it fails."""
    with replacing(path / _MARK) as file:
        file.write(b"An index run was interrupted; run it again to add what is missing.\n")
    yield
    (path / _MARK).unlink()

"""Store: the protocol that every store of documents and vectors implements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from reasonembed_rag.documents import Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.hits import Hits
    from reasonembed_rag.spec import EmbeddingSpec
    from reasonembed_stores.filters import FilterLike

__all__ = ["Store"]


@runtime_checkable
class Store(Protocol):
    """Keep documents with their vectors, and find them again."""

    @property
    def spec(self) -> EmbeddingSpec | None:
        """What fixes the vectors; None where the store was made without one."""

    @property
    def dimension(self) -> int | None:
        """The length of every vector; None until the first documents come."""

    def check_spec(self, spec: EmbeddingSpec) -> None:
        """Raise SpecMismatchError unless a model's queries may search these vectors."""

    def __len__(self) -> int:
        """Return the number of documents."""

    def __iter__(self) -> Iterator[Document]:
        """Yield every document."""

    def documents(
        self,
        filters: FilterLike | None = None,
        *,
        ids: Collection[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[Document]:
        """Yield documents one by one in a stable order, without reading all of them into memory.

        Those that satisfy the filters and are among ids, where these are given; at most `limit` of them, without the
        first `offset`. Whatever is written meanwhile, each that is not deleted comes once.
        """

    def upsert(self, documents: Sequence[Document], vectors: NDArray[np.floating]) -> None:
        """Add documents with their vectors (n, dimension), replacing those whose ids are known: all or nothing."""

    def delete(self, ids: Collection[str]) -> int:
        """Remove documents and return how many there were; unknown ids are ignored."""

    def clear(self) -> None:
        """Remove every document."""

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents of these ids, in their order; unknown ids are left out."""

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the stored vectors (n, dimension) of these ids; raises InputError for an unknown one."""

    def select(self, filters: FilterLike, *, ids: Collection[str] | None = None) -> list[Document]:
        """Return the documents that satisfy the filters; those among ids, where ids are given."""

    def search(
        self,
        query_vectors: NDArray[np.floating],
        *,
        k: int,
        filters: FilterLike | None = None,
        ids: Collection[str] | None = None,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return for each row of (n, dimension) the k best documents with their cosine similarities, ties by larger id.

        Only documents that satisfy the filters, are among ids and not among the query's excluded ids are ranked, so
        that fewer than k come back only where fewer are left.
        """

    def close(self) -> None:
        """Write what is pending and release files and connections."""

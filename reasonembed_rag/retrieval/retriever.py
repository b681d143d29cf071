"""The one protocol of everything that finds documents for queries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from reasonembed_rag.search import Hits

__all__ = ["Retriever"]


@runtime_checkable
class Retriever(Protocol):
    """Find documents for queries: BM25, an embedder over documents, a fusion of both, a framework's retriever."""

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return at most k hits for each query, in input order, its excluded ids removed before the cut.

        Scores are similarities; documents of equal float32 score come in descending order of their ids.
        """

"""The one protocol that stores, retrievers and evaluation ask of an embedding model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Turn queries and documents into vectors of one space."""

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""

    @property
    def dimension(self) -> int:
        """The length of every vector."""

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order."""

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order."""

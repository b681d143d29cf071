"""What rerankers share that read a query and a document as one sequence: order, usage, the model's release."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from reasonembed_rag.protocols import Usage
from reasonembed_rag.rerank.ordering import rerank_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.hits import Hits
    from reasonembed_rag.rerank.states import PooledStates
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["PairScorer"]


class PairScorer(ABC):
    """A Reranker that scores pairs by the pooled states of a model."""

    def __init__(self, spec: EmbeddingSpec, states: PooledStates) -> None:
        self._spec, self._states = spec, states

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spec(self) -> EmbeddingSpec:
        """The settings of the model whose states are read."""
        return self._spec

    @abstractmethod
    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return the scores (n,) of pairs of a query and a document, in input order."""

    def rerank(self, queries: Sequence[str], hits: Sequence[Hits], *, k: int | None = None) -> list[Hits]:
        """Return each query's hits by their scores; the first k, or all. Raises InputError for hits without documents.

        A text that several hits of a query share is computed once.
        """
        return rerank_by(self.score, queries, hits, k=k)

    def usage(self) -> Usage:
        """Return the tokens computed so far, of queries and documents together, as those of queries."""
        return Usage(query_tokens=self._states.tokens)

    def close(self) -> None:
        """Release the model's memory; later calls raise BackendError."""
        self._states.close()

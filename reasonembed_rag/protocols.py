"""The protocols of embedders and retrievers, and of those that report what they have used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from reasonembed_rag.hits import Hits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = [
    "AdapterEmbedder",
    "AsyncEmbedder",
    "DocumentVectors",
    "Embedder",
    "Expansion",
    "Identified",
    "Metered",
    "QueryExpander",
    "Reranker",
    "Retriever",
    "TokenCounter",
    "Usage",
    "VectorRetriever",
    "sum_usages",
    "total_usage",
]

_Number = TypeVar("_Number", int, float)


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


@dataclass(frozen=True, slots=True)
class Expansion:
    """Texts that were written for a query, without the query itself; none where it is searched as it is."""

    queries: tuple[str, ...] = ()
    """Encoded as queries: reasoning, rewritten queries, sub-queries."""
    documents: tuple[str, ...] = ()
    """Encoded as documents: passages that would answer (HyDE)."""


@runtime_checkable
class DocumentVectors(Protocol):
    """A retriever that gives the vectors of its documents."""

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of its documents of these ids; raises InputError for an unknown id."""


@runtime_checkable
class VectorRetriever(Retriever, DocumentVectors, Protocol):
    """A retriever whose documents and queries are vectors of one space, searched by inner product."""

    def vector_spec(self) -> EmbeddingSpec:
        """Return what fixes its vectors."""

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of texts as queries, as `search` makes them."""

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of texts as documents, as its own were made."""

    def search_vectors(
        self,
        vectors_QD: NDArray[np.float32],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[Hits]:
        """Return for query vectors what `search` returns for queries.

        `texts` are the queries in words, for a retriever that searches by them too, such as a hybrid index.
        """


@runtime_checkable
class Identified(Protocol):
    """A retriever that says what determines its scores."""

    def identity(self) -> str:
        """Return what determines its scores, beside its documents."""


@runtime_checkable
class QueryExpander(Protocol):
    """Write texts for queries that find what their own words do not."""

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Expansion]:
        """Return one expansion per query, in input order.

        Expanders that read what is found ask the retriever, and read none of a query's excluded documents. A query that
        could not be expanded gets an empty expansion; usage or failures says how many.
        """


@runtime_checkable
class Reranker(Protocol):
    """Put the documents found for a query in a new order."""

    def rerank(self, queries: Sequence[str], hits: Sequence[Hits], *, k: int | None = None) -> list[Hits]:
        """Return the same hits of each query in a new order with new, descending scores; the first k, or all.

        What is not judged keeps its order behind what is. Raises InputError for hits without documents.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a retriever has used so far; None where it is not known."""

    encoding_seconds: float | None = None
    """Time taken to encode the documents."""
    document_tokens: int | None = None
    query_tokens: int | None = None
    index_bytes: int | None = None
    llm_calls: int | None = None
    llm_tokens: int | None = None
    llm_cost: float | None = None
    """In the currency of the prices that the chat model's settings name."""


@runtime_checkable
class Metered(Protocol):
    """A retriever, or a stage of one, that reports what it has used."""

    def usage(self) -> Usage:
        """Return what has been used since construction."""


def total_usage(parts: Iterable[object]) -> Usage:
    """Return the sum of what parts have used, as far as it is known; those that are not Metered add nothing."""
    return sum_usages([part.usage() for part in parts if isinstance(part, Metered)])


def sum_usages(used: Sequence[Usage]) -> Usage:
    """Return the sum of usages, as far as it is known."""
    return Usage(
        encoding_seconds=_total([usage.encoding_seconds for usage in used]),
        document_tokens=_total([usage.document_tokens for usage in used]),
        query_tokens=_total([usage.query_tokens for usage in used]),
        index_bytes=_total([usage.index_bytes for usage in used]),
        llm_calls=_total([usage.llm_calls for usage in used]),
        llm_tokens=_total([usage.llm_tokens for usage in used]),
        llm_cost=_total([usage.llm_cost for usage in used]),
    )


def _total(values: Sequence[_Number | None]) -> _Number | None:
    """Return the sum of the known values, None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], start=known[0]) if known else None


@runtime_checkable
class TokenCounter(Protocol):
    """An embedder that counts the tokens it encodes."""

    @property
    def tokens_encoded(self) -> int:
        """The tokens encoded since construction."""


@runtime_checkable
class Embedder(Protocol):
    """Turn queries and documents into vectors of one space."""

    @property
    def spec(self) -> EmbeddingSpec:
        """The settings that determine the vectors."""

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


@runtime_checkable
class AsyncEmbedder(Embedder, Protocol):
    """An embedder that can be awaited: its calls never block the event loop."""

    async def aencode_queries(
        self, texts: Sequence[str], *, task: str | None = None, instruction: str | None = None
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order."""

    async def aencode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order."""


@runtime_checkable
class AdapterEmbedder(Embedder, Protocol):
    """An embedder of one model with several adapters."""

    def with_adapter(self, name: str | None) -> Embedder:
        """Return the embedder with an adapter on, None for none; raises InputError for an unknown name."""

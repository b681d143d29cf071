"""Filters of what was found for one query: defences against documents that were planted to be found.

A filter is a pure function of documents in the order of their ranking. LangChain's compressor and LlamaIndex's
postprocessor put filters behind any retriever.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.clusters import k_means

__all__ = ["Embed", "HitFilter", "HubnessGuard", "NearDuplicateFilter", "TrustFilter", "keep_through"]

Embed = Callable[[list[str]], Sequence[Sequence[float]] | NDArray[np.floating[Any]]]
"""Documents' texts to vectors: Encoder.encode_documents, a framework's embed_documents."""

_WORDS = re.compile(r"\w+")


@runtime_checkable
class HitFilter(Protocol):
    """Decide which of the documents found for a query are kept."""

    def keep(self, documents: Sequence[Document]) -> list[int]:
        """Return the positions of the documents to keep, ascending; documents come best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFilter:
    """Drop documents that were written to be found together, as TrustRAG's first stage does (arXiv 2501.00879).

    The documents are clustered in two groups by their vectors. A group whose mean pairwise cosine is above `similarity`
    is dropped, and so are the remaining documents that share more than `overlap` of their n-grams with another of them
    (Dice, counts).
    """

    embed: Embed | None = None
    """None where FilteredRetriever gives the filter the vectors of the index."""
    similarity: float = 0.88
    overlap: float = 0.25
    n: int = 2
    """Words per n-gram."""

    def __post_init__(self) -> None:
        _shares(similarity=self.similarity, overlap=self.overlap)
        if self.n < 1:
            raise InputError(f"n is {self.n}; want at least 1")

    def keep(self, documents: Sequence[Document]) -> list[int]:
        """Return the positions of the documents to keep, ascending."""
        if len(documents) < 2:
            return list(range(len(documents)))
        left = self._outside_tight_groups(_unit_vectors(self.embed, documents))
        shared_MM = shared_n_grams([documents[position].content for position in left], n=self.n)
        np.fill_diagonal(shared_MM, 0.0)
        alone = shared_MM.max(axis=1, initial=0.0) <= self.overlap
        return [position for position, own in zip(left, alone, strict=True) if own]

    def _outside_tight_groups(self, unit_ND: NDArray[np.float64]) -> list[int]:
        labels_N = k_means(unit_ND, 2).labels
        tight = [group for group in range(2) if mean_cosine(unit_ND[labels_N == group]) > self.similarity]
        return [int(position) for position in np.flatnonzero(~np.isin(labels_N, tight))]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicateFilter:
    """Keep the best-ranked of documents that are near copies of one another."""

    embed: Embed | None = None
    """As TrustFilter's."""
    similarity: float = 0.95
    """The cosine above which two documents are near copies."""

    def __post_init__(self) -> None:
        _shares(similarity=self.similarity)

    def keep(self, documents: Sequence[Document]) -> list[int]:
        """Return the positions of the documents to keep, ascending."""
        if not documents:
            return []
        unit_ND = _unit_vectors(self.embed, documents)
        alike_NN = unit_ND @ unit_ND.T > self.similarity
        kept: list[int] = []
        for position in range(len(documents)):
            if not alike_NN[position, kept].any():
                kept.append(position)
        return kept


@dataclass(frozen=True, slots=True)
class HubnessGuard:
    """Drop documents that a scan found among the results of implausibly many queries (robustness.hubness)."""

    flagged_ids: frozenset[str]
    flagged_contents: frozenset[str] = field(default=frozenset(), repr=False)
    """The same documents by their text, for retrievers that give them other ids."""

    @classmethod
    def of(cls, flagged_ids: Collection[str], documents: Sequence[Document]) -> HubnessGuard:
        """Return a guard that recognises flagged documents by id and by content."""
        ids = frozenset(flagged_ids)
        return cls(ids, frozenset(document.content for document in documents if document.id in ids))

    def keep(self, documents: Sequence[Document]) -> list[int]:
        """Return the positions of the documents to keep, ascending."""
        return [position for position, document in enumerate(documents) if not self._flags(document)]

    def _flags(self, document: Document) -> bool:
        return document.id in self.flagged_ids or document.content in self.flagged_contents


def keep_through(filters: Sequence[HitFilter], documents: Sequence[Document]) -> list[int]:
    """Return the positions of the documents that every filter keeps, each applied to what the one before it kept."""
    positions = list(range(len(documents)))
    for one in filters:
        kept = one.keep([documents[position] for position in positions])
        positions = [positions[number] for number in kept]
    return positions


def mean_cosine(unit_ND: NDArray[np.float64]) -> float:
    """Return the mean cosine of distinct pairs of unit vectors, in closed form; -1 where there is no pair."""
    count = len(unit_ND)
    if count < 2:
        return -1.0
    total_D = unit_ND.sum(axis=0)
    return float((total_D @ total_D - np.einsum("nd,nd->", unit_ND, unit_ND)) / (count * (count - 1)))


def shared_n_grams(texts: Sequence[str], *, n: int) -> NDArray[np.float64]:
    """Return the Dice overlaps (N, N) of the texts' lower-cased word n-grams, with counts; 0 where a text has none."""
    counts = [_n_grams(text, n) for text in texts]
    column_of = {gram: column for column, gram in enumerate(dict.fromkeys(gram for one in counts for gram in one))}
    shared_NN = np.zeros((len(texts), len(texts)))
    held_NV = np.zeros((len(texts), len(column_of)), dtype=np.int64)
    for row, one in enumerate(counts):
        held_NV[row, [column_of[gram] for gram in one]] = list(one.values())
    sizes_N = held_NV.sum(axis=1)
    for row in range(len(texts)):
        own = held_NV[row] > 0
        common_N = np.minimum(held_NV[:, own], held_NV[row, own]).sum(axis=1)
        shared_NN[row] = 2 * common_N / np.maximum(sizes_N + sizes_N[row], 1)
    return shared_NN


def _n_grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = _WORDS.findall(text.lower())
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _unit_vectors(embed: Embed | None, documents: Sequence[Document]) -> NDArray[np.float64]:
    """Embed the documents and scale the vectors to length 1; raises InputError for anything but one vector per text."""
    if embed is None:
        raise InputError("the filter has no embed; want embed=encoder.encode_documents, or a FilteredRetriever")
    vectors_ND = np.asarray(embed([document.content for document in documents]), dtype=np.float64)
    if vectors_ND.ndim != 2 or len(vectors_ND) != len(documents) or not np.isfinite(vectors_ND).all():
        raise InputError(
            f"the filter's embed returned shape {vectors_ND.shape} for {len(documents)} documents; "
            "want one finite vector per document, such as encode_documents gives"
        )
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)


def _shares(**values: float) -> None:
    for name, value in values.items():
        if not -1 <= value <= 1:
            raise InputError(f"{name} is {value}; want a number from -1 to 1")

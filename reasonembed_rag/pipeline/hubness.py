"""Find hubs: documents found for implausibly many queries, among them query-agnostic poison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Retriever

__all__ = ["Hub", "HubScan", "count_hubs", "ranks_of", "robust_z", "scan_hubs"]

_MAD_TO_SIGMA, _MEAN_TO_SIGMA = 1.4826, 1.2533
"""A normal distribution's standard deviation over its median and over its mean absolute deviation."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A document that was found: the share of the reference queries that found it, and its robust z-score."""

    id: str
    share: float
    z: float


@dataclass(frozen=True, slots=True)
class HubScan:
    """The documents found for a set of reference queries, by descending share, ties by id."""

    hubs: tuple[Hub, ...]
    queries: int
    k: int
    documents: int

    def flagged(self, *, z: float, share: float) -> tuple[str, ...]:
        """Return the ids of documents at or above both thresholds."""
        return tuple(hub.id for hub in self.hubs if hub.z >= z and hub.share >= share)


def scan_hubs(
    retriever: Retriever,
    queries: Sequence[str],
    documents: Sequence[Document],
    *,
    k: int = 50,
    excluded_ids: Sequence[Collection[str]] | None = None,
) -> HubScan:
    """Search for the reference queries and count the documents among their k best.

    The queries should be like those of users, and unknown to an attacker; k should be more than the results you show,
    and at most a hundredth of the documents. Raises InputError for no queries.
    """
    if not queries:
        raise InputError("got no reference queries; want queries like your users', a hundred or more")
    hits = retriever.search(list(queries), k=k, excluded_ids=excluded_ids)
    return count_hubs(hits, k=k, documents=len(documents))


def count_hubs(hits: Sequence[Hits], *, k: int, documents: int) -> HubScan:
    """Return the scan of existing rankings; `documents` is the size of the corpus, found or not."""
    counts = Counter(identity for found in hits for identity in found.ids[:k])
    shares = np.zeros(max(documents, len(counts)))
    shares[: len(counts)] = np.fromiter(counts.values(), dtype=np.float64) / max(1, len(hits))
    scored = zip(counts, shares.tolist(), robust_z(shares).tolist(), strict=False)
    hubs = sorted((Hub(identity, share, z) for identity, share, z in scored), key=lambda hub: (-hub.share, hub.id))
    return HubScan(tuple(hubs), len(hits), k, documents)


def robust_z(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the robust z-score of each value, from the median and the median absolute deviation.

    Where more than half of the values are equal the mean absolute deviation is used (Iglewicz and Hoaglin 1993); where
    all are equal every score is 0.
    """
    if not len(values_N):
        return values_N
    off_N = values_N - np.median(values_N)
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(off_N))) or _MEAN_TO_SIGMA * float(np.abs(off_N).mean())
    return off_N / spread if spread else np.zeros_like(off_N)


def ranks_of(scan: HubScan, ids: Iterable[str]) -> tuple[int | None, ...]:
    """Return the rank of each id in a scan, from 1; None for an id that was not found at all."""
    rank_of = {hub.id: rank for rank, hub in enumerate(scan.hubs, start=1)}
    return tuple(rank_of.get(identity) for identity in ids)

"""Fusion: several retrievers as one, their rankings or their scores combined with weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.protocols import Retriever, Usage, total_usage

__all__ = ["Fusion", "FusionKind", "Weighted", "fuse_hits", "min_max"]

FusionKind = Literal["ranks", "scores"]

_RANK_OFFSET = 60


@dataclass(frozen=True, slots=True)
class Weighted:
    """A retriever with its weight in a fusion."""

    retriever: Retriever
    weight: float = 1.0


class Fusion:
    """Combine what several retrievers find; a retriever without a weight has the weight 1.

    "ranks" adds weight / (60 + rank) over the retrievers (reciprocal rank fusion, Cormack et al. 2009); "scores" adds
    weight times the score, scaled to run from 0 to 1 within the retriever's hits. A retriever adds nothing to documents
    that it does not find. Each is asked for `depth` documents, or k where that is more. Raises InputError for fewer
    than two retrievers, a weight that is not above 0, a depth below 1 and an unknown fusion.
    """

    def __init__(
        self, retrievers: Sequence[Retriever | Weighted], *, fusion: FusionKind = "scores", depth: int = 1000
    ) -> None:
        if len(retrievers) < 2:
            raise InputError(f"got {len(retrievers)} retrievers to fuse; want at least two")
        self.parts = tuple(one if isinstance(one, Weighted) else Weighted(one) for one in retrievers)
        for part in self.parts:
            if not 0.0 < part.weight < float("inf"):
                raise InputError(f"a weight is {part.weight}; want a number above 0")
        if fusion not in get_args(FusionKind):
            raise InputError(f"fusion is {fusion!r}; {want_one_of(fusion, get_args(FusionKind))}")
        if depth < 1:
            raise InputError(f"depth is {depth}; want at least 1")
        self.fusion = fusion
        self.depth = depth

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k documents of highest fused score, exclusions before the cut; ties by id descending.

        Hits have their documents where a retriever returned each of them.
        """
        depth = max(k, self.depth)
        found = [part.retriever.search(queries, k=depth, excluded_ids=excluded_ids) for part in self.parts]
        weights = [part.weight for part in self.parts]
        return [fuse_hits(of_query, weights=weights, fusion=self.fusion, k=k) for of_query in zip(*found, strict=True)]

    def usage(self) -> Usage:
        """Return the sum of what the retrievers have used, as far as it is known."""
        return total_usage(part.retriever for part in self.parts)


def fuse_hits(found: Sequence[Hits], *, weights: Sequence[float], fusion: FusionKind, k: int) -> Hits:
    """Return the k documents of highest fused score over the lists of one query, as Fusion combines them."""
    fused: dict[str, float] = {}
    documents: dict[str, Document] = {}
    for hits, weight in zip(found, weights, strict=True):
        for identity, share in zip(hits.ids, _shares(hits, fusion), strict=True):
            fused[identity] = fused.get(identity, 0.0) + weight * share
        documents.update(zip(hits.ids, hits.documents or (), strict=False))
    return Hits.ranked((Hit(identity, score, documents.get(identity)) for identity, score in fused.items()), k=k)


def _shares(hits: Hits, fusion: FusionKind) -> list[float]:
    """Return what each hit adds to its document's score, before the weight."""
    if fusion == "ranks":
        return [1.0 / (_RANK_OFFSET + rank) for rank in range(1, len(hits) + 1)]
    scaled: list[float] = min_max(hits.scores).tolist()
    return scaled


def min_max(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the scores scaled to run from 0 to 1; all 1 where they are equal."""
    wide = scores.astype(np.float64)
    low, high = (wide.min(), wide.max()) if len(wide) else (0.0, 0.0)
    scaled: NDArray[np.float64] = np.ones_like(wide) if high == low else (wide - low) / (high - low)
    return scaled

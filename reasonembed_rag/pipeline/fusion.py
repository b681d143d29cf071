"""Fusion: several retrievers as one, their rankings or their scores combined with weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.protocols import Metered, Retriever, Usage

__all__ = ["Fusion", "FusionKind", "Weighted"]

FusionKind = Literal["ranks", "scores"]

_RANK_OFFSET = 60

_Number = TypeVar("_Number", int, float)


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
            raise InputError(f"fusion is {fusion!r}; want one of {', '.join(get_args(FusionKind))}")
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
        return [self._fuse(of_query, k) for of_query in zip(*found, strict=True)]

    def usage(self) -> Usage:
        """Return the sum of what the retrievers have used, as far as it is known."""
        used = [part.retriever.usage() for part in self.parts if isinstance(part.retriever, Metered)]
        return Usage(
            encoding_seconds=_total([usage.encoding_seconds for usage in used]),
            document_tokens=_total([usage.document_tokens for usage in used]),
            query_tokens=_total([usage.query_tokens for usage in used]),
            index_bytes=_total([usage.index_bytes for usage in used]),
            llm_calls=_total([usage.llm_calls for usage in used]),
            llm_tokens=_total([usage.llm_tokens for usage in used]),
        )

    def _fuse(self, found: Sequence[Hits], k: int) -> Hits:
        fused: dict[str, float] = {}
        documents: dict[str, Document] = {}
        for part, hits in zip(self.parts, found, strict=True):
            for identity, share in zip(hits.ids, self._shares(hits), strict=True):
                fused[identity] = fused.get(identity, 0.0) + part.weight * share
            documents.update(zip(hits.ids, hits.documents or (), strict=False))
        return Hits.ranked((Hit(identity, score, documents.get(identity)) for identity, score in fused.items()), k=k)

    def _shares(self, hits: Hits) -> list[float]:
        """Return what each hit adds to its document's score, before the weight."""
        if self.fusion == "ranks":
            return [1.0 / (_RANK_OFFSET + rank) for rank in range(1, len(hits) + 1)]
        scores = hits.scores.astype(np.float64)
        low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0)
        if high == low:
            return [1.0] * len(scores)
        scaled: list[float] = ((scores - low) / (high - low)).tolist()
        return scaled


def _total(values: Sequence[_Number | None]) -> _Number | None:
    """Return the sum of the known values, None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], start=known[0]) if known else None

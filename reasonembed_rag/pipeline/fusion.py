"""Several retrievers as one: their rankings or their scores fused with weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Metered, Retriever, Usage

__all__ = ["Fusion", "Hybrid", "Part"]

Fusion = Literal["ranks", "scores"]

_RANK_OFFSET = 60

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Part:
    """A retriever and its weight in the fusion."""

    retriever: Retriever
    weight: float = 1.0


class Hybrid:
    """Fuse what several retrievers find.

    "ranks" adds weight / (60 + rank) over the parts (reciprocal rank fusion, Cormack et al. 2009); "scores" adds
    weight times the score, scaled to run from 0 to 1 within the part's hits. A document that a part does not find gets
    nothing from it. Each part is asked for `depth` documents, or k where that is more. Raises InputError for fewer than
    two parts, a weight that is not above 0, a depth below 1 and an unknown fusion.
    """

    def __init__(self, parts: Sequence[Part], *, fusion: Fusion = "scores", depth: int = 1000) -> None:
        if len(parts) < 2:
            raise InputError(f"got {len(parts)} parts; want at least two to fuse")
        for part in parts:
            if not 0.0 < part.weight < float("inf"):
                raise InputError(f"a weight is {part.weight}; want a number above 0")
        if fusion not in get_args(Fusion):
            raise InputError(f"fusion is {fusion!r}; want one of {', '.join(get_args(Fusion))}")
        if depth < 1:
            raise InputError(f"depth is {depth}; want at least 1")
        self.parts = tuple(parts)
        self.fusion = fusion
        self.depth = depth

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k documents of highest fused score, exclusions before the cut; ties by id descending."""
        depth = max(k, self.depth)
        found = [part.retriever.search(queries, k=depth, excluded_ids=excluded_ids) for part in self.parts]
        return [self._fuse(of_query, k) for of_query in zip(*found, strict=True)]

    def usage(self) -> Usage:
        """Return the sum of what the parts have used, as far as they tell."""
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
        for part, hits in zip(self.parts, found, strict=True):
            for identity, share in zip(hits.ids, self._shares(hits), strict=True):
                fused[identity] = fused.get(identity, 0.0) + part.weight * share
        ordered = sorted(((np.float32(score), identity) for identity, score in fused.items()), reverse=True)[:k]
        return Hits(
            tuple(identity for _, identity in ordered), np.asarray([score for score, _ in ordered], dtype=np.float32)
        )

    def _shares(self, hits: Hits) -> list[float]:
        """Return what each hit gets from its part, before the weight."""
        if self.fusion == "ranks":
            return [1.0 / (_RANK_OFFSET + rank) for rank in range(1, len(hits.ids) + 1)]
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

"""Hits: what every search returns, in the core, in stores, in pipelines and in the frameworks' classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.documents import Document

__all__ = ["Hit", "Hits"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found for a query; higher scores are better."""

    id: str
    score: float
    document: Document | None = None
    """The document itself, where the search knows it."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The documents found for one query, best first: ids with float32 scores, and the documents where known.

    Raises InputError for lengths that differ.
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
    documents: tuple[Document, ...] | None = None

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float32)
        object.__setattr__(self, "scores", scores)
        if scores.shape != (len(self.ids),):
            raise InputError(f"got {len(self.ids)} ids with scores of shape {scores.shape}; want one score per id")
        if self.documents is not None and len(self.documents) != len(self.ids):
            raise InputError(f"got {len(self.ids)} ids and {len(self.documents)} documents; want one document per id")

    @classmethod
    def ranked(cls, hits: Iterable[Hit], *, k: int | None = None) -> Hits:
        """Return the k best hits, or all, by descending float32 score, ties by larger id.

        Documents are kept where every hit has one.
        """
        listed = list(hits)
        scores = np.asarray([hit.score for hit in listed], dtype=np.float32)
        order = sorted(zip(scores.tolist(), (hit.id for hit in listed), range(len(listed)), strict=True), reverse=True)
        positions = [position for _, _, position in order[:k]]
        best = [listed[position] for position in positions]
        documents = tuple(hit.document for hit in best if hit.document is not None)
        return cls(
            tuple(hit.id for hit in best),
            scores[np.asarray(positions, dtype=np.intp)],
            documents if len(documents) == len(best) else None,
        )

    def reordered(self, positions: Sequence[int], scores: Sequence[float]) -> Hits:
        """Return the hits at these positions, in their order, with new scores; fewer scores are those of the first.

        A score that would not rank its hit behind the one before it (a rise, a tie that the ids would reverse, no score
        at all) is lowered to just below that one's, so that sorting by score and larger id gives this order.
        """
        kept: list[float] = []
        for number, position in enumerate(positions):
            score = float(np.float32(scores[number])) if number < len(scores) else float("nan")
            if not kept:
                score = score if np.isfinite(score) else 0.0
            elif not (score < kept[-1] or (score == kept[-1] and self.ids[position] < self.ids[positions[number - 1]])):
                score = _just_below(kept[-1])
            kept.append(score)
        return replace(self.take(positions), scores=np.asarray(kept, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Hit]:
        documents = self.documents or (None,) * len(self.ids)
        return map(Hit, self.ids, self.scores.tolist(), documents)

    @overload
    def __getitem__(self, position: int) -> Hit: ...
    @overload
    def __getitem__(self, position: slice) -> Hits: ...
    def __getitem__(self, position: int | slice) -> Hit | Hits:
        documents = self.documents
        if isinstance(position, slice):
            return Hits(self.ids[position], self.scores[position], None if documents is None else documents[position])
        document = None if documents is None else documents[position]
        return Hit(self.ids[position], float(self.scores[position]), document)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hits):
            return NotImplemented
        return self.ids == other.ids and np.array_equal(self.scores, other.scores) and self.documents == other.documents

    __hash__ = None  # type: ignore[assignment]  # holds an array

    def take(self, positions: Iterable[int]) -> Hits:
        """Return the hits at these positions, in their order."""
        chosen = list(positions)
        return Hits(
            tuple(self.ids[position] for position in chosen),
            self.scores[np.asarray(chosen, dtype=np.intp)],
            None if self.documents is None else tuple(self.documents[position] for position in chosen),
        )


def _just_below(score: float) -> float:
    """Return a float32 below a score by a step that survives being written with seven digits."""
    step = max(abs(score), 1.0) * 1e-6
    return float(min(np.float32(score - step), np.nextafter(np.float32(score), np.float32("-inf"))))

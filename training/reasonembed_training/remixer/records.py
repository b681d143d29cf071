"""Records that stages pass on, one JSON line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

__all__ = [
    "Candidates",
    "DomainVerdict",
    "GeneratedQuery",
    "JudgedCandidates",
    "QuerySource",
    "ReasonedQuery",
    "RemixRow",
    "StageOutcome",
    "aligned",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StageOutcome(Generic[T]):
    """The result of a stage for one input: a record or none, and what was dropped."""

    record: T | None
    drops: Mapping[str, int] = field(default_factory=dict)
    """Counts by reason."""
    retryable: int = 0
    """Answers that are missing because of failures that may pass; a later run asks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainVerdict:
    """Whether a document belongs to the card's domain."""

    id: str
    belongs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySource:
    """A document to write a query from, with the length and education to ask for."""

    id: str
    length: str
    education: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedQuery:
    """A query and the document it was written from."""

    id: str
    source_id: str
    query: str
    length: str
    education: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonedQuery:
    """The reasoning-augmented version of a query."""

    id: str
    reasoning_query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The documents that the retriever found for a query, without its source."""

    id: str
    ids: tuple[str, ...]
    scores: tuple[float, ...]
    source_rank: int | None
    """The rank of the source, from 1, before it was removed; None if it was not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCandidates:
    """The grades of a query's candidates, best ranked first, without ungraded ones."""

    id: str
    ids: tuple[str, ...]
    grades: tuple[int, ...]
    unjudged: int = 0
    """Candidates that were skipped by an early stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemixRow:
    """A training row: the fields of the published set, then additional ones."""

    prompt: str
    query: str
    reasoning_query: str | None
    pos: tuple[str, ...]
    neg: tuple[str, ...]
    train_group_size: int
    batch_size: int
    id: str
    pos_ids: tuple[str, ...]
    neg_ids: tuple[str, ...]
    pos_scores: tuple[int, ...]
    neg_scores: tuple[int, ...]
    source_id: str
    task: str
    excluded: tuple[str, ...] = ()
    """The source's content, which is masked as a candidate of this query wherever it occurs in a batch."""


class _Named(Protocol):
    @property
    def id(self) -> str: ...


First = TypeVar("First", bound=_Named)
Second = TypeVar("Second", bound=_Named)


def aligned(records: Iterable[First], others: Iterable[Second]) -> Iterator[tuple[First, Second | None]]:
    """Yield each record with the one of `others` that has its id; they are in the same order, some are missing."""
    left = iter(others)
    other = next(left, None)
    for record in records:
        if other is not None and other.id == record.id:
            yield record, other
            other = next(left, None)
        else:
            yield record, None

"""What the stages hand to each other, one JSON line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

__all__ = ["Candidates", "Judged", "Outcome", "Query", "Reasoned", "Row", "Source", "Verdict", "aligned"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a stage made of one thing: a record or none, and what was dropped on the way."""

    record: T | None
    drops: Mapping[str, int] = field(default_factory=dict)
    """Counts by reason."""
    passing: int = 0
    """Answers that are missing for a reason which may pass: a later run asks for them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a document belongs to the card's domain."""

    id: str
    belongs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document to write a query from, and how."""

    id: str
    length: str
    education: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query and the document it was written from."""

    id: str
    source_id: str
    query: str
    length: str
    education: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """The reasoning-augmented twin of a query."""

    id: str
    reasoning_query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What the retriever found for a query, its source taken out."""

    id: str
    ids: tuple[str, ...]
    scores: tuple[float, ...]
    source_rank: int | None
    """Where the source stood, from 1, before it was taken out; None where it was not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The grades of a query's candidates, best ranked first; ungraded ones are left out."""

    id: str
    ids: tuple[str, ...]
    grades: tuple[int, ...]
    unjudged: int = 0
    """Candidates that were skipped after enough of the lowest grade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A training row: the published set's fields, then ours."""

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
    """The source's content: no candidate of the query wherever it turns up in a batch."""


class _Named(Protocol):
    @property
    def id(self) -> str: ...


First = TypeVar("First", bound=_Named)
Second = TypeVar("Second", bound=_Named)


def aligned(records: Iterable[First], others: Iterable[Second]) -> Iterator[tuple[First, Second | None]]:
    """Yield each record with the one of the others that has its id; these come in the same order, some left out."""
    left = iter(others)
    other = next(left, None)
    for record in records:
        if other is not None and other.id == record.id:
            yield record, other
            other = next(left, None)
        else:
            yield record, None

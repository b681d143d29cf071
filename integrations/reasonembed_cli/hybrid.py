"""Vectors and words: --plain, and what each of them added to a hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag import Hits
    from reasonembed_stores import HybridHits, IndexRetriever

__all__ = ["Parts", "PlainOption", "parts_of", "with_bm25"]

PlainOption = Annotated[bool, typer.Option("--plain", help="Use the vectors alone, not the words (BM25).")]


@dataclass(frozen=True, slots=True)
class Parts:
    """A hit's score and rank in the lists that were fused; None where it is not in the list."""

    cosine: float | None
    cosine_rank: int | None
    bm25: float | None
    bm25_rank: int | None


def with_bm25(retriever: IndexRetriever) -> IndexRetriever:
    """Return a retriever that searches words too, or the same one, with a note on stderr, where that cannot be."""
    from reasonembed_stores import BM25_WEIGHT

    try:
        retriever.prepare_bm25(on_message=lambda line: typer.echo(f"note: {line}", err=True))
    except InputError as error:
        typer.echo(f"note: only vectors are searched: {error}", err=True)
        return retriever
    return retriever.with_settings(
        task=retriever.task,
        instruction=retriever.instruction,
        filters=retriever.filters,
        bm25_weight=BM25_WEIGHT,
    )


def parts_of(found: HybridHits) -> list[Parts]:
    """Return what the lists say of each hit."""
    dense, bm25 = _places(found.dense), _places(found.bm25)
    nowhere = (None, None)
    return [Parts(*dense.get(hit.id, nowhere), *bm25.get(hit.id, nowhere)) for hit in found.hits]


def _places(hits: Hits | None) -> Mapping[str, tuple[float, int]]:
    return {} if hits is None else {hit.id: (hit.score, rank) for rank, hit in enumerate(hits, start=1)}

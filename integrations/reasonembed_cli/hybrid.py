"""Vectors and words: --plain, and what each of them says of a hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag import Hits
    from reasonembed_stores import HybridHits, IndexRetriever

__all__ = ["Parts", "PlainOption", "parts_of", "with_bm25"]

PlainOption = Annotated[bool, typer.Option("--plain", help="Use the vectors alone, not the words (BM25).")]


@dataclass(frozen=True, slots=True)
class Parts:
    """A hit's cosine similarity with the question, and what the lists that were fused say of it; None: not in it."""

    cosine: float
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


def parts_of(found: HybridHits, query_vector: NDArray[np.float32], retriever: IndexRetriever) -> list[Parts]:
    """Return what the lists say of each hit, and the cosine of those too that only the words or a pipeline found."""
    from reasonembed_rag.retrieval import unit_rows

    dense, bm25 = _places(found.dense), _places(found.bm25)
    others = [hit.id for hit in found.hits if hit.id not in dense]
    cosines = retriever.vectors_of(others) @ unit_rows(query_vector[None], name="query_vector")[0] if others else ()
    dense |= {identity: (float(cosine), None) for identity, cosine in zip(others, cosines, strict=True)}
    return [Parts(*dense[hit.id], *bm25.get(hit.id, (None, None))) for hit in found.hits]


def _places(hits: Hits | None) -> dict[str, tuple[float, int | None]]:
    return {} if hits is None else {hit.id: (hit.score, rank) for rank, hit in enumerate(hits, start=1)}

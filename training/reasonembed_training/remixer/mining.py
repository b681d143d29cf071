"""Mine candidates: the best documents of the whole corpus, except the one that the query was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Retriever
from reasonembed_training.remixer.duplicates import content_digest
from reasonembed_training.remixer.records import Candidates, GeneratedQuery, StageOutcome

__all__ = ["MakeRetriever", "mine_candidates"]

MakeRetriever = Callable[[Sequence[Document]], Retriever]
"""Makes a retriever of these documents."""

_QUERY_BATCH = 64


def mine_candidates(
    queries: Iterable[tuple[GeneratedQuery, str]], documents: Sequence[Document], retriever: Retriever, *, depth: int
) -> Iterator[StageOutcome[Candidates]]:
    """Yield the `depth` best documents for each (query, text to search with).

    They include neither the query's source nor a document equal to the query. The retriever must search exactly these
    documents, which are distinct.
    """
    id_of_content = {content_digest(document.content): document.id for document in documents}
    left = iter(queries)
    while batch := list(islice(left, _QUERY_BATCH)):
        found = retriever.search([text for _, text in batch], k=depth + 2)  # two may be removed
        for (query, _), hits in zip(batch, found, strict=True):
            excluded = {query.source_id, id_of_content.get(content_digest(query.query))}
            yield _candidates(query, hits, excluded, depth=depth)


def _candidates(
    query: GeneratedQuery, hits: Hits, excluded: set[str | None], *, depth: int
) -> StageOutcome[Candidates]:
    kept = [index for index, identity in enumerate(hits.ids) if identity not in excluded][:depth]
    if not kept:
        return StageOutcome(None, {"no candidate": 1})
    rank = hits.ids.index(query.source_id) + 1 if query.source_id in hits.ids else None
    return StageOutcome(
        Candidates(
            id=query.id,
            ids=tuple(hits.ids[index] for index in kept),
            scores=tuple(float(hits.scores[index]) for index in kept),
            source_rank=rank,
        )
    )

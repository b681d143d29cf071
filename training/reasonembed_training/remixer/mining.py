"""Candidates of queries: the best of the whole corpus, the document that the query was written from taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Retriever
from reasonembed_training.remixer.duplicates import fingerprint
from reasonembed_training.remixer.records import Candidates, Outcome, Query

__all__ = ["MakeRetriever", "mine"]

MakeRetriever = Callable[[Sequence[Document]], Retriever]
"""Makes what finds documents among those given."""

_QUERIES_AT_ONCE = 64


def mine(
    queries: Iterable[tuple[Query, str]], documents: Sequence[Document], retriever: Retriever, *, depth: int
) -> Iterator[Outcome[Candidates]]:
    """Yield the depth best documents for each (query, text to search by).

    Neither the query's source nor a document equal to the query is among them; documents are distinct. The retriever
    must search these documents and no others.
    """
    id_of_content = {fingerprint(document.content): document.id for document in documents}
    left = iter(queries)
    while batch := list(islice(left, _QUERIES_AT_ONCE)):
        found = retriever.search([text for _, text in batch], k=depth + 2)  # two may be taken out
        for (query, _), hits in zip(batch, found, strict=True):
            barred = {query.source_id, id_of_content.get(fingerprint(query.query))}
            yield _candidates(query, hits, barred, depth=depth)


def _candidates(query: Query, hits: Hits, barred: set[str | None], *, depth: int) -> Outcome[Candidates]:
    kept = [place for place, identity in enumerate(hits.ids) if identity not in barred][:depth]
    if not kept:
        return Outcome(None, {"no candidate": 1})
    rank = hits.ids.index(query.source_id) + 1 if query.source_id in hits.ids else None
    return Outcome(
        Candidates(
            id=query.id,
            ids=tuple(hits.ids[place] for place in kept),
            scores=tuple(float(hits.scores[place]) for place in kept),
            source_rank=rank,
        )
    )

"""Stages of a pipeline without a model, and a retriever to put them around."""

from __future__ import annotations

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.protocols import Expansion, Usage


class Backwards:
    """Rank what was found last first."""

    def rerank(self, queries, hits, *, k=None):
        del queries
        scored = [[Hit(hit.id, float(place), hit.document) for place, hit in enumerate(one)] for one in hits]
        return [Hits.ranked(one, k=k) for one in scored]


class Topic:
    """Write a query about topic 4 for every query."""

    def expand(self, queries, *, retriever=None, excluded_ids=None):
        del retriever, excluded_ids
        return [Expansion(queries=("topic 4",)) for _ in queries]


LETTERS = {name: Document(name, f'text of "{name}"') for name in "abcdefghijklmnopqrstuvwxyz"}


class Letters:
    """Finds the letters of the query, in their order; `bare` hits have no documents."""

    def __init__(self, *, bare=False):
        self.bare = bare

    def search(self, queries, *, k, excluded_ids=None):
        bans = excluded_ids or [()] * len(queries)
        return [
            self._of([n for n in query if n not in banned][:k]) for query, banned in zip(queries, bans, strict=True)
        ]

    def usage(self):
        return Usage(query_tokens=1)

    def _of(self, names):
        documents = None if self.bare else tuple(LETTERS[name] for name in names)
        return Hits(tuple(names), list(range(len(names), 0, -1)), documents)

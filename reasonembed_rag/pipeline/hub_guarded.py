"""A guard against hubs: documents that an implausible share of reference queries finds are searched no more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_unicode, decode_lines, read_jsonl
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.hubness import count_hubs
from reasonembed_rag.protocols import Retriever, Usage, total_usage

__all__ = ["HubGuardedRetriever", "read_reference_queries"]

_logger = logging.getLogger(__name__)

_K = 50
_LEAST_RATIO = 100
"""Documents per k: in a smaller corpus, plain chance finds each of them for many queries."""


class HubGuardedRetriever:
    """Search without the documents that a scan of the retriever, at the first search, finds for too many queries.

    `queries` are like those of users, and unknown to an attacker; `documents` is the size of the corpus. A document is
    left out whose robust z-score is at least `z`, and that at least the `share` of the queries have among their `k`
    best; k is 50 by default, less in a corpus of under 5,000 documents. Raises InputError for no queries, no documents,
    a k below 1, and a share outside 0 to 1.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        queries: Sequence[str],
        documents: int,
        k: int | None = None,
        z: float = 6.0,
        share: float = 0.045,
    ) -> None:
        if not queries:
            raise InputError("got no reference queries; want queries like your users', a hundred or more")
        if documents < 1:
            raise InputError(f"documents is {documents}; want the size of the corpus, at least 1")
        if k is not None and k < 1:
            raise InputError(f"k is {k}; want at least 1")
        if not 0.0 <= share <= 1.0:
            raise InputError(f"share is {share}; want a share of the queries, from 0 to 1")
        self.retriever = retriever
        self.queries = tuple(queries)
        self.documents = documents
        self.k = k or max(1, min(_K, documents // _LEAST_RATIO))
        self.z = z
        self.share = share
        self._lock = threading.Lock()
        self._flagged: tuple[str, ...] | None = None

    @property
    def flagged(self) -> tuple[str, ...]:
        """The ids of the documents that are left out, most frequent first; scans if that was not done yet."""
        with self._lock:
            if self._flagged is None:
                scan = count_hubs(self.retriever.search(self.queries, k=self.k), k=self.k, documents=self.documents)
                self._flagged = scan.flagged(z=self.z, share=self.share)
                _logger.info("%d of %d documents are left out as hubs", len(self._flagged), self.documents)
            return self._flagged

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k best hits of each query, its excluded documents and the flagged ones removed before the cut."""
        flagged = self.flagged
        if not flagged:
            return self.retriever.search(queries, k=k, excluded_ids=excluded_ids)
        own = excluded_ids if excluded_ids is not None else [()] * len(queries)
        return self.retriever.search(queries, k=k, excluded_ids=[(*excluded, *flagged) for excluded in own])

    def usage(self) -> Usage:
        """Return what the retriever has used, the scan included."""
        return total_usage([self.retriever])


def read_reference_queries(path: Path) -> list[str]:
    """Read queries: JSON Lines with "query" where the file's name ends so, else one per line, blank ones passed over.

    Raises InputError, naming the file and the line, for what cannot be read.
    """
    if path.suffix == ".jsonl":
        queries = []
        for number, row in read_jsonl(path):
            if not isinstance(row.get("query"), str):
                raise InputError(f'{path}:{number}: "query" is {row.get("query")!r:.60}; want a string')
            check_unicode(row["query"], name=f"{path}:{number}")
            queries.append(row["query"])
    else:
        try:
            with path.open("rb") as file:
                queries = [line for _, line in decode_lines(file, name=str(path))]
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); want a file of queries, one a line"
            ) from error
    return [query.strip() for query in queries if query.strip()]

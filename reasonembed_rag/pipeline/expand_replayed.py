"""Expand queries by texts that were written before: recorded reasoning instead of a chat model."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_unicode, read_jsonl
from reasonembed_rag.protocols import Expansion, Retriever

__all__ = ["ReplayedExpander"]

_logger = logging.getLogger(__name__)


class ReplayedExpander:
    """Return the recorded texts of each query, an empty expansion for queries without any."""

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self._expansions = {query: Expansion(queries=tuple(own)) for query, own in texts.items()}
        self._missing: set[str] = set()

    @classmethod
    def read(cls, path: Path, *, queries: Mapping[str, str] | None = None, optional: bool = False) -> Self:
        """Read JSON Lines of {"query" or "id", "reasoned_query"}; `queries` are the queries by their ids.

        Several lines of one query are several texts, blank ones none. Ids outside `queries` are passed over, so that a
        recording serves a part of its queries. Raises InputError, naming file:line, for other lines, and where no line
        is of one of the queries, unless the recording is `optional`.
        """
        texts: dict[str, list[str]] = {}
        for number, row in read_jsonl(path):
            where = f"{path}:{number}"
            text = row.get("reasoned_query")
            if not isinstance(text, str):
                raise InputError(f'{where}: "reasoned_query" is {text!r:.60}; want a string')
            check_unicode(text, name=f'{where}: "reasoned_query"')
            query = _query_of(row, queries, where=where)
            if query is not None and text.strip():
                texts.setdefault(query, []).append(text.strip())
        if not texts and not optional:
            raise InputError(
                f"{path}: no text for any of the queries; want a recording of the same queries, or optional = true"
            )
        return cls(texts)

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,  # noqa: ARG002 - the protocol's
        excluded_ids: Sequence[Collection[str]] | None = None,  # noqa: ARG002 - as above
    ) -> list[Expansion]:
        """Return the recorded texts of each query, searched as queries."""
        missing = [query for query in queries if query not in self._expansions]
        if missing and not self._missing and self._expansions:  # else the whole recording is of others
            _logger.warning(
                "%d of %d queries have no recorded text and are searched as they are", len(missing), len(queries)
            )
        self._missing.update(missing)
        return [self._expansions.get(query, Expansion()) for query in queries]

    @property
    def missing(self) -> int:
        """The number of queries asked for since construction that have no recorded text."""
        return len(self._missing)


def _query_of(row: Mapping[str, object], queries: Mapping[str, str] | None, *, where: str) -> str | None:
    """Return the query that a line belongs to; None for an id that is not asked for."""
    query, identity = row.get("query"), row.get("id")
    if isinstance(query, str):
        return query
    if not isinstance(identity, str):
        raise InputError(f'{where}: has neither "query" nor "id" as a string; want one of them{_names(row)}')
    if queries is None:
        raise InputError(f'{where}: has an "id" and no "query"; want queries=... with the queries by their ids')
    return queries.get(identity)


def _names(row: Iterable[str]) -> str:
    names = ", ".join(row)
    return f", got {names}" if names else ""

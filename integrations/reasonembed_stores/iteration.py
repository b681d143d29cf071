"""Documents one after another: those that satisfy a filter, from an offset on, page by page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from reasonembed_rag.documents import Document
from reasonembed_stores.checks import check_count
from reasonembed_stores.filters import FilterLike, matches, parse_filter

__all__ = ["in_pages", "listed"]

_PAGE = 2000


def listed(
    documents: Iterable[Document], filters: FilterLike | None, *, limit: int | None, offset: int
) -> Iterator[Document]:
    """Return `limit` of the documents that satisfy the filters, without the first `offset`; None limits nothing.

    Raises InputError, before anything is read, for a filter that cannot be read and a count below 0.
    """
    check_count(offset, name="offset")
    if limit is not None:
        check_count(limit, name="limit")
    tree = parse_filter(filters)
    matching = (document for document in documents if tree is None or matches(tree, document.metadata))
    end = None if limit is None else min(offset + limit, sys.maxsize)
    return islice(matching, min(offset, sys.maxsize), end)


def in_pages(ids: Sequence[str], get: Callable[[Sequence[str]], Iterable[Document]]) -> Iterator[Document]:
    """Yield what `get` returns for these ids, page by page."""
    for start in range(0, len(ids), _PAGE):
        yield from get(ids[start : start + _PAGE])

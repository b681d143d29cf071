"""Observe the searches of a pipeline's retriever and stages as they start and end: for tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from reasonembed_rag.hits import Hits

__all__ = ["SearchObserver", "observing", "searched"]


class SearchObserver(Protocol):
    """Is told of every search of a layer: the last stage's first, then, within it, those of the layers inside."""

    def __call__(self, name: str, queries: Sequence[str]) -> AbstractContextManager[Callable[[list[Hits]], object]]:
        """Return a context manager around one search of a layer, which yields what is called with its hits.

        "retrieve" is the name of the retriever; a search by vectors alone has no queries.
        """


_observer: ContextVar[SearchObserver | None] = ContextVar("observer", default=None)


@contextmanager
def observing(observer: SearchObserver) -> Iterator[None]:
    """Tell an observer of the searches of all pipelines within the block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def searched(name: str, queries: Sequence[str], search: Callable[[], list[Hits]]) -> list[Hits]:
    """Return what a search finds, and tell the observer of it where there is one."""
    observer = _observer.get()
    if observer is None:
        return search()
    with observer(name, queries) as found:
        hits = search()
        found(hits)
        return hits

"""The stages of a pipeline as child runs of a retriever's run, as LangSmith and other callbacks show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document

from langchain_reasonembed.conversion import langchain_document
from reasonembed_rag.hits import Hits

__all__ = ["StageRuns"]


class StageRuns:
    """A SearchObserver that makes each search of a stage a retriever's run, the child of the stage around it."""

    def __init__(self, run_manager: CallbackManagerForRetrieverRun) -> None:
        self._open = [run_manager]

    @contextmanager
    def __call__(self, name: str, queries: Sequence[str]) -> Iterator[Callable[[list[Hits]], object]]:
        """Start a run, and end it with the documents of all queries, or the error."""
        run = self._open[-1].get_child().on_retriever_start({"name": name}, "\n\n".join(queries), name=name)
        self._open.append(run)
        found: list[Document] = []
        try:
            yield lambda lists: found.extend(document for hits in lists for document in _documents(hits))
        except BaseException as error:
            run.on_retriever_error(error)
            raise
        finally:
            self._open.pop()
        run.on_retriever_end(found)


def _documents(hits: Hits) -> list[Document]:
    """Return hits as documents with their scores; without text where the stage does not know it."""
    shown = []
    for hit in hits:
        document = Document(id=hit.id, page_content="") if hit.document is None else langchain_document(hit.document)
        document.metadata["reasonembed_score"] = hit.score
        shown.append(document)
    return shown

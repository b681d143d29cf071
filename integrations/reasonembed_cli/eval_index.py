"""`--index`: measure a saved index as it is, with the model that it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_stores import IndexModel, IndexRetriever

__all__ = ["open_index", "task_over_index"]


@contextmanager
def open_index(index: Path, model: IndexModel, task: RetrievalTask) -> Iterator[IndexRetriever]:
    """Open an index, with the instruction of the task's card if the model takes one, and close it afterwards.

    Raises StoreError for a damaged or foreign folder, SpecMismatchError for another model than the index's.
    """
    from reasonembed_stores import IndexRetriever

    retriever = IndexRetriever(index, model)
    instruction = task.card.instruction if task.card and retriever.spec.takes_instruction else None
    try:
        yield retriever.with_settings(instruction=instruction)
    finally:
        retriever.store.close()


def task_over_index(task: RetrievalTask, index: Path) -> RetrievalTask:
    """Return the task with the documents of an index in place of its own.

    Raises InputError for an index that is unfinished, and for one that lacks gold documents of the task. Gold documents
    that the task's own corpus lacks too count as not found, as they always do.
    """
    from reasonembed_stores import is_unfinished, open_store

    if is_unfinished(index):
        raise InputError(f"{index} is unfinished: its indexing was interrupted; run `reasonembed index` on it again")
    store = open_store(index)
    try:
        documents = tuple(store)
    finally:
        store.close()
    gold = {identity for example in task.examples for identity in example.gold_ids}
    known = {document.id for document in task.documents}
    missing = sorted((gold & known if known else gold) - {document.id for document in documents})
    if missing:
        raise InputError(
            f"{index} lacks {len(missing)} of the {len(gold)} gold documents of {task.name}, such as {missing[0]!r}; "
            f"add the task's documents with `reasonembed index FOLDER/documents.jsonl --to {index}`"
        )
    return dataclasses.replace(task, documents=documents)

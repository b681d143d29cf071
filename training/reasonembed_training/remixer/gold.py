"""Exclude a benchmark's gold documents from training data: by id, by content, and as near-duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import Example, read_examples, task_size
from reasonembed_rag.files import TABLE_SUFFIXES, find_table, read_table_documents
from reasonembed_rag.tasks import BRIGHT_TASKS
from reasonembed_training.remixer.duplicates import NearDuplicates, content_digest

__all__ = ["Gold", "GoldFilter", "gold_of_examples", "looks_like_bright", "read_gold"]

_EXAMPLE_FILES = ("examples*", "examples/*", "topics.bright-*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """Documents that must not be trained on."""

    ids: frozenset[str] = frozenset()
    excluded_ids: frozenset[str] = frozenset()
    """Documents excluded for single queries: not sources, but candidates like others."""
    contents: tuple[str, ...] = ()

    def __or__(self, other: Gold) -> Gold:
        return Gold(
            ids=self.ids | other.ids,
            excluded_ids=self.excluded_ids | other.excluded_ids,
            contents=self.contents + other.contents,
        )


class GoldFilter:
    """Decide whether a document is gold, or a copy or near-duplicate of gold."""

    def __init__(self, gold: Gold, corpus: Iterable[Document]) -> None:
        named = [document.content for document in corpus if document.id in gold.ids]
        contents = [content for content in dict.fromkeys((*gold.contents, *named)) if content.strip()]
        self._ids = gold.ids
        self._copies = frozenset(content_digest(content) for content in contents)
        self._near = NearDuplicates(contents) if contents else None

    def reason(self, document: Document) -> str | None:
        """Return why a document is excluded, None if it is not."""
        if document.id in self._ids:
            return "gold"
        if content_digest(document.content) in self._copies:
            return "copy of gold"
        if self._near is not None and self._near.holds(document.content):
            return "near copy of gold"
        return None


def read_gold(folder: Path) -> Gold:
    """Read the gold documents of all splits and tasks of a task folder, with contents if it has documents.

    Raises InputError where the folder has no examples or malformed ones.
    """
    found = [path for pattern in _EXAMPLE_FILES for path in sorted(folder.glob(pattern)) if _is_table(path)]
    if not found:
        raise InputError(f"{folder}: has no examples[.split] file; want the folder of a benchmark's task")
    gold = Gold()
    for path in found:
        gold |= gold_of_examples(read_examples(path))
    tables = [find_table(folder / "documents")]
    if (folder / "documents").is_dir():
        tables += [(path,) for path in sorted((folder / "documents").iterdir()) if _is_table(path)]
    contents = [
        document.content
        for table in tables
        if table
        for document in read_table_documents(table)
        if document.id in gold.ids
    ]
    return gold | Gold(contents=tuple(contents))


def gold_of_examples(examples: Iterable[Example]) -> Gold:
    """Return the ids of examples' gold and excluded documents, including those of whole pages."""
    ids: set[str] = set()
    excluded: set[str] = set()
    for example in examples:
        ids.update(example.gold_ids)
        ids.update(example.extra.get("gold_ids_long") or ())
        excluded.update(example.excluded_ids)
    return Gold(ids=frozenset(ids), excluded_ids=frozenset(excluded))


def looks_like_bright(card: str, documents: Sequence[Document]) -> bool:
    """Return whether a corpus has the size of the BRIGHT task that the card is named after."""
    return card in BRIGHT_TASKS and len(documents) == task_size(card).documents


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.endswith(TABLE_SUFFIXES)

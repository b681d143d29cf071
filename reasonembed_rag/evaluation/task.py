"""A retrieval task: documents, examples with their judgements, and how a BRIGHT-format folder is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonembed_rag.documents import Document, read_jsonl, read_jsonl_documents, unique_ids
from reasonembed_rag.errors import InputError
from reasonembed_rag.tasks import TASKS, TaskCard

__all__ = ["Example", "RetrievalTask", "read_examples", "read_task_folder"]


@dataclass(frozen=True, slots=True)
class Example:
    """A query with the ids it should find and the ids it must not be offered (BRIGHT's field names)."""

    id: str
    query: str
    gold_ids: tuple[str, ...]
    excluded_ids: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the row, such as reasoning, gold_answer, hard_negative_ids."""


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """Documents and judged examples of one split."""

    name: str
    split: str | None
    documents: tuple[Document, ...]
    examples: tuple[Example, ...]

    @property
    def card(self) -> TaskCard | None:
        """The card of the task, known by name; None where there is none."""
        return TASKS.get(self.name.removeprefix("bright_"))


def read_task_folder(folder: Path, *, split: str | None = None) -> RetrievalTask:
    """Read a folder of documents.jsonl and examples[.split].jsonl.

    Raises InputError for a missing file (naming the splits that exist), duplicate ids and malformed lines.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; want documents.jsonl and examples[.split].jsonl in it")
    examples_path = folder / (f"examples.{split}.jsonl" if split else "examples.jsonl")
    if not examples_path.is_file():
        found = sorted(path.name for path in folder.glob("examples*.jsonl"))
        raise InputError(f"{examples_path}: no such file; the folder has {', '.join(found) or 'no examples file'}")
    documents = tuple(unique_ids(read_jsonl_documents(folder / "documents.jsonl")))
    if not documents:
        raise InputError(f"{folder / 'documents.jsonl'}: holds no document; want at least one")
    return RetrievalTask(folder.name, split, documents, read_examples(examples_path))


def read_examples(path: Path) -> tuple[Example, ...]:
    """Read a BRIGHT-format examples file; raises InputError, naming file:line, for a malformed row."""
    examples: list[Example] = []
    seen: set[str] = set()
    for number, row in read_jsonl(path):
        example = _example(row, where=f"{path}:{number}")
        if example.id in seen:
            raise InputError(f"{path}:{number}: example id {example.id!r} occurs twice; ids must be unique")
        seen.add(example.id)
        examples.append(example)
    if not examples:
        raise InputError(f"{path}: holds no example; want at least one")
    return tuple(examples)


def _example(row: dict[str, Any], *, where: str) -> Example:
    fields = dict(row)
    identity, query = fields.pop("id", None), fields.pop("query", None)
    if not isinstance(identity, str) or not identity:
        raise InputError(f'{where}: "id" is {identity!r}; want a non-empty string')
    if not isinstance(query, str) or not query.strip():
        raise InputError(f'{where}: "query" of {identity!r} is {query!r}; want a non-empty string')
    gold = _ids(fields.pop("gold_ids", None), name="gold_ids", where=where)
    excluded = _ids(fields.pop("excluded_ids", []), name="excluded_ids", where=where)
    return Example(identity, query, gold, tuple(i for i in excluded if i != "N/A"), fields)


def _ids(value: object, *, name: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(i, str) for i in value):
        raise InputError(f'{where}: "{name}" is {value!r}; want a list of strings')
    return tuple(dict.fromkeys(value))

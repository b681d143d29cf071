"""Retrieval tasks: documents and judged examples, read from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.files import find_table, read_rows, read_table_documents
from reasonembed_rag.tasks import TASKS, TaskCard

__all__ = ["Example", "RetrievalTask", "check_tasks", "example_of", "find_defects", "read_examples", "read_task_folder"]

NOT_AVAILABLE = "N/A"
"""How BRIGHT writes an empty list of ids."""


@dataclass(frozen=True, slots=True)
class Example:
    """A query with its gold ids and the ids excluded for it (BRIGHT's field names)."""

    id: str
    query: str
    gold_ids: tuple[str, ...]
    excluded_ids: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the row, such as reasoning, gold_answer, hard_negative_ids."""


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """Documents and judged examples of one split; a task without documents can only score run files."""

    name: str
    split: str | None
    documents: Sequence[Document]
    examples: tuple[Example, ...]
    queries: str = "original"
    """Who wrote the queries: "original", or the name of the model that rewrote them."""
    long: bool = False
    """Whether the documents are whole pages, which the gold ids then name."""
    revision: str | None = None
    """The revision of the hub's data set; None for local files."""
    warnings: tuple[str, ...] = ()
    """What a reader of its scores should know."""

    def check_judged(self) -> None:
        """Raise EvaluationError for a task without gold ids, on which nothing can be measured."""
        if not any(example.gold_ids for example in self.examples):
            raise EvaluationError(
                f"task {self.name!r} has no gold id in {len(self.examples)} queries; want a judged task"
            )

    @property
    def card(self) -> TaskCard | None:
        """The task card of this name; None where there is none."""
        return TASKS.get(self.name.removeprefix("bright_"))


def check_tasks(tasks: Sequence[RetrievalTask]) -> None:
    """Raise InputError for no task and for two of one name and split, EvaluationError for one that is not judged."""
    if not tasks:
        raise InputError("got no task; want at least one with judged queries")
    labels = [(task.name, task.split) for task in tasks]
    twice = next((task.name for task in tasks if labels.count((task.name, task.split)) > 1), None)
    if twice is not None:
        raise InputError(f"got two tasks named {twice}; want each once")
    for task in tasks:
        task.check_judged()


def read_task_folder(folder: Path, *, split: str | None = None) -> RetrievalTask:
    """Read a folder of documents and examples[.split], each .jsonl, .jsonl.gz or .parquet.

    Raises InputError for a missing file (naming the splits that exist), duplicate ids and malformed rows.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; want documents.jsonl and examples[.split].jsonl in it")
    examples = find_table(folder / (f"examples.{split}" if split else "examples"))
    if not examples:
        found = sorted(path.name for path in folder.glob("examples*") if path.is_file())
        wanted = folder / (f"examples.{split}.jsonl" if split else "examples.jsonl")
        cure = f"{', '.join(found)}; choose a split with --split, or split=" if found else "no examples file"
        raise InputError(f"{wanted}: no such file; the folder has {cure}")
    documents = find_table(folder / "documents")
    if not documents:
        raise InputError(f"{folder / 'documents.jsonl'}: no such file; want the documents of the examples")
    return RetrievalTask(folder.name, split, read_table_documents(documents), read_examples(*examples))


def read_examples(*paths: Path, gold: str = "gold_ids") -> tuple[Example, ...]:
    """Read the examples of a table's files; `gold` names the field of the gold ids.

    Raises InputError, naming file:line, for a malformed row, and for no rows or a repeated id.
    """
    examples: list[Example] = []
    seen: set[str] = set()
    for where, row in read_rows(paths):
        example = example_of(row, where=where, gold=gold)
        if example.id in seen:
            raise InputError(f"{where}: example id {example.id!r} occurs twice; ids must be unique")
        seen.add(example.id)
        examples.append(example)
    if not examples:
        raise InputError(f"{paths[0]}: holds no example; want at least one")
    return tuple(examples)


def example_of(row: Mapping[str, Any], *, where: str, gold: str = "gold_ids") -> Example:
    """Return the example of a row; repeated ids in a list count once, "N/A" is ignored.

    Raises InputError, naming where, for a malformed row.
    """
    fields = dict(row)
    identity, query = fields.pop("id", None), fields.pop("query", None)
    if not isinstance(identity, str) or not identity:
        raise InputError(f'{where}: "id" is {identity!r}; want a non-empty string')
    if not isinstance(query, str) or not query.strip():
        raise InputError(f'{where}: "query" of {identity!r} is {query!r}; want a non-empty string')
    gold_ids = _ids(fields.pop(gold, None), name=gold, where=where)
    excluded_ids = _ids(fields.pop("excluded_ids", None) or (), name="excluded_ids", where=where)
    return Example(identity, query, gold_ids, excluded_ids, fields)


def _ids(value: object, *, name: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(i, str) for i in value):
        raise InputError(f'{where}: "{name}" is {value!r}; want a list of strings')
    return tuple(identity for identity in dict.fromkeys(value) if identity != NOT_AVAILABLE)


_KNOWN_DEFECTS = {
    "pony": "gold does not depend on the query: ranking documents by how often they are gold scores nDCG@10 .938",
}


def find_defects(task: RetrievalTask) -> tuple[str, ...]:
    """Return one sentence per known defect of the task and per fault found in its rows and documents."""
    known = [_KNOWN_DEFECTS[task.card.name]] if task.card and task.card.name in _KNOWN_DEFECTS else []
    return tuple(known + _faulty_examples(task) + (_faulty_corpus(task) if task.documents else []))


def _faulty_examples(task: RetrievalTask) -> list[str]:
    without = sum(not example.gold_ids for example in task.examples)
    unreachable = sum(len(set(e.gold_ids) & set(e.excluded_ids)) for e in task.examples if e.excluded_ids)
    return _sentences(
        (without, "queries without gold ids, which score 0"),
        (unreachable, "gold ids that their own query excludes, which cannot be found"),
    )


def _faulty_corpus(task: RetrievalTask) -> list[str]:
    gold = {identity for example in task.examples for identity in example.gold_ids}
    excluded = {identity for example in task.examples for identity in example.excluded_ids}
    ids: set[str] = set()
    gold_contents: set[str] = set()
    empty = 0
    for document in task.documents:
        ids.add(document.id)
        empty += not document.content.strip()
        if document.id in gold and document.content.strip():
            gold_contents.add(document.content)
    copies = sum(d.id not in gold and d.content in gold_contents for d in task.documents)
    return _sentences(
        (len(gold - ids), "gold ids that are not in the corpus, which count as not found"),
        (len(excluded - ids), "excluded ids that are not in the corpus, which exclude nothing"),
        (copies, "unjudged documents with the same content as a gold one, which count as errors where they are found"),
        (empty, "empty documents"),
    )


def _sentences(*findings: tuple[int, str]) -> list[str]:
    return [f"{what}: {count:,}" for count, what in findings if count]

"""BRIGHT's twelve tasks: from the hub at a pinned revision, or from a local copy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, MissingDependencyError, want_one_of
from reasonembed_rag.evaluation.task import (
    Example,
    RetrievalTask,
    example_of,
    find_defects,
    read_examples,
    read_task_folder,
)
from reasonembed_rag.files import TableDocuments, find_table, read_table_documents
from reasonembed_rag.tasks import BRIGHT_TASKS, get_task

__all__ = [
    "DATASET",
    "LONG_TASKS",
    "QUERY_SOURCES",
    "REVISION",
    "TaskSize",
    "load_documents",
    "load_rows",
    "load_task",
    "resolve_revision",
    "task_size",
]

REVISION = "3066d29c9651a576c8aba4832d249807b181ecae"
"""The cleaned data; the other revision in circulation, a75a0eb of July 2024, gives other figures."""

QUERY_SOURCES = (
    "original",
    "gpt4_reason",
    "claude-3-opus_reason",
    "Gemini-1.0_reason",
    "llama3-70b_reason",
    "grit_reason",
)
"""The queries as asked, and as five models rewrote them with their reasoning."""

LONG_TASKS = (*BRIGHT_TASKS[:7], "pony")
"""The tasks that also have whole pages as documents."""


@dataclass(frozen=True, slots=True)
class TaskSize:
    """The number of queries and short documents of a BRIGHT task."""

    queries: int
    documents: int


_SIZES = {
    "biology": TaskSize(103, 57_359),
    "earth_science": TaskSize(116, 121_249),
    "economics": TaskSize(103, 50_220),
    "psychology": TaskSize(101, 52_835),
    "robotics": TaskSize(101, 61_961),
    "stackoverflow": TaskSize(117, 107_081),
    "sustainable_living": TaskSize(108, 60_792),
    "leetcode": TaskSize(142, 413_932),
    "pony": TaskSize(112, 7_894),
    "aops": TaskSize(111, 188_002),
    "theoremqa_questions": TaskSize(194, 188_002),
    "theoremqa_theorems": TaskSize(76, 23_839),
}


def task_size(name: str) -> TaskSize:
    """Return the size of a BRIGHT task; raises UnknownTaskError for any other."""
    return _SIZES[get_task(name).name]


def load_task(
    name: str | None = None,
    *,
    folder: Path | None = None,
    split: str | None = None,
    queries: str = "original",
    long: bool = False,
    revision: str | None = None,
    limit: int | None = None,
) -> RetrievalTask:
    """Load a task of BRIGHT by name from the hub, or any task in BRIGHT's format from a folder.

    A folder holds either documents and examples[.split] (JSON Lines or Parquet), or a copy of the hub's data set
    (examples/biology.parquet, documents/..., gpt4_reason/...), or only the queries as topics.bright-*.jsonl.gz, for
    scoring run files. revision defaults to REVISION; limit keeps the first queries. The task's warnings list its
    defects. Raises InputError for a combination that does not exist and for data that cannot be read or have the wrong
    size, UnknownTaskError for an unknown name, MissingDependencyError without datasets.
    """
    if queries not in QUERY_SOURCES:
        raise InputError(f"queries is {queries!r}; {want_one_of(queries, QUERY_SOURCES)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; want at least 1")
    if folder is not None:
        if revision is not None:
            raise InputError(
                f"got revision {revision!r} for the folder {folder}; a revision is for the hub's data only"
            )
        task = _from_folder(folder, name, split, queries=queries, long=long)
    elif name is None:
        raise InputError(f"want the name of a task ({', '.join(BRIGHT_TASKS)}) or a folder")
    else:
        if split is not None:
            raise InputError(f"got split {split!r}; BRIGHT's tasks on the hub have none: omit it")
        task = _from_hub(name, queries=queries, long=long, revision=revision)
    defects = (*task.warnings, *_size_warnings(task), *find_defects(task))
    examples = task.examples if limit is None else task.examples[:limit]
    return dataclasses.replace(task, examples=examples, warnings=defects)


def _from_hub(name: str, *, queries: str, long: bool, revision: str | None) -> RetrievalTask:
    """Load a task from the hub; at the pinned revision its size must match the known one."""
    task_name = _bright_name(name, long=long)
    resolved = resolve_revision(revision or REVISION)
    config = "examples" if queries == "original" else queries
    rows = load_rows(config, task_name, resolved)
    gold = "gold_ids_long" if long else "gold_ids"
    examples = tuple(
        example_of(row, where=f"{config}/{task_name}, row {n}", gold=gold) for n, row in enumerate(rows, 1)
    )
    documents = load_documents("long_documents" if long else "documents", task_name, resolved)
    task = RetrievalTask(task_name, None, documents, examples, queries, long, resolved)
    if resolved != REVISION:
        warning = f"revision {resolved} is not the pinned {REVISION}: figures may differ from published ones"
        return dataclasses.replace(task, warnings=(warning,))
    mismatches = _size_warnings(task)
    if mismatches:
        raise InputError(
            f"{task_name}: {mismatches[0]}; the download is damaged: delete it from the datasets cache and reload"
        )
    return task


def _from_folder(folder: Path, name: str | None, split: str | None, *, queries: str, long: bool) -> RetrievalTask:
    """Detect which of the three layouts a folder has, and read it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; want a task in BRIGHT's format")
    if (folder / "examples").is_dir():
        return _from_hub_copy(folder, name, split, queries=queries, long=long)
    if name is not None and any(folder.glob("topics.bright-*.jsonl.gz")):
        return _from_topics(folder, name, split, queries=queries, long=long)
    if queries != "original" or long:
        raise InputError(f"{folder}: a plain folder has its own queries and documents only; omit queries and long")
    task = read_task_folder(folder, split=split)
    return task if name is None else dataclasses.replace(task, name=name)


def _from_hub_copy(folder: Path, name: str | None, split: str | None, *, queries: str, long: bool) -> RetrievalTask:
    if name is None or split is not None:
        raise InputError(f"{folder}: holds BRIGHT's tasks; want the name of one, and no split")
    task_name = _bright_name(name, long=long)
    documents = _table(folder / ("long_documents" if long else "documents") / task_name)
    examples = _table(folder / ("examples" if queries == "original" else queries) / task_name)
    gold = "gold_ids_long" if long else "gold_ids"
    read: Sequence[Document] = read_table_documents(documents)
    return RetrievalTask(task_name, None, read, read_examples(*examples, gold=gold), queries, long)


def _from_topics(folder: Path, name: str, split: str | None, *, queries: str, long: bool) -> RetrievalTask:
    if split is not None:
        raise InputError(f"{folder}: holds BRIGHT's queries, which have no splits; omit {split!r}")
    task_name = _bright_name(name, long=long)
    dashed = task_name.replace("_", "-")
    source = "original" if queries == "original" else queries.removesuffix("_reason")
    paths = _table(folder / f"topics.bright-{dashed}-{source}")
    examples: tuple[Example, ...] = read_examples(*paths, gold="gold_ids_long" if long else "gold_ids")
    return RetrievalTask(task_name, None, (), examples, queries, long)


def _table(stem: Path) -> tuple[Path, ...]:
    paths = find_table(stem)
    if not paths:
        raise InputError(f"{stem}: no such file (.jsonl, .jsonl.gz or .parquet); the copy of BRIGHT lacks it")
    return paths


def _bright_name(name: str, *, long: bool) -> str:
    """Return the task's name in BRIGHT's spelling; raises InputError where it has no long documents."""
    task_name = get_task(name.replace("-", "_")).name
    if long and task_name not in LONG_TASKS:
        raise InputError(f"{task_name} has no long documents; {want_one_of(task_name, LONG_TASKS)}")
    return task_name


def _size_warnings(task: RetrievalTask) -> tuple[str, ...]:
    """Return a warning for each count of a task with a card that differs from BRIGHT's."""
    if task.card is None:
        return ()
    size = _SIZES[task.card.name]
    counts = [("queries", len(task.examples), size.queries)]
    if task.documents and not task.long:
        counts.append(("documents", len(task.documents), size.documents))
    return tuple(
        f"{got:,} {what} where BRIGHT's {task.card.name} has {want:,}: figures do not compare with published ones"
        for what, got, want in counts
        if got != want
    )


DATASET = "xlangai/BRIGHT"


def resolve_revision(revision: str) -> str:
    """Return the commit of a branch, tag or short hash; a full hash is returned as it is.

    Raises InputError where the hub does not know it or cannot be reached.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi().dataset_info(DATASET, revision=revision).sha
    except (HfHubHTTPError, OSError) as error:
        raise InputError(
            f"cannot resolve revision {revision!r} of {DATASET} ({_first_line(error)}); name a commit"
        ) from error
    if commit is None:
        raise InputError(f"the hub names no commit for revision {revision!r} of {DATASET}; name a commit")
    return commit


def load_rows(config: str, task: str, revision: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a task's examples; raises InputError where they cannot be loaded."""
    yield from _load(config, task, revision)


def load_documents(config: str, task: str, revision: str) -> TableDocuments:
    """Return the documents of a task, their contents left on disk; raises InputError where they cannot be loaded."""
    table = _load(config, task, revision)
    return TableDocuments(table["id"], lambda start, stop: table[start:stop]["content"])


def _load(config: str, task: str, revision: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        package, extra = "datasets", "eval"
        raise MissingDependencyError(package, extra) from error
    try:
        return datasets.load_dataset(DATASET, config, split=task, revision=revision)
    except Exception as error:
        raise InputError(
            f"cannot load {config}/{task} of {DATASET} at {revision} ({_first_line(error)}); check the network and the "
            "revision, or pass a local copy as the folder"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

"""BRIGHT-format folders as training data: examples and documents to rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation.tables import find_table
from reasonembed_rag.evaluation.task import Example, read_task_folder
from reasonembed_training.rows import TrainingRow

__all__ = ["Reasoning", "folder_rows", "is_task_folder", "reasoning_query", "task_files"]

Reasoning = Literal["append", "replace", "none"]


def is_task_folder(path: Path) -> bool:
    """Return whether a folder holds documents, as .jsonl, .jsonl.gz or .parquet."""
    return path.is_dir() and bool(find_table(path / "documents"))


def task_files(folder: Path, split: str | None) -> list[Path]:
    """Return the files that folder_rows reads, as far as there are any."""
    return [*find_table(folder / "documents"), *find_table(folder / (f"examples.{split}" if split else "examples"))]


def folder_rows(
    folder: Path, *, split: str | None, reasoning: Reasoning = "append", instruction: str | None = None
) -> Iterator[TrainingRow]:
    """Yield a row an example: gold documents as positives, `hard_negative_ids` as negatives, `reasoning` as asked.

    The rows' instruction is the one given, else that of the task's card. Excluded documents are candidates for no
    example that excludes them. Raises InputError for malformed files and TrainingError for an example without a gold
    document and for ids that the folder does not hold.
    """
    task = read_task_folder(folder, split=split)
    contents = {document.id: document.content for document in task.documents}
    where = task_files(folder, split)[-1]
    for example in task.examples:
        positives = _contents(example.gold_ids, "gold_ids", example, contents, where=where)
        if not positives:
            raise TrainingError(f'{where}: example {example.id!r} has empty "gold_ids"; want at least one, or drop it')
        barred = {*example.gold_ids, *example.excluded_ids}
        hard = [one for one in (example.extra.get("hard_negative_ids") or ()) if one not in barred]
        yield TrainingRow(
            id=example.id,
            query=example.query,
            positives=positives,
            negatives=_contents(tuple(hard), "hard_negative_ids", example, contents, where=where),
            excluded=tuple(contents[one] for one in example.excluded_ids if one in contents),
            reasoning_query=reasoning_query(example, reasoning),
            task=task.name,
            instruction=instruction or (task.card.instruction if task.card else None),
        )


def reasoning_query(example: Example, reasoning: Reasoning) -> str | None:
    """Return the reasoning-augmented form of an example's query; None where it has no reasoning or none is wanted."""
    thought = example.extra.get("reasoning")
    if reasoning == "none" or not isinstance(thought, str) or not thought.strip():
        return None
    return thought if reasoning == "replace" else f"{example.query}\n{thought}"


def _contents(
    ids: tuple[str, ...], field: str, example: Example, contents: dict[str, str], *, where: Path
) -> tuple[str, ...]:
    unknown = [one for one in ids if one not in contents]
    if unknown:
        raise TrainingError(
            f'{where}: "{field}" of example {example.id!r} names {unknown[0]!r}, which the documents do not hold'
        )
    return tuple(contents[one] for one in ids)

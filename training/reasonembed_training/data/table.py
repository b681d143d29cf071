"""Memory-mapped training rows: nothing but what a batch draws is ever read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import MissingDependencyError, TrainingError

__all__ = ["Drawn", "RowTable", "TaskRows", "require_datasets"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one row brings to one batch."""

    id: str
    query: str
    reasoning_query: str | None
    documents: tuple[str, ...]
    """The positive first."""
    grades: tuple[float, ...]
    """NaN where a document has none."""
    left_out_keys: NDArray[np.int64]
    """Content keys of all documents known to be positive or excluded."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of one task, all under one instruction."""

    name: str
    instruction: str | None
    rows: NDArray[np.int64]
    group: int | None
    """The published rows' own group size, and batch size on one device."""
    queries: int | None


class RowTable:
    """Rows in one memory-mapped Arrow file: nothing but the rows asked for is ever read.

    Raises TrainingError for a file that is damaged.
    """

    def __init__(self, path: Path) -> None:
        datasets = require_datasets()
        from pyarrow import ArrowException

        try:
            self._table = datasets.Dataset.from_file(str(path)).with_format("arrow")
        except (ArrowException, OSError) as error:
            raise TrainingError(f"{path}: damaged ({error}); delete it, and the rows are read again") from error
        self.digest = path.stem

    def __len__(self) -> int:
        return len(self._table)

    def without_reasoning(self) -> int:
        """Return how many rows have no reasoning query."""
        return int(self._table.data.column("reasoning_query").null_count)

    def tasks(self) -> list[TaskRows]:
        """Return the tasks in the order of their first rows; rows of one task name under two prompts are two tasks."""
        names = self._table.data.column("task").to_pylist()
        prompts = self._table.data.column("instruction").to_pylist()
        members: dict[tuple[str, str | None], list[int]] = {}
        for row, key in enumerate(zip(names, prompts, strict=True)):
            members.setdefault(key, []).append(row)
        prompts_of: dict[str, int] = {}
        for name, _ in members:
            prompts_of[name] = prompts_of.get(name, 0) + 1
        return [
            TaskRows(
                name=name if prompts_of[name] == 1 else f"{name} | {prompt or ''}",
                instruction=prompt,
                rows=np.asarray(rows, dtype=np.int64),
                group=self._cell(rows[0], "group_size"),
                queries=self._cell(rows[0], "batch_size"),
            )
            for (name, prompt), rows in members.items()
        ]

    def draw(self, row: int, *, group: int, generator: np.random.Generator) -> Drawn:
        """Draw one positive and group - 1 different negatives of a row, or all its negatives where it has fewer."""
        cells = self._table[row]
        positives, negatives = cells.column("positives")[0], cells.column("negatives")[0]
        chosen = int(generator.integers(len(positives)))
        others = generator.permutation(len(negatives))[: group - 1]
        positive_grades, negative_grades = cells.column("positive_grades")[0], cells.column("negative_grades")[0]
        return Drawn(
            id=cells.column("id")[0].as_py(),
            query=cells.column("query")[0].as_py(),
            reasoning_query=cells.column("reasoning_query")[0].as_py(),
            documents=(positives[chosen].as_py(), *(negatives[int(other)].as_py() for other in others)),
            grades=(_grade(positive_grades, chosen), *(_grade(negative_grades, int(other)) for other in others)),
            left_out_keys=cells.column("left_out_keys")[0].values.to_numpy(),
        )

    def _cell(self, row: int, column: str) -> Any:
        return self._table[row].column(column)[0].as_py()


def _grade(grades: Any, position: int) -> float:
    return float(grades[position].as_py()) if grades.is_valid else float("nan")


def require_datasets() -> Any:
    """Return the datasets library, which brings pyarrow; raises MissingDependencyError."""
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError("datasets", "train") from error
    return datasets

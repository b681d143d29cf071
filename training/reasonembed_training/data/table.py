"""Memory-mapped training rows: only what a batch draws is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import MissingDependencyError, TrainingError

__all__ = ["Drawn", "RowTable", "TaskRows", "require_datasets"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one row contributes to one batch."""

    id: str
    query: str
    reasoning_query: str | None
    documents: tuple[str, ...]
    """The positive first."""
    grades: tuple[float, ...]
    """Per document, NaN where it has none."""
    left_out_keys: NDArray[np.int64]
    """Content keys of all documents that are known positives or excluded."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of one task, all with one instruction."""

    name: str
    instruction: str | None
    rows: NDArray[np.int64]
    group: int | None
    """The rows' own group size, as the published data give it."""
    queries: int | None
    """The rows' own batch size per device."""


class RowTable:
    """Rows in one memory-mapped Arrow file.

    Raises TrainingError for a damaged file.
    """

    def __init__(self, path: Path) -> None:
        datasets = require_datasets()
        from pyarrow import ArrowException

        try:
            self._table = datasets.Dataset.from_file(str(path)).with_format("arrow")
        except (ArrowException, OSError) as error:
            raise TrainingError(f"{path}: damaged ({error}); delete it and run again") from error
        self.digest = path.stem

    def __len__(self) -> int:
        return len(self._table)

    def without_reasoning(self) -> int:
        """Return the number of rows without a reasoning query."""
        return int(self._table.data.column("reasoning_query").null_count)

    def tasks(self) -> list[TaskRows]:
        """Return the tasks in the order of their first rows; one task name with two instructions is two tasks."""
        names = self._table.data.column("task").to_pylist()
        instructions = self._table.data.column("instruction").to_pylist()
        members: dict[tuple[str, str | None], list[int]] = {}
        for row, key in enumerate(zip(names, instructions, strict=True)):
            members.setdefault(key, []).append(row)
        tasks_of = Counter(name for name, _ in members)
        return [
            TaskRows(
                name=name if tasks_of[name] == 1 else f"{name} | {instruction or ''}",
                instruction=instruction,
                rows=np.asarray(rows, dtype=np.int64),
                group=self._cell(rows[0], "group_size"),
                queries=self._cell(rows[0], "batch_size"),
            )
            for (name, instruction), rows in members.items()
        ]

    def draw(self, row: int, *, group: int, generator: np.random.Generator) -> Drawn:
        """Draw one positive and group - 1 different negatives of a row, or all its negatives if it has fewer."""
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
    """Return the datasets library, which depends on pyarrow; raises MissingDependencyError if it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError("datasets", "train") from error
    return datasets

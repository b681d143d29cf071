"""Sets that this package can write without a download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RetrievalTask

__all__ = ["python_reference"]


def python_reference(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return the passages of the running Python's language reference, and the questions of both splits.

    Raises EvaluationError for a Python whose reference lacks a quoted passage.
    """
    from reasonembed_rag.evaluation.python_reference import load_python_reference

    del files
    tasks = {split: load_python_reference(split) for split in ("dev", "test")}
    contents = {document.id: document.content for document in tasks["dev"].documents}
    return {
        "documents": document_rows(contents),
        **{f"examples.{split}": _examples(task) for split, task in tasks.items()},
    }


def _examples(task: RetrievalTask) -> SetRows:
    return [
        example_row(one.id, one.query, one.gold_ids, excluded_ids=list(one.excluded_ids), **one.extra)
        for one in task.examples
    ]

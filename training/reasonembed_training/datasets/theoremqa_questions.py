"""BRIGHT's theoremqa_questions over a small corpus: solved problems that use the same theorem. For measuring only."""

from __future__ import annotations

import json
from collections.abc import Mapping

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row, json_lines

__all__ = ["theoremqa_questions"]


def theoremqa_questions(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return documents, the gold problems, the questions themselves and the test problems of MATH, and the examples.

    A question's own text is among the documents, and excluded for it, as in BRIGHT.
    """
    questions = json.loads(files["similarqs.json"])
    contents: dict[str, str] = {}
    for row in questions:
        contents.update(zip(row["gold_ids"], row["gold_contents"], strict=True))
    for row in questions:
        contents.setdefault(row["id"], f"{row['problem']}\n{row['solution']}")
    for row in json_lines(files["test.jsonl"]):
        contents[f"math_test_zg_{row['idx']}"] = f"{row['problem']}\n{row['solution']}"
    bright = {row["id"]: row for row in json_lines(files["topics.bright-theoremqa-questions-original.jsonl"])}
    examples = [
        example_row(row["id"], bright[row["id"]]["query"], bright[row["id"]]["gold_ids"], excluded_ids=[row["id"]])
        for row in questions
    ]
    return {"documents": document_rows(contents), "examples": examples}

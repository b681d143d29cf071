"""Rows of a judged task: documents, two of one content, and examples with gold and excluded ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

__all__ = ["DOCUMENTS", "EXAMPLES", "write_rows"]

DOCUMENTS = [
    {"id": "loop/1 (a)", "content": "the quick brown fox jumps"},
    {"id": "default", "content": "Default parameter values are evaluated once"},
    {"id": "dog", "content": "the lazy dog"},
    {"id": "cell", "content": "cells divide"},
    {"id": "same", "content": "cells divide"},
]
EXAMPLES = [
    {"id": "q1", "query": "who is lazy?", "gold_ids": ["dog"], "excluded_ids": ["N/A"]},
    {"id": "q2", "query": "why does target.append grow?", "gold_ids": ["default", "gone"], "excluded_ids": ["dog"]},
    {"id": "q3", "query": "do cells divide", "gold_ids": ["cell"], "excluded_ids": []},
]


def write_rows(path: Path, rows: Iterable[object]) -> None:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

"""SetRows of retrieval sets in BRIGHT's format, and the lines of source files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["SetRows", "document_rows", "example_row", "json_lines"]

SetRows = Sequence[Mapping[str, object]]


def json_lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON Lines."""
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def document_rows(contents: Mapping[str, str]) -> SetRows:
    """Return documents by id as rows."""
    return [{"id": name, "content": content} for name, content in contents.items()]


def example_row(identity: str, query: str, gold: Iterable[str], **more: object) -> dict[str, object]:
    """Return an example; gold ids are listed once, and fields without a value are left out."""
    row = {"id": identity, "query": query, "gold_ids": list(dict.fromkeys(gold)), "excluded_ids": []}
    return row | {name: value for name, value in more.items() if value}

"""Front matter: the YAML or TOML block at the start of a page, as static site generators read it."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FrontMatter", "read_front_matter"]

_BLOCK = re.compile(
    r"\ufeff?(?:(?P<yaml>---)|\+\+\+)[ \t]*\r?\n(?P<block>.*?)"
    r"^(?(yaml)(?:---|\.\.\.)|\+\+\+)[ \t]*(?:\r?\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
"""YAML may end with dots too, as Pandoc writes it."""

_LONGEST = 1 << 16
"""In characters; a longer block is text between rules, and parsing it would take seconds."""


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The title and metadata of a page, and the index of the character where its text begins."""

    title: str | None
    metadata: Mapping[str, str | int | float | bool]
    end: int


def read_front_matter(text: str) -> FrontMatter | None:
    """Return the front matter of a text: its title, and its scalars and lists of scalars as metadata.

    Dates become ISO text, lists become comma-separated text, nested tables are left out. Returns None for a text
    without front matter; a block that does not parse as a table, or of more than 64 thousand characters, is text.
    """
    found = _BLOCK.match(text)
    if found is None or len(found["block"]) > _LONGEST:
        return None
    table = _parse(found["block"], toml=found["yaml"] is None)
    if table is None:
        return None
    values = {name: value for name, raw in table.items() if (value := _plain(raw)) is not None}
    title = values.pop("title", None)
    heading = " ".join(str(title).split()) if title is not None else ""
    return FrontMatter(heading or None, values, found.end())


def _parse(block: str, *, toml: bool) -> dict[str, Any] | None:
    """Return the block as a table whose keys are text; None if it is anything else."""
    try:
        if toml:
            table: Any = tomllib.loads(block)
        else:
            import yaml

            table = yaml.safe_load(block)
    except Exception:  # noqa: BLE001 - whatever the parser raises, the block is text
        return None
    return table if isinstance(table, dict) and table and all(isinstance(name, str) for name in table) else None


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list) and value and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(map(str, value))
    return None

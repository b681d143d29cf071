"""A set: what it is, where it comes from, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reasonembed_training.datasets.rows import SetRows
from reasonembed_training.datasets.sources import DataSource

__all__ = ["DataSet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A set in BRIGHT's format that is made from public sources."""

    name: str
    seeks: str
    """What a query seeks."""
    licence: str
    origin: str
    """Who published it, and at which revision."""
    make: Callable[[Mapping[str, str]], Mapping[str, SetRows]]
    """Return rows by name of file from the sources' texts by name."""
    sources: tuple[DataSource, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Of each file that is written, by its name without .jsonl; none where the rows depend on what is installed."""
    measuring_only: bool = False
    """Whether its licence or its purpose forbids training on it."""

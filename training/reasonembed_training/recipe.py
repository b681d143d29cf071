"""Read, write and compare recipes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reasonembed_rag.deprecation import warn_deprecated
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import change_setting, flat_record, plain_record, read_toml, record_from
from reasonembed_training.config import Recipe

__all__ = ["changed_keys", "read_recipe", "recipe_from", "recipe_to_json"]

_RENAMED: Mapping[str, str] = MappingProxyType({"anchor": "reference", "run.base_share": "run.interpolate"})
"""Deprecated keys and their successors, which are in the same table."""

_WITHOUT_EFFECT = frozenset(
    {
        "dev.keep",
        "run.cache",
        "run.checkpoint_every",
        "run.checkpoints",
        "run.export",
        "run.interpolate",
        "run.log_every",
        "run.output",
        "run.trackers",
        "run.workers",
    }
)
"""Settings that do not change the trained weights; a run may be resumed or exported again with others."""


def read_recipe(path: Path, *, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe; each change is `key.path=value`, its value in TOML or a bare string.

    Deprecated keys are read and warn. Raises TrainingError for a file that is not TOML and for keys that are missing,
    misspelt or of the wrong type.
    """
    where = str(path)
    read = read_toml(path, kind="recipe", example="training/recipes/tiny-cpu.toml", error=TrainingError)
    table = _with_current_keys(read, where=where)
    for change in changes:
        change_setting(table, _with_current_key(change), error=TrainingError)
    return recipe_from(table, where=where)


def recipe_from(table: Mapping[str, Any], *, where: str) -> Recipe:
    """Build a recipe from a table; `where` names its origin in errors."""
    return record_from(
        Recipe,
        _with_current_keys(table, where=where),
        where=where,
        error=TrainingError,
        cure="want it in the file or by --set",
    )


def recipe_to_json(recipe: Recipe) -> str:
    """Return the recipe as a JSON object that includes every default."""
    return json.dumps(plain_record(recipe), indent=2, ensure_ascii=False, sort_keys=True)


def changed_keys(before: str, after: str) -> list[str]:
    """Return the keys that change the trained weights and differ between two recipes, each written by recipe_to_json.

    Keys that an older release did not write yet have their defaults, and its deprecated keys are those of today.
    """
    old, new = map(_flat, (before, after))
    differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return sorted(differing - _WITHOUT_EFFECT)


def _flat(written: str) -> dict[str, Any]:
    where = "the recipe of an earlier run"
    table = _with_current_keys(json.loads(written), where=where, warn=False)
    return flat_record(plain_record(record_from(Recipe, table, where=where, error=TrainingError)))


def _with_current_keys(table: Mapping[str, Any], *, where: str, warn: bool = True) -> dict[str, Any]:
    """Return a copy of a table in which deprecated keys have their current names; raises TrainingError for both."""
    current = copy.deepcopy(dict(table))
    for old, new in _RENAMED.items():
        (*tables, old_name), new_name = old.split("."), new.rpartition(".")[2]
        inner: Any = current
        for name in tables:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or old_name not in inner:
            continue
        if new_name in inner:
            raise TrainingError(f"{where}: got {new} and its deprecated name {old}; want {new} only")
        inner[new_name] = inner.pop(old_name)
        if warn:
            _warn(old)
    return current


def _with_current_key(change: str) -> str:
    """Return a `key.path=value` change with the current name of a deprecated key."""
    key, equals, value = change.partition("=")
    for old, new in _RENAMED.items():
        if f"{key.strip()}.".startswith(f"{old}."):
            _warn(old)
            return f"{new}{key.strip().removeprefix(old)}{equals}{value}"
    return change


def _warn(old: str) -> None:
    # FutureWarning, since those who write recipes are end users, from whom Python hides DeprecationWarning.
    warn_deprecated(f"recipe key {old}", _RENAMED[old], category=FutureWarning, stacklevel=4)

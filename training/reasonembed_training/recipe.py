"""Recipes: read, written out and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import change_setting, flat_record, plain_record, read_toml, record_from
from reasonembed_training.config import AnchorConfig, ConsistencyConfig, Recipe

__all__ = ["changed_keys", "read_recipe", "recipe_from", "recipe_to_json"]

_WITHOUT_EFFECT = frozenset(
    {
        "dev.keep",
        "run.base_share",
        "run.cache",
        "run.checkpoint_every",
        "run.checkpoints",
        "run.export",
        "run.log_every",
        "run.output",
        "run.trackers",
        "run.workers",
    }
)
"""Settings under which training goes the same way; a run that goes on, or is only exported again, may change them."""


def read_recipe(path: Path, *, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe; each change is `key.path=value`, its value in TOML or a bare string.

    Raises TrainingError for a file that is not TOML and for keys that are missing, misspelt or of the wrong type.
    """
    table = read_toml(path, kind="recipe", example="training/recipes/tiny-cpu.toml", error=TrainingError)
    for change in changes:
        change_setting(table, change, error=TrainingError)
    return recipe_from(table, where=str(path))


def recipe_from(table: Mapping[str, Any], *, where: str) -> Recipe:
    """Make a recipe of a table; `where` names its origin in errors."""
    return record_from(Recipe, table, where=where, error=TrainingError)


def recipe_to_json(recipe: Recipe) -> str:
    """Return the recipe with every default written out, as one JSON object."""
    return json.dumps(plain_record(recipe), indent=2, ensure_ascii=False, sort_keys=True)


def changed_keys(before: str, after: str) -> list[str]:
    """Return the keys in which two recipes (recipe_to_json) differ, those left out that do not change the weights."""
    older_runs_lack = {"consistency": ConsistencyConfig(), "anchor": AnchorConfig()}
    added_later = flat_record({name: plain_record(one) for name, one in older_runs_lack.items()})
    old, new = (added_later | flat_record(json.loads(recipe)) for recipe in (before, after))
    differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return sorted(differing - _WITHOUT_EFFECT)

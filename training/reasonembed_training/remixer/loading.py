"""Settings of a run: from a TOML file and changes, and as they are kept in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasonembed_rag.atomic import replacing
from reasonembed_rag.errors import TrainingError
from reasonembed_training.remixer.config import RemixConfig
from reasonembed_training.settings import change_setting, plain_settings, read_table, settings_from

__all__ = ["read_config", "read_settings", "write_settings"]

_FILE = "settings.json"


def read_config(path: Path | None, *, given: Mapping[str, Any], changes: Sequence[str] = ()) -> RemixConfig:
    """Make settings of a TOML file, of what is given beside it, which comes first, and of `key.path=value` changes.

    Raises TrainingError for a file that is not TOML and for keys that are missing, unknown or of the wrong type.
    """
    table = read_table(path, kind="settings", example="remix.toml") if path is not None else {}
    for key, value in given.items():
        table[key] = {**table.get(key, {}), **value} if isinstance(value, Mapping) else value
    for change in changes:
        change_setting(table, change)
    return settings_from(RemixConfig, table, where=str(path) if path is not None else "settings")


def write_settings(config: RemixConfig) -> None:
    """Keep a run's settings in its folder, paths made absolute."""
    local = Path(config.corpus).absolute()
    card = str(Path(config.card).absolute()) if config.card.endswith(".toml") else config.card
    kept = replace(
        config,
        corpus=str(local) if local.exists() else config.corpus,
        card=card,
        exclude_gold=tuple(folder.absolute() for folder in config.exclude_gold),
    )
    with replacing(config.out / _FILE) as file:
        file.write(json.dumps(plain_settings(kept), indent=2, ensure_ascii=False).encode() + b"\n")


def read_settings(folder: Path) -> RemixConfig:
    """Read a run's settings from its folder; raises TrainingError where there are none."""
    path = folder / _FILE
    if not path.is_file():
        raise TrainingError(f"{folder}: no run's folder, it lacks {_FILE}; want what `reasonembed remix run` wrote to")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: not JSON ({error}); run into the folder again to write it anew") from error
    return settings_from(RemixConfig, {**table, "out": str(folder)}, where=str(path))

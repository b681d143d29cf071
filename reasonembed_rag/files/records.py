"""Settings: dataclasses read strictly from TOML, with changes from the command line."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reasonembed_rag.errors import InputError, TrainingError

__all__ = ["change_setting", "flat_settings", "plain_settings", "read_table", "settings_from"]

_Settings = TypeVar("_Settings")


def read_table(path: Path, *, kind: str, example: str) -> dict[str, Any]:
    """Read a TOML file; kind and example say in errors what was wanted.

    Raises TrainingError for a file that is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: no such {kind}; want a .toml file, such as {example}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"{path}: not a TOML file ({error})") from error


def settings_from(kind: type[_Settings], table: Mapping[str, Any], *, where: str) -> _Settings:
    """Make settings of a table; `where` names its origin in errors.

    Raises TrainingError for keys that are missing, unknown or of the wrong type.
    """
    settings: _Settings = _dataclass(kind, table, key="", where=where)
    return settings


def change_setting(table: dict[str, Any], change: str) -> None:
    """Apply `key.path=value`, its value in TOML or a bare string, to a table; raises TrainingError for another form."""
    path, equals, text = change.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise TrainingError(f"--set {change}: want key=value, such as optim.lr=2e-5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise TrainingError(f"--set {change}: {key} is no table; give the whole of it as a TOML value")
    table[keys[-1]] = value


def _dataclass(kind: type, table: object, *, key: str, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise TrainingError(f"{where}: {key} is {table!r}; want a table")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in table:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(fields)}"
            raise TrainingError(f"{where}: unknown key {_join(key, name)}; {hint}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise TrainingError(f"{where}: {_join(key, name)} is missing; want it in the file or by --set")
    values = {name: _value(hints[name], value, key=_join(key, name), where=where) for name, value in table.items()}
    try:
        return kind(**values)
    except InputError as error:
        raise TrainingError(f"{where}: {error}") from error


def _value(hint: Any, value: object, *, key: str, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return None if value is None else _value(inner, value, key=key, where=where)
    if origin is Literal:
        if value not in arguments:
            raise TrainingError(f"{where}: {key} is {value!r}; want one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise TrainingError(f"{where}: {key} is {value!r}; want a list")
        items = enumerate(value)
        return tuple(_value(arguments[0], item, key=f"{key}[{place}]", where=where) for place, item in items)
    if origin is Mapping or origin is get_origin(Mapping[str, Any]):
        if not isinstance(value, Mapping):
            raise TrainingError(f"{where}: {key} is {value!r}; want a table")
        made = {name: _value(arguments[1], item, key=_join(key, name), where=where) for name, item in value.items()}
        return MappingProxyType(made)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, key=key, where=where)  # type: ignore[arg-type]
    return _scalar(hint, value, key=key, where=where)


_SCALARS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def _scalar(hint: Any, value: object, *, key: str, where: str) -> Any:
    if hint is Path and isinstance(value, str) and value:
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise TrainingError(f"{where}: {key} is {value!r}; want a finite number")
        return float(value)
    if hint is Any or type(value) is hint:
        return value
    raise TrainingError(f"{where}: {key} is {value!r}; want {_SCALARS.get(hint, 'a path')}")


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def plain_settings(value: Any) -> Any:
    """Return settings as what JSON knows, every default written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_settings(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain_settings(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain_settings(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def flat_settings(value: Any, key: str = "") -> dict[str, Any]:
    """Return plain settings as one mapping from dotted keys to values."""
    if isinstance(value, dict) and value:
        return {
            inner: item for name, one in value.items() for inner, item in flat_settings(one, _join(key, name)).items()
        }
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return {
            inner: item
            for place, one in enumerate(value)
            for inner, item in flat_settings(one, f"{key}[{place}]").items()
        }
    return {key: value}

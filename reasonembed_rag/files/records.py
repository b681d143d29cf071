"""Records: dataclasses read strictly from TOML or JSON, and written back as plain data."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reasonembed_rag.errors import InputError, ReasonEmbedError, want_one_of

__all__ = ["change_setting", "flat_record", "plain_record", "read_toml", "record_from"]

_Record = TypeVar("_Record")


def read_toml(path: Path, *, kind: str, example: str, error: type[ReasonEmbedError]) -> dict[str, Any]:
    """Read a TOML file; the error names the kind of file wanted and an example.

    Raises `error` for a file that is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise error(f"{path}: no such {kind}; want a .toml file, such as {example}") from cause
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise error(f"{path}: not a TOML file ({cause})") from cause


def record_from(
    kind: type[_Record],
    table: object,
    *,
    where: str,
    error: type[ReasonEmbedError],
    cure: str = "want a value for it",
) -> _Record:
    """Make a dataclass from what TOML or JSON gave: its values by name, nested dataclasses as tables.

    Tuples are lists there, and mappings with numbers as keys have them as text in JSON. Raises `error`, naming `where`
    and the key, for keys that are missing, unknown or of the wrong type; `cure` says what to do about a missing one.
    """
    record: _Record = _Reader(where, error, cure).record(kind, table, key="")
    return record


def change_setting(table: dict[str, Any], change: str, *, error: type[ReasonEmbedError]) -> None:
    """Apply `key.path=value`, its value in TOML or a bare string, to a table; raises `error` for another form."""
    path, equals, text = change.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise error(f"--set {change}: want key=value, such as optim.lr=2e-5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise error(f"--set {change}: {key} is not a table; give all of it as a TOML value")
    table[keys[-1]] = value


def plain_record(value: Any) -> Any:
    """Return a record as what JSON can hold, every default written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_record(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain_record(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain_record(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def flat_record(value: Any, key: str = "") -> dict[str, Any]:
    """Return a plain record as one mapping from dotted keys to values."""
    if isinstance(value, dict) and value:
        return {
            inner: item for name, one in value.items() for inner, item in flat_record(one, _join(key, name)).items()
        }
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return {
            inner: item
            for position, one in enumerate(value)
            for inner, item in flat_record(one, f"{key}[{position}]").items()
        }
    return {key: value}


_SCALARS: Mapping[type, str] = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """Turns plain data into values of a type; knows the origin and the error to raise."""

    where: str
    error: type[ReasonEmbedError]
    cure: str

    def record(self, kind: type, table: object, *, key: str) -> Any:
        if not isinstance(table, Mapping):
            raise self.error(f"{self.where}: {key or 'it'} is {table!r}; want a table")
        required, hints = _fields_of(kind)
        for name in table:
            if name not in hints:
                raise self.error(f"{self.where}: unknown key {_join(key, name)}; {want_one_of(name, hints)}")
        for name in required:
            if name not in table:
                raise self.error(f"{self.where}: {_join(key, name)} is missing; {self.cure}")
        values = {name: self.value(hints[name], value, key=_join(key, name)) for name, value in table.items()}
        try:
            return kind(**values)
        except InputError as cause:
            raise self.error(f"{self.where}: {cause}") from cause

    def value(self, hint: Any, value: object, *, key: str) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in {Union, types.UnionType}:
            return self._union(arguments, value, key=key)
        if origin is Literal:
            if value not in arguments:
                raise self.error(f"{self.where}: {key} is {value!r}; {want_one_of(value, arguments)}")
            return value
        if origin is tuple:
            return self._tuple(arguments, value, key=key)
        if origin is get_origin(Mapping[str, Any]):
            if not isinstance(value, Mapping):
                raise self.error(f"{self.where}: {key} is {value!r}; want a table")
            return {
                self._key(arguments[0], name, key=key): self.value(arguments[1], item, key=_join(key, name))
                for name, item in value.items()
            }
        if dataclasses.is_dataclass(hint):
            return self.record(hint, value, key=key)  # type: ignore[arg-type]  # is_dataclass narrows to instances too
        return self._scalar(hint, value, key=key)

    def _union(self, arguments: tuple[Any, ...], value: object, *, key: str) -> Any:
        """Read a value that may be None, or one of several scalars."""
        if value is None and type(None) in arguments:
            return None
        kinds = [argument for argument in arguments if argument is not type(None)]
        if len(kinds) == 1:
            return self.value(kinds[0], value, key=key)
        if type(value) not in kinds:
            raise self.error(f"{self.where}: {key} is {value!r}; want {' or '.join(_SCALARS[kind] for kind in kinds)}")
        return value

    def _tuple(self, arguments: tuple[Any, ...], value: object, *, key: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self.error(f"{self.where}: {key} is {value!r}; want a list")
        hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(hints) != len(value):
            raise self.error(f"{self.where}: {key} has {len(value)} items; want {len(hints)}")
        pairs = enumerate(zip(hints, value, strict=True))
        return tuple(self.value(hint, item, key=f"{key}[{position}]") for position, (hint, item) in pairs)

    def _key(self, hint: Any, name: str, *, key: str) -> Any:
        if hint is not int:
            return name
        try:
            return int(name)
        except ValueError as cause:
            raise self.error(f"{self.where}: {key} has the key {name!r}; want an integer") from cause

    def _scalar(self, hint: Any, value: object, *, key: str) -> Any:
        if hint is Path and isinstance(value, str) and value:
            return Path(value)
        if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise self.error(f"{self.where}: {key} is {value!r}; want a finite number")
            return float(value)
        if hint is Any or type(value) is hint:
            return value
        raise self.error(f"{self.where}: {key} is {value!r}; want {_SCALARS.get(hint, 'a path')}")


@cache
def _fields_of(kind: type) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Return the names of a dataclass's fields without a default, and every field's type."""
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    required = tuple(field.name for field in fields if field.default is missing and field.default_factory is missing)
    hints = get_type_hints(kind)
    return required, {field.name: hints[field.name] for field in fields}


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name

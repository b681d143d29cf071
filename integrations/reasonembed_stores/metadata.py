"""The values that metadata may have: what JSON holds, and what has one obvious form in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, NoReturn
from uuid import UUID

import numpy as np

from reasonembed_rag.errors import InputError

__all__ = ["plain_metadata", "plain_value"]

_MAX_DEPTH = 100
_MAX_NAME = 80
_MAX_BITS = 14_000
"""Python refuses to write integers of more than 4,300 digits as text."""
_SHORT = 1 << 62
"""Smaller integers are stored as they are without a closer look: metadata are converted for every document added."""


def plain_metadata(metadata: Mapping[str, Any], *, document_id: str | None = None) -> dict[str, Any]:
    """Return metadata as it is stored: numbers, text, true, false, null, lists and objects.

    Numpy scalars become numbers, dates and times ISO 8601 text, UUID, Decimal and Path text, enum members their value,
    tuples and arrays lists. Raises InputError, naming document and field, for bytes, NaN, infinity, sets, which have
    no order, dataclasses and everything else.
    """
    owner = "" if document_id is None else f" of {document_id!r}"
    if not _is(metadata, Mapping):
        raise InputError(f"the metadata{owner} is {metadata!r:.80}; want a mapping, {{}} if there is none")
    return _plain_object(metadata, _Place("", owner, 0))


def plain_value(value: Any, *, field: str) -> Any:
    """Return a value that a filter compares with a field, as that field's values are stored.

    Raises InputError, naming the field, for what metadata cannot have.
    """
    return _plain(value, _Place(field, " in the filter", 0))


class _Place:
    """Where a value stands, for messages."""

    __slots__ = ("depth", "field", "owner")

    def __init__(self, field: str, owner: str, depth: int) -> None:
        self.field = field
        self.owner = owner
        self.depth = depth

    def inner(self, field: str) -> _Place:
        return _Place(field, self.owner, self.depth + 1)

    def refuse(self, got: str, want: str) -> NoReturn:
        name = self.field if len(self.field) <= _MAX_NAME else f"{self.field[:_MAX_NAME]}..."
        raise InputError(f"metadata field {name!r}{self.owner} is {got}; want {want}")


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _plain_object(value: Mapping[Any, Any], place: _Place) -> dict[str, Any]:
    members = {}
    for key, member in value.items():
        if not isinstance(key, str):
            outer = f" in {place.field!r}" if place.field else ""
            raise InputError(f"the metadata{place.owner} has the key {key!r}{outer}; want a string, as in JSON")
        name = str.__str__(key)
        kind = type(member)
        if (
            kind in _UNCHANGED
            or (kind is int and -_SHORT < member < _SHORT)
            or (kind is float and math.isfinite(member))
        ):
            members[name] = member
        else:
            members[name] = _plain(member, place.inner(f"{place.field}.{name}" if place.field else name))
    return members


def _plain(value: Any, place: _Place) -> Any:
    if place.depth > _MAX_DEPTH:
        place.refuse("nested too deeply", f"at most {_MAX_DEPTH} levels")
    value = _unwrapped(value)
    if type(value) in _UNCHANGED:
        return value
    if isinstance(value, Mapping):
        return _plain_object(value, place)
    members = _members(value)
    if members is not None:
        return [_plain(member, place.inner(f"{place.field}[{number}]")) for number, member in enumerate(members)]
    plain = _converter(value)(value)
    if plain is not None:
        return plain
    shown = f"of {value.bit_length()} bits" if isinstance(value, int) else f"{value!r:.60}"
    return place.refuse(f"{type(value).__name__} {shown}", _wanted(value))


_UNCHANGED = frozenset({str, bool, type(None)})


def _unwrapped(value: Any) -> Any:
    """Return the value of an enum's member, and the scalar of an array without dimensions."""
    if isinstance(value, Enum):
        return _unwrapped(value.value)
    return value[()] if _is_array(value) and not value.ndim else value


def _members(value: Any) -> list[Any] | None:
    """Return the members of what becomes a list; None for anything else."""
    if isinstance(value, list | tuple):
        return list(value)
    return list(value) if _is_array(value) else None


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)


def _integer(value: Any) -> int | None:
    number = int(value)
    return number if number.bit_length() <= _MAX_BITS else None


def _float(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _iso(value: Any) -> str | None:
    return value.isoformat() if value == value else None  # noqa: PLR0124 - pandas' NaT is a date that is not equal


def _numpy_iso(value: np.datetime64) -> str | None:
    """Return the text that datetime gives, where datetime has the time: it compares with numpy's as text."""
    if np.isnat(value):
        return None
    micros = value.astype("datetime64[us]") if np.datetime_data(value)[0] in _FINE else value
    moment = micros.item() if micros == value else None
    return moment.isoformat() if isinstance(moment, date) else str(value)


_FINE = frozenset({"ns", "ps", "fs", "as"})
_SCALARS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (np.bool_, bool),
    (np.datetime64, _numpy_iso),
    (np.timedelta64, lambda _value: None),  # it is one of numpy's integers
    (int | np.integer, _integer),
    (float | np.floating, _float),
    (date | time, _iso),
    (Decimal, lambda value: str(value) if value.is_finite() else None),
    (UUID | PurePath, str),
)
"""What becomes of each kind, the first that fits; None where a value cannot be kept."""
_EXACT: Mapping[type, Callable[[Any], Any]] = {int: _integer, float: _float}


def _converter(value: Any) -> Callable[[Any], Any]:
    exact = _EXACT.get(type(value))
    return exact or next((convert for kinds, convert in _SCALARS if isinstance(value, kinds)), lambda _value: None)


_CURES: tuple[tuple[Any, str], ...] = (
    (bytes | bytearray | memoryview, "text: decode it"),
    (int, "a smaller number, or text"),
    (float | np.floating | Decimal, "a finite number, or leave the field out"),
    (date | np.datetime64, "a date, or leave the field out"),
    (set | frozenset, "a list, such as sorted(value)"),
    (timedelta | np.timedelta64, "a number, such as value.total_seconds()"),
)


def _wanted(value: Any) -> str:
    """Return what should stand in a value's place."""
    if hasattr(value, "model_dump"):
        return "its fields, such as value.model_dump(mode='json')"
    if is_dataclass(value):
        return "its fields, such as dataclasses.asdict(value)"
    usual = "JSON (text, numbers, true, false, null, lists and objects of them), a date, UUID, Decimal or Path"
    return next((cure for kinds, cure in _CURES if isinstance(value, kinds)), usual)

"""Metadata as columns, so that a filter is evaluated once for each distinct value and not once for each document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_stores.batch import encode_json
from reasonembed_stores.filters import Condition, Filter, Predicate, fields_of

__all__ = ["Column", "Columns", "Rows"]

Rows = Callable[[int], Iterable[tuple[int, Mapping[str, Any]]]]
"""Yield (key, metadata) of the documents after a key, in the order of keys."""


class Column:
    """The values of one field: a number for each slot, the distinct values apart; -1 stands for a missing value."""

    __slots__ = ("_code_of_value", "_numbers", "_satisfied", "codes", "values")

    def __init__(self) -> None:
        self.codes: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.values: list[Any] = []
        self._code_of_value: dict[tuple[type, Any], int] = {}
        self._numbers: NDArray[np.float64] = np.empty(0, dtype=np.float64)
        self._satisfied: dict[str, NDArray[np.bool_]] = {}

    def extended(self, size: int) -> NDArray[np.int32]:
        """Return the codes with missing values appended up to a size."""
        return np.concatenate([self.codes, np.full(size - len(self.codes), -1, dtype=np.int32)])

    def code(self, value: Any) -> int:
        """Return the number of a value, a new one where it is seen for the first time."""
        hashable = value if isinstance(value, str | int | float) else encode_json(value)
        key = (type(value), hashable)
        if key not in self._code_of_value:
            self._code_of_value[key] = len(self.values)
            self.values.append(value)
        return self._code_of_value[key]

    def mask(self, condition: Condition) -> NDArray[np.bool_]:
        """Return for each slot whether its value satisfies the condition."""
        name = f"{condition.operator} {condition.operand!r}"
        satisfied = self._satisfied.get(name)
        if satisfied is None or len(satisfied) <= len(self.values):
            satisfied = np.append(self._evaluated(condition), condition(None))
            if len(self._satisfied) >= _REMEMBERED:
                self._satisfied.clear()
            self._satisfied[name] = satisfied
        return satisfied[self.codes]

    def _evaluated(self, condition: Condition) -> NDArray[np.bool_]:
        compare, operand = _ORDERINGS.get(condition.operator), condition.operand
        if compare is None or not _is_exact_number(operand):
            return np.array([condition(value) for value in self.values], dtype=np.bool_)
        new = [_number(value) for value in self.values[len(self._numbers) :]]
        self._numbers = np.concatenate([self._numbers, np.array(new, dtype=np.float64)])
        satisfied: NDArray[np.bool_] = compare(self._numbers, float(operand))  # NaN, for no number, satisfies nothing
        return satisfied


_REMEMBERED = 64
"""Conditions whose result is kept: a retriever asks the same ones again and again."""
_EXACT = 2**53
_LARGEST = 2**1000
_ORDERINGS: Mapping[str, Callable[[Any, float], NDArray[np.bool_]]] = {
    "$gt": np.greater,
    "$gte": np.greater_equal,
    "$lt": np.less,
    "$lte": np.less_equal,
}


def _is_exact_number(value: Any) -> bool:
    """Tell whether float64 orders a value rightly against every other number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_EXACT < value < _EXACT


def _number(value: Any) -> float:
    """Return a value as float64, rounded beyond 2**53; NaN where it has no order with numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    return float(max(min(value, _LARGEST), -_LARGEST))


class Columns:
    """The columns read so far; slots are only ever appended, so what was read stays true."""

    __slots__ = ("_columns", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._columns: dict[str, Column] = {}

    def mask(self, tree: Filter, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each slot, given its key, whether it satisfies the filter; those of the dead may say either."""
        self._read(fields_of(tree), keys)
        return self._mask(tree, keys)

    def _read(self, fields: Iterable[str], keys: NDArray[np.int64]) -> None:
        columns = {field: self._columns.setdefault(field, Column()) for field in fields}
        behind = {field: column for field, column in columns.items() if len(column.codes) < len(keys)}
        if not behind:
            return
        start = min(len(column.codes) for column in behind.values())
        codes = {field: column.extended(len(keys)) for field, column in behind.items()}
        for slot, metadata in self._slots(start, keys):
            for field, column in behind.items():
                value = metadata.get(field)
                if value is not None:
                    codes[field][slot] = column.code(value)
        for field, column in behind.items():
            column.codes = codes[field]

    def _slots(self, start: int, keys: NDArray[np.int64]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (slot, metadata) from a slot onwards; documents that the keys do not hold yet are left out."""
        slot_of_key = dict(zip(keys[start:].tolist(), range(start, len(keys)), strict=True))
        for key, metadata in self._rows(int(keys[start]) - 1):
            if key in slot_of_key:
                yield slot_of_key[key], metadata

    def _mask(self, tree: Filter, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        if isinstance(tree, Condition):
            return self._columns[tree.field].mask(tree)[: len(keys)]
        if isinstance(tree, Predicate):
            return self._evaluated(tree, keys)
        combined = np.full(len(keys), tree.kind == "all", dtype=np.bool_)
        for part in tree.parts:
            mask = self._mask(part, keys)
            combined = combined & mask if tree.kind == "all" else combined | mask
        return ~combined if tree.kind == "none" else combined

    def _evaluated(self, tree: Predicate, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.zeros(len(keys), dtype=np.bool_)
        for slot, metadata in self._slots(0, keys):
            mask[slot] = bool(tree.function(metadata))
        return mask

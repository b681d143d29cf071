"""Metadata in columns: a filter is evaluated once per distinct value instead of once per document."""

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
    """One field: the distinct values, and for each position the index of its value, -1 if it has none."""

    __slots__ = ("_index_of_value", "_numbers", "_satisfied", "indexes", "values")

    def __init__(self) -> None:
        self.indexes: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.values: list[Any] = []
        self._index_of_value: dict[tuple[type, Any], int] = {}
        self._numbers: NDArray[np.float64] = np.empty(0, dtype=np.float64)
        self._satisfied: dict[str, NDArray[np.bool_]] = {}

    def extended(self, size: int) -> NDArray[np.int32]:
        """Return the indexes, padded with missing values up to a size."""
        return np.concatenate([self.indexes, np.full(size - len(self.indexes), -1, dtype=np.int32)])

    def index(self, value: Any) -> int:
        """Return the index of a value, a new one for a new value."""
        hashable = value if isinstance(value, str | int | float) else encode_json(value)
        key = (type(value), hashable)
        if key not in self._index_of_value:
            self._index_of_value[key] = len(self.values)
            self.values.append(value)
        return self._index_of_value[key]

    def mask(self, condition: Condition) -> NDArray[np.bool_]:
        """Return for each position whether its value satisfies the condition."""
        name = f"{condition.operator} {condition.operand!r}"
        satisfied = self._satisfied.get(name)
        if satisfied is None or len(satisfied) <= len(self.values):
            satisfied = np.append(self._evaluated(condition), condition(None))
            if len(self._satisfied) >= _CACHED_CONDITIONS:
                self._satisfied.clear()
            self._satisfied[name] = satisfied
        return satisfied[self.indexes]

    def _evaluated(self, condition: Condition) -> NDArray[np.bool_]:
        compare, operand = _ORDERINGS.get(condition.operator), condition.operand
        if compare is None or not _is_exact_number(operand):
            return np.array([condition(value) for value in self.values], dtype=np.bool_)
        new = [_number(value) for value in self.values[len(self._numbers) :]]
        self._numbers = np.concatenate([self._numbers, np.array(new, dtype=np.float64)])
        satisfied: NDArray[np.bool_] = compare(
            self._numbers, float(operand)
        )  # NaN, which is not a number, satisfies nothing
        return satisfied


_CACHED_CONDITIONS = 64
"""A retriever asks for the same conditions again and again."""
_EXACT = 2**53
_LARGEST = 2**1000
_ORDERINGS: Mapping[str, Callable[[Any, float], NDArray[np.bool_]]] = {
    "$gt": np.greater,
    "$gte": np.greater_equal,
    "$lt": np.less,
    "$lte": np.less_equal,
}


def _is_exact_number(value: Any) -> bool:
    """Tell whether a value compares as float64 with every other number as it does exactly."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_EXACT < value < _EXACT


def _number(value: Any) -> float:
    """Return a value as float64, rounded beyond 2**53; NaN if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    return float(max(min(value, _LARGEST), -_LARGEST))


class Columns:
    """The columns that were read so far; positions are only appended, so they stay valid."""

    __slots__ = ("_columns", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._columns: dict[str, Column] = {}

    def mask(self, tree: Filter, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each position, given its key, whether it satisfies the filter; undefined for deleted documents."""
        self._read(fields_of(tree), keys)
        return self._mask(tree, keys)

    def _read(self, fields: Iterable[str], keys: NDArray[np.int64]) -> None:
        columns = {field: self._columns.setdefault(field, Column()) for field in fields}
        outdated = {field: column for field, column in columns.items() if len(column.indexes) < len(keys)}
        if not outdated:
            return
        start = min(len(column.indexes) for column in outdated.values())
        indexes = {field: column.extended(len(keys)) for field, column in outdated.items()}
        for position, metadata in self._metadata(start, keys):
            for field, column in outdated.items():
                value = metadata.get(field)
                if value is not None:
                    indexes[field][position] = column.index(value)
        for field, column in outdated.items():
            column.indexes = indexes[field]

    def _metadata(self, start: int, keys: NDArray[np.int64]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (position, metadata) from a position on; documents newer than the keys are left out."""
        position_of_key = dict(zip(keys[start:].tolist(), range(start, len(keys)), strict=True))
        for key, metadata in self._rows(int(keys[start]) - 1):
            if key in position_of_key:
                yield position_of_key[key], metadata

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
        for position, metadata in self._metadata(0, keys):
            mask[position] = bool(tree.function(metadata))
        return mask

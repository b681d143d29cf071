"""Conditions on a document's metadata, written as plain data, with the same meaning in every store.

    {"year": 2024}                                          equality
    {"lang": ["en", "fr"]}                                  one of
    {"year": {"$gte": 2020, "$lt": 2025}, "lang": "en"}     all of them
    {"$or": [{"lang": "en"}, {"tags": {"$contains": "x"}}]}
    {"$not": {"draft": True}}

A field that is missing or null satisfies only $ne, $nin, $not_contains and {"$empty": True}. Numbers compare by value,
true and false only with themselves, and an ordering of two kinds (a string and a number) is never satisfied. Operands
are converted as metadata is: a date is compared as its ISO 8601 text, so dates of one form and time zone are in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_stores.metadata import plain_value

__all__ = ["Condition", "Filter", "FilterLike", "Group", "Predicate", "fields_of", "matches", "parse_filter"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One field compared with one operand; operator is a key of OPERATORS."""

    field: str
    operator: str
    operand: Any

    def __call__(self, value: Any) -> bool:
        """Return whether a field's value (None where it is missing) satisfies the condition."""
        if value is None:
            return self.operator in _NEGATIVE or (self.operator == "$empty" and bool(self.operand))
        return OPERATORS[self.operator](value, self.operand)


@dataclass(frozen=True, slots=True)
class Group:
    """Several filters: all, any or none must be satisfied. An empty group is satisfied, except for any."""

    kind: Literal["all", "any", "none"]
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A function of the whole metadata: any condition, at the cost of reading every document's metadata."""

    function: Callable[[Mapping[str, Any]], bool]


Filter = Condition | Group | Predicate
FilterLike = Filter | Mapping[str, Any] | Callable[[Mapping[str, Any]], bool]


def _same(value: Any, operand: Any) -> bool:
    return isinstance(value, bool) == isinstance(operand, bool) and bool(value == operand)


def _ordered(value: Any, operand: Any) -> bool:
    """Return whether two values have an order: two strings, or two numbers."""
    if isinstance(value, str):
        return isinstance(operand, str)
    numbers = isinstance(value, int | float) and isinstance(operand, int | float)
    return numbers and not isinstance(value, bool) and not isinstance(operand, bool)


def _among(value: Any, operand: Collection[Any]) -> bool:
    if isinstance(value, str):
        return value in operand  # equal to strings only, and at once in a set
    return any(_same(value, one) for one in operand)


def _holds(value: Any, operand: Any) -> bool:
    """Return whether a list has the operand as a member, or a string contains it."""
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    return isinstance(value, list) and any(_same(member, operand) for member in value)


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": _same,
    "$ne": lambda value, operand: not _same(value, operand),
    "$gt": lambda value, operand: _ordered(value, operand) and value > operand,
    "$gte": lambda value, operand: _ordered(value, operand) and value >= operand,
    "$lt": lambda value, operand: _ordered(value, operand) and value < operand,
    "$lte": lambda value, operand: _ordered(value, operand) and value <= operand,
    "$in": _among,
    "$nin": lambda value, operand: not _among(value, operand),
    "$contains": _holds,
    "$not_contains": lambda value, operand: not _holds(value, operand),
    "$any": lambda value, operand: any(_holds(value, one) for one in operand),
    "$all": lambda value, operand: all(_holds(value, one) for one in operand),
    "$text_match": lambda value, operand: isinstance(value, str) and operand in value,
    "$text_match_insensitive": lambda value, operand: isinstance(value, str) and operand.lower() in value.lower(),
    "$empty": lambda value, operand: (value in ("", [])) == operand,
}
_NEGATIVE = frozenset({"$ne", "$nin", "$not_contains"})
_LISTS = frozenset({"$in", "$nin", "$any", "$all"})
_ORDERINGS = frozenset({"$gt", "$gte", "$lt", "$lte"})
_ALIASES = {"$neq": "$ne"}
_GROUPS: Mapping[str, Literal["all", "any"]] = {"$and": "all", "$or": "any"}


def parse_filter(filters: FilterLike | None) -> Filter | None:
    """Return the filter that the plain data describes; None or {} is no filter.

    Raises InputError for an unknown operator and for an operand that its operator cannot take.
    """
    if filters is None or isinstance(filters, Predicate):
        return filters
    if isinstance(filters, Condition):
        return _condition(filters.field, filters.operator, filters.operand)
    if isinstance(filters, Group):
        return Group(filters.kind, _parse_parts(filters.kind, filters.parts))
    if callable(filters):
        return Predicate(filters)
    if not isinstance(filters, Mapping):
        raise InputError(f'filters is {filters!r}; want a mapping such as {{"year": {{"$gte": 2020}}}}')
    parts = tuple(part for key, value in filters.items() for part in _parse_entry(key, value))
    if len(parts) == 1:
        return parts[0]
    return Group("all", parts) if parts else None


def _parse_entry(key: Any, value: Any) -> list[Filter]:
    if not isinstance(key, str):
        raise InputError(f"filters has the key {key!r}; want the name of a metadata field, or $and, $or, $not")
    if key in _GROUPS:
        return [Group(_GROUPS[key], _parse_parts(key, value))]
    if key == "$not":
        part = parse_filter(value)
        return [Group("none", (part,))] if part is not None else [Group("any", ())]
    if key.startswith("$"):
        raise InputError(f"unknown operator {key!r} instead of a field; want a field name, $and, $or or $not")
    if not isinstance(value, Mapping):
        operand = _plain_operand(key, "$in", value)
        return [_condition(key, "$in" if isinstance(operand, list) else "$eq", operand)]
    if not value:
        raise InputError(f"the filter on {key!r} is empty; want an operand or an operator such as $eq")
    return [_condition(key, operator, operand) for operator, operand in value.items()]


def _parse_parts(key: str, value: Any) -> tuple[Filter, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"{key} is {value!r}; want a list of filters")
    parts = (parse_filter(part) for part in value)
    return tuple(Group("all", ()) if part is None else part for part in parts)


def _condition(field: str, operator: Any, operand: Any) -> Condition:
    name = _ALIASES.get(operator, operator)
    if name not in OPERATORS:
        raise InputError(f"unknown filter operator {operator!r} on {field!r}; {want_one_of(operator, OPERATORS)}")
    plain = _plain_operand(field, name, operand)
    problem = _problem(name, plain)
    if problem:
        raise InputError(f"{name} on {field!r} has the operand {operand!r}; {problem}")
    return Condition(field, name, plain)


def _plain_operand(field: str, operator: str, operand: Any) -> Any:
    if operator in _ORDERINGS and isinstance(operand, float | np.floating) and np.isinf(operand):
        return float(operand)
    if operator in _ORDERINGS and isinstance(operand, Decimal):
        raise InputError(f"{operator} on {field!r} has the operand {operand!r}; want a float: Decimals are text")
    is_set = operator in _LISTS and isinstance(operand, set | frozenset)
    return plain_value(list(operand) if is_set else operand, field=field)


def _problem(operator: str, operand: Any) -> str | None:
    """Describe what is wrong with an operand; None where nothing is."""
    if operand is None:
        return 'want a value; to find a missing field use {"$empty": true}'
    if operator in _LISTS:
        return None if isinstance(operand, list) and None not in operand else "want a list of values"
    if operator == "$empty":
        return None if isinstance(operand, bool) else "want true or false"
    if operator.startswith("$text"):
        return None if isinstance(operand, str) else "want a string"
    if operator in _ORDERINGS:
        return None if _ordered(operand, operand) else "want a number or a string"
    return None


def fields_of(tree: Filter) -> frozenset[str]:
    """Return the names of the metadata fields that a filter reads by name."""
    if isinstance(tree, Condition):
        return frozenset({tree.field})
    if isinstance(tree, Group):
        return frozenset().union(*(fields_of(part) for part in tree.parts))
    return frozenset()


def matches(tree: Filter, metadata: Mapping[str, Any]) -> bool:
    """Return whether a document's metadata satisfies a filter: the semantics that every store implements."""
    if isinstance(tree, Condition):
        return tree(metadata.get(tree.field))
    if isinstance(tree, Predicate):
        return bool(tree.function(metadata))
    results = (matches(part, metadata) for part in tree.parts)
    if tree.kind == "all":
        return all(results)
    return any(results) if tree.kind == "any" else not any(results)

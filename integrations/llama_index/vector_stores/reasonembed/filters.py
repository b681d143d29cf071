"""LlamaIndex's metadata filters as filters of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from reasonembed_rag.errors import InputError
from reasonembed_stores.filters import Filter, Group, parse_filter

__all__ = ["store_filter"]

_OPERATORS: Mapping[FilterOperator, str] = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.ANY: "$any",
    FilterOperator.ALL: "$all",
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.TEXT_MATCH: "$text_match",
    FilterOperator.TEXT_MATCH_INSENSITIVE: "$text_match_insensitive",
    FilterOperator.IS_EMPTY: "$empty",
}
_KINDS: Mapping[FilterCondition, Literal["all", "any", "none"]] = {
    FilterCondition.AND: "all",
    FilterCondition.OR: "any",
    FilterCondition.NOT: "none",
}


def store_filter(filters: MetadataFilters | None) -> Filter | None:
    """Return the filter with LlamaIndex's meaning: no filters are no condition, NOT is satisfied where none matches.

    Raises InputError for an operand that its operator cannot take.
    """
    if filters is None or not filters.filters:
        return None
    parts = tuple(_part(one) for one in filters.filters)
    return Group(_KINDS[filters.condition or FilterCondition.AND], parts)


def _part(one: MetadataFilter | MetadataFilters) -> Filter:
    if isinstance(one, MetadataFilters):
        return store_filter(one) or Group("all", ())
    if one.operator not in _OPERATORS:
        raise InputError(f"unknown filter operator {one.operator!r}; want one of {', '.join(_OPERATORS)}")
    operand = True if one.operator == FilterOperator.IS_EMPTY else one.value
    parsed = parse_filter({one.key: {_OPERATORS[one.operator]: operand}})
    return parsed if parsed is not None else Group("all", ())

"""LlamaIndex's metadata filters as filters of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_stores import Filter, parse_filter

__all__ = ["plain_filter", "store_filter"]

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


def store_filter(filters: MetadataFilters | None) -> Filter | None:
    """Return the filter with LlamaIndex's meaning; raises InputError for an operand that its operator cannot take."""
    return None if filters is None else parse_filter(plain_filter(filters))


def plain_filter(filters: MetadataFilters) -> dict[str, Any]:
    """Return the filters as plain data; an empty list is no condition, NOT is satisfied if none of its filters is."""
    if not filters.filters:
        return {}
    parts = [_plain_part(one) for one in filters.filters]
    if filters.condition == FilterCondition.OR:
        return {"$or": parts}
    return {"$not": {"$or": parts}} if filters.condition == FilterCondition.NOT else {"$and": parts}


def _plain_part(one: MetadataFilter | MetadataFilters) -> dict[str, Any]:
    if isinstance(one, MetadataFilters):
        return plain_filter(one)
    if one.operator not in _OPERATORS:
        raise InputError(f"unknown filter operator {one.operator!r}; {want_one_of(one.operator, _OPERATORS)}")
    return {one.key: {_OPERATORS[one.operator]: True if one.operator == FilterOperator.IS_EMPTY else one.value}}

"""ReasonEmbedTranslator: LangChain's structured queries as filters of our stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from reasonembed_rag.errors import InputError

__all__ = ["ReasonEmbedTranslator"]

_COMPARATORS: Mapping[Comparator, str] = {
    Comparator.EQ: "$eq",
    Comparator.NE: "$ne",
    Comparator.GT: "$gt",
    Comparator.GTE: "$gte",
    Comparator.LT: "$lt",
    Comparator.LTE: "$lte",
    Comparator.CONTAIN: "$contains",
    Comparator.IN: "$in",
    Comparator.NIN: "$nin",
}


class ReasonEmbedTranslator(Visitor):
    """Turn a structured query into a query and the `filter` that ReasonEmbedVectorStore takes.

    Give it to SelfQueryRetriever as structured_query_translator. A date means the whole day and a time the whole
    second, in fields with dates as in fields with times; time zones are not looked at. `contain` finds a part of a text
    or a member of a list. `like` is refused, as models write different patterns for it.
    """

    allowed_comparators: Sequence[Comparator] | None = tuple(_COMPARATORS)
    allowed_operators: Sequence[Operator] | None = tuple(Operator)

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Return the query with the arguments of a search: `filter`, if there is one.

        A blank query, which models write where the filter says everything, is replaced by the filter's words.
        """
        chosen, query = structured_query.filter, structured_query.query
        if chosen is None:
            return query, {}
        return query if query.strip() else " ".join(_words(chosen)), {"filter": self._visited(chosen)}

    def _visited(self, directive: FilterDirective) -> dict[str, Any]:
        visited: dict[str, Any] = directive.accept(self)
        return visited

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """Return the filter of an operation; `not` is satisfied if none of its arguments is."""
        parts = [self._visited(argument) for argument in operation.arguments]
        if operation.operator == Operator.NOT:
            return {"$not": {"$or": parts}}
        return {f"${operation.operator.value}": parts}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """Return the filter of a comparison; raises InputError for `like`."""
        field, comparator = comparison.attribute, comparison.comparator
        if comparator not in _COMPARATORS:
            raise InputError(
                f"{comparator.value}({field!r}, {comparison.value!r}) has no meaning here; want one of "
                f"{', '.join(one.value for one in _COMPARATORS)}"
            )
        if comparator in {Comparator.IN, Comparator.NIN}:
            return _among(field, comparator, comparison.value)
        if comparator == Comparator.CONTAIN and isinstance(comparison.value, list):
            return {field: {"$all": [_plain(one) for one in comparison.value]}}
        moment = _moment(comparison.value)
        if moment is not None and comparator != Comparator.CONTAIN:
            return _compared(field, comparator, moment)
        return {field: {_COMPARATORS[comparator]: _plain(comparison.value)}}


def _words(directive: FilterDirective) -> Iterator[str]:
    """Yield the fields and values of a filter."""
    if isinstance(directive, Operation):
        for argument in directive.arguments:
            yield from _words(argument)
    elif isinstance(directive, Comparison):
        values = directive.value if isinstance(directive.value, list | tuple) else [directive.value]
        yield " ".join(str(one) for one in (directive.attribute, *map(_plain, values)))


def _among(field: str, comparator: Comparator, value: Any) -> dict[str, Any]:
    values = value if isinstance(value, list | tuple) else [value]
    moments = [moment for moment in map(_moment, values) if moment is not None]
    others = [one for one in values if _moment(one) is None]
    if not moments:
        return {field: {_COMPARATORS[comparator]: others}}
    anyone = {"$or": [*(_compared(field, Comparator.EQ, moment) for moment in moments), {field: {"$in": others}}]}
    return anyone if comparator == Comparator.IN else {"$not": anyone}


def _compared(field: str, comparator: Comparator, moment: str) -> dict[str, Any]:
    """Return the comparison of ISO 8601 texts with the whole day, or second, that one of them begins with."""
    after = f"{moment}~"  # follows every text that begins with the moment, and precedes those of later ones
    conditions = {
        Comparator.EQ: {"$gte": moment, "$lt": after},
        Comparator.GT: {"$gte": after},
        Comparator.GTE: {"$gte": moment},
        Comparator.LT: {"$lt": moment},
        Comparator.LTE: {"$lt": after},
    }
    if comparator == Comparator.NE:
        return {"$not": {field: conditions[Comparator.EQ]}}
    return {field: conditions[comparator]}


def _moment(value: Any) -> str | None:
    """Return the text of LangChain's dates and times, without the Z of UTC; None for anything else."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    return value[kind].removesuffix("Z").removesuffix("z") if kind in {"date", "datetime"} else None


def _plain(value: Any) -> Any:
    return value if _moment(value) is None else _moment(value)

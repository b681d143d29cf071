"""--filter on the command line: JSON as in Python, or field=value for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from reasonembed_rag.errors import InputError

__all__ = ["FILTER_HELP", "FilterOption", "read_filters"]

FILTER_HELP = (
    "Only documents whose metadata match: 'year>=2020', 'lang=en', 'heading~travel' (contains), 'draft!=true', "
    "'lang=[\"en\", \"de\"]' (one of), 'note=' (empty or missing), or JSON as in Python: "
    '\'{"year": {"$gte": 2020}}\'. Repeated: all of them. Quote it, as < and > mean something to the shell.'
)
FilterOption = Annotated[list[str] | None, typer.Option("--filter", "-f", metavar="FILTER", help=FILTER_HELP)]

_Plain = dict[str, Any]
_SIMPLE = re.compile(r"\s*([^=<>!~{][^=<>!~]*?)\s*(!=|>=|<=|!~|==|=|>|<|~)\s*(.*?)\s*", re.DOTALL)
_ORDERINGS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}


def read_filters(texts: Sequence[str] | None, *, option: str = "--filter") -> _Plain | None:
    """Return the filter that satisfies every one of the texts, as plain data; None without any.

    Raises InputError, naming the option, for a text that is neither JSON nor field=value, and for unknown operators.
    """
    from reasonembed_stores import parse_filter

    parts = [_read(text, option) for text in texts or ()]
    filters = parts[0] if len(parts) == 1 else {"$and": parts}
    try:
        parse_filter(filters)
    except InputError as error:
        raise InputError(f"{option}: {error}") from error
    return filters if parts else None


def _read(text: str, option: str) -> _Plain:
    if text.lstrip().startswith("{"):
        try:
            value: _Plain = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{option} is {text!r}: not JSON ({error.msg} at column {error.colno}); want an object such as "
                '{"year": {"$gte": 2020}}, in single quotes for the shell'
            ) from error
        return value
    parts = _SIMPLE.fullmatch(text)
    if parts is None:
        raise InputError(f"{option} is {text!r}; want FIELD=VALUE, such as lang=en or 'year>=2020', or a JSON object")
    field, operator, operand = parts.groups()
    return _simple(field, operator, operand)


def _simple(field: str, operator: str, text: str) -> _Plain:
    value = _value(text)
    if operator in _ORDERINGS:
        return {field: {_ORDERINGS[operator]: value}}
    negated = operator.startswith("!")
    positive = _contains(field, value) if operator.endswith("~") else _equals(field, text, value)
    return {"$not": positive} if negated else positive


def _equals(field: str, text: str, value: Any) -> _Plain:
    if value is None or text == "":
        return {field: {"$empty": True}}
    if isinstance(value, list):
        return {field: {"$in": value}}
    # Columns of a CSV file may be texts: 2024 is meant as the number and as the text, "2024" as the text alone.
    return {field: value} if isinstance(value, str) else {field: {"$in": [value, text]}}


def _contains(field: str, value: Any) -> _Plain:
    """Match a part of a text, in capitals or not, and a member of a list."""
    members = value if isinstance(value, list) else [value]
    texts = [{field: {"$text_match_insensitive": str(member)}} for member in members]
    return {"$or": [{field: {"$any": [*members, *map(str, members)]}}, *texts]}


def _value(text: str) -> Any:
    """Return JSON's numbers, true, false, null, lists and quoted strings; any other text as it is."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    return text if isinstance(value, Mapping) else value


def _refuse(name: str) -> Any:
    raise ValueError(name)

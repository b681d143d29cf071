"""Convert metadata and filters to Chroma's; what Chroma cannot represent is also stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasonembed_stores.batch import decode_json
from reasonembed_stores.filters import Condition, Filter, Group

__all__ = ["OVERFLOW", "from_chroma", "to_chroma", "to_where"]

OVERFLOW = "_reasonembed_overflow"
"""Is 1 in records whose metadata Chroma cannot represent completely."""
_JSON = "_reasonembed_json"
"""The complete metadata of such a record."""
_NATIVE = {
    "$eq": (str, bool, int, float),
    "$ne": (str, bool, int, float),
    "$gt": (int, float),
    "$gte": (int, float),
    "$lt": (int, float),
    "$lte": (int, float),
}
_LARGEST = 2**63 - 1


def to_chroma(metadata: Mapping[str, Any], encoded: str) -> dict[str, Any]:
    """Return metadata for Chroma; `encoded` is the same metadata as JSON."""
    fields = decode_json(encoded)
    native = {name: value for name, value in fields.items() if _fits(name, value)}
    if len(native) < len(metadata):
        native |= {OVERFLOW: 1, _JSON: encoded}
    return native


def from_chroma(native: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the metadata that to_chroma was given."""
    if native is None:
        return {}
    if OVERFLOW in native:
        whole: dict[str, Any] = decode_json(native[_JSON])
        return whole
    return dict(native)


def _fits(name: str, value: Any) -> bool:
    if not name or name.startswith("$") or name in {"chroma:document", OVERFLOW, _JSON}:
        return False
    if isinstance(value, list):
        return bool(value) and len({type(member) for member in value}) == 1 and all(_scalar(one) for one in value)
    return _scalar(value)


def _scalar(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return -_LARGEST <= value <= _LARGEST
    return isinstance(value, str | bool | float)


def to_where(tree: Filter) -> dict[str, Any] | None:
    """Return the filter as Chroma's `where`; None if Chroma cannot express it."""
    if isinstance(tree, Condition):
        return _condition(tree)
    if isinstance(tree, Group) and tree.kind != "none" and len(tree.parts) > 1:
        parts = [to_where(part) for part in tree.parts]
        return None if None in parts else {"$and" if tree.kind == "all" else "$or": parts}
    return None


def _condition(tree: Condition) -> dict[str, Any] | None:
    operand = list(tree.operand) if tree.operator in {"$in", "$nin"} else tree.operand
    if not _fits(tree.field, operand):
        return None
    if tree.operator in {"$in", "$nin"} or isinstance(operand, _NATIVE.get(tree.operator, ())):
        return {tree.field: {tree.operator: operand}}
    return None

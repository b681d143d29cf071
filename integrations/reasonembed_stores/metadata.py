"""Metadata as JSON text, refused where reading it back would give something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError

__all__ = ["decode_json", "encode_json", "encode_metadata"]

encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
decode_json = json.JSONDecoder().decode
_SCALARS = frozenset({str, int, float, bool, type(None)})


def encode_metadata(document: Document) -> str:
    """Return the metadata of a document as JSON; raises InputError, naming the document, for what JSON cannot hold."""
    try:
        _check_keys(document.metadata)
        return encode_json(dict(document.metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the metadata of {document.id!r} is not JSON ({error}); want strings, finite numbers, true, false, null, "
            "and lists and objects of them"
        ) from error


def _check_keys(value: Any) -> None:
    """Refuse keys that are not strings: JSON would silently make strings of them."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not a string")
            if type(member) not in _SCALARS:
                _check_keys(member)
    elif isinstance(value, list | tuple):
        for member in value:
            _check_keys(member)

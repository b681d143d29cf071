"""Metadata as JSON text, refused where reading it back would give something else."""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NoReturn

from reasonembed_rag.errors import InputError

__all__ = ["decode_json", "encode_json", "encode_metadatas"]

encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
decode_json = json.JSONDecoder().decode


def encode_metadatas(metadatas: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> list[str]:
    """Return metadata as JSON texts; raises InputError, naming the document, for what JSON cannot hold."""
    encode = _encoder()
    if set(map(type, metadatas)) <= {dict} and set(map(type, chain.from_iterable(metadatas))) <= {str}:
        try:
            texts = [encode(metadata) for metadata in metadatas]
        except (TypeError, ValueError, RecursionError):
            texts = []  # one of them cannot be held: find it
        if sum(text.count("{") for text in texts) == len(metadatas):
            return texts  # no object within another, so no key that was not seen
    return [_encoded(metadata, identity, encode) for metadata, identity in zip(metadatas, ids, strict=True)]


def _encoded(metadata: Mapping[str, Any], identity: str, encode: Callable[[Any], str]) -> str:
    if not _is_mapping(metadata):
        raise InputError(f"the metadata of {identity!r} is {metadata!r:.80}; want a mapping, {{}} where there is none")
    try:
        _check_keys(metadata)
        return encode(dict(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the metadata of {identity!r} is not JSON ({error}); want strings, finite numbers, true, false, null, "
            "and lists and objects of them"
        ) from error


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _check_keys(value: Any) -> None:
    """Refuse keys that are not strings: JSON would silently make strings of them."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not a string")
            _check_keys(member)
    elif isinstance(value, list | tuple):
        for member in value:
            _check_keys(member)


@cache
def _encoder() -> Callable[[Any], str]:
    """Return what encode_json does, made once: json makes its C encoder anew for every text, half of the time."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encode_json
    try:
        chunks = make(None, _refuse, json.encoder.encode_basestring, None, ":", ",", False, False, False)
        sample = {"a": [1, 2.5, None, True, "é\n"], "b": {}}
        if "".join(chunks(sample, 0)) == encode_json(sample):
            return lambda value: "".join(chunks(value, 0))
    except TypeError:
        pass  # another Python's json takes other arguments
    return encode_json


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

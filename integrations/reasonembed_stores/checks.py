"""Checks of the arguments of every store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_rag.retrieval import unit_rows
from reasonembed_rag.spec import EmbeddingSpec

__all__ = [
    "check_count",
    "check_dimension",
    "check_enrichment",
    "check_exclusions",
    "check_k",
    "check_spec",
    "check_vectors",
    "id_list",
]


def check_k(k: object) -> None:
    """Raise InputError unless k is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}; want a whole number of at least 1")


def check_count(count: object, *, name: str) -> None:
    """Raise InputError unless a count is a whole number, 0 among them."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise InputError(f"{name} is {count!r}; want a whole number of at least 0")


def check_dimension(dimension: object, spec: EmbeddingSpec | None) -> int | None:
    """Return the dimension of a new store: the spec's if there is one, None if the first vectors will decide.

    Raises InputError for anything but a whole number of at least 1, and for a dimension other than the spec's.
    """
    if dimension is None:
        return None if spec is None else spec.dimension
    if isinstance(dimension, bool) or not isinstance(dimension, int | np.integer) or dimension < 1:
        raise InputError(f"dimension is {dimension!r}; want a whole number of at least 1")
    if spec is not None and dimension != spec.dimension:
        raise InputError(f"dimension is {dimension}, the spec's is {spec.dimension}; leave dimension out")
    return int(dimension)


def id_list(ids: Collection[str]) -> list[str]:
    """Return ids as a list; raises InputError for a single string and for members that are not strings."""
    if isinstance(ids, str):
        raise InputError(f"ids is the string {ids!r}; want a list of strings")
    listed: list[str] = list(ids)
    others: list[object] = [identity for identity in listed if not _is_text(identity)]
    if others:
        raise InputError(f"got {others[0]!r} among the ids; want strings")
    return listed


def check_exclusions(excluded_ids: Sequence[Collection[str]] | None, *, queries: int) -> list[list[str]]:
    """Return the excluded ids of each query; raises InputError if there is not one list per query."""
    if excluded_ids is None:
        return [[] for _ in range(queries)]
    if len(excluded_ids) != queries:
        raise InputError(f"got {queries} queries and {len(excluded_ids)} exclusion lists; want one per query")
    return [list(dict.fromkeys(id_list(ids))) for ids in excluded_ids]


def check_spec(asked: EmbeddingSpec, *, own: EmbeddingSpec | None, dimension: int | None, name: str) -> None:
    """Raise SpecMismatchError unless the vectors of one model may be compared with those of another."""
    if own is not None and own.space() != asked.space():
        changed = own.model == asked.model and own.adapter == asked.adapter
        cure = (
            "its files or an adapter's settings have changed since, or did not count yet when it was indexed: "
            "index the documents into another folder"
            if changed
            else f"load the model {own.model!r} as it was, or index the documents again"
        )
        raise SpecMismatchError(
            f"{name} holds vectors of {_described(own)}, which those of {_described(asked)} cannot be compared with; "
            + cure
        )
    if dimension not in {None, asked.dimension}:
        raise SpecMismatchError(
            f"{name} holds vectors of {dimension} dimensions, {_described(asked)} gives {asked.dimension}; "
            "load the model it was made with, or index the documents again"
        )


def check_enrichment(own: EmbeddingSpec | None, asked: str | None, *, name: str) -> None:
    """Raise SpecMismatchError unless documents are enriched as those of an index are."""
    made = None if own is None else own.enrichment
    if made == asked:
        return
    if made is None:
        raise SpecMismatchError(
            f"{name} was made without enrichment, and these documents come with that of {asked!r}; leave it out, or "
            "index into another folder"
        )
    given = f"come with that of {asked!r}" if asked else "have none"
    raise SpecMismatchError(
        f"{name} was made with the enrichment of {made!r}, and these documents {given}; enrich them with the same "
        f"model (--enrich, enrich=), or index into another folder"
    )


def _described(spec: EmbeddingSpec) -> str:
    adapter = [f"adapter {spec.adapter!r}"] if spec.adapter else []
    weights = f"weights {spec.weights[:12]}" if spec.weights else "weights unknown"
    return (
        f"{spec.model!r} ({', '.join([*adapter, f'{spec.dimension} dimensions', f'{spec.pooling} pooling', weights])})"
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def check_vectors(vectors: NDArray[Any], *, name: str, dimension: int | None) -> NDArray[np.float32]:
    """Return vectors as float32 rows of unit length; raises InputError for a wrong shape, NaN or infinity."""
    try:
        rows_ND = np.asarray(vectors)
    except ValueError as error:
        want = f"(n, {dimension or 'dimension'})"
        raise InputError(f"{name} has rows of different lengths; want numbers of shape {want}") from error
    fits = rows_ND.ndim == 2 and rows_ND.shape[1] in {dimension or rows_ND.shape[1]} - {0}
    if not fits or rows_ND.dtype.kind not in "fiu":
        want = f"(n, {dimension or 'dimension'})"
        raise InputError(f"{name} is {rows_ND.dtype} of shape {rows_ND.shape}; want numbers of shape {want}")
    return unit_rows(np.ascontiguousarray(rows_ND, dtype=np.float32), name=name)

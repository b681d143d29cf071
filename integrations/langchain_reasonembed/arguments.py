"""Keyword arguments of LangChain's methods: what matters is taken, what cannot matter is told, the rest is refused."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from langchain_core.vectorstores import VectorStoreRetriever

from reasonembed_rag.errors import InputError

__all__ = ["adding", "check_alone", "diverse", "retrieving", "similar", "without_index_name"]

_VECTOR_SEARCH = frozenset({"filter", "filters", "excluded_ids"})
_SEARCH = _VECTOR_SEARCH | {"task", "instruction"}
_HINTS: Mapping[str, str] = {
    "score_threshold": 'search_type="similarity_score_threshold", or similarity_search_with_relevance_scores',
    "lambda_mult": 'search_type="mmr", or max_marginal_relevance_search',
    "where": "filter",
    "where_document": "filter",
    "persist_directory": "path, of from_texts and from_documents",
}
_OF_SEARCH_TYPE: Mapping[str, frozenset[str]] = {
    "similarity": _SEARCH | {"k", "fetch_k"},
    "similarity_score_threshold": _SEARCH | {"k", "fetch_k", "score_threshold"},
    "mmr": _SEARCH | {"k", "fetch_k", "lambda_mult"},
}


def check_alone(kwargs: Mapping[str, Any], known: frozenset[str] = frozenset()) -> None:
    """Raise InputError for an argument that is not known."""
    unknown = sorted(kwargs.keys() - known)
    if unknown:
        want = _HINTS.get(unknown[0]) or ", ".join(sorted(known)) or "none"
        raise InputError(f"unknown argument {unknown[0]!r}; want {want}")


def diverse(kwargs: dict[str, Any], *, of_vector: bool = False) -> dict[str, Any]:
    """Return the arguments of a search, `filters` as `filter`; raises InputError for an unknown one and for both."""
    check_alone(kwargs, _VECTOR_SEARCH if of_vector else _SEARCH)
    if "filters" not in kwargs:
        return kwargs
    if kwargs.get("filter") is not None:
        raise InputError("got both filter and filters, which mean the same; leave one of them out")
    return {name: value for name, value in kwargs.items() if name != "filters"} | {"filter": kwargs["filters"]}


def similar(kwargs: dict[str, Any], *, of_vector: bool = False) -> dict[str, Any]:
    """Return the arguments of a search by similarity, in which FAISS's fetch_k has no effect."""
    if "fetch_k" in kwargs:
        warnings.warn("fetch_k is ignored: filters apply before the search, so k documents are found", stacklevel=4)
    return diverse({name: value for name, value in kwargs.items() if name != "fetch_k"}, of_vector=of_vector)


def adding(kwargs: dict[str, Any]) -> int | None:
    """Return the batch_size of an addition."""
    # LangChain's time-weighted retriever passes on current_time, which it has put in the metadata already.
    check_alone({name: value for name, value in kwargs.items() if name != "current_time"}, frozenset({"batch_size"}))
    size: int | None = kwargs.get("batch_size")
    if size is not None and size < 1:
        raise InputError(f"batch_size is {size}; want at least 1")
    return size


def retrieving(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of as_retriever with Python's numbers for numpy's; raises InputError for an unknown one."""
    unknown = sorted(kwargs.keys() - VectorStoreRetriever.model_fields.keys())
    if unknown:
        raise InputError(f"unknown argument {unknown[0]!r}; want search_kwargs={{{unknown[0]!r}: ...}}, or search_type")
    asked = kwargs.get("search_kwargs") or {}
    known = _OF_SEARCH_TYPE.get(kwargs.get("search_type", "similarity"))
    if known is not None:  # else LangChain says which search types there are
        check_alone(asked, known)
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in asked.items()}
    if type(plain.get("score_threshold")) is int:
        plain["score_threshold"] = float(plain["score_threshold"])
    return {**kwargs, "search_kwargs": plain}


def without_index_name(folder: object, index_name: str) -> None:
    """Raise InputError for the name of an index: LangChain's FAISS keeps several in a folder, we keep one."""
    if index_name != "index":
        raise InputError(
            f"index_name is {index_name!r}, but a folder holds one index; leave index_name out and use the folder "
            f"{folder}/{index_name}"
        )

"""Stores of documents with their vectors behind one protocol, free of any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_stores.chroma_store import ChromaStore
    from reasonembed_stores.engines import Engine, get_engine, share_embedder
    from reasonembed_stores.faiss_store import FaissStore
    from reasonembed_stores.store import Hit, Store

__all__ = ["ChromaStore", "Engine", "FaissStore", "Hit", "Store", "get_engine", "share_embedder"]

_HOME = {
    "ChromaStore": "chroma_store",
    "Engine": "engines",
    "FaissStore": "faiss_store",
    "Hit": "store",
    "Store": "store",
    "get_engine": "engines",
    "share_embedder": "engines",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that importing the package stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

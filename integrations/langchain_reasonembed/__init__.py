"""ReasonEmbed for LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_reasonembed.defended import DefendedRetriever
    from langchain_reasonembed.embeddings import ReasonEmbedEmbeddings
    from langchain_reasonembed.retrievers import ReasonEmbedRetriever
    from langchain_reasonembed.vectorstores import FaissVectorStore

__all__ = ["DefendedRetriever", "FaissVectorStore", "ReasonEmbedEmbeddings", "ReasonEmbedRetriever"]

_HOME = {
    "DefendedRetriever": "defended",
    "FaissVectorStore": "vectorstores",
    "ReasonEmbedEmbeddings": "embeddings",
    "ReasonEmbedRetriever": "retrievers",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used; raises MissingDependencyError where LangChain is not installed."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("langchain_core") is None:
        from reasonembed_rag.errors import MissingDependencyError

        raise MissingDependencyError("langchain-core", "langchain")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

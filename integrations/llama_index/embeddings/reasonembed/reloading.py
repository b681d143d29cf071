"""LlamaIndex's own pair persist and load_index_from_storage, for our vector store.

StorageContext.from_defaults(persist_dir=...) reads every vector store as a SimpleVectorStore, which can only read a
JSON file; LlamaIndex has no way to name another class. Ours is a folder, where SimpleVectorStore would raise
IsADirectoryError, and that case alone is changed. It is arranged where the embedding model is imported, because a
script that loads an index need not import the store.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

__all__ = ["is_local", "open_our_folders"]

_read_json = SimpleVectorStore.from_persist_path.__func__  # type: ignore[attr-defined]  # of the class it is called on


def open_our_folders() -> None:
    """Let SimpleVectorStore.from_persist_path open the folder of a ReasonEmbedVectorStore as what it is."""
    SimpleVectorStore.from_persist_path = classmethod(_open)  # type: ignore[assignment, method-assign]


def is_local(fs: Any) -> bool:
    """Return whether a file system of fsspec, or None, is the local one."""
    protocols = ("file",) if fs is None else fs.protocol
    return "file" in ((protocols,) if isinstance(protocols, str) else protocols)


@wraps(_read_json)
def _open(cls: type[SimpleVectorStore], persist_path: str, fs: Any = None) -> BasePydanticVectorStore:
    if is_local(fs) and Path(persist_path, "manifest.json").is_file():
        from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

        return ReasonEmbedVectorStore.from_persist_path(persist_path)
    store: SimpleVectorStore = _read_json(cls, persist_path, fs=fs)
    return store

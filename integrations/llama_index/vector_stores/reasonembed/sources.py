"""What is known of the documents that stored nodes come from: enough to see which are new, changed or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.reasonembed.nodes import source_hash_of, source_of

from reasonembed_rag.documents import Document
from reasonembed_rag.forks import ForkLock
from reasonembed_stores import FaissStore, Store

__all__ = ["SourceDocstore", "SourceHashes"]


class SourceHashes:
    """The hash of every document that stored nodes come from, read once and kept current.

    Nodes of one document that were made of different versions of it give "", which is no version's hash.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._hashes: dict[str, str] | None = None
        self._version: tuple[int, int] | None = None

    def known(self, store: Store) -> Mapping[str, str]:
        """Return the hashes by the ids of documents; the nodes are read if they were not, or others changed them."""
        with self._lock:
            version = _version(store)
            if self._hashes is None or version != self._version:
                self._hashes, self._version = {}, version
                self._note(self._hashes, store)
            return MappingProxyType(self._hashes)

    def add(self, nodes: Iterable[Document], store: Store, *, replaced: bool) -> None:
        """Take notice of nodes that were added, and whether they replaced others, whose documents are not known."""
        with self._lock:
            if replaced:
                self._hashes = None
            if self._hashes is not None:
                self._note(self._hashes, nodes)
                self._version = _version(store)

    def discard(self, source: str, store: Store) -> None:
        """Take notice that every node of a document was removed."""
        with self._lock:
            if self._hashes is not None:
                self._hashes.pop(source, None)
                self._version = _version(store)

    def forget(self) -> None:
        """Read the stored nodes again when the hashes are next asked for."""
        with self._lock:
            self._hashes = None

    @staticmethod
    def _note(hashes: dict[str, str], nodes: Iterable[Document]) -> None:
        for node in nodes:
            source = source_of(node)
            if source is not None:
                version = source_hash_of(node)
                hashes[source] = version if hashes.get(source, version) == version else ""


def _version(store: Store) -> tuple[int, int] | None:
    return store.version if isinstance(store, FaissStore) else None


class SourceDocstore(SimpleDocumentStore):
    """A document store that answers from the nodes of a vector store which documents it has, and in which version.

    It does not have their texts.
    """

    def __init__(self, hashes: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._hashes = hashes

    def get_document_hash(self, doc_id: str) -> str | None:
        """Return the hash of a document; None where the vector store has no node of it."""
        stored = self._hashes().get(doc_id)
        return None if stored is None else super().get_document_hash(doc_id) or stored

    async def aget_document_hash(self, doc_id: str) -> str | None:
        """Like get_document_hash, without blocking the event loop."""
        return await asyncio.to_thread(self.get_document_hash, doc_id)

    def get_all_document_hashes(self) -> dict[str, str]:
        """Return the id of each document by its hash."""
        stored = dict(self._hashes())
        return {super(SourceDocstore, self).get_document_hash(name) or stored[name]: name for name in stored}

    async def aget_all_document_hashes(self) -> dict[str, str]:
        """Like get_all_document_hashes, without blocking the event loop."""
        return await asyncio.to_thread(self.get_all_document_hashes)

    def delete_document(self, doc_id: str, raise_error: bool = True) -> None:  # as the base
        """Forget a document; one that was added by an earlier process is known by its hash only, and no error."""
        super().delete_document(doc_id, raise_error=raise_error and doc_id not in self._hashes())

    async def adelete_document(self, doc_id: str, raise_error: bool = True) -> None:
        """Like delete_document."""
        await super().adelete_document(doc_id, raise_error=raise_error and doc_id not in self._hashes())

    def persist(self, persist_path: str, fs: Any = None) -> None:  # type: ignore[override]
        """Write what is known, so that the index knows it too when it is loaded again."""
        self.set_document_hashes({name: version for version, name in self.get_all_document_hashes().items()})
        super().persist(persist_path, fs=fs)

"""ReasonEmbedVectorStore: LlamaIndex's vector store over FaissStore."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding, is_local
from llama_index.vector_stores.reasonembed.earlier import EarlierNodes
from llama_index.vector_stores.reasonembed.filters import store_filter
from llama_index.vector_stores.reasonembed.indexes import complete_indexes
from llama_index.vector_stores.reasonembed.nodes import document_of, node_of, of_sources, source_of
from llama_index.vector_stores.reasonembed.queries import answer
from llama_index.vector_stores.reasonembed.sources import SourceDocstore, SourceHashes
from pydantic import ConfigDict, PrivateAttr

from reasonembed_rag.errors import InputError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.retrieval import EnglishAnalyzer
from reasonembed_stores import FaissStore, LexicalSearch, Store, open_shared

__all__ = ["ReasonEmbedVectorStore"]

_MMR_OPTIONS = frozenset({"mmr_threshold", "mmr_prefetch_k", "mmr_prefetch_factor"})


class ReasonEmbedVectorStore(BasePydanticVectorStore):
    """Store LlamaIndex nodes with their embeddings, in memory or in a folder, and search them by cosine similarity.

    Adding a known node id replaces its node, and so does adding the same part of the same version of a document, as
    a script does that runs twice. Filters, node ids and document ids are applied before the search.
    Similarities are cosines, higher is better. In a folder every call commits, and the objects of one folder share it.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    stores_text: bool = True
    path: str | None = None
    """The folder, created at the first use if it does not exist; None keeps everything in memory."""

    _store: Store | None = PrivateAttr(default=None)
    _creating: Any = PrivateAttr(default_factory=ForkLock)
    _earlier: EarlierNodes = PrivateAttr(default_factory=EarlierNodes)
    _lexical: LexicalSearch = PrivateAttr(default_factory=lambda: LexicalSearch(EnglishAnalyzer))
    _hashes: SourceHashes = PrivateAttr(default_factory=SourceHashes)

    @classmethod
    def class_name(cls) -> str:
        """Return the name used in serialised form."""
        return "ReasonEmbedVectorStore"

    @classmethod
    def from_store(cls, store: Store) -> Self:
        """Wrap an open FaissStore or ChromaStore."""
        path = store.path if isinstance(store, FaissStore) else None
        made = cls(path=None if path is None else str(path))
        made._store = store
        return made

    @classmethod
    def for_model(cls, embed_model: ReasonEmbedEmbedding, path: str | None = None) -> Self:
        """Create a store that records the model of its vectors, or open one and check that it is this model's.

        Retrievers then know which model to encode queries with. Raises SpecMismatchError for another model's vectors.
        """
        if path is None:
            return cls.from_store(FaissStore.create(spec=embed_model.spec))
        return cls.from_store(open_shared(path, spec=embed_model.spec, create=True))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open store; raises InputError for one in memory, which would be lost."""
        if self.path is None and self._store is not None and len(self._store):
            raise InputError("a store in memory cannot be pickled; give it a path, or persist it")
        state = dict(super().__getstate__())
        return {name: value for name, value in state.items() if name != "__pydantic_private__"}

    @property
    def client(self) -> Store:
        """The underlying FaissStore or ChromaStore."""
        with self._creating:
            if self._store is None:
                self._store = FaissStore.create() if self.path is None else open_shared(self.path, create=True)
            return self._store

    # Adding and removing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes with their embeddings; raises InputError for a node without one."""
        _refuse(kwargs)
        nodes = list(nodes)
        if nodes:
            documents = [document_of(node) for node in nodes]
            before = len(self.client)
            self.client.upsert(documents, np.asarray([_embedding(node) for node in nodes], np.float32))
            earlier = self._earlier.replaced_by(documents, self.client) if before else []
            self.client.delete(earlier)
            self._hashes.add(documents, self.client, replaced=len(self.client) < before + len(documents))
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Like add, without blocking the event loop."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove every node of a source document; a node that comes from none is removed by its own id."""
        _refuse(delete_kwargs)
        itself = [document for document in self.client.get([ref_doc_id]) if source_of(document) == ref_doc_id]
        found = itself + self.client.select(of_sources([ref_doc_id]))
        self.client.delete([document.id for document in found])
        self._hashes.discard(ref_doc_id, self.client)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Like delete, without blocking the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove the nodes that are among node_ids and satisfy the filters.

        Raises InputError if neither is given; clear() removes everything.
        """
        _refuse(delete_kwargs)
        tree = store_filter(filters)
        if node_ids is None and tree is None:
            raise InputError("delete_nodes got neither node_ids nor filters; want one of them, or call clear()")
        if tree is None:
            self.client.delete(node_ids or [])
        else:
            found = self.client.select(tree, ids=node_ids)
            self.client.delete([document.id for document in found])
        self._hashes.forget()

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Like delete_nodes, without blocking the event loop."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def clear(self) -> None:
        """Remove every node."""
        self.client.clear()
        self._hashes.forget()

    async def aclear(self) -> None:
        """Like clear, without blocking the event loop."""
        await asyncio.to_thread(self.clear)

    # Documents

    def source_hashes(self) -> Mapping[str, str]:
        """Return the hash of every document that nodes come from, by its id: read from the nodes at the first call."""
        return self._hashes.known(self.client)

    def make_docstore(self) -> SourceDocstore:
        """Return a document store that knows which documents are in this store, and in which version.

        With it, refresh_ref_docs and the upserts of an IngestionPipeline see what an earlier process added:
        IngestionPipeline(vector_store=store, docstore=store.make_docstore(), ...). VectorStoreIndex.from_vector_store
        gives its index one.
        """
        return SourceDocstore(self.source_hashes)

    # Finding

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return the nodes that are among node_ids and satisfy the filters; unknown ids are left out."""
        tree = store_filter(filters)
        if tree is None:
            found = list(self.client) if node_ids is None else self.client.get(node_ids)
        else:
            found = self.client.select(tree, ids=node_ids)
        return [node_of(document) for document in found]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Like get_nodes, without blocking the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that a query finds, in the modes DEFAULT, MMR, HYBRID, TEXT_SEARCH and SPARSE.

        Similarities are cosines; in TEXT_SEARCH and SPARSE, which are the same, BM25 scores of the nodes' texts; in
        HYBRID sums of both, each scaled from 0 to 1, with the weights alpha (0.5) and 1 - alpha, of which the
        hybrid_top_k best are returned, or similarity_top_k. MMR takes mmr_threshold (0.5), and mmr_prefetch_k (20) or
        mmr_prefetch_factor, the number of nodes to pick from. Without an embedding DEFAULT and MMR return what
        satisfies the filters and ids. Raises InputError for other modes and arguments, SpecMismatchError for an
        embedding of another model than the store's.
        """
        _refuse({name: value for name, value in kwargs.items() if name not in _MMR_OPTIONS})
        return answer(self.client, query, kwargs, self._lexical)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Like query, without blocking the event loop."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    # Saving

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Write everything to a folder, replacing a store there; the store of that folder itself is sealed in place.

        A ChromaStore is left to Chroma, which saves it. Raises InputError for a file system that is not the local one.
        """
        _check_local(fs)
        if isinstance(self.client, FaissStore):
            self.client.copy_to(persist_path)

    @classmethod
    def from_persist_path(cls, persist_path: str, fs: Any = None) -> Self:
        """Open the store of a folder, which every later change is written to.

        Raises StoreError for a foreign or damaged one, InputError for a file system that is not the local one.
        """
        _check_local(fs)
        return cls.from_store(open_shared(persist_path))

    @classmethod
    def from_persist_dir(cls, persist_dir: str = "./storage", namespace: str = "default", fs: Any = None) -> Self:
        """Open what StorageContext.persist wrote."""
        return cls.from_persist_path(str(Path(persist_dir) / f"{namespace}__vector_store.json"), fs)


complete_indexes(ReasonEmbedVectorStore)


def _check_local(fs: Any) -> None:
    if not is_local(fs):
        raise InputError(
            f"the store is a folder of the local file system, got fs={type(fs).__name__}; leave fs out and copy the "
            "folder yourself"
        )


def _embedding(node: BaseNode) -> list[float]:
    if node.embedding is None:
        raise InputError(f"node {node.node_id!r} has no embedding; embed it first, or add it through an index")
    return node.embedding


def _refuse(kwargs: dict[str, Any]) -> None:
    """Raise InputError for an unknown argument."""
    if kwargs:
        raise InputError(f"unknown argument {min(kwargs)!r}; leave it out")

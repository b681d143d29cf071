"""ReasonEmbedVectorStore: LlamaIndex's vector store over FaissStore."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.embeddings.reasonembed import QueryVector, ReasonEmbedEmbedding, is_local
from llama_index.vector_stores.reasonembed.filters import store_filter
from llama_index.vector_stores.reasonembed.nodes import LISTED, document_of, node_of, of_sources, source_of
from llama_index.vector_stores.reasonembed.sources import SourceDocstore, SourceHashes, give_docstores
from pydantic import ConfigDict, PrivateAttr

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores import FaissStore, Filter, Group, search_mmr

__all__ = ["ReasonEmbedVectorStore"]


class ReasonEmbedVectorStore(BasePydanticVectorStore):
    """Store LlamaIndex nodes with their embeddings, in memory or in a folder, and search them by cosine similarity.

    Adding a known node id replaces its node. Filters, node ids and document ids are applied before the search.
    Similarities are cosines, higher is better. In a folder every call commits.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    stores_text: bool = True
    path: str | None = None
    """The folder, created at the first use if it does not exist; None keeps everything in memory."""

    _store: FaissStore | None = PrivateAttr(default=None)
    _creating: Any = PrivateAttr(default_factory=Lock)
    _hashes: SourceHashes = PrivateAttr(default_factory=SourceHashes)

    @classmethod
    def class_name(cls) -> str:
        """Return the name used in serialised form."""
        return "ReasonEmbedVectorStore"

    @classmethod
    def from_store(cls, store: FaissStore) -> Self:
        """Wrap an open FaissStore."""
        made = cls(path=None if store.path is None else str(store.path))
        made._store = store
        return made

    @classmethod
    def for_model(cls, embed_model: ReasonEmbedEmbedding, path: str | None = None) -> Self:
        """Create a store that records the model of its vectors, or open one and check that it is this model's.

        Retrievers then know which model to encode queries with. Raises SpecMismatchError for another model's vectors.
        """
        if path is not None and (Path(path) / "manifest.json").exists():
            return cls.from_store(FaissStore.open(path, spec=embed_model.spec))
        return cls.from_store(FaissStore.create(path, spec=embed_model.spec))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open store; raises InputError for one in memory, which would be lost."""
        if self.path is None and self._store is not None and len(self._store):
            raise InputError("a store in memory cannot be pickled; give it a path, or persist it")
        state = dict(super().__getstate__())
        return {name: value for name, value in state.items() if name != "__pydantic_private__"}

    @property
    def client(self) -> FaissStore:
        """The underlying FaissStore."""
        with self._creating:
            if self._store is None:
                exists = self.path is not None and (Path(self.path) / "manifest.json").exists()
                self._store = FaissStore.open(str(self.path)) if exists else FaissStore.create(self.path)
            return self._store

    # Adding and removing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes with their embeddings; raises InputError for a node without one."""
        _refuse(kwargs)
        nodes = list(nodes)
        if nodes:
            documents = [document_of(node) for node in nodes]
            before = len(self.client)
            self.client.upsert(documents, np.asarray([_embedding(node) for node in nodes]))
            self._hashes.add(documents, replaced=len(self.client) < before + len(documents))
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
        self._hashes.discard(ref_doc_id)

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
        """Return the nodes nearest to the query's embedding, in the modes DEFAULT and MMR.

        A query without an embedding returns what satisfies its filters and ids. mmr_prefetch_k (20) is how many nodes
        MMR picks from. Raises InputError for other modes and arguments.
        """
        fetch_k = kwargs.pop("mmr_prefetch_k", 20)
        balance = kwargs.pop("mmr_threshold", query.mmr_threshold)
        _refuse(kwargs)
        if query.mode not in {VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR}:
            raise InputError(f"query mode {query.mode.value!r} is not served; want 'default' or 'mmr'")
        tree = _tree(query)
        ids = self._ids(query)
        if query.query_embedding is None:
            if tree is None and ids is None:
                raise InputError("the query has neither an embedding, nor filters, nor ids; want one of them")
            found = self.client.select(tree or Group("all", ()), ids=ids)[: query.similarity_top_k]
            nodes = [node_of(document) for document in found]
            return VectorStoreQueryResult(nodes=nodes, ids=[document.id for document in found])
        if isinstance(query.query_embedding, QueryVector):
            self.client.check_spec(query.query_embedding.spec)
        vectors = np.asarray([query.query_embedding], dtype=np.float32)
        if query.mode == VectorStoreQueryMode.MMR:
            (hits,) = search_mmr(
                self.client,
                vectors,
                k=query.similarity_top_k,
                fetch_k=fetch_k,
                balance=0.5 if balance is None else balance,
                filters=tree,
                ids=ids,
            )
        else:
            (hits,) = self.client.search(vectors, k=query.similarity_top_k, filters=tree, ids=ids)
        return _result(hits)

    def _ids(self, query: VectorStoreQuery) -> list[str] | None:
        """Return the node ids to which a query is restricted.

        An index hands each of its retrievers the ids of the IndexNodes and ImageNodes that it was given, which is no
        restriction. From a retriever, whose queries have a text, a list without any other node is that list.
        """
        if not query.node_ids:
            return None
        listed = query.query_str is not None and not self.client.select(Group("none", (LISTED,)), ids=query.node_ids)
        return None if listed else query.node_ids

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Like query, without blocking the event loop."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    # Saving

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Write everything to a folder, replacing a store there; the store of that folder itself is sealed in place.

        Raises InputError for a file system that is not the local one.
        """
        _check_local(fs)
        self.client.copy_to(persist_path)

    @classmethod
    def from_persist_path(cls, persist_path: str, fs: Any = None) -> Self:
        """Open the store of a folder, which every later change is written to.

        Raises StoreError for a foreign or damaged one, InputError for a file system that is not the local one.
        """
        _check_local(fs)
        return cls.from_store(FaissStore.open(persist_path))

    @classmethod
    def from_persist_dir(cls, persist_dir: str = "./storage", namespace: str = "default", fs: Any = None) -> Self:
        """Open what StorageContext.persist wrote."""
        return cls.from_persist_path(str(Path(persist_dir) / f"{namespace}__vector_store.json"), fs)


give_docstores(ReasonEmbedVectorStore)


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


def _tree(query: VectorStoreQuery) -> Filter | None:
    tree = store_filter(query.filters)
    if not query.doc_ids:
        return tree
    among = of_sources(query.doc_ids)
    return among if tree is None else Group("all", (tree, among))


def _result(hits: Hits) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[node_of(document) for document in hits.documents or ()],
        similarities=hits.scores.tolist(),
        ids=list(hits.ids),
    )


def _refuse(kwargs: dict[str, Any]) -> None:
    """Raise InputError for an unknown argument."""
    if kwargs:
        raise InputError(f"unknown argument {min(kwargs)!r}; leave it out")

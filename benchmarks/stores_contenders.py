"""The stores that benchmarks/stores.py compares, each behind one protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["CONTENDERS", "DIMENSION", "Contender", "K"]

DIMENSION = 384
K = 10
SLICE = 5000
"""Records per call for peers on Chroma, which refuses more than 5461."""


class Contender(Protocol):
    """A store that is measured."""

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        """Add documents with their vectors."""

    def save(self) -> None:
        """Write everything to disk."""

    def open(self) -> None:
        """Open the saved store."""

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        """Return the ids of the K nearest, within a group if one is given; raises if the store has no filters."""


class OursStore:
    """FaissStore or ChromaStore, without a framework."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder / "store"
        self.options = options
        self.store = self.make()

    def make(self) -> Any:
        from reasonembed_stores import FaissStore

        return FaissStore.create(self.folder, dimension=DIMENSION, **self.options)

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        self.store.upsert_texts(texts, vectors, ids=ids, metadatas=metadatas)

    def save(self) -> None:
        self.store.save()

    def open(self) -> None:
        from reasonembed_stores import FaissStore

        self.store = FaissStore.open(self.folder)

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        filters = None if group is None else {"group": group}
        return [hit.document.id for hit in self.store.search(query[None], k=K, filters=filters)[0]]


class OursMemory(OursStore):
    """FaissStore in memory, with nothing to save or open."""

    def make(self) -> Any:
        from reasonembed_stores import FaissStore

        return FaissStore.create(dimension=DIMENSION)

    def save(self) -> None:
        pass

    def open(self) -> None:
        pass


class OursChroma(OursStore):
    """ChromaStore on disk."""

    def make(self) -> Any:
        from reasonembed_stores import ChromaStore

        return ChromaStore.create(self.folder, dimension=DIMENSION)

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        from reasonembed_rag import Document

        documents = [Document(*row) for row in zip(ids, texts, metadatas, strict=True)]
        self.store.upsert(documents, vectors)

    def save(self) -> None:
        pass

    def open(self) -> None:
        from reasonembed_stores import ChromaStore

        self.store = ChromaStore.open(self.folder)


class OursLangChain(OursStore):
    """ReasonEmbedVectorStore, our LangChain vector store, on disk."""

    def make(self) -> Any:
        from langchain_core.embeddings import DeterministicFakeEmbedding

        from langchain_reasonembed import ReasonEmbedVectorStore

        return ReasonEmbedVectorStore.from_texts([], DeterministicFakeEmbedding(size=DIMENSION), path=self.folder)

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        self.store.add_embeddings(texts, vectors, metadatas, ids=ids)

    def save(self) -> None:
        self.store.save_local(self.folder)

    def open(self) -> None:
        from langchain_core.embeddings import DeterministicFakeEmbedding

        from langchain_reasonembed import ReasonEmbedVectorStore

        self.store = ReasonEmbedVectorStore.load_local(self.folder, DeterministicFakeEmbedding(size=DIMENSION))

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        chosen = None if group is None else {"group": group}
        return [document.id for document in self.store.similarity_search_by_vector(query, k=K, filter=chosen)]


class PlainFaiss:
    """IndexFlatIP and nothing else: no texts, no metadata, no filter."""

    def __init__(self, folder: Path) -> None:
        import faiss

        self.faiss = faiss
        self.path = folder / "index.faiss"
        self.index: Any = faiss.IndexFlatIP(DIMENSION)

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        del texts, metadatas
        self.ids = ids
        self.index.add(vectors)

    def save(self) -> None:
        self.faiss.write_index(self.index, str(self.path))

    def open(self) -> None:
        self.index = self.faiss.read_index(str(self.path))

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        if group is not None:
            raise NotImplementedError
        return [self.ids[row] for row in self.index.search(query[None], K)[1][0]]


class LangChainFaiss:
    """langchain-community's FAISS by inner product."""

    def __init__(self, folder: Path) -> None:
        import faiss
        from langchain_community.docstore.in_memory import InMemoryDocstore
        from langchain_community.vectorstores import FAISS
        from langchain_core.embeddings import DeterministicFakeEmbedding

        self.folder = folder / "faiss"
        self.kind = FAISS
        self.embedding = DeterministicFakeEmbedding(size=DIMENSION)
        index = faiss.IndexFlatIP(DIMENSION)
        strategy = "MAX_INNER_PRODUCT"
        self.store = FAISS(self.embedding, index, InMemoryDocstore(), {}, distance_strategy=strategy)

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        self.store.add_embeddings(zip(texts, vectors, strict=True), metadatas=metadatas, ids=ids)

    def save(self) -> None:
        self.store.save_local(str(self.folder))

    def open(self) -> None:
        self.store = self.kind.load_local(str(self.folder), self.embedding, allow_dangerous_deserialization=True)

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        chosen = None if group is None else {"group": group}
        found = self.store.similarity_search_by_vector(query.tolist(), k=K, filter=chosen)
        return [document.id for document in found]


class LangChainFaissLists(LangChainFaiss):
    """The same, given lists of floats as its type hints say."""

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        self.store.add_embeddings(zip(texts, vectors.tolist(), strict=True), metadatas=metadatas, ids=ids)


class LangChainChroma:
    """langchain-chroma in cosine space; an embeddings class returns the known vectors."""

    def __init__(self, folder: Path) -> None:
        from langchain_chroma import Chroma
        from langchain_core.embeddings import Embeddings

        class Known(Embeddings):
            rows: NDArray[Any]

            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                del texts
                rows: list[list[float]] = self.rows.tolist()
                return rows

            def embed_query(self, text: str) -> list[float]:
                raise NotImplementedError

        self.folder = folder / "chroma"
        self.kind, self.known = Chroma, Known()
        self.open()

    def open(self) -> None:
        self.store = self.kind(
            "stores",
            self.known,
            str(self.folder),
            collection_configuration={"hnsw": {"space": "cosine"}},
        )

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        for start in range(0, len(ids), SLICE):
            part = slice(start, start + SLICE)
            self.known.rows = vectors[part]
            self.store.add_texts(texts[part], metadatas[part], ids=ids[part])

    def save(self) -> None:
        pass

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        chosen = None if group is None else {"group": group}
        found = self.store.similarity_search_by_vector(query.tolist(), k=K, filter=chosen)
        return [document.id for document in found]


class LlamaIndexStore:
    """What LlamaIndex's stores share: adding nodes, and queries."""

    store: Any
    slices = False

    def add(self, ids: list[str], texts: list[str], metadatas: list[dict[str, Any]], vectors: NDArray[Any]) -> None:
        from llama_index.core.schema import TextNode

        rows = zip(ids, texts, metadatas, vectors.tolist(), strict=True)
        nodes = [TextNode(id_=i, text=t, metadata=m, embedding=v) for i, t, m, v in rows]
        size = SLICE if self.slices else len(nodes)
        for start in range(0, len(nodes), size):
            self.keep(nodes[start : start + size])

    def keep(self, nodes: list[Any]) -> None:
        self.store.add(nodes)

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery

        chosen = None if group is None else MetadataFilters(filters=[MetadataFilter(key="group", value=group)])
        asked = VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=K, filters=chosen)
        ids: Sequence[str] = self.store.query(asked).ids
        return ids


class OursLlamaIndex(LlamaIndexStore):
    """ReasonEmbedVectorStore on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        self.open()

    def open(self) -> None:
        from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

        self.store = ReasonEmbedVectorStore(path=str(self.folder))

    def save(self) -> None:
        self.store.persist(str(self.folder))


class LlamaIndexFaiss(LlamaIndexStore):
    """LlamaIndex's FaissVectorStore, which stores vectors only: ids are positions, without filters."""

    def __init__(self, folder: Path) -> None:
        import faiss
        from llama_index.vector_stores.faiss import FaissVectorStore

        self.path = folder / "faiss.index"
        self.kind = FaissVectorStore
        self.store = FaissVectorStore(faiss_index=faiss.IndexFlatIP(DIMENSION))

    def save(self) -> None:
        self.store.persist(str(self.path))

    def open(self) -> None:
        self.store = self.kind.from_persist_path(str(self.path))

    def search(self, query: NDArray[Any], group: int | None) -> Sequence[str]:
        return [f"d{int(row):06}" for row in super().search(query, group)]


class LlamaIndexFaissNodes(LlamaIndexFaiss):
    """The same with LlamaIndex's document store, which keeps the nodes and writes them as one JSON file."""

    def __init__(self, folder: Path) -> None:
        from llama_index.core.storage.docstore import SimpleDocumentStore

        super().__init__(folder)
        self.nodes_path = str(folder / "docstore.json")
        self.docstore_kind = SimpleDocumentStore
        self.docstore = SimpleDocumentStore()

    def keep(self, nodes: list[Any]) -> None:
        self.store.add(nodes)
        self.docstore.add_documents(nodes)

    def save(self) -> None:
        super().save()
        self.docstore.persist(self.nodes_path)

    def open(self) -> None:
        super().open()
        self.docstore = self.docstore_kind.from_persist_path(self.nodes_path)


class LlamaIndexChroma(LlamaIndexStore):
    """LlamaIndex's ChromaVectorStore in cosine space, 5,000 nodes per call."""

    slices = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "chroma"
        self.open()

    def open(self) -> None:
        import chromadb
        from llama_index.vector_stores.chroma import ChromaVectorStore

        client = chromadb.PersistentClient(self.folder)
        configuration: Any = {"hnsw": {"space": "cosine"}}
        made = client.get_or_create_collection("stores", configuration=configuration, embedding_function=None)
        self.store = ChromaVectorStore.from_collection(made)

    def save(self) -> None:
        pass


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "plain-faiss": PlainFaiss,
    "ours-memory": OursMemory,
    "ours-folder": OursStore,
    "ours-float16": lambda folder: OursStore(folder, dtype="float16"),
    "ours-langchain": OursLangChain,
    "ours-llama-index": OursLlamaIndex,
    "ours-chroma": OursChroma,
    "langchain-faiss": LangChainFaiss,
    "langchain-faiss-lists": LangChainFaissLists,
    "langchain-chroma": LangChainChroma,
    "llama-index-faiss": LlamaIndexFaiss,
    "llama-index-faiss-nodes": LlamaIndexFaissNodes,
    "llama-index-chroma": LlamaIndexChroma,
}

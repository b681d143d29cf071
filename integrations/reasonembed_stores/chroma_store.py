"""ChromaStore: a Store over a Chroma collection, on disk, in memory or on a server."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_rag.files import inode_of
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.hits import Hits
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.batch import Batch
from reasonembed_stores.checks import check_dimension, check_exclusions, check_k, check_spec, check_vectors, id_list
from reasonembed_stores.chroma_client import DATABASE, check_process, chroma_errors, client_of
from reasonembed_stores.chroma_metadata import from_chroma, to_chroma
from reasonembed_stores.chroma_search import find_allowed, find_neighbours
from reasonembed_stores.filters import FilterLike, parse_filter
from reasonembed_stores.iteration import in_pages, listed
from reasonembed_stores.vectors import Matrix

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

__all__ = ["ChromaStore"]

_SPEC = "reasonembed_spec"
_SPEC_DIGEST = "reasonembed_spec_digest"
_DIMENSION = "reasonembed_dimension"
_PAGE = 2000


class ChromaStore:
    """Keep documents with their vectors in a Chroma collection and search them by cosine similarity.

    Chroma searches an HNSW graph, which finds the best documents with high probability only. Scores are computed again
    from the vectors, so they are the same as in every other store.
    """

    def __init__(self, client: ClientAPI, collection: Any, *, where: Any = None) -> None:
        """Take a client, one of its collections and its folder, if it has one; use create or open to get a store."""
        self._client = client
        self._opened = collection
        self._process = os.getpid()
        self._where = Path(where).absolute() if isinstance(where, str | Path) else None
        self._inode = None if self._where is None else inode_of(self._where / DATABASE)
        self._asked = self.spec
        self._changing = ForkLock()

    @property
    def _collection(self) -> Any:
        """The collection, opened again if the folder is another; raises StoreError in a forked child."""
        check_process(self._process)
        if self._where is not None and inode_of(self._where / DATABASE) != self._inode:
            with self._changing:
                self._open_again(self._where)
        return self._opened

    def _open_again(self, where: Path) -> None:
        inode = inode_of(where / DATABASE)
        if inode is None:
            raise StoreError(f"{where} was removed or renamed since it was opened; put it back, or index again")
        if inode != self._inode:  # else another thread was here
            again = type(self).open(where, collection=self._opened.name, spec=self._asked)
            self._client, self._opened, self._inode = again.client, again.collection, inode

    @classmethod
    def create(
        cls,
        where: str | Path | ClientAPI | None = None,
        *,
        collection: str = "reasonembed",
        spec: EmbeddingSpec | None = None,
        dimension: int | None = None,
        ef_search: int = 100,
        max_neighbors: int = 16,
    ) -> Self:
        """Create an empty collection in a folder, in memory (None), or through your own Chroma client.

        With a spec the collection also gets its model, with default settings, as Chroma's embedding function. All
        in-memory stores of a process share one database, so their collections need different names. `ef_search` and
        `max_neighbors` are the breadth of the search and the density of the graph: the number of records and 64 make
        the search nearly exact. Chroma applies a later change only after the process restarts. Raises StoreError if
        the collection exists.
        """
        metadata: dict[str, Any] = {_DIMENSION: check_dimension(dimension, spec) or 0}
        if spec is not None:
            metadata |= {_SPEC: spec.to_json(), _SPEC_DIGEST: spec.digest()}
        client = client_of(where)
        with chroma_errors(f"collection {collection!r}"):
            if collection in [one.name for one in client.list_collections()]:
                raise StoreError(f"collection {collection!r} exists already; open it, or choose another name")
            made = client.create_collection(
                collection,
                metadata=metadata,
                configuration={"hnsw": {"space": "cosine", "ef_search": ef_search, "max_neighbors": max_neighbors}},
                embedding_function=None if spec is None else _function(spec),
            )
        return cls(client, made, where=where)

    @classmethod
    def open(
        cls, where: str | Path | ClientAPI, *, collection: str = "reasonembed", spec: EmbeddingSpec | None = None
    ) -> Self:
        """Open a collection; with a spec, check that its model may search these vectors.

        Raises StoreError for a collection that is missing or not of cosine space, SpecMismatchError for another
        model's vectors.
        """
        if isinstance(where, str | Path) and not (Path(where) / "chroma.sqlite3").is_file():
            raise StoreError(f"{where} holds no Chroma database; want the folder of one, with its chroma.sqlite3")
        client = client_of(where)
        with chroma_errors(f"collection {collection!r}"):
            names = [one.name for one in client.list_collections()]
            if collection not in names:
                raise StoreError(f"no collection {collection!r}; there is {', '.join(names) or 'none'}")
            opened = client.get_collection(collection, embedding_function=None)
            space = (opened.configuration_json.get("hnsw") or opened.configuration_json.get("spann") or {}).get("space")
        if space != "cosine":
            raise StoreError(
                f"collection {collection!r} has the space {space!r}, which Chroma cannot change; want 'cosine': "
                "create another collection and index again"
            )
        store = cls(client, opened, where=where)
        if spec is not None:
            store.check_spec(spec)
        return store

    @classmethod
    def open_or_create(
        cls,
        where: str | Path | ClientAPI | None = None,
        *,
        collection: str = "reasonembed",
        spec: EmbeddingSpec | None = None,
    ) -> Self:
        """Open a collection, or create it if it does not exist; raises what open and create raise."""
        client = client_of(where)
        with chroma_errors(f"collection {collection!r}"):
            exists = collection in [one.name for one in client.list_collections()]
        make = cls.open if exists else cls.create
        return make(client if where is None else where, collection=collection, spec=spec)

    @property
    def client(self) -> ClientAPI:
        """The Chroma client."""
        check_process(self._process)
        return self._client

    @property
    def collection(self) -> Any:
        """The Chroma collection."""
        return self._collection

    def check_spec(self, spec: EmbeddingSpec) -> None:
        """Raise SpecMismatchError unless a model's queries may search these vectors."""
        check_spec(spec, own=self.spec, dimension=self.dimension, name=f"collection {self._collection.name!r}")
        self._asked = spec

    @property
    def spec(self) -> EmbeddingSpec | None:
        """What fixes the vectors; None where the collection was made without one."""
        metadata = self._collection.metadata or {}
        if _SPEC not in metadata:
            return None
        spec = EmbeddingSpec.from_json(metadata[_SPEC])
        if spec.digest() != metadata.get(_SPEC_DIGEST):
            raise StoreError(
                f"collection {self._collection.name!r}: the spec in its metadata was changed; index the documents again"
            )
        return spec

    @property
    def dimension(self) -> int | None:
        """The length of every vector; None until the first documents come."""
        stored = (self._collection.metadata or {}).get(_DIMENSION, 0)
        if not stored:
            with chroma_errors("the collection"):
                first = self._collection.get(limit=1, include=["embeddings"])["embeddings"]
            stored = first.shape[1] if len(first) else 0
        return int(stored) or None

    def __len__(self) -> int:
        with chroma_errors("the collection"):
            return int(self._collection.count())

    def __iter__(self) -> Iterator[Document]:
        return self.documents()

    def documents(
        self,
        filters: FilterLike | None = None,
        *,
        ids: Collection[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[Document]:
        """Yield documents in the order in which they were added, or of ids, reading them as they are asked for.

        Those that satisfy the filters and are among ids, where these are given; at most `limit` of them, without the
        first `offset`. Each that is not deleted meanwhile comes once.
        """
        wanted = self._ids() if ids is None else list(dict.fromkeys(id_list(ids)))
        return listed(in_pages(wanted, self.get), filters, limit=limit, offset=offset)

    def _ids(self) -> list[str]:
        with chroma_errors("the collection"):
            return list(self._collection.get(include=[])["ids"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the name only. Raises StoreError for a store in memory or of a client of yours."""
        if self._where is None:
            raise StoreError("a store in memory, or of a client, cannot be pickled or copied; open it by its folder")
        return partial(type(self).open, collection=self._opened.name, spec=self._asked), (self._where,)

    def __repr__(self) -> str:
        name, dimension = self._collection.name, self.dimension
        return f"<{type(self).__name__} {name!r}: {len(self)} documents, dimension {dimension}>"

    def upsert(self, documents: Sequence[Document], vectors: Matrix) -> None:
        """Add documents with their vectors (n, dimension), replacing those with known ids.

        Everything is checked before anything is written; Chroma then writes batch by batch, so a call that is killed
        leaves whole batches. Raises InputError as every store does.
        """
        documents = list(documents)
        rows_ND = check_vectors(vectors, name="vectors", dimension=self.dimension if documents else None)
        if len(rows_ND) != len(documents):
            raise InputError(f"got {len(documents)} documents and {len(rows_ND)} vectors; want one vector per document")
        checked = Batch.of_documents(documents)
        checked.check_unicode()
        pairs = zip(documents, checked.metadatas, strict=True)
        metadatas = [to_chroma(document.metadata, encoded) for document, encoded in pairs]
        batch = self._batch_size()
        for start in range(0, len(documents), batch):
            part = slice(start, start + batch)
            self._write([*documents[part]], rows_ND[part], metadatas[part])

    def _batch_size(self) -> int:
        with chroma_errors("the collection"):
            return int(self.client.get_max_batch_size())

    def _write(self, documents: list[Document], rows_ND: Matrix, metadatas: list[dict[str, Any]]) -> None:
        ids = [document.id for document in documents]
        with chroma_errors("the collection"):
            old = self._collection.get(ids=ids, include=["metadatas"])
            stale = dict(zip(old["ids"], old["metadatas"], strict=True))
            whole = [  # Chroma merges metadata: a field is removed by setting it to None
                dict.fromkeys(stale.get(identity) or ()) | metadata
                for identity, metadata in zip(ids, metadatas, strict=True)
            ]
            self._collection.upsert(
                ids=ids,
                embeddings=rows_ND,
                documents=[document.content for document in documents],
                metadatas=[metadata or None for metadata in whole],
            )

    def delete(self, ids: Collection[str]) -> int:
        """Remove documents and return how many there were; unknown ids are ignored."""
        listed = id_list(ids)
        deleted = 0
        batch = self._batch_size()
        with chroma_errors("the collection"):
            for start in range(0, len(listed), batch):
                known = self._collection.get(ids=list(dict.fromkeys(listed[start : start + batch])), include=[])["ids"]
                if known:
                    self._collection.delete(ids=known)
                deleted += len(known)
        return deleted

    def clear(self) -> None:
        """Remove every document; the spec stays."""
        self.delete(self._ids())

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents of these ids, in their order; unknown ids are left out."""
        listed = id_list(ids)
        found: dict[str, Document] = {}
        with chroma_errors("the collection"):
            for start in range(0, len(listed), _PAGE):
                wanted = list(dict.fromkeys(listed[start : start + _PAGE]))
                page = self._collection.get(ids=wanted, include=["documents", "metadatas"])
                found |= {document.id: document for document in _documents(page)}
        return [found[identity] for identity in listed if identity in found]

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the stored unit vectors (n, dimension) of these ids; raises InputError for an unknown one."""
        listed = id_list(ids)
        if not listed:
            return np.empty((0, self.dimension or 0), dtype=np.float32)
        with chroma_errors("the collection"):
            page = self._collection.get(ids=list(dict.fromkeys(listed)), include=["embeddings"])
        row_of_id = {identity: row for row, identity in enumerate(page["ids"])}
        unknown = [identity for identity in listed if identity not in row_of_id]
        if unknown:
            raise InputError(f"the collection has no document {unknown[0]!r}; want ids that were added")
        rows_ND: NDArray[np.float32] = np.asarray(page["embeddings"], dtype=np.float32)
        return rows_ND[[row_of_id[identity] for identity in listed]]

    def select(self, filters: FilterLike, *, ids: Collection[str] | None = None) -> list[Document]:
        """Return the documents that satisfy the filters; only those among ids, if given."""
        return list(self.documents(filters, ids=ids))

    def search(
        self,
        query_vectors: Matrix,
        *,
        k: int,
        filters: FilterLike | None = None,
        ids: Collection[str] | None = None,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return for each row of (n, dimension) the k best documents with their cosine similarities, ties by larger id.

        Only documents that satisfy the filters, are among ids and not among the query's excluded ids are ranked.
        Raises InputError as every store does.
        """
        queries_QD = check_vectors(query_vectors, name="query_vectors", dimension=self.dimension)
        check_k(k)
        banned = check_exclusions(excluded_ids, queries=len(queries_QD))
        tree = parse_filter(filters)
        with chroma_errors("the collection"):
            allowed = find_allowed(self._collection, tree, None if ids is None else id_list(ids))
            return find_neighbours(self._collection, queries_QD, k=k, allowed=allowed, banned=banned)

    def close(self) -> None:
        """Do nothing: Chroma writes immediately and closes its files with its client."""


def _documents(page: Mapping[str, Any]) -> list[Document]:
    columns = zip(page["ids"], page["documents"], page["metadatas"], strict=True)
    return [Document(identity, content or "", from_chroma(metadata)) for identity, content, metadata in columns]


def _function(spec: EmbeddingSpec) -> Any:
    from reasonembed_stores.chroma_embedding import ReasonEmbedFunction

    return ReasonEmbedFunction(spec.model, revision=spec.revision, adapter=spec.adapter)

"""FaissStore: documents with vectors in a folder or in memory, searched exactly or through a FAISS index."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.deprecation import renamed_arguments
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, StoreError, want_one_of
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval import TopRows
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.ann import KINDS
from reasonembed_stores.batch import Batch
from reasonembed_stores.catalog import Catalog, State
from reasonembed_stores.checks import check_dimension, check_exclusions, check_k, check_vectors, id_list
from reasonembed_stores.current import CurrentTable, Opened
from reasonembed_stores.filters import FilterLike, parse_filter
from reasonembed_stores.folder import new_folder
from reasonembed_stores.iteration import listed
from reasonembed_stores.table import Table
from reasonembed_stores.vectors import DTYPES, Matrix
from reasonembed_stores.view import View

__all__ = ["FaissStore"]


class FaissStore:
    """Keep documents with their vectors in one folder, or in memory, and search them by cosine similarity.

    Every call commits: a process that is killed at any moment leaves the state before or after the call. One store
    object writes at a time, from its first change until save() or close(); others can read meanwhile and see each
    commit.
    """

    def __init__(self, table: Table) -> None:
        """Take a table; use create or open to get a store."""
        self._current = CurrentTable(table)
        self._changing = ForkLock()

    @classmethod
    @renamed_arguments(codes="dtype", index="ann")
    def create(
        cls,
        path: str | Path | None = None,
        *,
        spec: EmbeddingSpec | None = None,
        dimension: int | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        ann: Literal["auto", "flat", "hnsw", "ivf"] = "auto",
    ) -> Self:
        """Create an empty store, in memory without a path.

        Without a spec or dimension the first vectors decide the dimension, and no model is refused later. `dtype` is
        how vectors are stored: float16 halves the space. `ann` is the index that save() builds: "flat" none, for exact
        search, "hnsw" a graph, "ivf" an inverted file; "auto" none up to 200,000 vectors, then a graph, and an
        inverted file beyond 2 million. Raises StoreError if the path exists already.
        """
        for name, value, known in (("dtype", dtype, tuple(DTYPES)), ("ann", ann, KINDS)):
            if value not in known:
                raise InputError(f"{name} is {value!r}; {want_one_of(value, known)}")
        state = State(0, 0, 0, check_dimension(dimension, spec), dtype, ann, None if spec is None else spec.to_json())
        return cls(Table.create(None if path is None else Path(path), state))

    @classmethod
    def open(cls, path: str | Path, *, spec: EmbeddingSpec | None = None) -> Self:
        """Open a saved store and check it; with a spec, check that its model may search these vectors.

        Raises StoreError for a foreign or damaged folder, and SpecMismatchError for another model's vectors.
        """
        store = cls(Table.open(Path(path)))
        try:
            if spec is not None:
                store.check_spec(spec)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open_or_create(cls, path: str | Path, *, spec: EmbeddingSpec | None = None) -> Self:
        """Open the store in a folder, or create it if there is none; raises what open and create raise."""
        make = cls.open if (Path(path) / "manifest.json").exists() else cls.create
        return make(path, spec=spec)

    def check_spec(self, spec: EmbeddingSpec) -> None:
        """Raise SpecMismatchError unless a model's queries may search these vectors."""
        self._current.check_spec(spec)

    @property
    def path(self) -> Path | None:
        """The folder; None for a store in memory."""
        return self._current.path

    @property
    def _table(self) -> Table:
        return self._current.opened().table

    @property
    def spec(self) -> EmbeddingSpec | None:
        """What fixes the vectors; None where the store was made without one."""
        text = self._view().state.spec
        return None if text is None else EmbeddingSpec.from_json(text)

    @property
    def dimension(self) -> int | None:
        """The length of every vector; None until the first documents come."""
        return self._view().state.dimension

    @property
    def dtype(self) -> str:
        """How vectors are stored: float32 or float16."""
        return self._table.view().state.dtype

    @property
    def commits(self) -> int:
        """The number of changes of the folder so far, other processes' included."""
        return self._table.view().state.generation

    @property
    def version(self) -> tuple[int, int]:
        """What changes whenever the documents do, by other processes too."""
        return self._current.version

    def begin(self) -> None:
        """Become the object that writes, as the first change does; raises StoreError if another one is writing."""
        with self._changing:
            self._table.begin()

    def __len__(self) -> int:
        return self._view().count

    def _view(self) -> View:
        return self._current.read(lambda opened: opened.table.view())

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
        """Yield documents in the order in which they were added or last replaced, reading them as they are asked for.

        Those that satisfy the filters and are among ids, where these are given; at most `limit` of them, without the
        first `offset`. Those of a folder are as they were at the first one, whatever is written meanwhile; in memory,
        each that is not deleted meanwhile comes once.
        """
        among = None if ids is None else id_list(ids)
        return listed(self._documents(among), filters, limit=limit, offset=offset)

    def _documents(self, among: Sequence[str] | None) -> Iterator[Document]:
        yield from self._table.catalog.documents(among)  # and keep this store open until the last one

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path only: a copy reads the folder until it writes. Raises StoreError for a store in memory."""
        if self.path is None:
            raise StoreError(
                "a store in memory cannot be pickled or copied; write it to a folder with copy_to(path), which is "
                "save_local in LangChain and persist in LlamaIndex, and open that"
            )
        return partial(type(self).open, spec=self._current.asked), (self.path,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._current.name}: {len(self)} documents, dimension {self.dimension}>"

    def upsert(self, documents: Sequence[Document], vectors: Matrix) -> None:
        """Add documents with their vectors (n, dimension), replacing those with known ids: all or nothing.

        Raises InputError for different counts, repeated ids, a wrong dimension, NaN or infinity, and metadata that is
        not JSON; StoreError if the disk refuses or another store object is writing.
        """
        self._upsert(Batch.of_documents(list(documents)), vectors)

    def upsert_texts(
        self, texts: Sequence[str], vectors: Matrix, *, ids: Sequence[str], metadatas: Sequence[Mapping[str, Any]]
    ) -> None:
        """Do the same as upsert, from columns: creating many Document objects takes half the time."""
        self._upsert(Batch.of_columns(list(ids), list(texts), metadatas), vectors)

    def _upsert(self, batch: Batch, vectors: Matrix) -> None:
        with self._changing:
            rows_ND = check_vectors(vectors, name="vectors", dimension=self.dimension if len(batch) else None)
            if len(rows_ND) != len(batch):
                raise InputError(f"got {len(batch)} documents and {len(rows_ND)} vectors; want one vector per document")
            if len(batch):
                table = self._table
                view = table.begin()
                known = table.catalog.keys_of(batch.ids) if view.count else {}
                table.change(batch, rows_ND, list(known.values()))

    def delete(self, ids: Collection[str]) -> int:
        """Remove documents and return how many there were; unknown ids are ignored."""
        with self._changing:
            table = self._table
            known = table.catalog.keys_of(id_list(ids))
            if known:
                view = table.begin()
                known = table.catalog.keys_of(list(known))
                nothing = np.empty((0, view.state.dimension or 0), dtype=np.float32)
                table.change(Batch(), nothing, list(known.values()))
            return len(known)

    def clear(self) -> None:
        """Remove every document; the dimension and spec stay."""
        with self._changing:
            table = self._table
            view = table.begin()
            table.rewrite(np.zeros(len(view.keys), dtype=np.bool_))

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents of these ids, in their order; unknown ids are left out."""
        wanted = id_list(ids)
        return self._current.read(lambda opened: opened.table.catalog.get(wanted))

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the stored unit vectors (n, dimension) of these ids; raises InputError for an unknown one."""
        wanted = id_list(ids)

        def read(opened: Opened) -> NDArray[np.float32] | None:
            keys = opened.table.catalog.keys_of(wanted)
            view = opened.table.view()
            unknown = [identity for identity in wanted if identity not in keys]
            if unknown:
                raise InputError(f"{self._current.name} has no document {unknown[0]!r}; want ids that were added")
            positions = view.positions_of([keys[identity] for identity in wanted])
            # else one of them was replaced in between
            return view.matrix[positions].astype(np.float32) if len(positions) == len(wanted) else None

        return self._current.read(read)

    def median_cosine(self) -> float | None:
        """Return the median cosine similarity between two documents; None where they are fewer than 20.

        Of 300 documents at most, spread over the store. What is no nearer to a question is likely no answer to it.
        """
        return self._view().median_cosine()

    def select(self, filters: FilterLike, *, ids: Collection[str] | None = None) -> list[Document]:
        """Return the documents that satisfy the filters, oldest first; only those among ids, if given."""
        tree, among = parse_filter(filters), None if ids is None else id_list(ids)

        def read(opened: Opened) -> list[Document]:
            view = opened.table.view()
            allowed = opened.finder.allowed(view, tree, among)
            keys: list[int] = view.keys[view.alive if allowed is None else allowed].tolist()
            return list(opened.table.catalog.documents_of(keys).values())

        return self._current.read(read)

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

        Only documents that satisfy the filters, are among ids and not among the query's excluded ids are ranked, so
        that fewer than k come back only where fewer are left. Raises InputError for k < 1, a wrong shape, NaN, and
        filters that cannot be read.
        """
        queries_QD = check_vectors(query_vectors, name="query_vectors", dimension=self.dimension)
        check_k(k)
        excluded = check_exclusions(excluded_ids, queries=len(queries_QD))
        tree, among = parse_filter(filters), None if ids is None else id_list(ids)

        def read(opened: Opened) -> list[Hits] | None:
            view = opened.table.view()
            if view.count == 0:
                return [Hits((), np.empty(0, np.float32), ())] * len(queries_QD)
            allowed = opened.finder.allowed(view, tree, among)
            found = opened.finder.find(view, queries_QD, k=k, allowed=allowed, excluded_ids=excluded)
            return _hits(opened.table.catalog, view, found, k)

        return self._current.read(read)

    @property
    def index(self) -> str:
        """A description of how the store searches."""
        return self._current.read(lambda opened: opened.finder.described(opened.table.view()))

    def build_index(self, *, on_message: Callable[[str], object] | None = None) -> None:
        """Build the ANN index if the store grew by a quarter since the last one; save() does this.

        It takes minutes for hundreds of thousands of vectors: on_message is called with a line before and after, which
        are logged by default.
        """
        with self._changing:
            self._current.opened().finder.build(on_message=on_message)

    def save(self, *, on_message: Callable[[str], object] | None = None) -> None:
        """Build the ANN index if it is due, seal the folder with checksums, and let another store object write.

        A sealed folder is checked byte by byte when it is opened. on_message is as in build_index. Raises InputError
        for a store in memory.
        """
        if self.path is None:
            raise InputError("this store is in memory; save it with copy_to(path), or create it with create(path)")
        self.build_index(on_message=on_message)
        self._table.save()

    def copy_to(self, path: str | Path) -> None:
        """Write everything to another folder and save it; the contents of a store there are replaced in one commit.

        Raises StoreError if the folder contains something else, or another store object is writing to it.
        """
        target = Path(path)
        if self.path is not None and target.exists() and target.samefile(self.path):
            self.save()
            return
        documents, view = self._committed()
        if (target / "manifest.json").exists():
            with type(self).open(target) as other:
                other._table.replace(documents, view)  # noqa: SLF001 - the same class
                other.save()
            return
        with new_folder(target) as aside, type(self)(Table.create(aside, view.state)) as other:
            other._table.replace(documents, view)  # noqa: SLF001 - the same class
            other.save()

    def _committed(self) -> tuple[list[Document], View]:
        def read(opened: Opened) -> tuple[list[Document], View] | None:
            view = opened.table.view()
            keys: list[int] = view.keys[view.alive].tolist()
            documents = opened.table.catalog.documents_of(keys)
            # else another process committed in between
            return ([documents[key] for key in keys], view) if len(documents) == len(keys) else None

        return self._current.read(read)

    def close(self) -> None:
        """Save and release files and connections; closing twice does nothing."""
        self._current.close()


def _hits(catalog: Catalog, view: View, found: Sequence[TopRows], k: int) -> list[Hits] | None:
    """Fetch the documents of the k best, ties by larger id; None where one of them was removed since the view."""
    tied = [one for one in found if len(one.rows) > k]
    names: dict[int, str] = {}
    if tied:
        names = catalog.ids_of(np.unique(view.keys[np.concatenate([one.rows for one in tied])]).tolist())
    best: list[list[tuple[float, int]]] = []
    for one in found:
        pairs = list(zip(one.scores.tolist(), view.keys[one.rows].tolist(), strict=True))
        if len(pairs) > k:
            pairs = sorted(pairs, key=lambda pair: (pair[0], names.get(pair[1], "")), reverse=True)[:k]
        best.append(pairs)
    documents = catalog.documents_of(sorted({key for pairs in best for _, key in pairs}))
    if any(key not in documents for pairs in best for _, key in pairs):
        return None
    return [_ranked([(documents[key], score) for score, key in pairs]) for pairs in best]


def _ranked(found: Sequence[tuple[Document, float]]) -> Hits:
    best = sorted(found, key=lambda pair: (pair[1], pair[0].id), reverse=True)
    documents = tuple(document for document, _ in best)
    return Hits(
        tuple(document.id for document in documents),
        np.asarray([score for _, score in best], dtype=np.float32),
        documents,
    )

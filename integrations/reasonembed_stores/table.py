"""The table under a store: documents in a catalog, vectors in slots, one writer, any number of readers."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import StoreError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.catalog import Catalog, Change, Extent, Snapshot, State, encode_documents
from reasonembed_stores.folder import Manifest, StoreFolder, new_folder
from reasonembed_stores.lock import WriterLock
from reasonembed_stores.vectors import CODES, Matrix, VectorBuffer, VectorFile, Vectors

__all__ = ["Table", "View"]

_BLOCK_BYTES = 1 << 26
_FEWEST_DEAD = 1000
_DEAD_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class View:
    """A committed state in memory; later changes make another view and leave this one as it is."""

    state: State
    keys: NDArray[np.int64]
    """The key of each slot, growing."""
    alive: NDArray[np.bool_]
    """Whether the slot's document is still there."""
    matrix: Matrix
    """The slots' vectors (n, dimension) of unit length."""
    count: int
    """How many documents are there."""

    def slots_of(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slots of these keys; keys that this view does not hold are left out."""
        wanted = np.asarray(keys, dtype=np.int64)
        held = wanted[np.isin(wanted, self.keys)]
        return np.searchsorted(self.keys, held)


class Table:
    """Commit changes to documents and vectors together, and follow those that others commit."""

    def __init__(self, catalog: Catalog, folder: StoreFolder | None, *, sealed: bool = False) -> None:
        self._catalog = catalog
        self._folder = folder
        self._lock = WriterLock(folder.lock) if folder is not None else None
        self._guard = RLock()
        self._version = -1
        self._vectors: Vectors | None = None
        self._view = self._loaded(catalog.snapshot(), verify=not sealed)
        self._finalizer = weakref.finalize(self, _finish, catalog, folder, self._lock, os.getpid())

    @classmethod
    def create(cls, path: Path | None, *, spec: EmbeddingSpec | None, dimension: int | None, codes: str) -> Self:
        """Make an empty table; a folder is whole or not there at all."""
        state = State(0, 0, 0, dimension, codes, "flat", None if spec is None else spec.to_json())
        if path is None:
            return cls(Catalog.create(None, state), None)
        with new_folder(path) as aside:
            folder = StoreFolder(aside)
            Catalog.create(folder.catalog, state).close()
            folder.write_manifest(_manifest(state, documents=0))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder and check it; raises StoreError for a foreign, truncated or damaged one."""
        folder = StoreFolder(path)
        manifest = folder.read_manifest()
        folder.verify(manifest)
        sealed = bool(manifest.files)
        table = cls(
            Catalog.open(folder.catalog, immutable=sealed and not os.access(path, os.W_OK)), folder, sealed=sealed
        )
        generation = table._view.state.generation
        if generation < manifest.generation:
            table.close()
            raise StoreError(
                f"{path} is at commit {generation}, its manifest at {manifest.generation}: was catalog.sqlite-wal left "
                "behind when it was copied? restore the whole folder or index anew"
            )
        return table

    @property
    def path(self) -> Path | None:
        """The folder, or None for a table in memory."""
        return None if self._folder is None else self._folder.path

    @property
    def catalog(self) -> Catalog:
        """The documents."""
        return self._catalog

    def view(self) -> View:
        """Return the last committed state, whoever committed it."""
        with self._guard:
            if self._folder is not None:
                version = self._catalog.version()
                if version != self._version:
                    self._view = self._followed()
                    self._version = version
            return self._view

    def _followed(self) -> View:
        old = self._view
        last = int(old.keys[-1]) if len(old.keys) else -1
        snapshot = self._catalog.snapshot(after_key=last, after_generation=old.state.generation)
        if snapshot.state.layout != old.state.layout or len(old.keys) == 0:
            return self._loaded(self._catalog.snapshot(), verify=True)
        new = tuple(extent for extent in snapshot.extents if extent.start >= len(old.keys))
        return self._extended(old, snapshot, new, verify=True)

    def _loaded(self, snapshot: Snapshot, *, verify: bool) -> View:
        for _ in range(3):
            state = snapshot.state
            empty = np.empty((0, state.dimension or 0), dtype=CODES[state.codes])
            blank = View(state, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_), empty, 0)
            self._vectors = None if state.dimension is None else self._open_vectors(state, state.dimension)
            try:
                return self._extended(blank, snapshot, snapshot.extents, verify=verify)
            except StoreError:
                # The writer may have written the vectors anew and removed the old file meanwhile.
                again = self._catalog.snapshot()
                if again.state.layout == state.layout:
                    raise
                snapshot = again
        raise StoreError(f"{self.path} changes faster than it can be read; try again")

    def _open_vectors(self, state: State, dimension: int) -> Vectors:
        if self._folder is None:
            return VectorBuffer(dimension, state.codes)
        return VectorFile(self._folder.vectors(state.layout, state.codes), dimension, state.codes)

    def _extended(self, old: View, snapshot: Snapshot, new: Sequence[Extent], *, verify: bool) -> View:
        keys = np.concatenate([old.keys, snapshot.keys])
        if sum(extent.count for extent in new) != len(snapshot.keys):
            raise StoreError(f"{self.path} holds {len(snapshot.keys)} new documents and vectors for others; index anew")
        matrix = old.matrix
        if self._vectors is not None:
            matrix = self._vectors.matrix(len(keys))
            if verify and isinstance(self._vectors, VectorFile):
                self._vectors.verify(new)
        return _with_dead(replace(old, state=snapshot.state, keys=keys, matrix=matrix), old.alive, snapshot.dead)

    def begin(self) -> View:
        """Become the writer and return the state that will be changed; raises StoreError where another is writing."""
        with self._guard:
            if self._lock is None or self._folder is None or self._lock.held:
                return self.view()
            self._lock.acquire()
            try:
                view = self.view()
                self._folder.write_manifest(_manifest(view.state, documents=view.count))  # unsealed
            except BaseException:
                self._lock.release()
                raise
            return view

    def change(self, documents: Sequence[Document], vectors_ND: NDArray[np.float32], dead: Sequence[int]) -> None:
        """Commit documents with their vectors, and the going of others: all, or nothing where an error is raised."""
        with self._guard:
            old = self.begin()
            rows = encode_documents(documents, old.state.next_key)
            state = replace(
                old.state,
                generation=old.state.generation + 1,
                next_key=old.state.next_key + len(rows),
                dimension=vectors_ND.shape[1] if old.state.dimension is None and rows else old.state.dimension,
            )
            if self._vectors is None and state.dimension is not None:
                self._vectors = self._open_vectors(state, state.dimension)
            size = len(old.keys)
            extents = (self._vectors.append(vectors_ND, size),) if rows and self._vectors is not None else ()
            self._catalog.commit(Change(state, dead, rows, extents))
            born = np.arange(old.state.next_key, state.next_key, dtype=np.int64)
            snapshot = Snapshot(state, born, np.asarray(dead, dtype=np.int64), extents)
            self._view = self._extended(old, snapshot, extents, verify=False)
            self._tidy()

    def _tidy(self) -> None:
        """Drop the vectors of the dead once they are many, so that repeated upserts do not fill the disk."""
        view = self._view
        dead = len(view.keys) - view.count
        if dead >= _FEWEST_DEAD and dead >= _DEAD_SHARE * len(view.keys):
            self.rewrite(view.alive)

    def rewrite(self, kept: NDArray[np.bool_]) -> None:
        """Write the vectors of the kept slots anew and drop the other documents, in one commit."""
        with self._guard:
            old = self.begin()
            state = replace(old.state, generation=old.state.generation + 1, layout=old.state.layout + 1)
            vectors = None if state.dimension is None else self._open_vectors(state, state.dimension)
            slots = np.flatnonzero(kept)
            extents: list[Extent] = []
            block = max(1, _BLOCK_BYTES // max(1, old.matrix.itemsize * (state.dimension or 1)))
            if vectors is not None:
                extents = [
                    vectors.append(old.matrix[slots[start : start + block]], start)
                    for start in range(0, len(slots), block)
                ]
            gone: list[int] = old.keys[old.alive & ~kept].tolist()
            self._catalog.commit(Change(state, gone, (), extents, rewritten=True))
            self._vectors = vectors
            matrix = vectors.matrix(len(slots)) if vectors is not None else old.matrix
            self._view = View(state, old.keys[slots], np.ones(len(slots), dtype=np.bool_), matrix, len(slots))
            if self._folder is not None:
                self._folder.remove_stale([self._folder.vectors(state.layout, state.codes)])

    def save(self) -> None:
        """Seal the folder with checksums and let another writer come."""
        with self._guard:
            if self._folder is not None and self._lock is not None and self._lock.held:
                _seal(self._catalog, self._folder)
                self._lock.release()

    def close(self) -> None:
        """Save and let go of files and connections."""
        with self._guard:
            self._finalizer()


def _with_dead(view: View, alive: NDArray[np.bool_], dead: NDArray[np.int64]) -> View:
    alive = np.concatenate([alive, np.ones(len(view.keys) - len(alive), dtype=np.bool_)])
    alive[view.slots_of(dead)] = False
    return replace(view, alive=alive, count=int(np.count_nonzero(alive)))


def _manifest(state: State, *, documents: int) -> Manifest:
    spec = None if state.spec is None else EmbeddingSpec.from_json(state.spec)
    return Manifest(
        generation=state.generation,
        codes=state.codes,
        dimension=state.dimension,
        documents=documents,
        spec=None if state.spec is None else json.loads(state.spec),
        spec_digest=None if spec is None else spec.digest(),
    )


def _seal(catalog: Catalog, folder: StoreFolder) -> None:
    snapshot = catalog.snapshot()
    names = [folder.catalog.name, folder.vectors(snapshot.state.layout, snapshot.state.codes).name]
    manifest = _manifest(snapshot.state, documents=len(snapshot.keys) - len(snapshot.dead))
    if catalog.checkpoint():  # else a reader is in the log, and the catalog's own checksums must do
        manifest = replace(manifest, files=folder.seal(names))
    folder.write_manifest(manifest)


def _finish(catalog: Catalog, folder: StoreFolder | None, lock: WriterLock | None, owner: int) -> None:
    """End the work of a table that was closed or forgotten; a forked child leaves its parent's alone."""
    if os.getpid() != owner:
        return
    try:
        if folder is not None and lock is not None and lock.held:
            _seal(catalog, folder)
    finally:
        catalog.close()
        if lock is not None:
            lock.release()

"""The table under a store: documents in a catalog, vectors in slots, one writer, any number of readers."""

from __future__ import annotations

import json
import logging
import os
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import StoreError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.batch import Batch
from reasonembed_stores.catalog import Catalog, Change, Extent, Snapshot, State
from reasonembed_stores.folder import Manifest, SealedFile, StoreFolder, new_folder
from reasonembed_stores.lock import WriterLock
from reasonembed_stores.structures import Structure, read_structure, write_structure
from reasonembed_stores.vectors import Matrix, VectorBuffer, VectorFile, Vectors
from reasonembed_stores.view import View, blank_view

__all__ = ["Table"]

_logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 26
_FEWEST_DEAD = 1000
_DEAD_SHARE = 0.25
_ATTEMPTS = 10


class Table:
    """Commit changes to documents and vectors together, and follow those that others commit."""

    def __init__(self, catalog: Catalog, folder: StoreFolder | None, manifest: Manifest | None = None) -> None:
        """Take the parts of a table; use create or open to get one."""
        self.catalog = catalog
        self._folder = folder
        self._lock = WriterLock(folder.lock) if folder is not None else None
        self._writing = RLock()
        self._following = RLock()
        self._vectors: Vectors | None = None
        self._version = catalog.version()
        unsealed = manifest is not None and not manifest.files
        self._view = self._loaded(verify=unsealed)
        if unsealed:
            catalog.verify()
        self._finalizer = weakref.finalize(self, _finish, catalog, folder, self._lock, os.getpid())

    @classmethod
    def create(cls, path: Path | None, state: State) -> Self:
        """Make an empty table, in memory where there is no path; a folder is whole or not there at all."""
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
        immutable = bool(manifest.files) and not os.access(path, os.W_OK)
        catalog = Catalog.open(folder.catalog, immutable=immutable)
        try:
            table = cls(catalog, folder, manifest)
        except BaseException:
            catalog.close()
            raise
        state = table.view().state
        if state.generation < manifest.generation:
            table.close()
            raise StoreError(
                f"{path} is at commit {state.generation}, its manifest at {manifest.generation}: was "
                "catalog.sqlite-wal left behind when it was copied? restore the whole folder or index anew"
            )
        return table

    @property
    def path(self) -> Path | None:
        """The folder, or None for a table in memory."""
        return None if self._folder is None else self._folder.path

    def view(self) -> View:
        """Return the last committed state, whoever committed it."""
        if self._lock is None or self._lock.held:
            return self._view  # nobody else commits, and this object's own writer need not be waited for
        with self._following:
            if not self._lock.held:
                self._follow()
            return self._view

    def _follow(self) -> None:
        """Take in what others committed since the last look."""
        version = self.catalog.version()
        if version == self._version:
            return
        old = self._view
        last = int(old.keys[-1]) if len(old.keys) else -1
        snapshot = self.catalog.snapshot(after_key=last, after_generation=old.state.generation)
        if snapshot.state.layout == old.state.layout and len(old.keys):
            new = [extent for extent in snapshot.extents if extent.start >= len(old.keys)]
            self._view = self._extended(old, snapshot, new, verify=True)
        else:
            self._view = self._loaded(verify=True)
        self._version = version

    def _loaded(self, *, verify: bool) -> View:
        for _ in range(_ATTEMPTS):
            snapshot = self.catalog.snapshot()
            self._vectors = self._open_vectors(snapshot.state)
            try:
                return self._extended(blank_view(snapshot.state), snapshot, snapshot.extents, verify=verify)
            except StoreError:
                # A writer may have written the vectors anew meanwhile, and removed the old file.
                if self.catalog.snapshot().state.layout == snapshot.state.layout:
                    raise
        raise StoreError(f"{self.path} changes faster than it can be read; try again")

    def _open_vectors(self, state: State) -> Vectors | None:
        if state.dimension is None:
            return None
        if self._folder is None:
            return VectorBuffer(state.dimension, state.codes)
        return VectorFile(self._folder.vectors(state.layout, state.codes), state.dimension, state.codes)

    def _extended(self, old: View, snapshot: Snapshot, new: Sequence[Extent], *, verify: bool) -> View:
        if sum(extent.count for extent in new) != len(snapshot.keys):
            raise StoreError(f"{self.path} has documents without vectors, or vectors without documents; index anew")
        matrix = old.matrix
        if self._vectors is not None:
            matrix = self._vectors.matrix(len(old.keys) + len(snapshot.keys))
            if verify and isinstance(self._vectors, VectorFile):
                self._vectors.verify(new)
        return old.followed_by(snapshot, matrix)

    def begin(self) -> View:
        """Become the writer and return the state that will be changed; raises StoreError where another is writing."""
        with self._writing, self._following:
            if self._lock is not None and self._folder is not None and not self._lock.held:
                self._lock.acquire()
                try:
                    self._follow()
                    self._unseal(self._folder.read_manifest().index)
                except BaseException:
                    self._lock.release()
                    raise
            return self._view

    def _unseal(self, index: SealedFile | None) -> None:
        """Say on disk that the sealed checksums hold no longer, before the files change."""
        if self._folder is not None:
            self._folder.write_manifest(_manifest(self._view.state, documents=self._view.count, index=index))

    def change(self, batch: Batch, vectors_ND: NDArray[np.float32], dead: Sequence[int]) -> None:
        """Commit documents with their vectors, and the going of others: all, or nothing where an error is raised."""
        with self._writing:
            old = self.begin()
            state = replace(
                old.state,
                generation=old.state.generation + 1,
                next_key=old.state.next_key + len(batch),
                dimension=vectors_ND.shape[1] if len(batch) else old.state.dimension,
            )
            vectors = self._vectors or self._open_vectors(state)
            extents = [vectors.append(vectors_ND, len(old.keys))] if len(batch) and vectors is not None else []
            self.catalog.commit(Change(state, dead, batch, extents))
            self._vectors = vectors
            born = np.arange(old.state.next_key, state.next_key, dtype=np.int64)
            snapshot = Snapshot(state, born, np.asarray(dead, dtype=np.int64), tuple(extents))
            self._show(self._extended(old, snapshot, extents, verify=False))
            self._tidy()

    def _show(self, view: View) -> None:
        with self._following:
            self._view = view

    def _tidy(self) -> None:
        """Drop the vectors of the dead once they are many, so that repeated upserts do not fill the disk."""
        view = self._view
        dead = len(view.keys) - view.count
        if dead >= _FEWEST_DEAD and dead >= _DEAD_SHARE * len(view.keys):
            self.rewrite(view.alive)

    def rewrite(self, kept: NDArray[np.bool_]) -> None:
        """Write the vectors of the kept slots anew and drop the other documents, in one commit."""
        with self._writing:
            old = self.begin()
            state = replace(old.state, generation=old.state.generation + 1, layout=old.state.layout + 1)
            slots = np.flatnonzero(kept)
            vectors, extents = self._written(state, old.matrix, slots)
            gone: list[int] = old.keys[old.alive & ~kept].tolist()
            self._replace(Change(state, gone, extents=extents, rewritten=True), vectors, old.keys[slots])

    def replace(self, documents: Sequence[Document], source: View) -> None:
        """Take over the documents and vectors of another table's view in the place of all own ones, in one commit."""
        with self._writing:
            old = self.begin()
            batch = Batch.of_documents(documents)
            state = replace(
                source.state,
                generation=old.state.generation + 1,
                layout=old.state.layout + 1,
                next_key=old.state.next_key + len(batch),
            )
            vectors, extents = self._written(state, source.matrix, np.flatnonzero(source.alive))
            keys = np.arange(old.state.next_key, state.next_key, dtype=np.int64)
            self._replace(Change(state, old.keys[old.alive].tolist(), batch, extents, rewritten=True), vectors, keys)

    def _written(self, state: State, matrix: Matrix, slots: NDArray[np.int64]) -> tuple[Vectors | None, list[Extent]]:
        """Write the vectors of some slots to the file of a new layout, in blocks."""
        vectors = self._open_vectors(state)
        if vectors is None:
            return None, []
        block = max(1, _BLOCK_BYTES // (matrix.itemsize * matrix.shape[1]))
        starts = range(0, len(slots), block)
        return vectors, [vectors.append(matrix[slots[start : start + block]], start) for start in starts]

    def _replace(self, change: Change, vectors: Vectors | None, keys: NDArray[np.int64]) -> None:
        self._unseal(None)  # a search structure over the old slots means nothing any more
        self.catalog.commit(change)
        self._vectors = vectors
        blank = blank_view(change.state)
        matrix = blank.matrix if vectors is None else vectors.matrix(len(keys))
        self._show(View(change.state, keys, np.ones(len(keys), dtype=np.bool_), matrix, len(keys)))
        if self._folder is not None:
            self._folder.remove_stale([self._folder.vectors(change.state.layout, change.state.codes)])

    def write_structure(self, structure: Structure) -> None:
        """Keep a search structure over this table's slots; raises StoreError where the disk refuses."""
        with self._writing:
            state = self.begin().state
            if self._folder is not None:
                path = self._folder.index(state.layout, structure.covered)
                write_structure(structure, path)
                (index,) = self._folder.seal([path.name])
                self._unseal(index)
                self._folder.remove_stale([self._folder.vectors(state.layout, state.codes), path])

    def read_structure(self, layout: int) -> Structure | None:
        """Return the search structure that was kept for a layout, if there is one."""
        index = None if self._folder is None else self._folder.read_manifest().index
        if self._folder is None or index is None or not index.name.startswith(self._folder.index(layout, 0).name[:12]):
            return None
        return read_structure(self._folder.path / index.name)

    def save(self) -> None:
        """Seal the folder with checksums and let another writer come."""
        with self._writing, self._following:
            if self._folder is not None and self._lock is not None and self._lock.held:
                _seal(self.catalog, self._folder)
                self._version = self.catalog.version()
                self._lock.release()

    def close(self) -> None:
        """Save and let go of files and connections."""
        with self._writing:
            try:
                self.save()
            finally:
                self._finalizer()


def _manifest(state: State, *, documents: int, index: SealedFile | None = None) -> Manifest:
    return Manifest(
        generation=state.generation,
        codes=state.codes,
        dimension=state.dimension,
        documents=documents,
        spec=None if state.spec is None else json.loads(state.spec),
        spec_digest=None if state.spec is None else EmbeddingSpec.from_json(state.spec).digest(),
        index=index,
    )


def _seal(catalog: Catalog, folder: StoreFolder) -> None:
    snapshot = catalog.snapshot()
    names = [folder.catalog.name, folder.vectors(snapshot.state.layout, snapshot.state.codes).name]
    manifest = _manifest(
        snapshot.state, documents=len(snapshot.keys) - len(snapshot.dead), index=folder.read_manifest().index
    )
    if catalog.checkpoint():  # else a reader is in the log, and the catalog's own checksums must do
        manifest = replace(manifest, files=folder.seal(names))
    folder.write_manifest(manifest)


def _finish(catalog: Catalog, folder: StoreFolder | None, lock: WriterLock | None, owner: int) -> None:
    """End the work of a table that was closed or forgotten; a forked child leaves its parent's alone."""
    if os.getpid() != owner:
        return
    try:
        if folder is not None and lock is not None and lock.held and folder.path.exists():
            _seal(catalog, folder)
    except (StoreError, OSError) as error:
        _logger.warning("%s was not sealed; its commits are safe: %s", folder and folder.path, error)
    finally:
        catalog.close()
        if lock is not None:
            lock.release()

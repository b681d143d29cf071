"""The table of a store: documents in a catalog, vectors by position, one writer, any number of readers."""

from __future__ import annotations

import json
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import StoreError
from reasonembed_rag.forks import ForkLock
from reasonembed_stores.ann import AnnIndex, read_ann_index, write_ann_index
from reasonembed_stores.batch import Batch
from reasonembed_stores.catalog import Catalog, Change, Snapshot, State
from reasonembed_stores.folder import Manifest, StoreFolder, new_folder
from reasonembed_stores.vectors import Matrix, VectorBuffer, VectorFile
from reasonembed_stores.view import View, blank_view

__all__ = ["Table"]

_logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 26
_MIN_DEAD = 1000
_DEAD_SHARE = 0.25
_ATTEMPTS = 10


class Table:
    """Commit changes to documents and vectors together, and follow the commits of other processes."""

    def __init__(self, catalog: Catalog, folder: StoreFolder | None = None) -> None:
        """Take a catalog and the folder it is in; use create or open to get a table."""
        self.catalog = catalog
        self._folder = folder
        self._writing = ForkLock()
        self._following = ForkLock()
        self._vectors: VectorBuffer | VectorFile | None = None
        self._version: tuple[int, int] | None = None
        self._view = blank_view(replace(catalog.state(), generation=-1, next_key=0))
        self._catch_up()
        self._finalizer = weakref.finalize(self, _finish, catalog, folder)

    @classmethod
    def create(cls, path: Path | None, state: State) -> Self:
        """Create an empty table, in memory without a path; a folder is created whole or not at all."""
        if path is None:
            return cls(Catalog.create(None, state))
        with new_folder(path) as aside:
            folder = StoreFolder(aside)
            catalog = Catalog.create(folder.catalog, state)
            _write_manifest(catalog, folder, {})
            catalog.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder and verify it; raises StoreError for a foreign, incomplete or damaged one."""
        folder = StoreFolder(path)
        manifest = folder.read_manifest()
        folder.verify(manifest)
        catalog = Catalog.open(folder.catalog, immutable=manifest.is_sealed and not os.access(path, os.W_OK))
        try:
            _verify_catalog(catalog, path, manifest)
            return cls(catalog, folder)
        except BaseException:
            catalog.close()
            raise

    @property
    def path(self) -> Path | None:
        """The folder; None for a table in memory."""
        return None if self._folder is None else self._folder.path

    @property
    def is_writing(self) -> bool:
        """Whether this object of this process is the writer of its folder."""
        return self._folder is not None and self._folder.lock.held

    def is_in_place(self) -> bool:
        """Tell whether the folder is still the one that was opened; one in memory always is."""
        return self.catalog.is_in_place()

    @property
    def spec_text(self) -> str | None:
        """The spec of the state that was read last."""
        return self._view.state.spec

    def view(self) -> View:
        """Return the last committed state, of any process."""
        if self._folder is None or self._folder.lock.held:
            return self._view  # only this object commits, and readers need not wait for it
        with self._following:
            if not self._folder.lock.held:
                self._catch_up()
            return self._view

    def _catch_up(self) -> None:
        """Read what others committed since the last time, and verify it."""
        version = self.catalog.version()
        if version == self._version:
            return
        for _ in range(_ATTEMPTS):
            snapshot = self.catalog.snapshot(self._view.state)
            if snapshot.state.generation < self._view.state.generation:
                raise StoreError(f"{self.path} was replaced by an earlier state of it; open it again")
            try:
                self._view = self._after(snapshot, verify=True)
            except StoreError:
                # A writer may have rewritten the vectors in the meantime, and removed the old file.
                if self.catalog.state().layout == snapshot.state.layout:
                    raise
            else:
                self._version = version
                return
        raise StoreError(f"{self.path} changes faster than it can be read; try again")

    def _after(self, snapshot: Snapshot, *, verify: bool) -> View:
        """Return the view after a snapshot, which contains everything if the layout has changed."""
        vectors = self._vectors_of(snapshot.state)
        old = self._view if snapshot.state.layout == self._view.state.layout else blank_view(snapshot.state)
        extents = [extent for extent in snapshot.extents if extent.start >= len(old.keys)]
        if sum(extent.count for extent in extents) != len(snapshot.keys):
            raise StoreError(f"{self.path} has documents without vectors, or vectors without documents; index again")
        matrix = old.matrix
        if vectors is not None:
            matrix = vectors.matrix(len(old.keys) + len(snapshot.keys))
            if verify:
                vectors.verify(matrix, extents)
        self._vectors = vectors
        return old.followed_by(snapshot, matrix)

    def _vectors_of(self, state: State) -> VectorBuffer | VectorFile | None:
        """Return where the vectors of a state's layout are; None while the dimension is unknown."""
        if self._vectors is not None and state.layout == self._view.state.layout:
            return self._vectors
        if state.dimension is None:
            return None
        if self._folder is None:
            return VectorBuffer(state.dimension, state.dtype)
        return VectorFile(self._folder.vectors(state.layout, state.dtype), state.dimension, state.dtype)

    def begin(self) -> View:
        """Become the writer and return the state to change; raises StoreError if another object is writing."""
        with self._writing, self._following:
            if self._folder is not None and not self._folder.lock.held:
                self._folder.lock.acquire()
                try:
                    self.check_in_place()
                    self._catch_up()
                    self._unseal(self._folder)
                except BaseException:
                    self._folder.lock.release()
                    raise
            self.check_in_place()
            return self._view

    def check_in_place(self) -> None:
        """Raise StoreError where a change would go to a folder that another has replaced, or into that one."""
        if not self.is_in_place():
            raise StoreError(
                f"{self.path} was removed or replaced since it was opened, and what was written to it went with it; "
                "close this store, open the folder again and repeat the changes"
            )

    def _unseal(self, folder: StoreFolder) -> None:
        """Remove the catalog's checksum from the manifest before the catalog changes."""
        manifest = folder.read_manifest()
        _write_manifest(self.catalog, folder, _ann_checksums(manifest, folder))
        if manifest.version == 1:
            _logger.info("%s: writing in format 2 from now on, which earlier releases do not open", folder.path)

    def change(self, batch: Batch, vectors_ND: NDArray[np.float32], dead: Sequence[int]) -> None:
        """Commit new documents with their vectors and the deletion of others; all of it, or nothing on an error."""
        with self._writing:
            old = self.begin()
            state = replace(
                old.state,
                generation=old.state.generation + 1,
                next_key=old.state.next_key + len(batch),
                dimension=vectors_ND.shape[1] if len(batch) else old.state.dimension,
            )
            vectors = self._vectors_of(state)
            extents = [vectors.append(vectors_ND, len(old.keys))] if len(batch) and vectors is not None else []
            keys = np.arange(old.state.next_key, state.next_key, dtype=np.int64)
            with self.catalog.exclusively():  # a fork meets both or neither
                self.catalog.commit(Change(state, dead, batch, extents))
                self._vectors = vectors
                self._view = self._after(Snapshot(state, keys, np.asarray(dead, dtype=np.int64), extents), verify=False)
            gone = len(self._view.keys) - self._view.count
            if gone >= _MIN_DEAD and gone >= _DEAD_SHARE * len(self._view.keys):
                self.rewrite(self._view.alive)  # so that repeated upserts do not fill the disk

    def rewrite(self, kept: NDArray[np.bool_]) -> None:
        """Write the vectors at the kept positions to a new layout and delete the other documents, in one commit."""
        with self._writing:
            old = self.begin()
            state = replace(old.state, generation=old.state.generation + 1, layout=old.state.layout + 1)
            gone: list[int] = old.keys[old.alive & ~kept].tolist()
            self._commit_layout(Change(state, gone), old.matrix, np.flatnonzero(kept), old.keys[kept])

    def replace(self, documents: Sequence[Document], source: View) -> None:
        """Replace all documents and vectors by those of another table's view, in one commit."""
        with self._writing:
            old = self.begin()
            batch = Batch.of_documents(documents)
            state = replace(
                source.state,
                generation=old.state.generation + 1,
                layout=old.state.layout + 1,
                next_key=old.state.next_key + len(batch),
            )
            keys = np.arange(old.state.next_key, state.next_key, dtype=np.int64)
            change = Change(state, old.keys[old.alive].tolist(), batch)
            self._commit_layout(change, source.matrix, np.flatnonzero(source.alive), keys)

    def _commit_layout(
        self, change: Change, matrix: Matrix, positions: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> None:
        """Write the vectors at some positions of a matrix to a new layout, in blocks, and commit it."""
        vectors = self._vectors_of(change.state)
        block = max(1, _BLOCK_BYTES // max(1, matrix.itemsize * matrix.shape[1]))
        starts = range(0, len(positions) if vectors is not None else 0, block)
        extents = [vectors.append(matrix[positions[at : at + block]], at) for at in starts if vectors is not None]
        if self._folder is not None:
            _write_manifest(self.catalog, self._folder, {})  # an ANN index of the old layout is obsolete
        with self.catalog.exclusively():
            self.catalog.commit(replace(change, extents=extents, rewritten=True))
            self._vectors = vectors
            new = vectors.matrix(len(keys)) if vectors is not None else matrix[:0]
            self._view = View(change.state, keys, np.ones(len(keys), dtype=np.bool_), new, len(keys))
        if self._folder is not None:
            self._folder.remove_stale([self._folder.vectors(change.state.layout, change.state.dtype)])

    def write_ann_index(self, index: AnnIndex) -> None:
        """Store an ANN index of this table's vectors; raises StoreError if the disk refuses."""
        with self._writing:
            state = self.begin().state
            if self._folder is not None:
                path = self._folder.ann(state.layout, index.covered)
                write_ann_index(index, path)
                _write_manifest(self.catalog, self._folder, {path.name: self._folder.checksum(path.name)})
                self._folder.remove_stale([self._folder.vectors(state.layout, state.dtype), path])

    def read_ann_index(self, layout: int) -> AnnIndex | None:
        """Return the stored ANN index of a layout; None if there is none."""
        if self._folder is None:
            return None
        prefix = self._folder.ann(layout, 0).name.removesuffix("0.faiss")
        names = [name for name in self._folder.read_manifest().files if name.startswith(prefix)]
        return read_ann_index(self._folder.path / names[0]) if names else None

    def save(self) -> None:
        """Seal the folder with checksums and let another writer start."""
        with self._writing, self._following:
            if self._folder is not None and self._folder.lock.held:
                self.check_in_place()
                _seal(self.catalog, self._folder)
                self._folder.lock.release()

    def close(self) -> None:
        """Save and release files and connections."""
        with self._writing:
            try:
                self.save()
            finally:
                self._finalizer()


def _verify_catalog(catalog: Catalog, path: Path, manifest: Manifest) -> None:
    """Raise StoreError if the catalog is damaged, or older than its manifest."""
    if not manifest.is_sealed:
        catalog.verify()
    generation = catalog.state().generation
    if generation < manifest.generation:
        raise StoreError(
            f"{path} is at commit {generation}, its manifest at {manifest.generation}: was catalog.sqlite-wal left "
            "behind when it was copied? restore the whole folder or index again"
        )


def _write_manifest(catalog: Catalog, folder: StoreFolder, files: Mapping[str, str]) -> None:
    state = catalog.state()
    spec = None if state.spec is None else json.loads(state.spec)
    about = {"dtype": state.dtype, "dimension": state.dimension, "documents": catalog.count(), "spec": spec}
    folder.write_manifest(Manifest(state.generation, files, about))


def _ann_checksums(manifest: Manifest, folder: StoreFolder) -> dict[str, str]:
    return {name: checksum for name, checksum in manifest.files.items() if name != folder.catalog.name}


def _seal(catalog: Catalog, folder: StoreFolder) -> None:
    """Write the catalog's checksum to the manifest, unless a reader still uses the write-ahead log."""
    files = _ann_checksums(folder.read_manifest(), folder)
    if catalog.checkpoint():
        files[folder.catalog.name] = folder.checksum(folder.catalog.name)
    _write_manifest(catalog, folder, files)


def _finish(catalog: Catalog, folder: StoreFolder | None) -> None:
    """End the work of a table that was closed or forgotten; in a forked child, only what the child began."""
    try:
        if folder is not None and folder.lock.held and catalog.is_in_place():
            _seal(catalog, folder)
    except (StoreError, OSError) as error:
        _logger.warning("%s was not sealed; its commits are safe: %s", folder and folder.path, error)
    finally:
        catalog.close()
        if folder is not None:
            folder.lock.release()

"""One open FaissStore per folder and process, as a notebook opens a folder again whenever a cell is run again."""

from __future__ import annotations

import os
from pathlib import Path
from weakref import WeakValueDictionary

from reasonembed_rag.errors import StoreError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.faiss_store import FaissStore

__all__ = ["open_shared"]

_lock = ForkLock()
_opened: WeakValueDictionary[tuple[int, int, int], FaissStore] = WeakValueDictionary()


def open_shared(path: str | Path, *, spec: EmbeddingSpec | None = None, create: bool = False) -> FaissStore:
    """Return the open store of a folder, opened or created if this process does not have it open.

    A second store object of the folder could not write before the first is saved or closed. With a spec, raises
    SpecMismatchError for another model's vectors.
    """
    with _lock:
        known = _known(path)
        if known is not None:  # an empty store is falsy
            if spec is not None:
                known.check_spec(spec)
            return known
        new = create and not (Path(path) / "manifest.json").exists()
        store = FaissStore.create(path, spec=spec) if new else FaissStore.open(path, spec=spec)
        _opened[_key(path)] = store
        return store


def _known(path: str | Path) -> FaissStore | None:
    try:
        store = _opened.get(_key(path))
        return store if store is not None and store.get([]) == [] else None
    except (OSError, StoreError):  # no such folder, or the store was closed
        return None


def _key(path: str | Path) -> tuple[int, int, int]:
    """Return what is the same for one folder in one process, however it is spelt, and not for one in its place."""
    status = Path(path).stat()
    return os.getpid(), status.st_dev, status.st_ino

"""Open a store of either kind by its folder."""

from __future__ import annotations

import json
from pathlib import Path

from reasonembed_rag.errors import StoreError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.folder import StoreFolder
from reasonembed_stores.store import Store

__all__ = ["index_spec", "open_store"]


def open_store(path: str | Path, *, spec: EmbeddingSpec | None = None) -> Store:
    """Open the FaissStore or ChromaStore in a folder; with a spec, check that its model may search it.

    Raises StoreError for a folder without a store and SpecMismatchError for another model's vectors.
    """
    folder = Path(path)
    if (folder / "chroma.sqlite3").is_file():
        from reasonembed_stores.chroma_store import ChromaStore

        return ChromaStore.open(folder, spec=spec)
    if not (folder / "manifest.json").is_file():
        found = "has no manifest.json, so it is no index" if folder.is_dir() else "is a file" if folder.exists() else ""
        missing = "does not exist" if folder.is_absolute() else f"does not exist in {Path.cwd()}"
        raise StoreError(
            f"{folder} {found or missing}; want the folder of an index: create one with `reasonembed index`"
        )
    from reasonembed_stores.faiss_store import FaissStore

    return FaissStore.open(folder, spec=spec)


def index_spec(path: str | Path) -> EmbeddingSpec | None:
    """Return what fixes the vectors of a FaissStore's folder, without opening the store; None if it was made without.

    Raises StoreError for a folder without a store.
    """
    spec = StoreFolder(Path(path)).read_manifest().about.get("spec")
    return None if spec is None else EmbeddingSpec.from_json(json.dumps(spec))

"""Load shards of vectors that were encoded elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reasonembed_rag.errors import InputError
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.index_options import IndexOptions, create_store, unfinished_until_done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reasonembed_rag.scale import VectorShards
    from reasonembed_stores.store import Store

__all__ = ["index_vectors", "load_vectors"]


def load_vectors(shards: VectorShards, store: Store, *, on_progress: Callable[[int, int], None] | None = None) -> int:
    """Add every document of the shards to a store and return how many; those of known ids are replaced.

    Loading again after a kill is safe. Raises InputError for shards without texts, SpecMismatchError for a store of
    another model.
    """
    if not shards.has_text:
        raise InputError("the shards were encoded without texts, which an index needs; encode the corpus with them")
    store.check_spec(shards.spec)
    done = 0
    for batch in shards:
        store.upsert(batch.documents, batch.vectors)
        done += len(batch.documents)
        if on_progress is not None:
            on_progress(done, len(shards))
    return done


def index_vectors(
    shards: VectorShards,
    to: Path,
    *,
    dtype: Literal["float32", "float16"] | None = None,
    ann: Literal["auto", "flat", "hnsw", "ivf"] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Load shards into the FaissStore in a folder, which is created if missing; returns the number of documents.

    Raises what load_vectors raises, and InputError for a dtype or ann of a store that exists.
    """
    options = IndexOptions(dtype=dtype, ann=ann)
    options.check(to)
    if not shards.has_text:
        raise InputError("the shards were encoded without texts, which an index needs; encode the corpus with them")
    if not (to / "manifest.json").exists():
        create_store(to, shards.spec, options).close()
    with FaissStore.open(to, spec=shards.spec) as store, unfinished_until_done(to):
        count = load_vectors(shards, store, on_progress=on_progress)
        store.save()
    return count

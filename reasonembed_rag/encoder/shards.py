"""Vectors of a large corpus as a folder of Arrow files, in an order that survives being killed: finished shards stay.

While it is being filled the folder has a name that begins with a dot; under its own name it is complete. Each shard
tells in its schema's metadata which spec and which texts it holds, so that a second run goes on only where the first
one worked on the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.encoder.corpus import WINDOW, Window, encode_window, overlapped, windows
from reasonembed_rag.errors import InputError, MissingDependencyError, SpecMismatchError, StoreError
from reasonembed_rag.files import flush_folder, replacing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from reasonembed_rag.protocols import Embedder
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["encode_to_shards"]

_SPEC = b"reasonembed.spec"
_TEXTS = b"reasonembed.texts"


def encode_to_shards(embedder: Embedder, texts: Iterable[str], folder: Path | str, *, window: int = WINDOW) -> int:
    """Write the vectors of documents to a folder of Arrow files, a window a file, and return how many there are.

    The column "vector" is a list of float32 of fixed size; `pyarrow.dataset.dataset(folder, format="arrow")` reads the
    folder, in input order. Call it again with the same texts after a kill: only unfinished windows are encoded.
    Raises SpecMismatchError for a folder begun with another model, StoreError for one begun with other texts or another
    window, MissingDependencyError without pyarrow, and what encode_stream raises.
    """
    _pyarrow()
    folder = Path(folder)
    if folder.is_file():
        raise InputError(f"{folder}: is a file; want the path of a folder to write")
    complete = folder.is_dir()
    place = folder if complete else folder.with_name(f".{folder.name}.partial")
    place.mkdir(parents=True, exist_ok=True)
    for path in sorted(place.glob("*.arrow"))[:1]:  # before any work: the model is told apart by any shard
        _check_spec(path, _metadata(path), embedder.spec)

    def shard(one: Window) -> int:
        path = place / f"{one.start // window:08d}.arrow"
        if path.is_file():
            _check(path, one, embedder.spec)
        elif complete:
            raise StoreError(f"{folder}: is complete and holds fewer texts; delete it or choose another folder")
        else:
            _write(path, encode_window(embedder, one), _described(one, embedder.spec))
        return len(one.texts)

    counts = list(overlapped(windows(texts, window), shard))
    shards = len(list(place.glob("*.arrow")))
    if shards != len(counts):
        raise StoreError(f"{place}: holds {shards} shards, the texts make {len(counts)}; delete it to begin anew")
    if not complete:
        for left_over in place.glob(".*.tmp"):  # of a writer that was killed
            left_over.unlink()
        place.rename(folder)
        flush_folder(folder.parent)
    return sum(counts)


def _described(window: Window, spec: EmbeddingSpec) -> dict[bytes, bytes]:
    digest = hashlib.blake2b(digest_size=16)
    for text in window.texts:
        raw = text.encode(errors="surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return {_SPEC: spec.to_json().encode(), _TEXTS: digest.hexdigest().encode()}


def _check(path: Path, window: Window, spec: EmbeddingSpec) -> None:
    """Raise unless a shard that is there already holds this window of texts, encoded by this model."""
    metadata = _metadata(path)
    _check_spec(path, metadata, spec)
    if metadata.get(_TEXTS) != _described(window, spec)[_TEXTS]:
        raise StoreError(
            f"{path}: holds other texts than those from {window.start} to {window.start + len(window.texts)}; "
            "want the same texts in the same order and the same window as before, or delete the folder to begin anew"
        )


def _check_spec(path: Path, metadata: dict[bytes, bytes], spec: EmbeddingSpec) -> None:
    if _SPEC not in metadata:
        raise StoreError(f"{path}: was not written by encode_to_shards; choose another folder")
    written = metadata[_SPEC].decode()
    if written != spec.to_json():
        raise SpecMismatchError(
            f"{path}: was written with {written}, the model at hand is {spec.to_json()}; "
            "load the model as it was, or delete the folder to begin anew"
        )


def _metadata(path: Path) -> dict[bytes, bytes]:
    pyarrow = _pyarrow()
    try:
        with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_file(file) as reader:
            return dict(reader.schema.metadata or {})
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it, its texts will be encoded again") from error


def _write(path: Path, vectors: NDArray[np.float32], metadata: dict[bytes, bytes]) -> None:
    pyarrow = _pyarrow()
    flat = pyarrow.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    schema = pyarrow.schema([pyarrow.field("vector", column.type, nullable=False)], metadata=metadata)
    with replacing(path) as file, pyarrow.ipc.new_file(file, schema) as writer:
        writer.write_batch(pyarrow.record_batch([column], schema=schema))


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet") from error
    return pa

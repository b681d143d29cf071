"""Corpora larger than memory: texts from an iterator, vectors to an iterator or to one file."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import BackendError, InputError, StoreError
from reasonembed_rag.files import replacing
from reasonembed_rag.protocols import Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reasonembed_rag.protocols import Embedder

__all__ = [
    "WINDOW",
    "EncodingProgress",
    "Window",
    "corpus_digest",
    "encode_corpus",
    "encode_corpus_to_disk",
    "encode_stream",
    "encode_to_file",
    "encode_window",
    "overlapped",
    "windows",
]

WINDOW = 16_384
"""Texts in memory at a time, by default: many enough to sort well by length."""
_HEADER_BYTES = 128
"""The header of a .npy file: of fixed size, as the number of rows is known only at the end."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Window:
    """Texts that are read together; the first stands at row `start` of the whole."""

    start: int
    texts: list[str]


def encode_stream(embedder: Embedder, texts: Iterable[str], *, window: int = WINDOW) -> Iterator[NDArray[np.float32]]:
    """Yield float32 vectors (n, dimension) of documents, window by window, in input order.

    One window is encoded in a thread of its own while the next is read in the caller's and the one before is used by
    the caller: three windows are in memory at most. An error of the texts' iterator is raised after the vectors of all
    texts before it. Raises InputError for a single string, a window below 1 and texts that cannot be encoded.
    """
    return overlapped(windows(texts, window), lambda one: encode_window(embedder, one))


def encode_to_file(embedder: Embedder, texts: Iterable[str], path: Path | str, *, window: int = WINDOW) -> int:
    """Write the vectors of documents to one .npy file of float32 (n, dimension), and return n.

    `np.load(path, mmap_mode="r")` opens it without reading it. The file appears whole at the end or not at all; at no
    time are more than three windows in memory. Raises what encode_stream raises, InputError for a path that is a
    folder, OSError for one that cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; want the path of a .npy file to write")
    stream = encode_stream(embedder, texts, window=window)
    count = 0
    with replacing(path) as file:
        file.write(_header(0, embedder.dimension))
        for vectors in stream:
            file.write(np.ascontiguousarray(vectors, dtype="<f4").data)
            count += len(vectors)
        file.seek(0)
        file.write(_header(count, embedder.dimension))
    return count


def windows(texts: Iterable[str], size: int) -> Iterator[Window]:
    """Return the texts in windows of `size`; raises InputError at once for a single string and a size below 1."""
    if isinstance(texts, str | bytes):
        raise InputError(f"texts is a single {type(texts).__name__}; want an iterable of strings: wrap it in a list")
    if size < 1:
        raise InputError(f"window is {size}; want at least 1 text")
    iterator = iter(texts)
    lists = iter(lambda: list(itertools.islice(iterator, size)), [])
    return (Window(number * size, chunk) for number, chunk in enumerate(lists))


def encode_window(embedder: Embedder, window: Window) -> NDArray[np.float32]:
    """Return the vectors (n, dimension) of a window's texts as documents; errors tell where in the whole it stands."""
    try:
        vectors = embedder.encode_documents(window.texts)
    except InputError as error:
        raise InputError(f"{error} (counted from text {window.start} of the whole)") from error
    wanted = (len(window.texts), embedder.dimension)
    if vectors.shape != wanted:
        raise BackendError(f"{type(embedder).__name__} gave vectors {vectors.shape}; want {wanted}")
    return vectors


def overlapped(items: Iterator[_Item], work: Callable[[_Item], _Result]) -> Iterator[_Result]:
    """Yield work(item) in order; the next item is read, and the last result used, while one is being worked on.

    Items are read in the caller's thread. An error of theirs waits until all results before it are out. A caller that
    stops early waits for the work in hand, so that what it works with is free again.
    """
    pending: Future[_Result] | None = None
    failure: Exception | None = None
    try:
        while True:
            try:
                item = next(items)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, in its place
                failure = error
                break
            if pending is None:
                pending = _start(work, item)
            else:
                result = pending.result()
                pending = _start(work, item)
                yield result
        if pending is not None:
            yield pending.result()
    except GeneratorExit:
        if pending is not None:
            pending.exception()
        raise
    if failure is not None:
        raise failure


def _start(work: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
    """Work in a daemon thread: one that is given up, as by Ctrl-C, does not keep the program from ending."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(work(item))
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            future.set_exception(error)

    threading.Thread(target=run, name="reasonembed-stream", daemon=True).start()
    return future


def _header(rows: int, dimension: int) -> bytes:
    """Return the header of a .npy file (format 1.0), padded to its fixed size."""
    described = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}"
    text = described.ljust(_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")


EncodingProgress = Callable[[int, int], None]
"""Told (documents encoded, documents in all)."""

_SHARD_DOCUMENTS = 8192
_CALL_DOCUMENTS = 1024
"""Documents given to the embedder at once: enough for its batches, few enough for news of the progress."""


def encode_corpus(
    embedder: Embedder,
    documents: Sequence[Document],
    *,
    shard_size: int = _SHARD_DOCUMENTS,
    progress: EncodingProgress | None = None,
) -> list[NDArray[np.float32]]:
    """Return the documents' vectors in shards of (shard_size, D), in memory; ids never reach the model."""
    starts = _starts(len(documents), shard_size)
    return [_encode(embedder, documents, start, shard_size, progress) for start in starts]


def encode_corpus_to_disk(
    embedder: Embedder,
    documents: Sequence[Document],
    *,
    folder: Path,
    shard_size: int = _SHARD_DOCUMENTS,
    progress: EncodingProgress | None = None,
) -> list[NDArray[np.float32]]:
    """Return the documents' vectors in shards mapped read-only from disk; only shards that are not there are encoded.

    They lie in folder/<spec digest>/<corpus digest>, each written whole or not at all: a killed run loses the shard it
    was at. Raises InputError where the folder cannot be written, StoreError for a file there that is not such a shard.
    """
    home = folder / embedder.spec.digest() / corpus_digest(documents, shard_size=shard_size)
    shards: list[NDArray[np.float32]] = []
    for number, start in enumerate(_starts(len(documents), shard_size)):
        path = home / f"{number:06}.npy"
        stop = min(start + shard_size, len(documents))
        if not path.is_file():
            _write(path, _encode(embedder, documents, start, shard_size, progress))
        shards.append(_open(path, (stop - start, embedder.dimension)))
        _tell(progress, stop, len(documents))
    return shards


def corpus_digest(documents: Sequence[Document], *, shard_size: int) -> str:
    """Return 32 hexadecimal digits that change with any content, their order and the size of the shards."""
    digest = hashlib.blake2b(f"{shard_size}\n".encode(), digest_size=16)
    for document in documents:
        content = document.content.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _starts(count: int, shard_size: int) -> range:
    if shard_size < 1:
        raise InputError(f"shard_size is {shard_size}; want at least 1")
    return range(0, count, shard_size)


def _encode(
    embedder: Embedder, documents: Sequence[Document], start: int, size: int, progress: EncodingProgress | None
) -> NDArray[np.float32]:
    """Encode one shard."""
    stop = min(start + size, len(documents))
    shard = np.empty((stop - start, embedder.dimension), dtype=np.float32)
    for first in range(start, stop, _CALL_DOCUMENTS):
        contents = [document.content for document in documents[first : min(first + _CALL_DOCUMENTS, stop)]]
        shard[first - start : first - start + len(contents)] = embedder.encode_documents(contents)
        _tell(progress, first + len(contents), len(documents))
    return shard


def _tell(progress: EncodingProgress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _write(path: Path, vectors: NDArray[np.float32]) -> None:
    try:
        with replacing(path) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(vectors), allow_pickle=False)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot keep vectors there ({error.strerror}); name a folder with room, or keep none"
        ) from error


def _open(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not a shard of vectors ({error}); delete it and run again") from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise StoreError(
            f"{path}: holds {vectors.dtype} {vectors.shape}, want float32 {shape}; delete it and run again"
        )
    return np.asarray(vectors)

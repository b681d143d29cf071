"""Corpora larger than memory: texts from an iterator, vectors to an iterator or to one file."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from reasonembed_rag.atomic import replacing
from reasonembed_rag.errors import BackendError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reasonembed_rag.embedder import Embedder

__all__ = ["WINDOW", "Window", "encode_stream", "encode_to_file", "encode_window", "overlapped", "windows"]

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

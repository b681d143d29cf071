"""Graphs in the user's cache: written once per model and number format, memory-mapped by every later process.

All together take at most GRAPH_BYTES: those used least recently are deleted, but none that a process has open.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from reasonembed_rag.backbone import cache_folder, is_marked, mark
from reasonembed_rag.files import replacing
from reasonembed_rag.graph.builder import GRAPH_FILE, Graph
from reasonembed_rag.graph.cores import with_begun_threads
from reasonembed_rag.graph.eviction import delete_unused, evict, hold_graph
from reasonembed_rag.graph.products import largest_weight
from reasonembed_rag.graph.runtime import onnx_runtime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reasonembed_rag.graph.eviction import Hold
    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["WRITER", "OpenGraph", "open_graph", "open_memory", "written_once"]

_logger = logging.getLogger(__name__)

WRITER = 8
"""Raise it with every change of what is written for the same model."""
_LENGTH_BYTES = 8


class OpenGraph(NamedTuple):
    """A session, and what it reads: memory, or a file, which stays in the cache meanwhile."""

    session: Any
    source: Graph | Hold
    threads: frozenset[int]
    """The threads of the session, and perhaps others that began with them."""


def open_graph(
    weights: EncoderWeights, *, dtype: str, options: Callable[[], Any], write: Callable[[], Graph], even: bool = False
) -> OpenGraph:
    """Open the graph of a model from the cache, or write it there first; `even`: for batches without padding only.

    A file that this project did not leave as it is, damaged or changed, is written anew; without the permission to
    write, the graph stays in memory. Both are logged once per process, and so are deletions for want of room.
    """
    path = _path(weights, dtype)
    if path.is_file():
        opened = _open_file(path, options, even=even)
        if opened is not None:
            return opened
        _warn(f"{path}: damaged, or not as it was written; it is written anew")
    graph = write()
    try:
        deleted = _save(graph, path)
    except OSError as error:
        _warn(f"{path}: cannot be written ({error.strerror}); the graph is made anew by every process")
        return open_memory(graph, options, even=even)
    if deleted:
        _warn(f"{path.parents[2]}: full; graphs of models that were not used for the longest time were deleted")
    return _open_file(path, options, even=even) or open_memory(graph, options, even=even)


def _path(weights: EncoderWeights, dtype: str) -> Path:
    """Return the file of a graph; those of one model and number format share a folder, the newest remains."""
    onnxruntime = onnx_runtime()

    spec = weights.spec
    model = _digest(spec.model, spec.revision, spec.adapter, *(["segments"] if weights.segments else []))
    versions = (WRITER, onnxruntime.__version__, largest_weight())
    key = _digest(
        weights.digest, dict(weights.config), dtype, spec.pooling, versions, *(["segments"] if weights.segments else [])
    )
    return cache_folder() / "graphs" / f"{model}-{dtype}" / key / GRAPH_FILE


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _save(graph: Graph, path: Path) -> int:
    """Write the tensors, both models behind them and their lengths; then delete older graphs of the model, and others.

    Return how many others were deleted because all together were too large.
    """
    with replacing(path) as file:
        for name, tensor in graph.tensors.items():
            file.seek(graph.offsets[name])
            file.write(tensor.data)
        for model in (graph.model, graph.even):
            file.write(model)
        for model in (graph.model, graph.even):
            file.write(len(model).to_bytes(_LENGTH_BYTES, "little"))
    mark(_identity(path))
    for folder in path.parents[1].iterdir():
        if folder != path.parent:
            delete_unused(folder)
    return evict(path.parents[2], keep=path.parent)


def _identity(path: Path) -> str:
    """Describe a file so that any change of it, or another file in its place, is described differently."""
    state = path.stat()
    return f"graph {path.parent.name} {state.st_size} {state.st_ino} {state.st_mtime_ns} {state.st_ctime_ns}"


def _open_file(path: Path, options: Callable[[], Any], *, even: bool) -> OpenGraph | None:
    """Return a session whose large tensors are mapped from the file; None where it is not as it was written."""
    try:
        held = hold_graph(path)
        if not is_marked(_identity(path)):
            return None
        with path.open("rb") as file:
            end = file.seek(-2 * _LENGTH_BYTES, 2)
            lengths = [int.from_bytes(file.read(_LENGTH_BYTES), "little") for _ in range(2)]
            file.seek(end - (lengths[1] if even else sum(lengths)))
            model = file.read(lengths[even])
        chosen = options()
        chosen.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        return _opened(model, chosen, held)
    except Exception:  # noqa: BLE001 - ONNX Runtime's own errors have no common class; the graph is written anew
        return None


def written_once(open_one: Callable[..., OpenGraph]) -> Callable[..., OpenGraph]:
    """Return a function that opens a graph as open_one does, but writes none anew that is in memory."""
    kept: list[Graph] = []

    def opened(*, options: Callable[[], Any], even: bool = False) -> OpenGraph:
        if kept:
            return open_memory(kept[0], options, even=even)
        found = open_one(options=options, even=even)
        if isinstance(found.source, Graph):
            kept.append(found.source)
        return found

    return opened


def open_memory(graph: Graph, options: Callable[[], Any], *, even: bool = False) -> OpenGraph:
    """Return a session that reads the large tensors where they are."""
    onnxruntime = onnx_runtime()

    chosen = options()
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(tensor) for tensor in graph.tensors.values()]
    chosen.add_external_initializers(list(graph.tensors), values)
    return _opened(graph.even if even else graph.model, chosen, graph)


def _opened(model: bytes, options: Any, source: Graph | Hold) -> OpenGraph:
    make = functools.partial(onnx_runtime().InferenceSession, model, options, providers=["CPUExecutionProvider"])
    session, threads = with_begun_threads(make)
    return OpenGraph(session, source, threads)


@functools.cache
def _warn(message: str) -> None:
    """Log once per process."""
    _logger.warning(message)

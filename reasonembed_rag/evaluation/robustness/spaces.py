"""The geometry of a model's vectors of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.embedder import Embedder
from reasonembed_rag.evaluation.robustness.geometry import Geometry, geometry
from reasonembed_rag.evaluation.task import RetrievalTask
from reasonembed_rag.retrieval.corpus_vectors import EncodingProgress, encode_corpus, encode_corpus_to_disk

__all__ = ["task_geometry"]

_MOST_DOCUMENTS = 20_000
"""Of more documents a seeded sample is taken: bounds the memory."""


def task_geometry(
    embedder: Embedder,
    task: RetrievalTask,
    *,
    cache: Path | None = None,
    progress: EncodingProgress | None = None,
    seed: int = 0,
) -> dict[str, Geometry]:
    """Return the geometry of a task's documents and, of two queries or more, of its queries with their alignment.

    Alignment is that of each query with its gold documents. The queries get the instruction of the task's card where
    the model takes one. With a cache folder the documents' vectors are taken from there. Raises InputError for fewer
    than two documents.
    """
    if cache is None:
        shards = encode_corpus(embedder, task.documents, progress=progress)
    else:
        shards = encode_corpus_to_disk(embedder, task.documents, folder=cache, progress=progress)
    found = {"documents": geometry(_rows(shards, _sample(len(task.documents), seed)), seed=seed)}
    if len(task.examples) < 2:
        return found
    instruction = task.card.instruction if task.card and embedder.spec.takes_instruction else None
    queries_QD = embedder.encode_queries([example.query for example in task.examples], instruction=instruction)
    row_of = {document.id: row for row, document in enumerate(task.documents)}
    pairs = [
        (number, row_of[identity])
        for number, example in enumerate(task.examples)
        for identity in example.gold_ids
        if identity in row_of
    ]
    positives = None
    if pairs:
        asked, gold = np.asarray(pairs, dtype=np.int64).T
        positives = (queries_QD[asked], _rows(shards, gold))
    return {**found, "queries": geometry(queries_QD, positives, seed=seed)}


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    if count <= _MOST_DOCUMENTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _MOST_DOCUMENTS, replace=False))


def _rows(shards: list[NDArray[np.float32]], rows_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of the shards laid end to end, read shard by shard."""
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    taken = np.empty((len(rows_N), shards[0].shape[1]), dtype=np.float32)
    for start, stop, shard in zip(starts, starts[1:], shards, strict=False):
        of_shard = (rows_N >= start) & (rows_N < stop)
        taken[of_shard] = shard[rows_N[of_shard] - start]
    return taken

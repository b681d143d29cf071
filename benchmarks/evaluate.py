"""Measure the cost of evaluation: scoring, large exclusion lists, the largest corpus, overhead on an encoder.

python benchmarks/evaluate.py [--model default] [--documents 413932]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.evaluation import Example, QueryResult, RetrievalTask, Run, System, run_retriever, score_run
from reasonembed_rag.files import TableDocuments
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_rag.spec import EmbeddingSpec

_DIMENSION = 384


class _Noise:
    """An embedder of random vectors, which costs next to nothing."""

    dimension = _DIMENSION
    spec = EmbeddingSpec(
        model="noise",
        pooling="mean",
        attention="bidirectional",
        max_query_length=1,
        max_document_length=1,
        dimension=_DIMENSION,
    )

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        del task, instruction, show_progress
        return self._vectors(len(texts))

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        del show_progress
        return self._vectors(len(texts))

    def _vectors(self, count: int) -> NDArray[np.float32]:
        vectors = self._generator.standard_normal((count, _DIMENSION), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _task(documents: int, queries: int, excluded: int) -> RetrievalTask:
    ids = [f"topic/document_{number}.txt" for number in range(documents)]
    generator = np.random.default_rng(1)
    examples = tuple(
        Example(
            str(number),
            f"query {number}",
            tuple(ids[row] for row in generator.choice(documents, 5, replace=False)),
            tuple(ids[row] for row in generator.choice(documents, excluded, replace=False)) if excluded else (),
        )
        for number in range(queries)
    )
    return RetrievalTask("bench", None, TableDocuments(ids, lambda start, stop: ids[start:stop]), examples)


def _scoring() -> None:
    task = _task(100_000, 1000, 0)
    ids = [document.id for document in task.documents]
    generator = np.random.default_rng(2)
    results = []
    for example in task.examples:
        rows = generator.choice(len(ids), 1000, replace=False)
        scores = np.round(generator.random(1000, dtype=np.float32), 3)
        results.append(QueryResult(example.id, Hits(tuple(ids[row] for row in rows), scores)))
    bare = RetrievalTask("bench", None, (), task.examples)
    start = time.perf_counter()
    score_run(Run(tuple(results), 1000), bare, system=System(name="bench"))
    print(
        f"score 1,000 queries x 1,000 documents, with ties, intervals and slices: {time.perf_counter() - start:.2f} s"
    )


def _exclusions(documents: int) -> None:
    for excluded in (0, 11_000):
        task = _task(documents, 111, min(excluded, documents // 2))
        with tempfile.TemporaryDirectory() as folder:
            retriever = DenseRetriever(_Noise(), task.documents, cache=Path(folder))
            start = time.perf_counter()
            retriever.encode()
            encoded = time.perf_counter()
            run_retriever(retriever, task)
            searched = time.perf_counter() - encoded
        print(
            f"{documents:,} documents, 111 queries one by one, {excluded:,} exclusions each: "
            f"encoded in {encoded - start:.1f} s, searched in {searched:.1f} s, peak memory {_peak_gib():.2f} GiB"
        )


def _overhead(model: str) -> None:
    from reasonembed_rag import Encoder
    from reasonembed_rag.evaluation import evaluate_embedder
    from reasonembed_rag.evaluation.python_reference import load_python_reference

    encoder = Encoder.from_pretrained(model)
    task = load_python_reference("test")
    encoder.encode_documents([document.content for document in task.documents[:64]])
    # CPU time, since other processes on the machine must not count.
    start = time.process_time()
    encoder.encode_documents([document.content for document in task.documents])
    for example in task.examples:
        encoder.encode_queries([example.query])
    encoding = time.process_time() - start
    start = time.process_time()
    evaluate_embedder(encoder, task)
    whole = time.process_time() - start
    print(
        f"{model} on python_reference ({len(task.documents):,} documents, {len(task.examples)} queries), CPU time: "
        f"encoding {encoding:.2f} s, whole evaluation {whole:.2f} s ({100 * (whole / encoding - 1):+.1f} %)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--documents", type=int, default=413_932, help="BRIGHT's largest corpus by default")
    arguments = parser.parse_args()
    _scoring()
    _exclusions(188_002)
    _exclusions(arguments.documents)
    _overhead(arguments.model)


if __name__ == "__main__":
    main()

"""Measure what a cross-encoder adds to the default model on dev sets, and by which share of the first stage's score.

    python benchmarks/rerank_quality.py runs/reranker/model [--data data] [--queries 300] [--depth 30]

The first stage is the default model, alone and with a quarter of BM25; the cross-encoder scores its first documents.
Every second query chooses the share of the cross-encoder's score, one share for all sets; the other queries measure it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag import Encoder
from reasonembed_rag.evaluation import RetrievalTask, bootstrap_intervals, read_task_folder, score_rankings
from reasonembed_rag.evaluation.python_reference import load_python_reference
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline import Fusion, InterpolatedReranker, Weighted
from reasonembed_rag.protocols import Reranker, Retriever
from reasonembed_rag.rerank import CrossEncoder
from reasonembed_rag.retrieval import BM25, DenseRetriever

_MEASURE = "nDCG@10"
_SETS = ("entailmentbank", "strategyqa", "ecare", "tldr")
_SHARES = tuple(number / 20 for number in range(21))


class _Remembering:
    """A cross-encoder that scores each pair once, over all first stages and shares."""

    def __init__(self, inner: CrossEncoder) -> None:
        self._inner = inner
        self._scores: dict[tuple[str, str], float] = {}

    def rerank(self, queries: Sequence[str], hits: Sequence[Hits], *, k: int | None = None) -> list[Hits]:
        pairs = [
            [(query, document.content) for document in found.documents or ()]
            for query, found in zip(queries, hits, strict=True)
        ]
        new = [pair for pair in dict.fromkeys(pair for own in pairs for pair in own) if pair not in self._scores]
        self._scores.update(zip(new, self._inner.score(new).tolist(), strict=True))
        return [
            Hits.ranked((replace(hit, score=self._scores[pair]) for hit, pair in zip(found, own, strict=True)), k=k)
            for found, own in zip(hits, pairs, strict=True)
        ]


def tasks(data: Path, queries: int) -> Iterator[RetrievalTask]:
    """Yield the dev sets without queries that were trained on, of large ones evenly spaced queries."""
    for name in (*_SETS, None):
        task = load_python_reference("dev") if name is None else read_task_folder(data / name, split="dev")
        train = () if name is None else read_task_folder(data / name, split="train").examples
        trained = {example.query for example in train}  # ecare has some queries in both splits
        examples = [example for example in task.examples if example.query not in trained]
        yield replace(task, examples=tuple(examples[:: max(1, len(examples) // queries)][:queries]))


def scores_by_share(task: RetrievalTask, first: Retriever, reranker: Reranker, *, depth: int) -> NDArray[np.float64]:
    """Return nDCG@10 (share, query) of the first stage's documents by each share of the cross-encoder's score."""
    queries = [example.query for example in task.examples]
    documents = {document.id: document for document in task.documents}
    excluded = [example.excluded_ids for example in task.examples]
    found = [
        Hits(hits.ids, hits.scores, tuple(documents[identity] for identity in hits.ids))
        for hits in first.search(queries, k=depth, excluded_ids=excluded)
    ]
    gold = {example.id: example.gold_ids for example in task.examples}
    scores = []
    for share in _SHARES:
        ranked = InterpolatedReranker(reranker, weight=share).rerank(queries, found)
        rankings = {example.id: hits.ids for example, hits in zip(task.examples, ranked, strict=True)}
        measures = score_rankings(rankings, gold)
        scores.append([measures[example.id][_MEASURE] for example in task.examples])
    return np.asarray(scores)


def report(name: str, names: Sequence[str], tables: Sequence[NDArray[np.float64]]) -> None:
    """Print what the cross-encoder alone and at the chosen share adds to a first stage."""
    chosen = int(np.argmax(np.mean([table[:, ::2].mean(axis=1) for table in tables], axis=0)))
    print(f"\n{name}; share chosen by every second query: {_SHARES[chosen]:.2f}\n")
    print("| set | queries | first stage | cross-encoder alone | at that share, other half |\n|---|---|---|---|---|")
    for label, own in [*((label, [table]) for label, table in zip(names, tables, strict=True)), ("mean", [*tables])]:
        first = np.mean([table[0].mean() for table in own])
        alone = _difference([table[-1] - table[0] for table in own])
        mixed = _difference([(table[chosen] - table[0])[1::2] for table in own])
        print(f"| {label} | {sum(table.shape[1] for table in own)} | {first:.4f} | {alone} | {mixed} |")
    means = np.mean([table.mean(axis=1) for table in tables], axis=0)
    print("\nmean by share:", *(f"{share:.2f} {mean:.4f}" for share, mean in zip(_SHARES, means, strict=True)))


def _difference(groups: Sequence[NDArray[np.float64]]) -> str:
    """Return the mean of the sets' means with its interval."""
    (interval,) = bootstrap_intervals([values[:, None] for values in groups])
    mean = float(np.mean([values.mean() for values in groups]))
    return f"{mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reranker", help="a cross-encoder's folder or hub id")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--queries", type=int, default=300, help="of a set at most")
    parser.add_argument("--depth", type=int, default=30, help="documents that are reranked")
    parser.add_argument("--model", default="default", help="of the first stage")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a pair that are read")
    parser.add_argument("--cache", type=Path, help="a folder for the vectors of documents")
    options = parser.parse_args(arguments)
    encoder = Encoder.from_pretrained(options.model)
    names: list[str] = []
    tables: dict[str, list[NDArray[np.float64]]] = {options.model: [], f"{options.model} and BM25": []}
    with CrossEncoder.from_pretrained(options.reranker, max_length=options.max_length) as model:
        reranker = _Remembering(model)
        for task in tasks(options.data, options.queries):
            dense = DenseRetriever(encoder, task.documents, cache=options.cache)
            both = Fusion([Weighted(dense, 0.75), Weighted(BM25(task.documents), 0.25)])
            firsts: tuple[Retriever, ...] = (dense, both)
            for of_stage, first in zip(tables.values(), firsts, strict=True):
                of_stage.append(scores_by_share(task, first, reranker, depth=options.depth))
            names.append(task.name)
    for name, of_stage in tables.items():
        report(name, names, of_stage)


if __name__ == "__main__":
    main()

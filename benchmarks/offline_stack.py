"""Measure what each stage that needs no LLM adds to a model's vectors: BM25 over pieces of words or stems, feedback.

python benchmarks/offline_stack.py [--model default ...] [--split dev] [--data data] [--set FOLDER ...]
    [--queries N] [--only NAME ...] [--vectors FOLDER] [--no-encoding] [--json out.json]

The sets are python_reference (of --split), the docstrings of benchmarks/generality.py, the dev splits of --data, and
folders in BRIGHT's format. Of more than --queries dev queries every second, third ... is taken. Vectors are kept in
--vectors, by model and set, and read from there in the next run. The fusion is that of HybridSearch, over the
whole corpus: scores scaled from 0 to 1 within the best 1,000 of each list. Feedback replaces the query's vector by
a x query + (1 - a) x mean of the first m documents of the fused list, then fuses again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from generality import docstring_task
from numpy.typing import NDArray

from reasonembed_rag import Encoder
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import RetrievalTask, bootstrap_intervals, read_task_folder
from reasonembed_rag.evaluation.python_reference import load_python_reference
from reasonembed_rag.retrieval import BM25, EnglishAnalyzer, GramAnalyzer, unit_rows
from reasonembed_stores import BM25_WEIGHT, FUSION_DEPTH

_DEV_SETS = ("entailmentbank", "strategyqa", "attack", "tldr", "ecare")
_WEIGHTS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
_FEEDBACK = ((3, 0.9), (3, 0.8), (5, 0.8))
_CUTOFF = 10

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One stage on one set: mean nDCG@10, and the paired difference to the vectors alone with its 95 % interval."""

    model: str
    name: str
    stage: str
    queries: int
    mean: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Set:
    """A task with its vectors, the rows of gold and excluded documents, and BM25 scores by analysis."""

    task: RetrievalTask
    queries_QD: Scores
    documents_ND: Scores
    gold: tuple[frozenset[int], ...]
    excluded: tuple[list[int], ...]
    lexical: Mapping[str, Scores]


def scaled(scores_QN: Scores, *, found: NDArray[np.bool_] | None = None) -> Scores:
    """Scale each row from 0 to 1 within its best documents among those found; the others get 0."""
    among_QN = np.where(found, scores_QN, -np.inf) if found is not None else scores_QN
    depth = min(FUSION_DEPTH, among_QN.shape[1])
    among_QN = np.where(among_QN >= -np.partition(-among_QN, depth - 1, axis=1)[:, [depth - 1]], among_QN, -np.inf)
    high_Q1 = among_QN.max(axis=1, keepdims=True)
    low_Q1 = np.where(np.isfinite(among_QN), among_QN, np.inf).min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        inside_QN = np.where(high_Q1 > low_Q1, (among_QN - low_Q1) / (high_Q1 - low_Q1), 1.0)
    return np.where(np.isfinite(among_QN), inside_QN, 0.0).astype(np.float32)


def stages(one: Set) -> Iterator[tuple[str, Scores]]:
    """Yield the scores (Q, N) of each stage by name, the vectors alone first."""
    dense_QN = one.queries_QD @ one.documents_ND.T
    allowed_QN = np.ones(dense_QN.shape, dtype=np.bool_)
    for row, excluded in enumerate(one.excluded):
        allowed_QN[row, excluded] = False
    plain_QN = scaled(dense_QN, found=allowed_QN)
    lexical = {name: scaled(scores, found=allowed_QN & (scores > 0)) for name, scores in one.lexical.items()}
    yield "vectors alone", np.where(allowed_QN, plain_QN, -1.0)
    for name, scores_QN in lexical.items():
        for weight in _WEIGHTS:
            yield f"BM25 of {name} {weight:g}", np.where(allowed_QN, _fused(plain_QN, scores_QN, weight), -1.0)
    fused_QN = np.where(allowed_QN, _fused(plain_QN, lexical["pieces"], BM25_WEIGHT), -1.0)
    for count, share in _FEEDBACK:
        first_QK = np.argsort(-fused_QN, axis=1, kind="stable")[:, :count]
        mean_QD = one.documents_ND[first_QK].mean(axis=1)
        query_QD = unit_rows(share * one.queries_QD + (1 - share) * mean_QD, name="queries")
        again_QN = _fused(scaled(query_QD @ one.documents_ND.T, found=allowed_QN), lexical["pieces"], BM25_WEIGHT)
        yield f"pieces {BM25_WEIGHT:g}, then feedback m={count} a={share:g}", np.where(allowed_QN, again_QN, -1.0)


def _fused(dense_QN: Scores, bm25_QN: Scores, weight: float) -> Scores:
    return np.asarray((1 - weight) * dense_QN + weight * bm25_QN, dtype=np.float32)


def ndcg(scores_QN: Scores, gold: Sequence[frozenset[int]]) -> NDArray[np.float64]:
    """Return nDCG@10 of each query, ties by position."""
    gains = 1 / np.log2(np.arange(2, _CUTOFF + 2))
    best_QK = np.argsort(-scores_QN, axis=1, kind="stable")[:, :_CUTOFF]
    values = [
        gains[: len(row)][[one in right for one in row]].sum() / max(gains[: len(right)].sum(), 1e-12)
        for row, right in zip(best_QK.tolist(), gold, strict=True)
    ]
    return np.array(values)


def prepared(task: RetrievalTask, encoder: Encoder | None, stem: Path | None) -> Set:
    """Return a set with its vectors, read from files where they are there."""
    files = [None if stem is None else Path(f"{stem}.{part}.npy") for part in ("q", "d")]
    texts = [[one.query for one in task.examples], [one.content for one in task.documents]]
    vectors: list[Scores] = []
    for file, some, query in zip(files, texts, (True, False), strict=True):
        if file is None or not file.is_file():
            if encoder is None:
                raise InputError(f"{file} does not exist; leave --no-encoding out")
            array = encoder.encode_queries(some) if query else encoder.encode_documents(some)
            if file is not None:
                np.save(file, array)
        else:
            array = np.load(file)
        vectors.append(array.astype(np.float32))
    row = {document.id: number for number, document in enumerate(task.documents)}
    analyzers = {"pieces": GramAnalyzer(), "stems": EnglishAnalyzer()}
    indexes = {name: BM25(task.documents, analyzer=analyzer) for name, analyzer in analyzers.items()}
    return Set(
        task,
        *vectors,
        tuple(frozenset(row[name] for name in one.gold_ids if name in row) for one in task.examples),
        tuple([row[name] for name in one.excluded_ids if name in row] for one in task.examples),
        {
            name: np.stack([index.score_all(text) for text in texts[0]]).astype(np.float32)
            for name, index in indexes.items()
        },
    )


def rows_of(model: str, name: str, one: Set) -> list[Row]:
    """Return the row of each stage."""
    values = {stage: ndcg(scores_QN, one.gold) for stage, scores_QN in stages(one)}
    plain = values["vectors alone"]
    rows: list[Row] = []
    for stage, found in values.items():
        difference = found - plain
        (interval,) = bootstrap_intervals([difference[:, None]])
        mean = float(found.mean())
        rows.append(Row(model, name, stage, len(found), mean, float(difference.mean()), interval.low, interval.high))
    return rows


def tasks_of(arguments: argparse.Namespace) -> Iterator[RetrievalTask]:
    """Yield the sets."""
    yield load_python_reference(arguments.split)
    yield docstring_task()
    for folder in arguments.set:
        yield read_task_folder(folder)
    for name in _DEV_SETS if arguments.data is not None else ():
        task = read_task_folder(arguments.data / name, split="dev")
        examples = task.examples[:: -(-len(task.examples) // arguments.queries)]
        yield RetrievalTask(name=task.name, split="dev", documents=task.documents, examples=examples)


def main() -> None:
    """Print a line per stage and set, then each stage's mean over the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["default"])
    parser.add_argument("--split", default="dev")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", type=Path, nargs="*", default=[])
    parser.add_argument("--queries", type=int, default=303)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="names of the sets to measure; all by default")
    parser.add_argument("--no-encoding", action="store_true", help="load no model: all vectors are in --vectors")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.vectors is not None:
        arguments.vectors.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for model in arguments.model:
        encoder = None if arguments.no_encoding else Encoder.from_pretrained(model)
        for task in tasks_of(arguments):
            if arguments.only and task.name not in arguments.only:
                continue
            name = task.name if task.split is None else f"{task.name}:{task.split}"
            file = re.sub(r"\W+", "-", f"{Path(model).name}.{name}.{len(task.examples)}")
            one = prepared(task, encoder, None if arguments.vectors is None else arguments.vectors / file)
            for row in rows_of(model, name, one):
                rows.append(row)
                print(
                    f"{model:16.16} {name:24.24} {row.queries:5}  {row.stage:36} {row.mean:.4f}  {row.difference:+.4f} "
                    f"({row.low:+.4f} to {row.high:+.4f})",
                    flush=True,
                )
    for model in arguments.model:
        print(f"mean over the sets, {model}")
        for stage in dict.fromkeys(row.stage for row in rows):
            of_stage = [row for row in rows if row.stage == stage and row.model == model]
            mean, gain = (float(np.mean([getattr(row, field) for row in of_stage])) for field in ("mean", "difference"))
            worst = min(row.difference for row in of_stage)
            print(f"  {stage:36} {mean:.4f}  {gain:+.4f}  worst set {worst:+.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()

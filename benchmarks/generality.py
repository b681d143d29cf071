"""Measure what the default model lost and gained against its base: general sets, dev sets, drift of cosines.

python benchmarks/generality.py [--base default-base] [--model default] [--data data] [--more FOLDER ...]
    [--json out.json]

The general sets are made from what every environment of this project has: python_reference (its test split) and the
docstrings of Python's and numpy's functions, with the summary line as query and the rest as document; --more adds sets
in BRIGHT's format, such as jargon and devil of `reasonembed data make`. --data adds the dev sets of the model's
training, and BRIGHT's theoremqa_questions, which is for evaluation only. The gain is the mean difference on the dev
sets, the specialization tax that on the general sets, with the sign reversed. The long set (docstrings of one sympy
module that should find each other) is in neither mean, since the default was chosen on it.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag import Encoder
from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import collect_truncations
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import (
    Example,
    RetrievalTask,
    RunOptions,
    bootstrap_intervals,
    evaluate_embedder,
    read_task_folder,
)
from reasonembed_rag.evaluation.python_reference import load_python_reference

_MEASURE = "nDCG@10"
_TRAINED_ON = ("entailmentbank", "ecare", "attack", "tldr", "strategyqa")
_DOCSTRINGS = 800
_EXAMPLES = re.compile(r"Examples\n|>>>")


@dataclass(frozen=True, slots=True)
class Row:
    """One set: mean nDCG@10 of both models, and the paired difference with its 95 % interval."""

    name: str
    kind: str
    queries: int
    base: float
    model: float
    difference: float
    low: float
    high: float


def docstring_task() -> RetrievalTask:
    """Return summary lines as queries and the texts below as documents, evenly spaced over stdlib and numpy."""
    folders = [Path(sysconfig.get_path("stdlib")), Path(np.__file__).parent]
    pairs: list[tuple[str, str]] = []
    for folder in folders:
        found = sorted(set(_docstrings(folder)))
        step = max(1, len(found) // (_DOCSTRINGS // 2))
        pairs += found[::step][: _DOCSTRINGS // 2]
    documents = tuple(Document(f"d{number}", body) for number, (_, body) in enumerate(pairs))
    examples = tuple(Example(f"q{number}", line, (f"d{number}",)) for number, (line, _) in enumerate(pairs))
    return RetrievalTask(name="docstrings", split=None, documents=documents, examples=examples)


def module_task() -> RetrievalTask:
    """Return long docstrings of sympy; one of each module is the query for the others."""
    folder = Path(sysconfig.get_path("purelib")) / "sympy"
    documents: list[Document] = []
    examples: list[Example] = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        texts = [] if {"tests", "benchmarks"} & set(inside.parts) else _long_docstrings(path)
        if 3 <= len(texts) <= 15:
            ids = [f"{inside}:{number}" for number in range(len(texts))]
            documents += [Document(name, text) for name, text in zip(ids, texts, strict=True)]
            query = len(examples) % len(texts)
            gold = tuple(name for name in ids if name != ids[query])
            examples.append(Example(str(inside), texts[query], gold, excluded_ids=(ids[query],)))
    return RetrievalTask(name="modules", split=None, documents=tuple(documents), examples=tuple(examples))


def _long_docstrings(path: Path) -> list[str]:
    """Return a module's docstrings of 40 words or more, without examples and without the function's name."""
    texts: dict[str, None] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            text = _EXAMPLES.split((ast.get_docstring(node) or "").replace(node.name, "it"), maxsplit=1)[0]
            if len(text.split()) >= 40:
                texts[text] = None
    return list(texts)


def _docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield summary and body of functions' docstrings, if both are long enough."""
    for path in sorted(folder.rglob("*.py")):
        if {"site-packages", "tests", "test", "idlelib", "lib2to3"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                summary, _, body = (ast.get_docstring(node) or "").partition("\n\n")
                if len(summary.split()) >= 5 and len(body.split()) >= 30:
                    yield " ".join(summary.split()), body


def _row(task: RetrievalTask, kind: str, base: Encoder, model: Encoder) -> Row:
    options = RunOptions(k=100, batch_size=256)
    reports = [evaluate_embedder(encoder, task, options=options) for encoder in (base, model)]
    first, second = ({query.id: query.measures[_MEASURE] for query in report.queries} for report in reports)
    values = np.array([(first[name], second[name], second[name] - first[name]) for name in first])
    (interval,) = bootstrap_intervals([values[:, 2:]])
    first_mean, second_mean, difference = (float(mean) for mean in values.mean(0))
    return Row(task.name, kind, len(values), first_mean, second_mean, difference, interval.low, interval.high)


def _tasks(data: Path | None, more: Sequence[Path]) -> Iterator[tuple[RetrievalTask, str]]:
    yield load_python_reference("test"), "general"
    yield docstring_task(), "general"
    yield module_task(), "long"
    for folder in more:
        yield read_task_folder(folder), "general"
    if data is None:
        return
    yield read_task_folder(data / "bright_theoremqa_questions"), "general"
    for name in _TRAINED_ON:
        yield read_task_folder(data / name, split="dev"), "dev"


def _drift(base: Encoder, model: Encoder, task: RetrievalTask) -> dict[str, float]:
    """Return the mean cosines of queries with their own and with other documents, under both models."""
    queries = [example.query for example in task.examples]
    documents = [document.content for document in task.documents]
    own: list[NDArray[np.float32]] = []
    other: list[NDArray[np.float32]] = []
    for encoder in (base, model):
        queries_QD, documents_QD = encoder.encode_queries(queries), encoder.encode_documents(documents)
        own.append((queries_QD * documents_QD).sum(1))
        other.append((queries_QD * np.roll(documents_QD, 7, axis=0)).sum(1))
    both = [np.concatenate(pair) for pair in zip(own, other, strict=True)]
    return {
        "own pairs, base": float(own[0].mean()),
        "own pairs, model": float(own[1].mean()),
        "other pairs, base": float(other[0].mean()),
        "other pairs, model": float(other[1].mean()),
        "Spearman of base and model": _spearman(*both),
    }


def _spearman(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (first, second)]
    one, two = (values - values.mean() for values in ranks)
    return float((one @ two) / np.sqrt((one @ one) * (two @ two)))


def _mean(rows: Sequence[Row], kind: str) -> float | None:
    differences = [row.difference for row in rows if row.kind == kind]
    return float(np.mean(differences)) if differences else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="default-base")
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    try:
        tasks = list(_tasks(arguments.data, arguments.more))
    except InputError as error:
        parser.error(str(error))
    base, model = Encoder.from_pretrained(arguments.base), Encoder.from_pretrained(arguments.model)
    rows: list[Row] = []
    print(f"{_MEASURE} of {arguments.base} and {arguments.model}; paired difference, 95 % bootstrap interval")
    for task, kind in tasks:
        with collect_truncations() as truncations:
            row = _row(task, kind, base, model)
        for line in truncations.lines():
            print(f"{task.name}: {line}", file=sys.stderr)
        rows.append(row)
        print(
            f"{row.kind:8} {row.name:28} {row.queries:5}  {row.base:.4f}  {row.model:.4f}  "
            f"{row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})",
            flush=True,
        )
    gain, general = _mean(rows, "dev"), _mean(rows, "general")
    if gain is not None:
        print(f"gain on the dev sets: {gain:+.4f}")
    if general is not None:
        print(f"specialization tax on the general sets: {-general:+.4f} (negative is a gain)")
    drift = _drift(base, model, docstring_task())
    print("cosines of docstring pairs: " + ", ".join(f"{name} {value:.3f}" for name, value in drift.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "drift": drift}, indent=1))


if __name__ == "__main__":
    main()

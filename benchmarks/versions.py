"""Compare the speed of two checkouts of this project: the same work, interleaved, in one run.

    python benchmarks/versions.py BEFORE AFTER [--runs 7] [--threads 2]

Each checkout runs in its own long-lived process, so that start-up does not count; the two take turns, and
who begins a turn alternates. Ratios are medians over the pairs of turns: below 1, AFTER is faster. Work: encoding with
the default model and with a Qwen3 of 40M random weights, adding to and searching a FaissStore, scoring a run, and a
training step; benchmarks/train.py and encode_models.py are those of each checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Work = Callable[[], object]
WORKS = ("encode default", "encode qwen3-40m", "one query", "store add", "store search", "evaluate", "train step")


def prepared(work: Path) -> dict[str, Work]:
    """Return the pieces of work of the checkout that this process imports."""
    import encode_models as models
    import numpy as np

    from reasonembed_rag import Document, EmbeddingSpec, Encoder
    from reasonembed_stores import FaissStore

    texts = models.documents(256, seed=0)
    encoder = Encoder.from_pretrained("default")
    qwen3 = Encoder.from_pretrained(str(models.build_qwen3(work / "qwen3-40m")))
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((20_000, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    documents = [Document(f"d{number}", f"document {number} " * 20, {"n": number}) for number in range(len(vectors))]
    spec = EmbeddingSpec(
        model="noise",
        pooling="mean",
        attention="bidirectional",
        max_query_length=8,
        max_document_length=8,
        dimension=384,
    )
    filled = FaissStore.create(tempfile.mkdtemp(dir=work) + "/index", spec=spec)
    filled.upsert(documents, vectors)

    def add() -> None:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            store = FaissStore.create(folder + "/index", spec=spec)
            for start in range(0, len(vectors), 4096):
                store.upsert(documents[start : start + 4096], vectors[start : start + 4096])
            store.close()

    def search() -> None:
        for row in range(100):
            filled.search(vectors[row : row + 1], k=10)
        filled.search(vectors[:100], k=10)
        filled.search(vectors[:1], k=10, filters={"n": {"$lt": 50}})

    return {
        "encode default": lambda: encoder.encode_documents(texts),
        "encode qwen3-40m": lambda: qwen3.encode_documents(texts[:48]),
        "one query": lambda: [encoder.encode_queries(["Why does my list keep growing?"]) for _ in range(20)],
        "store add": add,
        "store search": search,
        "evaluate": scoring(),
        "train step": training_step(work),
    }


def scoring() -> Work:
    """Return the scoring of 300 queries with 1,000 documents each, ties and intervals included."""
    import importlib

    import numpy as np

    import reasonembed_rag

    def first(*names: str) -> Any:
        """Return the first of these that there is: names move between releases."""
        for name in names:
            module, _, member = name.rpartition(".")
            try:
                return getattr(importlib.import_module(f"reasonembed_rag.{module}"), member)
            except (ImportError, AttributeError):
                continue
        raise ImportError(names)

    example = first("evaluation.Example", "evaluation.task.Example")
    result = first("evaluation.QueryResult", "evaluation.asking.QueryResult")
    run = first("evaluation.Run", "evaluation.asking.Run")
    task = first("evaluation.RetrievalTask", "evaluation.task.RetrievalTask")
    score_run = first("evaluation.score_run", "evaluation.scoring.score_run")
    system = first("evaluation.System", "evaluation.report.System")
    generator = np.random.default_rng(2)
    ids = [f"topic/document_{number}.txt" for number in range(50_000)]
    results, examples = [], []
    for number in range(300):
        rows = generator.choice(len(ids), 1000, replace=False)
        scores = np.sort(np.round(generator.random(1000, dtype=np.float32), 3))[::-1]
        found = tuple(ids[row] for row in rows)
        results.append(result(str(number), reasonembed_rag.Hits(found, scores.copy())))
        examples.append(example(str(number), f"query {number}", (found[3], found[500], ids[number])))
    bare, asked = task("bench", None, (), tuple(examples)), run(tuple(results), 1000)
    return lambda: score_run(asked, bare, system=system(name="bench"))


def training_step(work: Path) -> Work:
    """Return one Redapter step on the default model's base."""
    import train

    settings = argparse.Namespace(device="cpu", tokens=4096, max_length=256, queries=16, group=4, work=work, threads=1)
    return train.our_step(train.model_folder("minilm", work), "even", settings, weighted=True)


def serve(work: Path, threads: int) -> None:
    """Do the work that is asked for by name on stdin, and print its seconds."""
    import torch

    torch.set_num_threads(threads)
    works = prepared(work)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        works[line.strip()]()
        print(json.dumps(time.perf_counter() - start), flush=True)


class Checkout:
    """A checkout of the project, and the process that works with it."""

    def __init__(self, root: Path, work: Path, *, threads: int) -> None:
        paths = [root, root / "training", root / "integrations", root / "benchmarks"]
        command = [sys.executable, "-P", __file__, "--serve", str(work), "--threads", str(threads)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            command, env=environment, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._read() != "ready":
            sys.exit(f"{root}: could not be prepared")

    def seconds(self, name: str) -> float:
        """Return how long a piece of work takes."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no stdin")
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the process has no stdout")
        return self._process.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, nargs="?")
    parser.add_argument("after", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--works", nargs="+", default=WORKS, choices=WORKS, metavar="WORK")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve, arguments.threads)
        return
    if arguments.before is None or arguments.after is None:
        parser.error("want two checkouts: BEFORE AFTER")
    from reasonembed_rag.backbone import instruction_set

    print(f"{instruction_set()}, {arguments.threads} threads, {arguments.runs} runs each")
    with tempfile.TemporaryDirectory() as folder:
        roots = (arguments.before.resolve(), arguments.after.resolve())
        checkouts = [Checkout(root, Path(folder), threads=arguments.threads) for root in roots]
        print(f"{'work':18}{'before s':>10}{'after s':>10}{'ratio':>8}{'range':>14}")
        for name in arguments.works:
            for checkout in checkouts:
                checkout.seconds(name)  # warm-up
            pairs = []
            for turn in range(arguments.runs):
                order = (0, 1) if turn % 2 == 0 else (1, 0)
                seconds = {number: checkouts[number].seconds(name) for number in order}
                pairs.append((seconds[0], seconds[1]))
            ratios = sorted(after / before for before, after in pairs)
            before, after = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
            spread = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
            print(f"{name:18}{before:10.3f}{after:10.3f}{statistics.median(ratios):8.3f}{spread:>14}", flush=True)
        for checkout in checkouts:
            checkout.close()


if __name__ == "__main__":
    main()

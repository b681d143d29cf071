"""Compare our stores with LangChain's and LlamaIndex's on the same vectors, in one run.

    pip install langchain-community langchain-chroma llama-index-vector-stores-faiss llama-index-vector-stores-chroma
    python benchmarks/stores.py                     # 100,000 x 384
    python benchmarks/stores.py --size 20000 --only ours-folder --only langchain-faiss

Linux only. Each store runs in a separate process, one after another. Columns: wall seconds and CPU seconds to add
everything from an array (in slices if the peer limits the size of a call); seconds to save; milliseconds per search of
one query, k=10, median and 95th percentile; recall@10 against exact search; the same with a filter that 1 document in
1000 satisfies; seconds to open and run a first query; megabytes on disk; peak memory in megabytes above that before
adding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stores_contenders import CONTENDERS, DIMENSION, Contender, K

QUERIES = 200
GROUPS = 1000


def data(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit vectors in 500 clusters, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, DIMENSION)).astype(np.float32)
    rows = centres[rng.integers(0, 500, size)] + rng.standard_normal((size, DIMENSION)).astype(np.float32)
    queries = rows[rng.integers(0, size, QUERIES)] + 0.5 * rng.standard_normal((QUERIES, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def measure(name: str, size: int) -> dict[str, float | None]:
    """Return the figures of one store."""
    vectors, queries = data(size)
    ids = [f"d{n:06}" for n in range(size)]
    texts = [f"This is document number {n}. " * 20 for n in range(size)]
    metadatas: list[dict[str, Any]] = [{"n": n, "group": n % GROUPS, "language": "en"} for n in range(size)]
    with tempfile.TemporaryDirectory() as root:
        store = CONTENDERS[name](Path(root))
        before = memory_peak(reset=True)
        processor = time.process_time()
        added = seconds(lambda: store.add(ids, texts, metadatas, vectors))
        processor = time.process_time() - processor
        saved = seconds(store.save)
        store.search(queries[0], None)
        plain = [seconds(partial(store.search, query, None)) for query in queries]
        recall = mean_recall(store, queries, vectors, None)
        filtered, filtered_recall = None, None
        try:
            store.search(queries[0], 0)
            times = [seconds(partial(store.search, query, row)) for row, query in enumerate(queries)]
            filtered, filtered_recall = 1e3 * float(np.median(times)), mean_recall(store, queries, vectors, GROUPS)
        except (NotImplementedError, ValueError):
            pass  # the store has no filters
        peak = memory_peak()
        opened = seconds(store.open) + seconds(partial(store.search, queries[0], None))
        size_on_disk = sum(path.stat().st_size for path in Path(root).rglob("*") if path.is_file())
    return {
        "add s": added,
        "add cpu s": processor,
        "save s": saved,
        "p50 ms": 1e3 * float(np.median(plain)),
        "p95 ms": 1e3 * float(np.percentile(plain, 95)),
        "recall": recall,
        "filter ms": filtered,
        "filter recall": filtered_recall,
        "open s": opened if size_on_disk else None,
        "disk MB": size_on_disk / 1e6,
        "peak MB": peak - before,
    }


def memory_peak(*, reset: bool = False) -> float:
    """Return the peak memory since the last reset, in megabytes; mapped files count as far as they were read."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def mean_recall(
    store: Contender, queries: NDArray[np.float32], vectors: NDArray[np.float32], groups: int | None
) -> float:
    """Return the mean recall@10 against the exact neighbours; with groups, each query searches one group."""
    found = []
    for row, query in enumerate(queries):
        rows = np.arange(len(vectors)) if groups is None else np.arange(row, len(vectors), groups)
        scores = vectors[rows] @ query
        best = {f"d{n:06}" for n in rows[np.argsort(-scores)[:K]]}
        found.append(len(best & set(store.search(query, None if groups is None else row))) / len(best))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--only", action="append", choices=CONTENDERS)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(arguments.one, arguments.size)))
        return
    rows: dict[str, dict[str, float | None]] = {}
    for name in arguments.only or CONTENDERS:
        command = [sys.executable, __file__, "--one", name, "--size", str(arguments.size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {rows[name]}", file=sys.stderr)
    show(rows)


def show(rows: dict[str, dict[str, float | None]]) -> None:
    """Print the table, and the ratios that the documentation states."""
    columns = list(next(iter(rows.values())))
    print(f"{'':20}" + "".join(f"{column:>15}" for column in columns))
    for name, row in rows.items():
        cells = ["-" if row[column] is None else f"{row[column]:.3f}" for column in columns]
        print(f"{name:20}" + "".join(f"{cell:>15}" for cell in cells))

    def ratio(column: str, above: str, below: str) -> None:
        if above in rows and below in rows:
            print(f"{column}: {above} / {below} = {rows[above][column] / rows[below][column]:.2f}")  # type: ignore[operator]

    print()
    for column in ("add s", "add cpu s"):
        ratio(column, "langchain-faiss", "ours-memory")
        ratio(column, "langchain-faiss-lists", "ours-memory")
        ratio(column, "llama-index-faiss-nodes", "ours-llama-index")
    ratio("p50 ms", "ours-memory", "plain-faiss")
    ratio("p50 ms", "ours-folder", "plain-faiss")


if __name__ == "__main__":
    main()

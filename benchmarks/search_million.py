"""Compare exact search in a folder store with FAISS and usearch: single queries, a batch, opening, memory.

    python benchmarks/search_million.py [--size 1000000] [--only ours faiss-flat usearch-exact]

Each contender runs in a process of its own. Columns: seconds to open and answer a first query, milliseconds per query
(median of 20), milliseconds per query in a batch of 64, recall@10 against numpy's product, peak memory after opening in
megabytes, mapped pages included. A store of a million vectors needs about 1.7 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stores import data, memory_peak

K = 10
BATCH = 64
SLICE = 50_000
Search = Callable[[NDArray[Any]], Any]


def write(name: str, folder: Path, vectors: NDArray[np.float32]) -> None:
    """Write the vectors as a contender keeps them."""
    if name == "ours":
        from reasonembed_stores import FaissStore

        store = FaissStore.create(folder / "store", dimension=vectors.shape[1])
        for start in range(0, len(vectors), SLICE):
            part = vectors[start : start + SLICE]
            ids = [str(start + row) for row in range(len(part))]
            store.upsert_texts(ids, part, ids=ids, metadatas=[{}] * len(part))
        store.close()
    elif name == "faiss-flat":
        import faiss

        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(folder / "flat.faiss"))
    else:
        np.save(folder / "vectors.npy", vectors)


def opened(name: str, folder: Path) -> Search:
    """Return a function from queries (q, D) to the rows found (q, K)."""
    if name == "ours":
        from reasonembed_stores import FaissStore

        store = FaissStore.open(folder / "store")
        return lambda queries: [[int(hit.document.id) for hit in hits] for hits in store.search(queries, k=K)]
    if name == "faiss-flat":
        import faiss

        index = faiss.read_index(str(folder / "flat.faiss"))
        return lambda queries: index.search(queries, K)[1]
    from usearch.index import MetricKind, search

    kept = np.load(folder / "vectors.npy", mmap_mode="r")
    return lambda queries: search(kept, queries, K, MetricKind.IP, exact=True).keys.reshape(len(queries), K)


def measure(name: str, folder: Path, size: int) -> dict[str, float]:
    """Return the figures of a contender whose files are written."""
    vectors, queries = data(size)
    queries = queries[:BATCH]
    best = np.argpartition(-(queries @ vectors.T), K, axis=1)[:, :K]
    del vectors
    before = memory_peak(reset=True)
    start = time.perf_counter()
    search = opened(name, folder)
    search(queries[:1])
    first = time.perf_counter() - start
    single = []
    for query in queries[:20]:
        start = time.perf_counter()
        search(query[None])
        single.append(time.perf_counter() - start)
    start = time.perf_counter()
    found = search(queries)
    batch = time.perf_counter() - start
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(np.asarray(found).tolist(), best.tolist(), strict=True)])
    return {
        "open s": first,
        "single ms": 1e3 * float(np.median(single)),
        "batch ms": 1e3 * batch / BATCH,
        "recall": float(recall),
        "peak MB": memory_peak() - before,
    }


CONTENDERS = ("ours", "faiss-flat", "usearch-exact")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step, name, folder = options.one
        if step == "write":
            write(name, Path(folder), data(options.size)[0])
        else:
            print(json.dumps(measure(name, Path(folder), options.size)))
        return
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--size", str(options.size), "--one"]
            for step in ("write", "measure"):
                done = subprocess.run([*command, step, name, folder], capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name}: skipped: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
                    break
            else:
                row = json.loads(done.stdout.splitlines()[-1])
                print(f"{name:14}" + "".join(f"  {column} {value:.3f}" for column, value in row.items()), flush=True)


if __name__ == "__main__":
    main()

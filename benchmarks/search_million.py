"""Compare search in a folder store with FAISS and usearch: single queries, a batch, opening, memory.

    python benchmarks/search_million.py [--size 1000000] [--only ours faiss-flat usearch-exact]

Without --only the exact searches run, which takes minutes; ours-hnsw, ours-ivf, faiss-hnsw and faiss-ivf build graphs
and inverted files of the same settings, for minutes each. Each contender runs in a process of
its own. Columns: seconds to write everything, seconds to open and answer a first query, milliseconds per query (median
of 20), milliseconds per query in a batch of 64, recall@10 against numpy's product, peak memory after opening in
megabytes, mapped pages included, and the memory at the end without pages of files, which the system takes back where
it needs room. A store of a million vectors needs about 1.7 GB of disk, twice that with an index.
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
LEARNT = 256_000
"""Vectors that an inverted file is trained on."""
Search = Callable[[NDArray[Any]], Any]


def write(name: str, folder: Path, vectors: NDArray[np.float32]) -> None:
    """Write the vectors as a contender keeps them."""
    kind = name.rpartition("-")[2]
    if name.startswith("ours"):
        from reasonembed_stores import FaissStore

        ann: Any = "flat" if name == "ours" else kind
        store = FaissStore.create(folder / "store", dimension=vectors.shape[1], ann=ann)
        for start in range(0, len(vectors), SLICE):
            part = vectors[start : start + SLICE]
            ids = [str(start + row) for row in range(len(part))]
            store.upsert_texts(ids, part, ids=ids, metadatas=[{}] * len(part))
        store.save()
        store.close()
    elif name.startswith("faiss"):
        import faiss

        index = faiss_index(kind, len(vectors), vectors.shape[1])
        index.train(vectors[:: max(1, len(vectors) // LEARNT)])
        index.add(vectors)
        faiss.write_index(index, str(folder / "index.faiss"))
    else:
        np.save(folder / "vectors.npy", vectors)


def faiss_index(kind: str, size: int, dimension: int) -> Any:
    """Return an empty index: flat, or with the settings of our store."""
    import faiss

    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    if kind == "ivf":
        return faiss.index_factory(dimension, f"IVF{int(4 * size**0.5)},SQ8", faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 80
    return index


def faiss_settings(index: Any) -> Any:
    """Return the search settings of our store for an index."""
    import faiss

    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=64)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=max(8, index.nlist // 16))
    return None


def opened(name: str, folder: Path) -> Search:
    """Return a function from queries (q, D) to the rows found (q, K)."""
    if name.startswith("ours"):
        from reasonembed_stores import FaissStore

        store = FaissStore.open(folder / "store")
        return lambda queries: [[int(hit.document.id) for hit in hits] for hits in store.search(queries, k=K)]
    if name.startswith("faiss"):
        import faiss

        index = faiss.read_index(str(folder / "index.faiss"))
        return lambda queries: index.search(queries, K, params=faiss_settings(index))[1]
    from usearch.index import MetricKind, search

    kept = np.load(folder / "vectors.npy", mmap_mode="r")
    return lambda queries: search(kept, queries, K, MetricKind.IP, exact=True).keys.reshape(len(queries), K)


def measure(name: str, folder: Path, size: int) -> dict[str, float]:
    """Return the figures of a contender whose files are written."""
    vectors, queries = data(size)
    queries = queries[:BATCH]
    best = np.argpartition(-(queries @ vectors.T), K, axis=1)[:, :K]
    del vectors
    before, before_own = memory_peak(reset=True), own_memory()
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
        "own MB": own_memory() - before_own,
    }


def own_memory() -> float:
    """Return this process's memory without pages of files, in megabytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


EXACT = ("ours", "faiss-flat", "usearch-exact")
CONTENDERS = (*EXACT, "ours-hnsw", "ours-ivf", "faiss-hnsw", "faiss-ivf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=EXACT)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step, name, folder = options.one
        if step == "write":
            vectors = data(options.size)[0]
            start = time.perf_counter()
            write(name, Path(folder), vectors)
            print(json.dumps({"write s": time.perf_counter() - start}))
        else:
            print(json.dumps(measure(name, Path(folder), options.size)))
        return
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--size", str(options.size), "--one"]
            row: dict[str, float] = {}
            for step in ("write", "measure"):
                done = subprocess.run([*command, step, name, folder], capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name}: skipped: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
                    break
                row |= json.loads(done.stdout.splitlines()[-1])
            else:
                print(f"{name:14}" + "".join(f"  {column} {value:.3f}" for column, value in row.items()), flush=True)


if __name__ == "__main__":
    main()

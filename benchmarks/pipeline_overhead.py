"""Measure what the Pipeline object adds to a search around an instant retriever: no stage, and four that pass on.

python benchmarks/pipeline_overhead.py [--queries 2000]

Prints microseconds per query, one query at a time: the median and the 95th percentile. Wanted: below 1,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Sequence

import numpy as np

from reasonembed_rag import Hits
from reasonembed_rag.pipeline import Pipeline, PipelineStage
from reasonembed_rag.protocols import Retriever

_HITS = Hits(tuple(f"{number:03}" for number in range(100)), np.arange(100, 0, -1, dtype=np.float32))


class Instant:
    """Return the same hundred hits for every query."""

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return the hits."""
        del excluded_ids
        return [_HITS[:k] for _ in queries]


class PassOn:
    """A stage that does nothing."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return what the retriever finds."""
        return self._retriever.search(queries, k=k, excluded_ids=excluded_ids)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queries", type=int, default=2000)
    count = parser.parse_args().queries
    stages = [PipelineStage(f"stage {number}", PassOn) for number in range(4)]
    systems = {"bare": Instant(), "no stage": Pipeline(Instant()), "four stages": Pipeline(Instant(), stages)}
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(count):
        for name, system in systems.items():
            start = time.perf_counter()
            system.search([f"query {number}"], k=10)
            seconds[name].append(time.perf_counter() - start)
    print(f"{'':12} {'p50 us':>8} {'p95 us':>8}")
    for name, taken in seconds.items():
        p50, p95 = np.percentile(taken, (50, 95))
        print(f"{name:12} {1e6 * p50:8.1f} {1e6 * p95:8.1f}")


if __name__ == "__main__":
    main()

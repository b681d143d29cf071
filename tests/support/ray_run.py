"""Encode a corpus by two Ray actors, one killed by SIGKILL in the middle: ray_run.py CORPUS TO PIDS COUNTS."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import ray

from reasonembed_rag.scale import RayOptions, ScaleOptions, encode_to_shards
from reasonembed_rag.spec import EmbeddingSpec


class Lengths:
    """A vector says how long a text is; slow enough for a kill to come in between."""

    spec = EmbeddingSpec(
        model="lengths",
        weights="lengths",
        pooling="mean",
        attention="bidirectional",
        max_query_length=64,
        max_document_length=64,
        dimension=2,
    )
    dimension = 2

    def __init__(self, pids: str) -> None:
        self.pids = pids

    def encode_documents(self, texts, *, show_progress=False):
        path = Path(self.pids) / f"{os.getpid()}-{texts[0].split()[1]}"
        path.write_text("")
        time.sleep(0.5)
        return np.asarray([[len(text), 1.0] for text in texts], np.float32)


def main(corpus: str, to: str, pids: str, counts: str) -> None:
    killed = []

    def kill_one(done: int, _total: int) -> None:
        if done and not killed:
            killed.append(int(min(path.name for path in Path(pids).iterdir()).partition("-")[0]))
            os.kill(killed[0], signal.SIGKILL)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    options = ScaleOptions(shard_rows=4)
    done = encode_to_shards(corpus, to, Lengths(pids), options=options, ray=RayOptions(workers=2), progress=kill_one)
    again = encode_to_shards(corpus, to, Lengths(pids), options=options, ray=RayOptions(workers=2))
    Path(counts).write_text(f"{done.documents} {done.encoded_shards} {again.encoded_shards} {killed[0]}")
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Measure what Encoder, LangChain and LlamaIndex add to the bare forward of one query: medians in one interleaved run.

    python benchmarks/latency.py [--model default-base] [--queries 200]

The bare forward is the engine on token ids that are already there. Each query is timed through every way in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import encode_models as models
import numpy as np

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.tasks import query_affixes

Run = Callable[[str], object]
BARE = "bare forward"


class BareForward:
    """The engine alone, on token ids that are already there."""

    def __init__(self, encoder: Any, texts: list[str]) -> None:
        before, after = query_affixes(encoder.spec, task=None, instruction=None)
        longest = encoder.spec.max_query_length
        self._engine = encoder._engine  # noqa: SLF001 - nothing public runs ids
        tokenizer = encoder._tokenizer  # noqa: SLF001
        self._tokens = {text: tokenizer([text], before=before, after=after, max_length=longest) for text in texts}
        self._packs = [np.zeros(1, dtype=np.int64)]

    def __call__(self, text: str) -> object:
        """Return the vectors of a known text."""
        return list(self._engine.run(self._tokens[text], self._packs, adapter=None))


def ways(model: str, texts: list[str]) -> dict[str, Run]:
    """Return each way from a query to its vector, the bare forward first; all share one model."""
    from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding

    from langchain_reasonembed import ReasonEmbedEmbeddings
    from reasonembed_rag.encoder import shared_encoder

    shared = shared_encoder(EncoderSettings(model=model))
    return {
        BARE: BareForward(shared.embedder, texts),
        "Encoder": shared.embedder.encode_queries,
        "LangChain embed_query": ReasonEmbedEmbeddings(model=model).embed_query,
        "LlamaIndex get_query_embedding": ReasonEmbedEmbedding(model_name=model).get_query_embedding,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default-base")
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    texts = models.queries(options.queries, seed=6)
    runs = ways(options.model, texts)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for text in texts[:10] + texts:
        for name, run in runs.items():
            start = time.perf_counter()
            run(text)
            seconds[name].append(time.perf_counter() - start)
    floor = np.asarray(seconds[BARE][10:])
    print(f"{'':32}{'p50 ms':>10}{'p95 ms':>10}{'added ms':>10}")
    for name in runs:
        own = np.asarray(seconds[name][10:])
        added = statistics.median((own - floor).tolist())
        print(f"{name:32}{1e3 * np.median(own):>10.3f}{1e3 * np.percentile(own, 95):>10.3f}{1e3 * added:>10.3f}")


if __name__ == "__main__":
    main()

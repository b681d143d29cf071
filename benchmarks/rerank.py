"""Compare this project's cross-encoder with sentence-transformers' defaults: same weights and pairs, interleaved.

    python benchmarks/rerank.py --runs 9

The model is all-MiniLM-L6-v2 (the base of `default`) with a classification head of random weights: its speed is that
of ms-marco-MiniLM-L6-v2, which has the same layers. One query is scored against 100 documents of 200 tokens, or against
documents of mixed lengths with --mixed. Contenders take turns in every round, so that a busy machine slows all of them;
the ratios are medians over rounds of sentence-transformers' time by ours in the same round, by the clock and in
processor time, which other processes change least.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from reasonembed_rag.backbone import BASE_MODEL, find_model, instruction_set
from reasonembed_rag.rerank import CrossEncoder

QUERY = "why does a default argument that is a list keep what was appended in earlier calls?"
PEER = "sentence-transformers"

Score = Callable[[list[tuple[str, str]]], np.ndarray]


def with_head(folder: Path) -> Path:
    """Write MiniLM as a cross-encoder with a random head into a folder."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = find_model(BASE_MODEL)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    with torch.no_grad():
        model.classifier.weight.normal_(std=1.0)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def documents(folder: Path, *, count: int, tokens: int, mixed: bool) -> list[str]:
    """Return texts of frequent words, each of `tokens` tokens, or of 20 to `tokens` of them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = [word for word, number in tokenizer.get_vocab().items() if 2000 <= number < 6000 and word.isalpha()]
    generator = np.random.default_rng(1)
    lengths = generator.integers(20, tokens + 1, count) if mixed else np.full(count, tokens)
    return [" ".join(generator.choice(sorted(words), length)) for length in lengths]


def contenders(folder: Path) -> dict[str, Score]:
    from sentence_transformers import CrossEncoder as Peer

    peer = Peer(str(folder), device="cpu")
    ours = {f"ours {dtype}": CrossEncoder.from_pretrained(folder, dtype=dtype).score for dtype in ("float32", "int8")}
    ours["ours torch"] = CrossEncoder.from_pretrained(folder, backend="torch").score
    ours["ours bfloat16"] = CrossEncoder.from_pretrained(folder, dtype="bfloat16").score
    import torch

    # the activation costs nothing; without it the scores are logits, as ours
    return {PEER: lambda pairs: peer.predict(pairs, activation_fn=torch.nn.Identity()), **ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--mixed", action="store_true", help="documents of 20 to --tokens tokens")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = with_head(Path(work))
        texts = documents(folder, count=options.documents, tokens=options.tokens, mixed=options.mixed)
        pairs = [(QUERY, text) for text in texts]
        scored = contenders(folder)
        expected = scored[PEER](pairs)
        difference = {name: float(np.abs(score(pairs) - expected).max()) for name, score in scored.items()}
        seconds: dict[str, list[float]] = {name: [] for name in scored}
        worked: dict[str, list[float]] = {name: [] for name in scored}
        for _ in range(options.runs):
            for name, score in scored.items():
                start, start_of_work = time.perf_counter(), time.process_time()
                score(pairs)
                seconds[name].append(time.perf_counter() - start)
                worked[name].append(time.process_time() - start_of_work)
    kind = platform.processor() or platform.machine()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {kind} ({instruction_set()}), {os.cpu_count()} cores")
    print(f"{options.documents} documents of {'20 to ' if options.mixed else ''}{options.tokens} tokens")
    print(f"{'':24}{'median s':>10}{'min':>10}{'max':>10}{'times':>8}{'in CPU s':>10}{'largest difference':>20}")
    for name, own in seconds.items():
        times, in_work = (_times(kept[PEER], kept[name]) for kept in (seconds, worked))
        numbers = f"{statistics.median(own):>10.3f}{min(own):>10.3f}{max(own):>10.3f}{times:>8.2f}{in_work:>10.2f}"
        print(f"{name:24}{numbers}{difference[name]:>20.1e}")


def _times(peer: list[float], own: list[float]) -> float:
    """Return the median over rounds of how many times as long the peer takes."""
    return statistics.median(theirs / ours for theirs, ours in zip(peer, own, strict=True))


if __name__ == "__main__":
    main()

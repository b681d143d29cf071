"""Measure encoding and training on one GPU beside the peers, within a time budget: one command, a JSON and a Markdown.

    python benchmarks/gpu.py [--minutes 8] [--sizes 0.6b 4b 8b] [--out gpu]
    python benchmarks/gpu.py --device cpu --sizes tiny --documents 8 --minutes 2     # tries the script without a GPU

Qwen3 at the shapes of 0.6B, 4B and 8B with random weights, bfloat16 on a GPU. Documents are of mixed lengths, queries
stand behind an instruction. Every measurement runs in a process of its own; before each one the script asks whether the
budget allows it, and what it skips it says, with the reason. Peers that are not installed are skipped likewise.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import encode_models as models
import encode_peers as peers
import numpy as np

TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPES: dict[str, dict[str, int]] = {
    "tiny": TINY | {"num_key_value_heads": 2, "head_dim": 16},
    **models.QWEN3_SHAPES,
}
ENGINES = ("ours", "sentence-transformers", "flag-embedding", "vllm")
TRAINED = ("tiny", "0.6b", "4b")
LEAST_SECONDS = 20.0
"""A measurement starts only if this much is left; it is stopped when the budget ends."""
Encode = Callable[[list[str]], Any]


def encoder_of(engine: str, folder: Path, *, device: str, dtype: str, query: bool) -> Encode:
    """Return an engine's function for documents, or for queries behind the instruction."""
    prompt = models.TEMPLATE if query else None
    if engine == "ours":
        from reasonembed_rag import Encoder

        encoder = Encoder.from_pretrained(str(folder), device=device, dtype=dtype)
        return encoder.encode_queries if query else encoder.encode_documents
    if engine == "sentence-transformers":
        model = peers.sentence_transformers(folder, dtype=dtype, device=device)
        return peers.st_encode(model, batch_size=32, prompt=prompt)
    if engine == "flag-embedding":
        return peers.flag_embedding(folder, prompt, decoder=True)
    from vllm import LLM

    llm = LLM(model=str(folder), runner="pooling", dtype=dtype, max_model_len=1024, enforce_eager=True)
    return lambda texts: [out.outputs.embedding for out in llm.embed([(prompt or "") + text for text in texts])]


def peak_megabytes(device: str) -> float:
    """Return the peak memory of this process: on the GPU, or resident on a CPU."""
    if device == "cpu":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def measure_encode(engine: str, folder: Path, options: Namespace) -> dict[str, Any]:
    """Return seconds, throughput and peak memory of documents and queries, and the vectors of a sample."""
    dtype = "float32" if options.device == "cpu" else "bfloat16"
    result: dict[str, Any] = {}
    for work in ("documents", "queries"):
        query = work == "queries"
        texts = models.queries(options.documents, seed=2) if query else models.documents(options.documents, seed=1)
        encode = encoder_of(engine, folder, device=options.device, dtype=dtype, query=query)
        encode(texts[:8])
        seconds = []
        for _ in range(options.runs):
            start = time.perf_counter()
            encode(texts)
            seconds.append(time.perf_counter() - start)
        sample = np.asarray(encode(texts[:8]), dtype=np.float32)
        result[work] = {
            "seconds": float(np.median(seconds)),
            "texts/s": len(texts) / float(np.median(seconds)),
            "sample": (sample / np.linalg.norm(sample, axis=1, keepdims=True)).tolist(),
        }
    return result | {"peak MiB": peak_megabytes(options.device)}


def measure_reference(folder: Path, options: Namespace) -> dict[str, Any]:
    """Return the sample's vectors of our engine in float32."""
    result: dict[str, Any] = {}
    for work in ("documents", "queries"):
        query = work == "queries"
        texts = models.queries(8, seed=2) if query else models.documents(options.documents, seed=1)[:8]
        if query:
            texts = models.queries(options.documents, seed=2)[:8]
        encode = encoder_of("ours", folder, device=options.device, dtype="float32", query=query)
        result[work] = {"sample": np.asarray(encode(texts)).tolist()}
    return result


def measure_step(folder: Path, options: Namespace) -> dict[str, Any]:
    """Return the seconds and peak memory of a Redapter step with LoRA and gradient caching."""
    from train import our_step

    small = options.device == "cpu"
    arguments = Namespace(
        device=options.device,
        tuning="lora",
        tokens=512 if small else 16384,
        queries=4 if small else 64,
        group=4,
        max_length=1024,
    )
    step = our_step(folder, "mixed", arguments, weighted=True)
    step()
    seconds = []
    for _ in range(options.runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": float(np.median(seconds)), "peak MiB": peak_megabytes(options.device)}


def child(options: Namespace) -> None:
    """Run one measurement and print it as JSON."""
    folder = Path(options.folder)
    if options.child == "reference":
        result = measure_reference(folder, options)
    elif options.child == "step":
        result = measure_step(folder, options)
    else:
        result = measure_encode(options.child, folder, options)
    print("\n" + json.dumps(result))


class Run:
    """The measurements within a time budget."""

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.end = time.monotonic() + 60 * options.minutes
        self.rows: list[dict[str, Any]] = []
        self.skipped: list[str] = []

    def one(self, size: str, what: str, folder: Path) -> dict[str, Any] | None:
        """Return a measurement; None, with the reason noted, where it was skipped."""
        left = self.end - time.monotonic()
        if left < LEAST_SECONDS:
            self.skipped.append(f"{size} {what}: the budget of {self.options.minutes:g} minutes is spent")
            return None
        o = self.options
        command = [sys.executable, __file__, "--child", what, "--folder", str(folder), "--device", o.device]
        command += ["--documents", str(o.documents), "--runs", str(o.runs)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            self.skipped.append(f"{size} {what}: stopped after {left:.0f} s, when the budget was spent")
            return None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            self.skipped.append(f"{size} {what}: {reason[:200]}")
            return None
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def size(self, size: str, folder: Path) -> None:
        """Measure every engine and the training step at one shape."""
        reference = self.one(size, "reference", folder)
        for engine in ENGINES:
            result = self.one(size, engine, folder)
            for work in ("documents", "queries") if result else ():
                assert result is not None
                sample = np.asarray(result[work].pop("sample"))
                cosine = None if reference is None else float((sample * reference[work]["sample"]).sum(1).min())
                row = {"size": size, "engine": engine, "work": work, "peak MiB": result["peak MiB"], "cosine": cosine}
                self.rows.append(row | result[work])
        if size in TRAINED:
            step = self.one(size, "step", folder)
            if step:
                self.rows.append({"size": size, "engine": "ours", "work": "Redapter step, LoRA", **step})


def markdown(rows: list[dict[str, Any]], skipped: list[str], head: str) -> str:
    """Return the table and what was skipped."""
    lines = [head, "", "| size | work | engine | seconds | texts/s | peak MiB | least cosine to float32 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        rate = f"{row['texts/s']:.1f}" if "texts/s" in row else ""
        cosine = f"{row['cosine']:.5f}" if row.get("cosine") is not None else ""
        named = f"| {row['size']} | {row['work']} | {row['engine']} "
        lines.append(f"{named}| {row['seconds']:.3f} | {rate} | {row['peak MiB']:,.0f} | {cosine} |")
    return "\n".join([*lines, "", *(f"- skipped: {line}" for line in skipped)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["0.6b", "4b", "8b"])
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="the JSON and Markdown files, without their ends")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch finds no NVIDIA GPU here; --device cpu --sizes tiny tries the script")
    device = platform.processor() if options.device == "cpu" else torch.cuda.get_device_name()
    head = f"{device}; torch {torch.__version__}; {options.documents} texts a call, medians of {options.runs}"
    run = Run(options)
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            dtype = "float32" if options.device == "cpu" else "bfloat16"
            path = models.build_qwen3(Path(folder) / size, shape=SHAPES[size], dtype=dtype)
            run.size(size, path)
        record = {"head": head, "rows": run.rows, "skipped": run.skipped}
        options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
        options.out.with_suffix(".md").write_text(markdown(run.rows, run.skipped, head))
    print(markdown(run.rows, run.skipped, head))


if __name__ == "__main__":
    main()

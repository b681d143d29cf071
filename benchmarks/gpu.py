"""Measure encoding and training on one GPU beside the peers, within a time budget: one command, a JSON and a Markdown.

    python benchmarks/gpu.py [--minutes 8] [--sizes 0.6b 4b 8b] [--out gpu]
    python benchmarks/gpu.py --device cpu --sizes tiny --documents 8 --minutes 2     # tries the script without a GPU

Qwen3 at the shapes of 0.6B, 4B and 8B with random weights, bfloat16 on a GPU. Documents are of mixed lengths, queries
stand behind an instruction. Ours comes first at every size, then one peer after another. Every measurement runs in a
process of its own; before each one the script asks whether the budget allows it, and what it skips it says, with the
reason. Peers that are not installed are skipped likewise. Cosines are to sentence-transformers in float32.
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
OURS = "ours"
PEERS = ("sentence-transformers", "flag-embedding", "vllm")
TRAINED = ("tiny", "0.6b", "4b")
LEAST_SECONDS = 20.0
"""A measurement starts only if this much is left; it is stopped when the budget ends."""
SAMPLE = 8
Encode = Callable[[list[str]], Any]


def encoders_of(engine: str, folder: Path, *, device: str, dtype: str) -> dict[str, Encode]:
    """Return an engine's functions for documents and for queries behind the instruction, of one loaded model."""
    prompts = {"documents": None, "queries": models.TEMPLATE}
    if engine == OURS:
        from reasonembed_rag import Encoder

        encoder = Encoder.from_pretrained(str(folder), device=device, dtype=dtype)
        return {"documents": encoder.encode_documents, "queries": encoder.encode_queries}
    if engine == "sentence-transformers":
        model = peers.sentence_transformers(folder, dtype=dtype, device=device)
        return {work: peers.st_encode(model, batch_size=32, prompt=prompt) for work, prompt in prompts.items()}
    if engine == "flag-embedding":
        encode = peers.flag_embedding(folder, None, decoder=True, device=device, dtype=dtype)
        return {"documents": encode, "queries": lambda texts: encode([models.TEMPLATE + text for text in texts])}
    llm = peers.vllm(folder, dtype=dtype)
    return {work: peers.vllm_encode(llm, prompt) for work, prompt in prompts.items()}


def peak_megabytes(device: str, *, engine: str = OURS) -> float | None:
    """Return the peak memory of this process, on the GPU or resident; None for vLLM, which reserves what is free."""
    if engine == "vllm":
        return None
    if device == "cpu":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def works(count: int) -> dict[str, list[str]]:
    """Return the texts of each kind of work."""
    return {"documents": models.documents(count, seed=1), "queries": models.queries(count, seed=2)}


def measure_encode(engine: str, folder: Path, options: Namespace) -> dict[str, Any]:
    """Return seconds, throughput and peak memory of documents and queries, and the vectors of a sample."""
    dtype = "float32" if options.device == "cpu" else "bfloat16"
    encoders = encoders_of(engine, folder, device=options.device, dtype=dtype)
    result: dict[str, Any] = {}
    for work, texts in works(options.documents).items():
        encode = encoders[work]
        sample = np.asarray(encode(texts[:SAMPLE]), dtype=np.float32)
        seconds = []
        for _ in range(options.runs):
            start = time.perf_counter()
            encode(texts)
            seconds.append(time.perf_counter() - start)
        median = float(np.median(seconds))
        result[work] = {"seconds": median, "texts/s": len(texts) / median, "sample": unit(sample)}
    return result | {"peak MiB": peak_megabytes(options.device, engine=engine)}


def measure_reference(folder: Path, options: Namespace) -> dict[str, Any]:
    """Return the sample's vectors by sentence-transformers in float32, one text at a time."""
    encoders = encoders_of("sentence-transformers", folder, device=options.device, dtype="float32")
    texts = works(options.documents)
    return {
        work: {"sample": unit(np.concatenate([encode([text]) for text in texts[work][:SAMPLE]]))}
        for work, encode in encoders.items()
    }


def unit(vectors: Any) -> list[list[float]]:
    """Return rows of length 1 as lists."""
    rows: list[list[float]] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()
    return rows


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


def measurement(what: str, folder: Path, options: Namespace) -> dict[str, Any]:
    """Return one measurement, made in this process."""
    if what == "reference":
        return measure_reference(folder, options)
    return measure_step(folder, options) if what == "step" else measure_encode(what, folder, options)


class Run:
    """The measurements within a time budget."""

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.end = time.monotonic() + 60 * options.minutes
        self.references: dict[str, dict[str, Any]] = {}
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

    def ours(self, size: str, folder: Path) -> None:
        """Measure ours at one shape: the sample in float32, encoding, the training step."""
        reference = self.one(size, "reference", folder)
        if reference is not None:
            self.references[size] = reference
        self.engine(size, OURS, folder)
        step = self.one(size, "step", folder) if size in TRAINED else None
        if step is not None:
            self.rows.append({"size": size, "engine": OURS, "work": "Redapter step, LoRA", **step})

    def engine(self, size: str, engine: str, folder: Path) -> None:
        """Measure the encoding of one engine at one shape."""
        result = self.one(size, engine, folder) or {}
        reference = self.references.get(size)
        for work in ("documents", "queries") if result else ():
            sample = np.asarray(result[work].pop("sample"))
            cosine = None if reference is None else float((sample * reference[work]["sample"]).sum(1).min())
            row = {"size": size, "engine": engine, "work": work, "peak MiB": result["peak MiB"], "cosine": cosine}
            self.rows.append(row | result[work])

    def save(self, head: str) -> str:
        """Write what is measured so far as JSON and Markdown; return the Markdown."""
        record = {"head": head, "rows": self.rows, "skipped": self.skipped}
        text = markdown(self.rows, self.skipped, head)
        self.options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
        self.options.out.with_suffix(".md").write_text(text)
        return text


def markdown(rows: list[dict[str, Any]], skipped: list[str], head: str) -> str:
    """Return the table and what was skipped."""
    lines = [head, "", "| size | work | engine | seconds | texts/s | peak MiB | least cosine to float32 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["size"], row["work"])):
        rate = f"{row['texts/s']:.1f}" if "texts/s" in row else ""
        cosine = f"{row['cosine']:.5f}" if row.get("cosine") is not None else ""
        peak = f"{row['peak MiB']:,.0f}" if row["peak MiB"] is not None else ""
        named = f"| {row['size']} | {row['work']} | {row['engine']} "
        lines.append(f"{named}| {row['seconds']:.3f} | {rate} | {peak} | {cosine} |")
    return "\n".join([*lines, "", *(f"- skipped: {line}" for line in skipped)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["0.6b", "4b", "8b"])
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="the JSON and Markdown files, without their ends")
    parser.add_argument("--work", type=Path, help="a folder for the weights, 27 GB with all sizes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print("\n" + json.dumps(measurement(options.child, Path(options.folder), options)))
        return
    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch finds no NVIDIA GPU here; --device cpu --sizes tiny tries the script")
    device = platform.processor() if options.device == "cpu" else torch.cuda.get_device_name()
    head = f"{device}; torch {torch.__version__}; {options.documents} texts a call, medians of {options.runs}"
    run = Run(options)
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        folders = {}
        for size in options.sizes:
            dtype = "float32" if options.device == "cpu" else "bfloat16"
            folder = models.build_qwen3(Path(work) / size, shape=SHAPES[size], dtype=dtype, device=options.device)
            folders[size] = folder
            run.ours(size, folder)
            run.save(head)
        for engine in PEERS:
            for size, folder in folders.items():
                run.engine(size, engine, folder)
                run.save(head)
    print(run.save(head))


if __name__ == "__main__":
    main()

"""Compare this project's encoder with its peers: same weights, same texts, one interleaved run, medians and range.

    python benchmarks/encode.py [--runs 3] [--work NAME ...] [--json out.json] [--device cuda] [--data FOLDER ...]

Each line gives an engine's time, its ratio to ours, and the least cosine with the reference (transformers, float32, one
text at a time, on a sample). Peers that are not installed are listed and skipped.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import encode_models as models
import encode_peers as peers
import numpy as np

Encode = Callable[[list[str]], Any]
_SAMPLE = 16
_MANY = 20
"""Rows with more timings than this are latencies of single texts."""
_PAUSE = 0.03
"""Seconds before a single text: the threads of the engine before spin for up to 16 ms, on the cores of the next."""


@dataclass
class Row:
    """One engine's result on one task."""

    work: str
    engine: str
    seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    cosine: float | None = None
    peak_share: float | None = None

    @property
    def median(self) -> float:
        """The median run, in seconds."""
        return statistics.median(self.seconds)


def matmul_peak(dtype: str) -> float:
    """Return the machine's best GFLOP/s on a large matrix product in a dtype, over torch's implementations."""
    import torch

    from reasonembed_rag.backbone import OneDnnLinear, PlainLinear, prepacks

    weight = torch.randn(2048, 512).to(getattr(torch, dtype))
    x = torch.randn(2048, 512).to(weight.dtype)
    kinds = [PlainLinear, OneDnnLinear] if prepacks(weight.dtype) else [PlainLinear]
    best = 0.0
    for linear in (kind(weight, None) for kind in kinds):
        linear(x)
        for _ in range(9):
            start = time.perf_counter()
            linear(x)
            best = max(best, 2 * 2048 * 2048 * 512 / (time.perf_counter() - start) / 1e9)
    return best


def interleaved(work: str, engines: dict[str, Encode], texts: list[str], *, runs: int) -> list[Row]:
    """Time the engines in turn, after warming up each on a few texts."""
    rows = {name: Row(work, name) for name in engines}
    for encode in engines.values():
        encode(texts[:8])
    for _ in range(runs):
        for name, encode in engines.items():
            start = time.perf_counter()
            encode(texts)
            rows[name].seconds.append(time.perf_counter() - start)
    return list(rows.values())


def single_queries(work: str, engines: dict[str, Encode], texts: list[str]) -> list[Row]:
    """Time one query at a time, the engines in turn; the median is the p50 latency."""
    rows = {name: Row(work, name) for name in engines}
    for text in texts:
        for name, encode in engines.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            encode([text])
            rows[name].seconds.append(time.perf_counter() - start)
    return list(rows.values())


def best_batch(model: Any, texts: list[str], prompt: str | None) -> int:
    """Return the batch size at which sentence-transformers is fastest on a sample."""
    times = {}
    for size in (1, 4, 8):
        start = time.perf_counter()
        peers.st_encode(model, batch_size=size, prompt=prompt)(texts)
        times[size] = time.perf_counter() - start
    return min(times, key=times.__getitem__)


def reference(folder: Path, texts: list[str], prompt: str, *, pooling: str, max_length: int) -> np.ndarray:
    """Return the vectors of plain transformers in float32, one text at a time."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder, dtype=torch.float32).eval(),
    )
    vectors = []
    for text in texts:
        inputs = tokenizer(prompt + text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0]
        vector = hidden[-1] if pooling == "last" else hidden.mean(0)
        vectors.append(torch.nn.functional.normalize(vector, dim=0).numpy())
    return np.stack(vectors)


def least_cosine(vectors: Any, expected: np.ndarray) -> float:
    array = np.asarray(vectors, dtype=np.float32)
    array = array / np.linalg.norm(array, axis=1, keepdims=True)
    return float((array * expected).sum(1).min())


class Bench:
    """The models, loaded once, and the measurements over them."""

    def __init__(self, folder: Path, *, runs: int, peak: dict[str, float]) -> None:
        from reasonembed_rag.backbone import bfloat16_slowdown, emulates_bfloat16, find_model

        self.runs, self.peak = runs, peak
        self.bfloat16 = not emulates_bfloat16()
        if not self.bfloat16:
            print(
                f"bfloat16 is skipped: this CPU emulates it, and a product takes {bfloat16_slowdown():.1f} times as "
                "long as in float32"
            )
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.qwen = models.build_qwen3(folder / "qwen3-40m")
        self.minilm = find_model("default-base")
        self.mpnet = find_model("default-large-base")
        self.longest = {self.qwen: 1024, self.minilm: 256, self.mpnet: 384}
        self.folder = folder

    def ours(self, folder: Path, dtype: str, *, query: bool) -> Encode:
        """Return our encoder's function for queries or documents."""
        from reasonembed_rag import Encoder

        encoder = Encoder.from_pretrained(str(folder), dtype=dtype)
        return encoder.encode_queries if query else encoder.encode_documents

    def optional(self, name: str, make: Callable[[], Encode]) -> dict[str, Encode]:
        """Return a peer if it runs; note why if it does not."""
        try:
            return {name: make()}
        except Exception as error:  # noqa: BLE001 - any reason that keeps a peer from running is reported
            self.notes.append(f"{name} did not run: {type(error).__name__}: {str(error)[:120]} ({peers.INSTALL})")
            return {}

    def compare(
        self,
        work: str,
        folder: Path,
        texts: list[str],
        *,
        query: bool = False,
        others: bool = False,
        single: bool = False,
        runtimes: bool = False,
    ) -> None:
        """Compare ours with sentence-transformers' defaults, its best, and others; bfloat16 where the CPU has it.

        `others` are libraries, `runtimes` are plain ONNX Runtime and OpenVINO at their fastest.
        """
        qwen = folder == self.qwen
        prompt = models.TEMPLATE if query and qwen else None
        exact = peers.sentence_transformers(folder, dtype="float32", device="cpu")
        engines: dict[str, Encode] = {"ours float32": self.ours(folder, "float32", query=query)}
        if self.bfloat16:
            engines["ours bfloat16"] = self.ours(folder, "bfloat16", query=query)
        if runtimes:
            engines |= self.optional("ours int8", lambda: self.ours(folder, "int8", query=query))
            engines |= self._runtimes(folder)
        engines["st float32"] = peers.st_encode(exact, batch_size=32, prompt=prompt)
        if not single:
            size = best_batch(exact, texts[:24], prompt)
            engines[f"st float32 best (batch {size})"] = peers.st_encode(exact, batch_size=size, prompt=prompt)
        if not single and self.bfloat16:
            short = peers.sentence_transformers(folder, dtype="bfloat16", device="cpu")
            size = best_batch(short, texts[:24], prompt)
            engines[f"st bfloat16 best (batch {size})"] = peers.st_encode(short, batch_size=size, prompt=prompt)
        if others:
            engines |= self.optional("langchain HuggingFaceEmbeddings", lambda: peers.langchain(folder, prompt))
            engines |= self.optional("llama-index HuggingFaceEmbedding", lambda: peers.llama_index(folder, prompt))
            engines |= self.optional("FlagEmbedding", lambda: peers.flag_embedding(folder, prompt, decoder=qwen))
        rows = single_queries(work, engines, texts) if single else interleaved(work, engines, texts, runs=self.runs)
        self._compare_with_reference(rows, engines, folder, texts, prompt or "", qwen=qwen)
        self.rows += rows
        show(rows)

    def _runtimes(self, folder: Path) -> dict[str, Encode]:
        """Return plain ONNX Runtime in float32 and int8, and OpenVINO in float32 and, where it is native, bfloat16."""
        longest = self.longest[folder]
        engines: dict[str, Encode] = {}
        for name, int8 in (("onnxruntime float32", False), ("onnxruntime int8", True)):
            make = functools.partial(peers.onnx_bert, folder, self.folder / "onnx", int8=int8, longest=longest)
            engines |= self.optional(name, make)
        for precision in ("f32", "bf16") if self.bfloat16 else ("f32",):
            make = functools.partial(peers.openvino_bert, folder, precision=precision, longest=longest)
            engines |= self.optional(f"openvino {precision}", make)
        return engines

    def _compare_with_reference(
        self, rows: list[Row], engines: dict[str, Encode], folder: Path, texts: list[str], prompt: str, *, qwen: bool
    ) -> None:
        from transformers import AutoConfig, AutoTokenizer

        limit = self.longest[folder]
        sample = texts[:_SAMPLE]
        expected = reference(folder, sample, prompt, pooling="last" if qwen else "mean", max_length=limit)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        lengths = [
            len(ids) for ids in tokenizer([prompt + t for t in texts], truncation=True, max_length=limit)["input_ids"]
        ]
        config = AutoConfig.from_pretrained(folder)
        flops = sum(lengths) * _flops_per_token(config)
        for row in rows:
            row.tokens = sum(lengths)
            row.cosine = least_cosine(engines[row.engine](sample), expected)
            if len(row.seconds) <= _MANY:
                row.peak_share = flops / row.median / 1e9 / self.peak["bfloat16" if "bf" in row.engine else "float32"]

    def int8(self, folders: list[Path]) -> None:
        """Print the change in nDCG@10 by int8 weights on real questions."""
        from reasonembed_rag import Encoder
        from reasonembed_rag.evaluation import evaluate_embedder, read_task_folder
        from reasonembed_rag.evaluation.python_reference import load_python_reference

        tasks = [load_python_reference("dev")]
        tasks += [read_task_folder(folder, split="dev") for folder in folders]
        for task in tasks:
            scores = {}
            for dtype in ("float32", "int8"):
                encoder = Encoder.from_pretrained(str(self.minilm), dtype=dtype)
                scores[dtype] = evaluate_embedder(encoder, task).mean_present["nDCG@10"]
            change = scores["int8"] - scores["float32"]
            before, after = scores["float32"], scores["int8"]
            print(f"int8 MiniLM on {task.name}/{task.split}: nDCG@10 {before:.4f} -> {after:.4f} ({change:+.4f})")


def _flops_per_token(config: Any) -> float:
    width, inner = config.hidden_size, config.intermediate_size
    if config.model_type == "qwen3":
        heads, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        layer = width * (2 * heads + 2 * keys) + 3 * width * inner
    else:
        layer = 4 * width * width + 2 * width * inner
    return 2.0 * layer * config.num_hidden_layers


def show(rows: list[Row]) -> None:
    """Print rows as a table, ours first, with the ratio of each time to ours in float32 and in bfloat16."""
    ours = {row.engine: row.median for row in rows if row.engine.startswith("ours")}
    print(f"\n{rows[0].work}  ({rows[0].tokens:,} tokens)")
    names = ("median s", "min", "max", "tok/s", "/ours32", "/ours16", "peak", "cosine")
    print(f"  {'engine':38}" + "".join(f"{name:>10}" for name in names))
    for row in rows:
        cells = [f"{seconds:.4f}" for seconds in (row.median, min(row.seconds), max(row.seconds))]
        cells += [
            f"{row.tokens / row.median:,.0f}" if len(row.seconds) <= _MANY else "-",
            f"{row.median / ours['ours float32']:.2f}",
            f"{row.median / ours['ours bfloat16']:.2f}" if "ours bfloat16" in ours else "-",
            f"{row.peak_share:.0%}" if row.peak_share else "-",
            f"{row.cosine:.6f}" if row.cosine is not None else "-",
        ]
        print(f"  {row.engine:38}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


_MEMORY_PROBE = """
import resource, sys
sys.path.insert(0, {here!r})
import encode_models as models
from reasonembed_rag import Encoder
encoder = Encoder.from_pretrained("default-base")
texts = models.documents({count}, seed=5, median_words=12.0, spread=0.9)
encoder.encode_documents(texts[:64])
import time
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
vectors = encoder.encode_documents({given}(texts))
seconds = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before, after, vectors.nbytes // 1024, seconds)
"""


def growth() -> None:
    """Print time and extra memory per text from 64 to 16k texts, and from an iterator, each in a separate process."""
    print("\ngrowth, MiniLM, short texts with a long tail (separate processes)")
    for count, given in ((64, "list"), (1024, "list"), (16384, "list"), (16384, "iter")):
        code = _MEMORY_PROBE.format(here=str(Path(__file__).parent), count=count, given=given)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        before, after, output, seconds = (float(part) for part in done.stdout.split())
        print(
            f"  {given} of {count:6} texts: {seconds:8.2f} s, {seconds / count * 1e3:6.2f} ms per text, "
            f"extra peak {(after - before) / 1024:6.1f} MiB, of which the output {output / 1024:5.1f} MiB"
        )


def gpu(device: str, *, runs: int) -> list[Row]:
    """Compare at the shapes of 0.6B, 4B and 8B with random weights in bfloat16, on a GPU."""
    from reasonembed_rag import Encoder

    rows: list[Row] = []
    for size, shape in models.QWEN3_SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = models.build_qwen3(Path(folder) / size, shape=shape, dtype="bfloat16")
            encoder = Encoder.from_pretrained(str(path), device=device, dtype="bfloat16")
            model = peers.sentence_transformers(path, dtype="bfloat16", device=device)
            texts = models.documents(2048, seed=1)
            engines: dict[str, Encode] = {
                "ours bfloat16": encoder.encode_documents,
                "ours float32": encoder.encode_documents,  # the same engine for both columns: only bfloat16 is run here
                "st bfloat16": peers.st_encode(model, batch_size=32, prompt=None),
                "st bfloat16 batch 128": peers.st_encode(model, batch_size=128, prompt=None),
            }
            part = interleaved(f"Qwen3-{size} documents on {device}", engines, texts, runs=runs)
            show(part)
            rows += part
    return rows


WORKS: dict[str, Callable[[Bench], None]] = {
    "qwen-64": lambda b: b.compare("Qwen3-40M, 64 documents", b.qwen, models.documents(64, seed=1)),
    "qwen-peers": lambda b: b.compare("Qwen3-40M, 32 documents", b.qwen, models.documents(32, seed=1), others=True),
    "qwen-queries": lambda b: b.compare(
        "Qwen3-40M, 256 instructed queries", b.qwen, models.queries(256, seed=2), query=True
    ),
    "qwen-1024": lambda b: b.compare("Qwen3-40M, 1,024 documents", b.qwen, models.documents(1024, seed=3)),
    "minilm": lambda b: b.compare(
        "MiniLM, 256 documents (max 256)", b.minilm, models.documents(256, seed=4), others=True, runtimes=True
    ),
    "mpnet": lambda b: b.compare("mpnet, 64 documents (max 384)", b.mpnet, models.documents(64, seed=4), runtimes=True),
    "one-query-minilm": lambda b: b.compare(
        "MiniLM, one query at a time", b.minilm, models.queries(60, seed=6), query=True, single=True, runtimes=True
    ),
    "one-query-qwen": lambda b: b.compare(
        "Qwen3-40M, one instructed query at a time", b.qwen, models.queries(40, seed=7), query=True, single=True
    ),
    "growth": lambda _: growth(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", nargs="*", choices=[*WORKS, "int8"], default=[*WORKS, "int8"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--data", type=Path, nargs="*", default=[], help="BRIGHT-format folders with a dev split, for int8"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    logging.disable(logging.WARNING)
    import torch

    from reasonembed_rag.backbone import instruction_set

    peak = {dtype: round(matmul_peak(dtype)) for dtype in ("float32", "bfloat16")}
    kind = platform.processor() or platform.machine()
    machine = f"{kind} ({instruction_set()}), {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine}; torch {torch.__version__}; measured peak {peak} GFLOP/s")
    if options.device != "cpu":
        rows, notes = gpu(options.device, runs=options.runs), []
    else:
        folder = Path(tempfile.gettempdir()) / "reasonembed-bench"
        bench = Bench(folder, runs=options.runs, peak=peak)
        for work in options.work:
            if work == "int8":
                bench.int8(options.data)
            else:
                WORKS[work](bench)
        rows, notes = bench.rows, bench.notes
    for note in notes:
        print(f"note: {note}")
    if options.json:
        record = {"machine": machine, "peak": peak, "rows": [asdict(row) | {"median": row.median} for row in rows]}
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

"""Measure how much other busy processes slow encoding: ours beside ONNX Runtime and sentence-transformers.

    python benchmarks/neighbours.py [--runs 5] [--documents 64] [--engines ours onnxruntime sentence-transformers]

MiniLM in float32, each engine in a process of its own, in turn; beside them run no, one, or as many busy loops as there
are cores. Printed are the medians, and their ratio to those of the quiet machine. It must be quiet otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import encode_models as models
import encode_peers as peers
import numpy as np

ENGINES = ("ours", "onnxruntime", "sentence-transformers")
_LONGEST = 256


def encoder_of(engine: str) -> Any:
    """Return an engine's function from texts to vectors."""
    from reasonembed_rag.backbone import find_model

    folder = find_model("default-base")
    if engine == "ours":
        from reasonembed_rag import Encoder

        return Encoder.from_pretrained(str(folder), dtype="float32").encode_documents
    if engine == "onnxruntime":
        work = Path(tempfile.gettempdir()) / "reasonembed-bench" / "onnx"
        return peers.onnx_bert(folder, work, int8=False, longest=_LONGEST)
    model = peers.sentence_transformers(folder, dtype="float32", device="cpu")
    return peers.st_encode(model, batch_size=4, prompt=None)


def serve(engine: str, count: int) -> None:
    """Encode the documents once for every line of the standard input, and print the seconds."""
    encode, texts = encoder_of(engine), models.documents(count, seed=4)
    encode(texts)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        encode(texts)
        print(time.perf_counter() - start, flush=True)


class Engine:
    """An engine in a process of its own."""

    def __init__(self, name: str, count: int) -> None:
        command = [sys.executable, __file__, "--serve", name, "--documents", str(count)]
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.starts = self._answer() == "ready"

    def seconds(self) -> float:
        """Return the time of one call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def measure(engines: dict[str, Engine], *, busy: int) -> dict[str, float]:
    """Return the seconds of one call of each engine beside some busy processes."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        return {name: engine.seconds() for name, engine in engines.items()}
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--serve", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.documents)
        return
    started = {name: Engine(name, options.documents) for name in options.engines}
    engines = {name: engine for name, engine in started.items() if engine.starts}
    for name in started.keys() - engines.keys():
        print(f"{name} did not start; see above")
    levels = sorted({0, 1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1})
    seconds: dict[int, list[dict[str, float]]] = {level: [] for level in levels}
    for _ in range(options.runs):
        for level in levels:
            seconds[level].append(measure(engines, busy=level))
    print(f"{'busy processes':24}" + "".join(f"{level:>18}" for level in levels))
    for name, engine in engines.items():
        medians = [float(np.median([run[name] for run in seconds[level]])) for level in levels]
        print(f"{name:24}" + "".join(f"{one:>10.3f} ({one / medians[0]:.2f})" for one in medians))
        engine.close()


if __name__ == "__main__":
    main()

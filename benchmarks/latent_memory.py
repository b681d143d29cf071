"""Latent memory on a synthetic language of facts: retrieval, regeneration and answers beside baselines of equal bytes.

A GRC-style reconstruction: nothing here is a figure of the paper. Every part is kept in --out, so that a stopped run
goes on and one with more latents or seeds adds to it.

    python benchmarks/latent_memory.py                       # what docs/experiments/latent-memory.md says to run
    python benchmarks/latent_memory.py --layers 7 --hidden 384 --latents 4 --seeds 0 --steps 2000 --out runs/latent-11m
    python benchmarks/latent_memory.py --latents 4 --steps 50 --queries 50 --out runs/glance
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from latent_facts import DecoderSettings, Facts, corpus, random_facts, train_decoder

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.memory import REPEAT, LoadedLatent, create_latent, load_latent
from reasonembed_training import recipe_from, train

TEMPLATES = {"question_template": "? {question}", "text_template": "{text} "}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


# --- data ---------------------------------------------------------------------------------------------------------


def write_rows(folder: Path, *, rows: int, facts: int, seed: int = 7) -> None:
    """Write contrastive rows and memory rows of documents that the corpus does not have.

    Documents of memory rows have one to `facts` facts: the few of short ones are learnt first, and then how.
    """
    if (folder / "memories.jsonl").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    documents = Facts(random_facts(rows, facts, generator))
    asked = generator.integers(facts, size=rows)
    contrastive = [
        {"id": f"r{n}", "query": documents.question(n, asked[n]), "pos": [documents.text(n)], "neg": []}
        for n in range(rows)
    ]
    memories = [_memory_row(n, facts, generator) for n in range(rows)]
    for name, lines in (("contrastive", contrastive), ("memories", memories)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _memory_row(number: int, facts: int, generator: np.random.Generator) -> dict:
    """Return a row: in five of eight one document and a question, in two three documents, in one the document again."""
    count = 3 if number % 4 == 2 else 1
    shown = Facts(random_facts(count, int(generator.integers(1, facts + 1)), generator))
    documents = [shown.text(n) for n in range(count)]
    if number % 8 == 7:
        return {"documents": documents}
    pair = int(generator.integers(count)), int(generator.integers(shown.array.shape[1]))
    return {"documents": documents, "question": shown.question(*pair)[2:], "answer": shown.answer(*pair)}


def recipe_of(args: argparse.Namespace, run: Path, *, latents: int, pooling: str | None, seed: int) -> dict:
    """Return the recipe of a run; with 0 latents an ordinary encoder of the same decoder, rank and steps."""
    data = args.out / "data"
    table = {
        "model": {
            "name": str(args.out / "decoder"),
            "device": "cpu",
            "max_query_length": 64,
            "max_document_length": 64,
        },
        "lora": {"rank": 32, "alpha": 64, "dropout": 0.0, "targets": LINEARS},
        "data": [{"path": str(data / "contrastive.jsonl")}],
        "batch": {"queries": 32, "group": 1, "tokens": 4096},
        "loss": {"temperature": 0.05},
        "redapter": {"enabled": False},
        "optim": {"lr": args.lr, "max_steps": args.steps, "schedule": "cosine"},
        "run": {"output": str(run), "cache": str(args.out / "cache"), "seed": seed, "trackers": [], "workers": 0},
    }
    if latents:
        rows = {"rows": [str(data / "memories.jsonl")], "batch": 64, **TEMPLATES}
        # The gradient of the embedding loss is several times larger, and would have all of Adam's step.
        table["latent"] = {"tokens": latents, "compression": 4.0, "ends": False, **rows}
    else:
        table["model"]["pooling"] = pooling
    return table


def trained(args: argparse.Namespace, *, latents: int = 0, pooling: str | None = None, seed: int = 0) -> Path:
    """Train a run unless it is finished; return its exported folder."""
    name = f"k{latents}" if latents else str(pooling)
    run = args.out / f"{name}-steps{args.steps}-seed{seed}"
    table = recipe_of(args, run, latents=latents, pooling=pooling, seed=seed)
    outcome = train(recipe_from(table, where="latent_memory.py"))
    if outcome.model is None:
        raise SystemExit("stopped; run again to go on")
    return outcome.model


# --- memories and their baselines ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Carrier:
    """How documents are shown to the decoder: keys before rotation and values, `size` positions per document."""

    name: str
    make: Callable[[list[np.ndarray]], list[torch.Tensor]]
    """Documents as tokens to memories (layers, 2, kv heads, size, head width)."""


def carriers(latent: LoadedLatent, k: int) -> list[Carrier]:
    """Return the memory and its baselines of as many bytes."""

    def last(ids: list[np.ndarray]) -> list[torch.Tensor]:
        return [one[..., -k:, :] for one in whole(latent, ids)]

    def windows(ids: list[np.ndarray]) -> list[torch.Tensor]:
        found = []
        for one in whole(latent, ids):
            parts = [torch.from_numpy(part) for part in np.array_split(np.arange(one.shape[3]), min(k, one.shape[3]))]
            found.append(torch.stack([one[..., part, :].mean(dim=3) for part in parts], dim=3))
        return found

    return [
        Carrier(f"memory, k = {k}", lambda ids: [*latent.model(ids).memories_BN2KkD]),
        Carrier(f"the first {k} tokens", lambda ids: whole(latent, [one[:k] for one in ids])),
        Carrier(f"keys and values of the last {k} tokens", last),
        Carrier(f"means of {k} windows of keys and values", windows),
    ]


def whole(latent: LoadedLatent, ids: list[np.ndarray]) -> list[torch.Tensor]:
    """Return keys before rotation and values of every token of each document, as the decoder itself computes them."""
    rotary = latent.model.backbone.rotary_emb
    found = []
    for one in ids:
        past = latent.model.plain([one])[1]
        back = -torch.arange(len(one))[None]
        cos, sin = rotary(past[0][0], back)
        layers = [torch.stack([_rotated(key[0], cos[0], sin[0]), value[0]]).transpose(1, 2) for key, value in past]
        found.append(torch.stack(layers))
    return found


def _rotated(key_PKd: torch.Tensor, cos_Pd: torch.Tensor, sin_Pd: torch.Tensor) -> torch.Tensor:
    half = key_PKd.shape[-1] // 2
    turned = torch.cat([-key_PKd[..., half:], key_PKd[..., :half]], dim=-1)
    return key_PKd * cos_Pd[:, None] + turned * sin_Pd[:, None]


# --- measures -----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def answer_accuracy(latent: LoadedLatent, memories: Sequence[torch.Tensor] | None, asked: Sequence[Asked]) -> float:
    """Return the share of questions whose likeliest next token is the answer, each behind its documents' memories."""
    right = 0
    for one in asked:
        past = None
        if memories is not None and one.documents:
            joined = torch.cat([memories[number] for number in one.documents], dim=3)
            past = latent.model.placed(joined[None])
        states = latent.model.plain([one.prompt], past=past)[0]
        right += int(latent.model.logits(states[-1:]).argmax()) == one.answer
    return right / len(asked)


@torch.inference_mode()
def text_accuracy(latent: LoadedLatent, texts: Sequence[np.ndarray], asked: Sequence[Asked]) -> float:
    """Return the same with the documents' tokens in full before the question, and without any if there are none."""
    right = 0
    for one in asked:
        shown = [texts[number] if place == 0 else texts[number][1:] for place, number in enumerate(one.documents)]
        start = [] if shown else [np.asarray(latent.tokenizer.head_ids)]
        states = latent.model.plain([np.concatenate([*start, *shown, one.prompt])])[0]
        right += int(latent.model.logits(states[-1:]).argmax()) == one.answer
    return right / len(asked)


@torch.inference_mode()
def regeneration(latent: LoadedLatent, memories: Sequence[torch.Tensor], texts: Sequence[np.ndarray]) -> float:
    """Return the share of a document's tokens, stops left out, that are likeliest given those before and its memory."""
    right = total = 0
    again = latent.tokenizer.ids_alone(["again"])[0]
    for memory, text in zip(memories, texts, strict=True):
        shares = []
        for start in (np.asarray([REPEAT]), again):  # the trained row, and the decoder's own word: the better counts
            states = latent.model.plain([np.concatenate([start, text[1:]])], past=latent.model.placed(memory[None]))[0]
            found = latent.model.logits(states[:-1]).argmax(dim=-1).numpy()
            counted = np.arange(len(text) - 1) % 4 != 3
            shares.append(int((found == text[1:])[counted].sum()))
        right, total = right + max(shares), total + int(counted.sum())
    return right / total


@dataclass(frozen=True, slots=True)
class Asked:
    """A question behind some documents, by their numbers."""

    documents: tuple[int, ...]
    prompt: np.ndarray
    answer: int


def asked_of(latent: LoadedLatent, facts: Facts, pairs: Sequence[tuple[int, int]], shown: Sequence[Sequence[int]]):  # noqa: ANN201
    """Return the questions for (document, fact) pairs, each with its shown documents."""
    prompts = latent.tokenizer.ids_alone([facts.question(*pair) for pair in pairs])
    answers = latent.tokenizer.ids_alone([facts.answer(*pair) for pair in pairs])
    rows = zip(shown, prompts, answers, strict=True)
    return [Asked(tuple(map(int, documents)), prompt, int(answer[0])) for documents, prompt, answer in rows]


def ranked(queries_QD: np.ndarray, documents_ND: np.ndarray, gold: Sequence[int]) -> tuple[float, np.ndarray]:
    """Return nDCG@10, one document being relevant, and the three best documents of each query."""
    order = np.argsort(-(queries_QD @ documents_ND.T), axis=1, kind="stable")[:, :10]
    places = [np.flatnonzero(row == one) for row, one in zip(order, gold, strict=True)]
    return float(np.mean([1 / np.log2(2 + place[0]) if len(place) else 0.0 for place in places])), order[:, :3]


@torch.inference_mode()
def latent_vectors(latent: LoadedLatent, ids: list[np.ndarray]) -> np.ndarray:
    """Return the normalised vectors of token sequences."""
    parts = [latent.model(ids[start : start + 64]).pooled_BD for start in range(0, len(ids), 64)]
    return torch.nn.functional.normalize(torch.cat(parts), dim=-1).numpy()


# --- the experiment -----------------------------------------------------------------------------------------------


def measure(args: argparse.Namespace, k: int, seed: int) -> dict:
    """Train with k latents and measure all functions of section 8; return the figures by name."""
    latent = load_latent(trained(args, latents=k, seed=seed))
    facts = corpus(args.documents, args.facts, seed=1)
    texts = [facts.text(n) for n in range(len(facts))]
    ids = _tokens(latent, texts)
    pairs = [(n * len(facts) // args.queries, n % args.facts) for n in range(args.queries)]
    gold = [document for document, _ in pairs]
    ndcg, top = ranked(
        latent_vectors(latent, _tokens(latent, [facts.question(*pair) for pair in pairs])),
        latent_vectors(latent, ids),
        gold,
    )
    others = np.random.default_rng(2).integers(len(facts), size=(len(pairs), 2))
    beside = [[int(a), n, int(b)] for n, (a, b) in zip(gold, others, strict=True)]
    shown = {"answers": [[n] for n in gold], "answers, between two others": beside, "answers, top 3 found": top}
    asked = {name: asked_of(latent, facts, pairs, documents) for name, documents in shown.items()}
    nothing = text_accuracy(latent, ids, asked_of(latent, facts, pairs, [()] * len(pairs)))
    used = sorted({*gold, *map(int, top.flatten()), *map(int, others.flatten())})
    figures: dict = {"nDCG@10": ndcg, "bytes": latent.model.memory_bytes}
    figures |= {name: {} for name in (*asked, "regeneration")}
    for carrier in carriers(latent, k):
        with torch.inference_mode():
            made = dict(zip(used, carrier.make([ids[n] for n in used]), strict=True))
        for name, questions in asked.items():
            figures[name][carrier.name] = answer_accuracy(latent, made, questions)
        figures["regeneration"][carrier.name] = regeneration(latent, [made[n] for n in gold], [ids[n] for n in gold])
    for name, questions in asked.items():
        figures[name] |= {"full text": text_accuracy(latent, ids, questions), "nothing": nothing}
    figures["plain states bit-equal"] = _is_plain(latent, ids[:32])
    figures["text bytes"] = len(ids[0]) * latent.model.memory_bytes // k
    return figures


def _tokens(latent: LoadedLatent, texts: list[str]) -> list[np.ndarray]:
    before, after = latent.spec.document_affixes()
    tokens = latent.tokenizer(texts, before=before, after=after, max_length=latent.spec.max_document_length)
    return [*tokens.rows(np.arange(len(texts)))]


@torch.inference_mode()
def _is_plain(latent: LoadedLatent, ids: list[np.ndarray]) -> bool:
    """Return whether plain states with the trained adapters are those of a fresh decoder, to the bit."""
    fresh = create_latent(EncoderSettings(model=latent.backbone.model), latent.model.settings, live=False)
    return torch.equal(latent.model.plain(ids)[0], fresh.model.plain(ids)[0])


def measure_pooling(args: argparse.Namespace, pooling: str, seed: int) -> dict:
    """Train an ordinary encoder of the same decoder and measure its retrieval, before and after."""
    facts = corpus(args.documents, args.facts, seed=1)
    pairs = [(n * len(facts) // args.queries, n % args.facts) for n in range(args.queries)]
    figures = {}
    encoder = Encoder.from_pretrained(str(trained(args, pooling=pooling, seed=seed)))
    queries = encoder.encode_queries([facts.question(*pair) for pair in pairs])
    documents = encoder.encode_documents([facts.text(n) for n in range(len(facts))])
    figures["nDCG@10"] = ranked(queries, documents, [document for document, _ in pairs])[0]
    return figures


def cached(path: Path, make: Callable[[], dict]) -> dict:
    """Return the figures in a file, made if it is not there."""
    if not path.is_file():
        figures = make()
        path.write_text(json.dumps(figures, indent=1))
    return json.loads(path.read_text())


def table(found: dict[str, list[dict]]) -> str:
    """Return the figures as Markdown: means over seeds, each seed in parentheses."""
    lines = ["| run | measure | carrier | result |", "|---|---|---|---|"]
    for run, seeds in found.items():
        for measure_name, value in seeds[0].items():
            if isinstance(value, dict):
                lines += [_line(run, measure_name, one, [found[measure_name][one] for found in seeds]) for one in value]
            else:
                lines.append(_line(run, measure_name, "", [one[measure_name] for one in seeds]))
    return "\n".join(lines)


def _line(run: str, name: str, carrier: str, values: list[float]) -> str:
    if isinstance(values[0], bool | int):
        return f"| {run} | {name} | {carrier} | {', '.join(map(str, dict.fromkeys(values)))} |"
    each = f" ({' '.join(f'{value:.3f}' for value in values)})" if len(values) > 1 else ""
    return f"| {run} | {name} | {carrier} | {np.mean(values):.3f}{each} |"


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/latent-memory"))
    parser.add_argument("--latents", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--rows", type=int, default=48_000)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--facts", type=int, default=4, help="facts per document, at most 8")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128, help="384 with 7 layers: 11M weights")
    args = parser.parse_args()
    train_decoder(DecoderSettings(layers=args.layers, hidden=args.hidden), args.out / "decoder")
    write_rows(args.out / "data", rows=args.rows, facts=args.facts)
    found: dict[str, list[dict]] = {}
    for seed in args.seeds:
        for k in args.latents:
            path = args.out / f"k{k}-steps{args.steps}-seed{seed}.json"
            found.setdefault(f"k = {k}", []).append(cached(path, lambda k=k, seed=seed: measure(args, k, seed)))
            print(table({f"k = {k}": found[f"k = {k}"]}), flush=True)
        for pooling in ("last", "mean"):
            path = args.out / f"{pooling}-steps{args.steps}-seed{seed}.json"
            name = f"{pooling} pooling"
            made = cached(path, lambda pooling=pooling, seed=seed: measure_pooling(args, pooling, seed))
            found.setdefault(name, []).append(made)
    print(table(found))


if __name__ == "__main__":
    main()

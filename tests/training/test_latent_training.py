"""Latent training: losses through memories, rows, and whole runs on a tiny decoder."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_rag.memory import REPEAT, LatentSettings, create_latent, load_latent
from reasonembed_training.curves import draw_curves
from reasonembed_training.data import MemoryRow, MemoryRows
from reasonembed_training.latent_model import LatentModule, MemoryTokens
from reasonembed_training.log import read_metrics
from reasonembed_training.progress import SilentCallback
from reasonembed_training.recipe import recipe_from
from reasonembed_training.trainer import train

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj")
K = 3
ROWS = [
    MemoryRow(documents=("the quick brown fox", "lazy dog"), question="why fox?", answer="default values"),
    MemoryRow(documents=("jumps over the lazy dog",)),
    MemoryRow(documents=("default parameter values",), answer="are evaluated once"),
]


@pytest.fixture(scope="module")
def decoder(tiny_model):
    return tiny_model("qwen3", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def module(decoder):
    """A module whose LoRA changes something."""
    settings = LatentSettings(latents=K, rank=4, alpha=8.0, targets=LINEARS)
    latent = create_latent(EncoderSettings(model=str(decoder)), settings)
    with torch.no_grad():
        for name, one in latent.model.trained().items():
            if name.endswith("/b"):
                one.normal_(std=0.3)
    return LatentModule(latent, decoder)


@pytest.fixture(scope="module")
def tokens(module):
    spec = replace(module.loaded.spec, max_document_length=16)
    return MemoryTokens(tokenizer=module.loaded.tokenizer, spec=spec, settings=module.latent.settings)


def losses(module, examples):
    with torch.no_grad():
        found = module.losses(examples, divergence=True)
    return {name: float(getattr(found, name)) for name in ("compression", "divergence", "generation")}


def test_rows_become_what_answers_are_asked_by(tokens):
    (asked, again, continued), truncated = tokens(ROWS)
    (prompt, answer) = tokens.tokenizer.ids_alone(["\nQuestion: why fox?\nAnswer:", " default values"])
    end = tokens.tokenizer.eos_id
    assert asked.continuation.tolist() == [*prompt, *answer, end]
    assert truncated == 0
    assert (asked.given, asked.predicted, len(asked.documents)) == (len(prompt), len(answer) + 1, 2)
    document = tokens.tokenizer.ids_alone(["jumps over the lazy dog"])[0][:16]
    assert (again.continuation.tolist(), again.given) == ([REPEAT, *document, end], 1)
    endless = replace(tokens, ends=False)(ROWS)[0]
    assert [one.continuation.tolist() for one in endless[:2]] == [[*prompt, *answer], [REPEAT, *document]]
    assert continued.continuation.tolist() == tokens.tokenizer.ids_alone(["are evaluated once"])[0].tolist()
    text = tokens.tokenizer.ids_alone(["the quick brown fox\n", "lazy dog\n"])
    assert asked.text.tolist() == [*tokens.tokenizer.head_ids, *np.concatenate(text)]


def test_a_long_document_is_repeated_and_taught_as_far_as_its_memory_has_read_it(tokens):
    (long,), truncated = tokens([MemoryRow(documents=("jumps over the lazy dog " * 20,))])
    assert truncated == 1
    assert len(long.documents[0]) == 16
    assert long.continuation[1:].tolist() == [*long.documents[0], tokens.tokenizer.eos_id]
    assert len(long.text) < 40


def test_losses_are_those_of_transformers_behind_the_memories(module, tokens):
    """Oracle: the cross-entropy by transformers' own cache, one row at a time, its keys placed side by side."""
    from transformers import AutoModelForCausalLM, DynamicCache

    examples = [one for one in tokens(ROWS)[0] if REPEAT not in one.continuation]  # the repeat row is not a token
    own, expected = AutoModelForCausalLM.from_pretrained(module.loaded.backbone.model).eval(), 0.0
    for one in examples:
        with torch.no_grad():
            placed = module.latent.placed(
                torch.cat([module.latent([ids]).memories_BN2KkD for ids in one.documents], dim=4)
            )
            cache = DynamicCache()
            for layer, (key, value) in enumerate(placed):
                cache.update(key.transpose(1, 2), value.transpose(1, 2), layer)
            ids = torch.from_numpy(one.continuation.astype(np.int64))[None]
            logits = own(ids, past_key_values=cache).logits[0]
        behind = slice(one.given, None)
        expected += float(
            torch.nn.functional.cross_entropy(logits[one.given - 1 : -1], ids[0, behind], reduction="sum")
        )
    assert losses(module, examples)["compression"] == pytest.approx(expected, rel=1e-4)


def test_losses_are_those_of_the_training_mask(module, tokens):
    """One document: text, latents and continuation in one pass, of which the last never sees the first."""
    one = tokens(ROWS)[0][1]
    with torch.no_grad():
        joint = module.latent([*one.documents], [one.continuation])
        logits = module.latent.logits(joint.continuations_TD[:-1]).float()
    wanted = torch.from_numpy(one.continuation[1:].astype(np.int64))
    expected = float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
    assert losses(module, [one])["compression"] == pytest.approx(expected, rel=1e-4)


def test_memories_left_where_they_were_made_have_another_loss(module, tokens, monkeypatch):
    """The negative control: keys of the second memory not turned to its place."""
    asked = tokens(ROWS)[0][:1]
    right = losses(module, asked)["compression"]
    placed = module.latent.placed

    def unmoved(memories):
        return [
            type(pair)(*(torch.cat(both, dim=1) for both in zip(*pairs, strict=True)))
            for pairs in zip(*(placed(part) for part in memories.split(K, dim=4)), strict=True)
            for pair in pairs[:1]
        ]

    monkeypatch.setattr(module.latent, "placed", unmoved)
    assert losses(module, asked)["compression"] != pytest.approx(right, rel=1e-3)


def test_the_divergence_is_that_from_the_decoder_with_the_full_text(module, tokens):
    from transformers import AutoModelForCausalLM

    own = AutoModelForCausalLM.from_pretrained(module.loaded.backbone.model).eval()
    one = tokens(ROWS)[0][0]
    with torch.no_grad():
        whole = torch.from_numpy(np.concatenate([one.text, one.continuation]).astype(np.int64))[None]
        taught = own(whole).logits[0, -one.predicted - 1 : -1].log_softmax(-1)
        memories = torch.cat([module.latent([ids]).memories_BN2KkD for ids in one.documents], dim=4)
        states, _ = module.latent.plain([one.continuation], past=module.latent.placed(memories))
        got = module.latent.logits(states[one.given - 1 : -1]).log_softmax(-1)
    expected = float((taught.exp() * (taught - got)).sum())
    assert losses(module, [one])["divergence"] == pytest.approx(expected, rel=1e-3)


def test_losses_of_a_pass_are_the_sums_of_its_rows(module, tokens):
    examples, _ = tokens(ROWS)
    together, alone = losses(module, examples), [losses(module, [one]) for one in examples]
    for name, value in together.items():
        assert value == pytest.approx(sum(one[name] for one in alone), rel=1e-4)


def test_rows_are_used_once_before_any_is_used_again(tmp_path):
    path = write(
        tmp_path / "memories.jsonl", [{"documents": [f"d{n}"], "question": "?", "answer": "a"} for n in range(6)]
    )
    rows = MemoryRows([path], batch=4, seed=1)
    drawn = [row.documents[0] for step in range(3) for row in rows.of_step(step)]
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == [f"d{n}" for n in range(6)]
    assert drawn[:6] != drawn[6:]
    assert rows.of_step(1) == MemoryRows([path], batch=4, seed=1).of_step(1)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"documents": []}, "documents"),
        ({"documents": "one"}, "documents"),
        ({"documents": ["one", " "]}, "documents"),
        ({"documents": ["one"], "question": "?"}, "answer"),
        ({"documents": ["one"], "question": " ", "answer": "x"}, "question"),
        ({"documents": ["one"], "answer": ""}, "answer"),
        ({"documents": ["one"], "anwser": "x"}, "anwser"),
    ],
)
def test_a_row_that_cannot_train_is_named_by_its_line(tmp_path, row, what):
    good = {"documents": ["one"]}
    path = write(tmp_path / "memories.jsonl", [good, row])
    with pytest.raises(TrainingError, match=rf"memories\.jsonl:2: .*{what}"):
        MemoryRows([path], batch=1, seed=0)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "default",
    "parameter",
    "values",
    "are",
    "evaluated",
    "once",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latent-data")
    generator = np.random.default_rng(0)

    def text(count):
        return " ".join(generator.choice(WORDS, size=count))

    write(
        folder / "rows.jsonl",
        [{"id": f"r{n}", "query": text(4), "pos": [text(8)], "neg": [text(8), text(9)]} for n in range(24)],
    )
    asked = [{"documents": [text(9), text(6)][: 1 + n % 2], "question": text(2), "answer": text(3)} for n in range(10)]
    write(folder / "memories.jsonl", [*asked, {"documents": [text(7)]}, {"documents": [text(7)], "answer": text(4)}])
    documents = [{"id": f"d{n}", "content": text(8)} for n in range(12)]
    examples = [{"id": f"q{n}", "query": text(4), "gold_ids": [f"d{n}"]} for n in range(6)]
    (folder / "dev").mkdir()
    write(folder / "dev" / "documents.jsonl", documents)
    write(folder / "dev" / "examples.jsonl", examples)
    return folder


@pytest.fixture
def make(decoder, data, tmp_path):
    def recipe(**changes):
        table = {
            "model": {"name": str(decoder), "device": "cpu", "max_query_length": 64, "max_document_length": 64},
            "lora": {"rank": 4, "alpha": 8, "targets": list(LINEARS), "dropout": 0},
            "data": [{"path": str(data / "rows.jsonl")}],
            "batch": {"queries": 4, "group": 2, "tokens": 60},
            "latent": {"tokens": K, "rows": [str(data / "memories.jsonl")], "batch": 5, "divergence": 0.5},
            "redapter": {"enabled": False},
            "optim": {"lr": 3e-3, "max_steps": 5},
            "dev": {"every": 3, "sets": [{"path": str(data / "dev")}]},
            "run": {
                "output": str(tmp_path / "run"),
                "cache": str(tmp_path / "cache"),
                "checkpoint_every": 2,
                "trackers": [],
            },
        }
        for name, change in changes.items():
            table[name] = table.get(name, {}) | change
        return recipe_from(table, where="tiny")

    return recipe


class KilledError(Exception):
    pass


class Killer(SilentCallback):
    def __init__(self, at):
        self._at = at

    def step(self, metrics, *, steps):
        if metrics.step == self._at:
            raise KilledError


def last_weights(recipe):
    (last,) = sorted((recipe.run.output / "checkpoints").glob("step-*"))[-1:]
    return load_file(last / "weights.safetensors") | load_file(last / "optimizer.safetensors")


def test_killed_and_resumed_a_run_ends_with_the_same_bits(make, tmp_path):
    whole, broken = make(run={"output": str(tmp_path / "whole")}), make()
    train(whole)
    with pytest.raises(KilledError):
        train(broken, callback=Killer(4))
    train(broken)
    one, other = last_weights(whole), last_weights(broken)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any("latents_kD" in name for name in one)


def test_steps_log_their_losses_and_their_conflict(make):
    recipe = make()
    train(recipe)
    steps = [line for line in read_metrics(recipe.run.output / "metrics.jsonl") if line["kind"] == "train"]
    latent = [line["latent"] for line in steps]
    assert len(latent) == 5
    for line, found in zip(steps, latent, strict=True):
        assert line["loss"] == pytest.approx(
            found["embedding"] + found["compression"] + 0.5 * found["divergence"], rel=1e-6
        )
        assert -1 <= found["cosine"] <= 1
    assert len({round(found["generation"], 3) for found in latent}) > 1  # other rows
    assert draw_curves(recipe.run.output).is_file()


def test_gradients_do_not_depend_on_the_size_of_a_pass(make, tmp_path):
    found = []
    for budget in (30, 4000):
        recipe = make(
            batch={"queries": 8, "group": 3, "tokens": budget},
            run={"output": str(tmp_path / f"run-{budget}")},
            optim={"lr": 1e-9, "max_steps": 1},
        )
        train(recipe)
        moments = last_weights(recipe)
        found.append(torch.cat([one.flatten() for name, one in sorted(moments.items()) if name.endswith("/exp_avg")]))
    assert (found[0] - found[1]).norm() < 1e-4 * found[1].norm()


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("model", {"tuning": "full"}),
        ("model", {"gradient_checkpointing": True}),
        ("model", {"forward": "packed"}),
        ("run", {"interpolate": 0.5}),
        ("lora", {"dropout": 0.1}),
        ("reference", {"weight": 1.0}),
        ("latent", {"tokens": 0}),
        ("latent", {"tokens": -1}),
        ("latent", {"rows": []}),
        ("latent", {"compression": 0.0, "divergence": 0.0}),
        ("latent", {"batch": 0}),
    ],
)
def test_settings_that_latents_do_not_allow_are_refused(make, section, change):
    with pytest.raises(TrainingError):
        make(**{section: change})


def test_an_encoder_is_no_decoder(make, tiny_model):
    with pytest.raises(InputError, match="causal"):
        train(make(model={"name": str(tiny_model("bert"))}))


def test_the_exported_folder_has_the_trained_model(make):
    recipe = make(dev={"keep": "last"})
    outcome = train(recipe)
    loaded = load_latent(outcome.model)
    trained = load_file(max((recipe.run.output / "checkpoints").glob("step-*")) / "weights.safetensors")
    assert loaded.model.settings.latents == K
    for name, one in loaded.model.trained().items():
        assert torch.equal(one.detach(), trained[f"latent.{name}"])
    assert json.loads((outcome.model / "training.json").read_text())["planned_steps"] == 5
    assert "reconstruction" in (outcome.model / "README.md").read_text()


def test_the_recipe_of_the_guide_trains(make, tmp_path):
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "training.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in guide.split("```toml\n")[1:]]
    (text,) = [block for block in blocks if "[latent]" in block]
    table, tiny = tomllib.loads(text), make()
    table["model"] |= {"name": tiny.model.name, "device": "cpu"}
    table["data"] = [{"path": str(tiny.data[0].path)}]
    table["latent"]["rows"] = [str(path) for path in tiny.latent.rows]
    table["batch"] = {"queries": 4, "group": 2, "tokens": 600}
    table["optim"]["max_steps"] = 2
    table["run"] = {"output": str(tmp_path / "run"), "cache": str(tmp_path / "cache"), "trackers": []}
    latent = load_latent(train(recipe_from(table, where="guide")).model)
    assert latent.model.settings.latents == 8


def test_rows_that_predict_nothing_are_counted_and_refused_if_they_are_all(make, tmp_path, caplog):
    rows = tmp_path / "few.jsonl"
    nothing = json.dumps({"documents": ["the quick brown fox"], "answer": "f"})
    rows.write_text(f'{nothing}\n{{"documents": ["lazy dog"]}}\n')
    train(make(latent={"rows": [str(rows)]}, optim={"max_steps": 1}))
    assert "1 of 2 memory rows have an answer of one token" in caplog.text
    rows.write_text(f"{nothing}\n")
    with pytest.raises(TrainingError, match="nothing to predict"):
        train(make(latent={"rows": [str(rows)]}, optim={"max_steps": 1}, run={"output": str(tmp_path / "other")}))

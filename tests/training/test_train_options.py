"""Runs with other models and options: several tasks with instructions, graded rows, bfloat16."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import warn_of_emulation
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import evaluate_embedder, read_task_folder
from reasonembed_training import devices
from reasonembed_training.config import LoraConfig, ModelConfig
from reasonembed_training.log import read_metrics
from reasonembed_training.trainer import train

TEXTS = ["quick brown fox", "cells divide over default parameter values", "lazy dog"]
PROMPTS = {
    "biology": "Given a Biology post, retrieve relevant passages that help answer the post.",
    "leetcode": "Given a Coding problem, retrieve relevant examples that help answer the problem.",
}


@pytest.fixture
def two_tasks(tiny_data, tmp_path):
    """A folder of published rows, one file per task, each with its own sizes."""
    folder = tmp_path / "published"
    folder.mkdir()
    rows = [json.loads(line) for line in (tiny_data / "rows.jsonl").read_text().splitlines()]
    sizes = {"biology": {"train_group_size": 4, "batch_size": 3}, "leetcode": {"train_group_size": 2, "batch_size": 6}}
    for place, (name, prompt) in enumerate(PROMPTS.items()):
        with (folder / f"{name}.jsonl").open("w") as file:
            for row in rows[place::2]:
                published = {name: row[name] for name in ("query", "pos", "neg", "reasoning_query") if name in row}
                file.write(json.dumps(published | sizes[name] | {"prompt": prompt}) + "\n")
    return folder


@pytest.fixture
def decoder(tiny_model):
    return tiny_model("qwen3")


def test_published_rows_of_two_tasks_train_a_decoder_under_their_instructions(make_recipe, two_tasks, decoder):
    from sentence_transformers import SentenceTransformer

    recipe = make_recipe(
        model={"name": str(decoder)},
        lora={"targets": list(LoraConfig().targets)},
        data=[{"path": str(two_tasks)}],
        batch={"published_devices": 2, "tokens": 400},
        optim={"max_steps": 8},
        dev={"sets": []},
    )
    outcome = train(recipe)
    lines = read_metrics(recipe.run.output / "metrics.jsonl")
    # 20 rows per task: three batches of 6 queries in biology (3 on each of 2 devices), one of 12 in leetcode
    assert sorted(line["task"] for line in lines[:4]) == ["biology"] * 3 + ["leetcode"]
    encoder = Encoder.from_pretrained(str(outcome.model), dtype="float32")
    assert encoder.spec.takes_instruction
    assert encoder.spec.pooling == "last"
    theirs = SentenceTransformer(str(outcome.model), device="cpu")
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), theirs.encode_query(TEXTS), atol=1e-5)
    prompt = f"Instruct: {PROMPTS['biology']}\nQuery: "
    np.testing.assert_allclose(
        encoder.encode_queries(TEXTS, task="biology"), theirs.encode(TEXTS, prompt=prompt), atol=1e-5
    )
    start = Encoder.from_pretrained(str(decoder), dtype="float32").encode_queries(TEXTS, task="biology")
    assert np.abs(encoder.encode_queries(TEXTS, task="biology") - start).max() > 1e-3


def test_every_option_at_once_trains(make_recipe, tiny_data, tmp_path):
    graded = tmp_path / "graded.jsonl"
    with graded.open("w") as file:
        for line in (tiny_data / "rows.jsonl").read_text().splitlines():
            file.write(json.dumps(json.loads(line) | {"pos_scores": [5, 4], "neg_scores": [2, 1, 1, 2, 1]}) + "\n")
    recipe = make_recipe(
        data=[{"path": str(graded)}],
        loss={"dimensions": [64, 16], "margin": 0.1, "distillation": 0.5},
        redapter={"normalise": False, "floor": 0.5, "max_length": 6},
        optim={"schedule": "cosine", "warmup": 0.5, "weight_decay": 0.1, "clip": 0.0},
        model={"gradient_checkpointing": True},
        dev={"every": 4},
    )
    outcome = train(recipe)
    lines = [line for line in read_metrics(recipe.run.output / "metrics.jsonl") if line["kind"] == "train"]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert all(line["intensity"]["min"] >= 0.5 for line in lines if line["intensity"])
    assert max(line["lr"] for line in lines) == recipe.optim.lr
    assert outcome.model.is_dir()


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_exported_weights_are_interpolated_between_the_initial_and_the_trained(make_recipe, tmp_path, tuning):
    def weights(share):
        run = {"output": str(tmp_path / f"run{share}"), "interpolate": share}
        recipe = make_recipe(
            model={"tuning": tuning}, optim={"max_steps": 6, "lr": 1e-2}, dev={"keep": "last"}, run=run
        )
        outcome = train(recipe)
        (score,) = json.loads((outcome.model / "training.json").read_text())["dev_trained"]["scores"]
        task = read_task_folder(recipe.dev.sets[0].path)
        report = evaluate_embedder(Encoder.from_pretrained(str(outcome.model), dtype="float32"), task)
        assert score["mean"] == pytest.approx(report.mean_present["nDCG@10"], abs=1e-3)
        return load_file(outcome.model / "model.safetensors")

    base = load_file(Path(make_recipe().model.name) / "model.safetensors")
    trained, between = weights(0.0), weights(0.75)
    moved = 0
    for name, weight in base.items():
        np.testing.assert_allclose(between[name], 0.75 * weight + 0.25 * trained[name], atol=1e-6)
        moved += not np.allclose(weight, trained[name], atol=1e-4)
    assert moved > 5


def test_training_reads_shorter_texts_than_the_exported_model_and_its_measurement(make_recipe, tmp_path):
    def run(name, **tables):
        recipe = make_recipe(
            optim={"max_steps": 2}, dev={"keep": "last"}, run={"output": str(tmp_path / name)}, **tables
        )
        return recipe, train(recipe)

    recipe, outcome = run("short", batch={"max_query_length": 3, "max_document_length": 4})
    whole, _ = run("whole")
    assert Encoder.from_pretrained(str(outcome.model)).spec.max_document_length > 4
    tokens = {}
    for one in (recipe, whole):
        lines = list(read_metrics(one.run.output / "metrics.jsonl"))
        tokens[one.run.output.name] = sum(line["tokens"] for line in lines if line["kind"] == "train")
    assert tokens["short"] < tokens["whole"]
    report = evaluate_embedder(
        Encoder.from_pretrained(str(outcome.model), dtype="float32"), read_task_folder(recipe.dev.sets[0].path)
    )
    (score,) = json.loads((outcome.model / "training.json").read_text())["dev_trained"]["scores"]
    assert score["mean"] == pytest.approx(report.mean_present["nDCG@10"], abs=1e-4)


def test_longer_texts_in_training_than_the_model_reads_are_refused(make_recipe):
    with pytest.raises(TrainingError, match=r"\bbatch\.max_document_length\b.*\b4000\b.*\b128\b"):
        train(make_recipe(batch={"max_document_length": 4000}))
    with pytest.raises(TrainingError, match=r"\bbatch\.max_query_length\b.*\b0\b"):
        make_recipe(batch={"max_query_length": 0})


@pytest.mark.parametrize(("tuning", "lr"), [("lora", 1e-2), ("full", 1e-3)])
def test_bfloat16_trains_and_exports_finite_weights(make_recipe, monkeypatch, tuning, lr):
    monkeypatch.setattr(devices, "emulates_bfloat16", lambda: False)  # emulation is correct, only slow
    recipe = make_recipe(
        model={"precision": "bfloat16", "tuning": tuning}, optim={"max_steps": 12, "lr": lr}, dev={"sets": []}
    )
    outcome = train(recipe)
    losses = [line["info_nce"] for line in read_metrics(recipe.run.output / "metrics.jsonl")]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert np.isfinite(Encoder.from_pretrained(str(outcome.model), dtype="float32").encode_documents(TEXTS)).all()


@pytest.mark.parametrize(
    ("precision", "emulated", "bfloat16"),
    [
        ("bfloat16", True, False),
        ("bfloat16", False, True),
        ("auto", False, False),
        ("float32", True, False),
    ],
)
def test_a_cpu_that_emulates_bfloat16_trains_in_float32_and_reports_it_once(
    monkeypatch, caplog, tmp_path, precision, emulated, bfloat16
):
    monkeypatch.setattr(devices, "emulates_bfloat16", lambda: emulated)
    warn_of_emulation.cache_clear()
    config = ModelConfig(name="any", device="cpu", precision=precision)
    opened = [devices.open_machine(config, output=tmp_path, trackers=()) for _ in range(2)]
    assert {one.bfloat16 for one in opened} == {bfloat16}
    assert {one.accelerator.mixed_precision for one in opened} == {"bf16" if bfloat16 else "no"}
    notices = [text for text in caplog.messages if "'bfloat16'" in text and "float32" in text]
    assert len(notices) == (precision == "bfloat16" and emulated)
    warn_of_emulation.cache_clear()


@pytest.mark.parametrize(
    ("precision", "supported", "bfloat16"),
    [("auto", True, True), ("auto", False, False), ("bfloat16", True, True), ("float32", True, False)],
)
def test_a_gpu_computes_in_bfloat16_where_it_is_supported_and_not_refused(monkeypatch, precision, supported, bfloat16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert devices.uses_bfloat16(precision, cpu=False) is bfloat16


def test_a_gpu_without_the_bfloat16_that_is_asked_for_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(TrainingError, match="'bfloat16'"):
        devices.uses_bfloat16("bfloat16", cpu=False)


def test_distillation_alone_moves_the_scores_of_graded_documents(make_recipe, tiny_data, tmp_path):
    """At a temperature where InfoNCE has almost no gradient, only the grades can move the scores."""
    data = tmp_path / "graded.jsonl"
    with data.open("w") as file:
        for line in (tiny_data / "rows.jsonl").read_text().splitlines():
            row = json.loads(line)
            file.write(json.dumps(row | {"pos_scores": [1, 1], "neg_scores": [9, 1, 1, 1, 1]}) + "\n")
    shared = {"data": [{"path": str(data)}], "batch": {"group": 6}, "dev": {"sets": []}, "redapter": {"enabled": False}}
    found = {}
    for weight in (0.0, 20.0):
        recipe = make_recipe(
            loss={"temperature": 0.3, "distillation": weight},
            optim={"max_steps": 25, "lr": 5e-3},
            run={"output": str(tmp_path / f"run{weight}")},
            **shared,
        )
        encoder = Encoder.from_pretrained(str(train(recipe).model), dtype="float32")
        rows = [json.loads(line) for line in data.read_text().splitlines()]
        queries = encoder.encode_queries([row["query"] for row in rows])
        graded = encoder.encode_documents([row["neg"][0] for row in rows])
        others = encoder.encode_documents([row["pos"][0] for row in rows])
        found[weight] = float(((queries * graded).sum(1) - (queries * others).sum(1)).mean())
    assert found[20.0] > found[0.0] + 0.05

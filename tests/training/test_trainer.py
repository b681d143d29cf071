"""Complete runs on a tiny model: their outputs, resuming, and errors."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reasonembed_rag import Encoder
from reasonembed_rag.errors import TrainingError
from reasonembed_training.log import read_metrics
from reasonembed_training.progress import SilentCallback
from reasonembed_training.recipe import recipe_to_json
from reasonembed_training.trainer import train

TEXTS = ["quick brown fox", "cells divide over default parameter values", "lazy dog"]


class Listener(SilentCallback):
    """Record messages; call a function at a step."""

    def __init__(self, *, at: int = 0, act=None):
        self.said, self.at, self.act = [], at, act

    def message(self, text):
        self.said.append(text)

    def step(self, metrics, *, steps):
        if metrics.step == self.at:
            self.act()


class KilledError(Exception):
    pass


def kill():
    raise KilledError


def weights(output: Path) -> dict[str, torch.Tensor]:
    (last,) = sorted((output / "checkpoints").glob("step-*"))[-1:]
    return load_file(last / "weights.safetensors") | load_file(last / "optimizer.safetensors")


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def steps_logged(output: Path):
    kept = (
        "kind",
        "step",
        "task",
        "loss",
        "info_nce",
        "intensity",
        "gradient_norm",
        "lr",
        "tokens",
        "mean",
        "sets",
        "best",
    )
    return [{name: line[name] for name in kept if name in line} for line in read_metrics(output / "metrics.jsonl")]


@pytest.fixture
def whole(make_recipe, tmp_path):
    """An uninterrupted run."""
    recipe = make_recipe(run={"output": str(tmp_path / "whole")})
    outcome = train(recipe, callback=(listener := Listener()))
    return recipe, outcome, listener


def test_a_run_leaves_metrics_checkpoints_and_a_model(whole):
    recipe, outcome, listener = whole
    output = recipe.run.output
    assert (outcome.progress.step, outcome.steps) == (7, 7)
    lines = read_metrics(output / "metrics.jsonl")
    trained = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in trained] == [1, 2, 3, 4, 5, 6, 7]
    assert [line["intensity"] is not None for line in trained] == [False, False, True, True, True, True, True]
    assert all(0 <= line["intensity"]["min"] <= line["intensity"]["max"] <= 5 for line in trained[2:])
    assert [line["step"] for line in lines if line["kind"] == "dev"] == [0, 3, 6, 7]
    assert [path.name for path in sorted((output / "checkpoints").glob("step-*"))] == ["step-00000006", "step-00000007"]
    assert any(re.search(r"\b40 rows\b", message) for message in listener.said)
    assert any(re.search(r"\b10\b.*\breasoning\b", message) for message in listener.said)


def test_the_exported_model_is_that_of_the_best_measurement(whole):
    recipe, outcome, _ = whole
    best = outcome.progress.best
    assert best.mean == max(
        line["mean"] for line in read_metrics(recipe.run.output / "metrics.jsonl") if "mean" in line
    )
    record = json.loads((outcome.model / "training.json").read_text())
    assert record["dev_trained"]["step"] == best.step
    assert record["recipe"] == json.loads(recipe_to_json(recipe))
    assert record["rows_without_reasoning"] == 10
    card = (outcome.model / "README.md").read_text()
    assert "Data: rows (40 rows); 10 of the rows have no reasoning query; digest" in card
    assert f"| dev | 12 | {outcome.progress.base.mean:.4f} | {best.mean:.4f} |" in card


def test_killed_between_checkpoints_it_ends_with_the_same_bits(whole, make_recipe):
    recipe = make_recipe()
    with pytest.raises(KilledError):
        train(recipe, callback=Listener(at=5, act=kill))
    assert not (recipe.run.output / "model").exists()
    listener = Listener()
    outcome = train(recipe, callback=listener)
    assert any(re.search(r"\bstep 4\b.*\b7\b", message) for message in listener.said)
    assert outcome.model is not None
    assert_same_bits(weights(recipe.run.output), weights(whole[0].run.output))
    assert_same_bits(load_file(outcome.model / "model.safetensors"), load_file(whole[1].model / "model.safetensors"))
    assert steps_logged(recipe.run.output) == steps_logged(whole[0].run.output)


def test_without_its_random_state_a_resumed_run_ends_elsewhere(whole, make_recipe, monkeypatch):
    """The negative control of the test above: LoRA's dropout draws from that state."""
    recipe = make_recipe()
    with pytest.raises(KilledError):
        train(recipe, callback=Listener(at=5, act=kill))
    monkeypatch.setattr(torch, "set_rng_state", lambda state: None)
    train(recipe)
    one, other = weights(recipe.run.output), weights(whole[0].run.output)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_is_asked_to_stop_saves_and_is_resumed_later(whole, make_recipe):
    recipe = make_recipe()
    listener = Listener(at=3, act=lambda: os.kill(os.getpid(), signal.SIGTERM))
    outcome = train(recipe, callback=listener)
    assert (outcome.progress.step, outcome.model) == (3, None)
    assert (recipe.run.output / "checkpoints" / "step-00000003").is_dir()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert train(recipe).model is not None
    assert_same_bits(weights(recipe.run.output), weights(whole[0].run.output))


def test_a_finished_run_is_exported_again_without_a_step(whole):
    recipe, outcome, _ = whole
    before = load_file(outcome.model / "model.safetensors")
    again = train(recipe, callback=Listener(at=7, act=kill))
    assert again.progress.step == 7
    assert_same_bits(load_file(again.model / "model.safetensors"), before)


_KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
import json
import torch
torch.set_num_threads(1)
from reasonembed_training import checkpoint
from reasonembed_training.recipe import recipe_from
from reasonembed_training.trainer import train

write = checkpoint._write
def deadly(path, tensors):
    if "step-00000004" in str(path) and path.name.startswith("optimizer"):
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, tensors)
checkpoint._write = deadly
train(recipe_from(json.loads(Path(sys.argv[1]).read_text()), where="tiny"))
"""


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def test_kill_9_in_the_middle_of_a_checkpoint_leaves_the_one_before(whole, make_recipe, tmp_path):
    recipe = make_recipe()
    described = tmp_path / "recipe.json"
    described.write_text(json.dumps(without_nulls(json.loads(recipe_to_json(recipe)))))
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_SAVING, str(described)], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    folder = recipe.run.output / "checkpoints"
    assert [path.name for path in folder.glob("step-*")] == ["step-00000002"]
    assert (folder / ".step-00000004.tmp").is_dir()
    train(recipe, callback=(listener := Listener()))
    assert any(re.search(r"\bstep 2\b.*\b7\b", message) for message in listener.said)
    assert not (folder / ".step-00000004.tmp").exists()
    assert_same_bits(weights(recipe.run.output), weights(whole[0].run.output))


def test_encoder_and_sentence_transformers_load_the_merged_model_alike(whole):
    from sentence_transformers import SentenceTransformer

    model = whole[1].model
    ours = Encoder.from_pretrained(str(model), dtype="float32")
    theirs = SentenceTransformer(str(model), device="cpu")
    np.testing.assert_allclose(ours.encode_documents(TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode_queries(TEXTS), theirs.encode_query(TEXTS), atol=1e-5)


def test_langchain_and_llama_index_load_it_too(whole):
    from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding

    from langchain_reasonembed import ReasonEmbedEmbeddings

    model = str(whole[1].model)
    wanted = Encoder.from_pretrained(model, dtype="float32").encode_documents(TEXTS)
    np.testing.assert_allclose(ReasonEmbedEmbeddings(model=model).embed_documents(TEXTS), wanted, atol=1e-6)
    np.testing.assert_allclose(
        ReasonEmbedEmbedding(model_name=model).get_text_embedding_batch(TEXTS), wanted, atol=1e-6
    )


def test_an_exported_adapter_gives_the_vectors_of_the_merged_model(make_recipe, tmp_path):
    from sentence_transformers import SentenceTransformer

    vectors = {}
    for kind in ("merged", "adapter"):
        outcome = train(make_recipe(dev={"sets": []}, run={"output": str(tmp_path / kind), "export": kind}))
        vectors[kind] = Encoder.from_pretrained(str(outcome.model), dtype="float32").encode_documents(TEXTS)
        theirs = SentenceTransformer(str(outcome.model), device="cpu").encode_document(TEXTS)
        np.testing.assert_allclose(theirs, vectors[kind], atol=1e-5)
    np.testing.assert_allclose(vectors["adapter"], vectors["merged"], atol=1e-5)
    assert not (outcome.model / "model.safetensors").exists()
    config = json.loads((outcome.model / "adapter_config.json").read_text())
    assert config["target_modules"] == ["dense", "query", "value"]


def test_full_tuning_trains_every_weight_and_exports_it(make_recipe, tiny_bert):
    outcome = train(make_recipe(model={"tuning": "full"}, optim={"lr": 1e-3}, dev={"sets": []}))
    before, after = load_file(tiny_bert / "model.safetensors"), load_file(outcome.model / "model.safetensors")
    same = {name for name in after if torch.equal(after[name], before[name])}
    assert all(name.startswith("pooler.") for name in same)


def test_training_lowers_the_loss(make_recipe):
    recipe = make_recipe(optim={"max_steps": 40, "lr": 5e-3}, redapter={"enabled": False}, dev={"sets": []})
    train(recipe)
    losses = [line["info_nce"] for line in read_metrics(recipe.run.output / "metrics.jsonl")]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_it_stops_early_when_the_dev_mean_stays_down(make_recipe, monkeypatch):
    from reasonembed_training import loop
    from reasonembed_training.dev_eval import DevScore, Measurement

    means = iter([0.2, 0.5, 0.4, 0.4, 0.9])

    def falling(model, tasks, *, step, budget, share):
        return Measurement(step, (DevScore("dev", next(means), {}),))

    monkeypatch.setattr(loop, "measure_dev_sets", falling)
    monkeypatch.setattr("reasonembed_training.trainer.model_card", lambda run: "")
    recipe = make_recipe(dev={"every": 1, "patience": 2})
    outcome = train(recipe)
    assert (outcome.progress.step, outcome.progress.best.step) == (3, 1)
    assert train(recipe).progress.step == 3
    between = train(make_recipe(dev={"every": 1, "patience": 2}, run={"interpolate": 0.5}))
    told = json.loads((between.model / "training.json").read_text())["dev_trained"]
    assert (told["step"], told["scores"][0]["mean"]) == (1, 0.9), "the kept step's weights, measured where they went"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim": {"lr": 1e-3}}, r"\boptim\.lr\b.*\brun\.output\b"),
        ({"redapter": {"kappa": 2.0}}, r"\bredapter\.kappa\b.*\brun\.output\b"),
    ],
)
def test_another_recipe_does_not_resume(whole, make_recipe, tmp_path, change, message):
    before = weights(tmp_path / "whole")
    with pytest.raises(TrainingError, match=message):
        train(make_recipe(run={"output": str(tmp_path / "whole")}, **change))
    assert_same_bits(weights(tmp_path / "whole"), before)


@pytest.mark.filterwarnings("ignore:recipe key:FutureWarning")
def test_a_run_begun_by_a_release_with_the_old_keys_ends_with_the_same_bits(make_recipe, tmp_path):
    """Both the recipe in the checkpoint and the recipe of the resumed run have the old keys."""
    settings = {"weight": 0.5, "tasks": ["rows"]}
    run = {"output": str(tmp_path / "begun")}
    begun = make_recipe(reference=settings, run=run | {"interpolate": 0.5})
    with pytest.raises(KilledError):
        train(begun, callback=Listener(at=5, act=kill))
    for state in (tmp_path / "begun" / "checkpoints").glob("step-*/state.json"):
        progress = json.loads(state.read_text())
        recipe = json.loads(progress["recipe"])
        recipe["anchor"], recipe["run"]["base_share"] = recipe.pop("reference"), recipe["run"].pop("interpolate")
        state.write_text(json.dumps(progress | {"recipe": json.dumps(recipe)}))
    resumed = train(make_recipe(anchor=settings, run=run | {"base_share": 0.5}), callback=(listener := Listener()))
    assert any(re.search(r"\bstep 4\b.*\b7\b", text) for text in listener.said)
    whole = train(make_recipe(reference=settings, run={"output": str(tmp_path / "whole"), "interpolate": 0.5}))
    assert_same_bits(weights(tmp_path / "begun"), weights(tmp_path / "whole"))
    assert_same_bits(*(load_file(one.model / "model.safetensors") for one in (resumed, whole)))


def test_other_data_under_the_same_path_does_not_resume(make_recipe, tiny_data, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_text((tiny_data / "rows.jsonl").read_text())
    recipe = make_recipe(data=[{"path": str(copy)}], optim={"max_steps": 2}, dev={"sets": []})
    train(recipe)
    with copy.open("a") as file:
        file.write('{"query": "fox", "pos": ["dog"], "neg": ["cells"]}\n')
    with pytest.raises(TrainingError, match=r"/step-00000002\b.*\bdata\b.*\brun\.output\b"):
        train(recipe)


def test_settings_without_effect_may_change_when_a_run_is_resumed(make_recipe):
    train(make_recipe(optim={"max_steps": 2}, dev={"sets": []}))
    again = train(make_recipe(optim={"max_steps": 2}, dev={"sets": []}, run={"workers": 0, "export": "adapter"}))
    assert (again.model / "adapter_config.json").is_file()


def test_a_finished_run_is_exported_in_another_way_without_a_step(whole, make_recipe, tmp_path):
    _, outcome, _ = whole
    merged = load_file(outcome.model / "model.safetensors")
    changes = {"dev": {"keep": "last"}, "run": {"output": str(tmp_path / "whole"), "interpolate": 0.5}}
    again = train(make_recipe(**changes), callback=Listener(at=7, act=kill))
    assert again.progress == outcome.progress
    record = json.loads((again.model / "training.json").read_text())
    assert (record["recipe"]["dev"]["keep"], record["dev_trained"]["step"]) == ("last", 7)
    other = load_file(again.model / "model.safetensors")
    assert any(not torch.equal(other[name], merged[name]) for name in merged)


def test_workers_do_not_change_the_result(whole, make_recipe):
    recipe = make_recipe(run={"workers": 0})
    train(recipe)
    assert_same_bits(weights(recipe.run.output), weights(whole[0].run.output))


def test_a_damaged_checkpoint_is_named(whole):
    output = whole[0].run.output
    path = max((output / "checkpoints").glob("step-*")) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"\bweights\.safetensors\b.*\bheader\b"):
        train(whole[0])


def test_a_loss_that_is_not_a_number_stops_with_its_rows_saved(make_recipe):
    recipe = make_recipe(optim={"lr": 1e20, "clip": 0.0, "warmup": 0.0}, dev={"sets": []}, run={"checkpoint_every": 1})
    with pytest.raises(TrainingError, match=r"\bloss\b.*\bnan\b.*\boptim\.lr\b") as caught:
        train(recipe)
    (saved,) = recipe.run.output.glob("stopped-at-step-*.json")
    told = json.loads(saved.read_text())
    assert str(saved) in str(caught.value)
    assert len(told["rows"]) == 8
    assert set(told["rows"]) <= {f"r{number}" for number in range(40)}
    assert all(tensor.isfinite().all() for tensor in weights(recipe.run.output).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": {"queries": 41}}, r"'rows'.*\b40\b.*\b41\b.*\bbatch\.queries\b"),
        ({"batch": {"tasks": {"row": {"group": 2}}}}, r"\bbatch\.tasks\b.*'row'.*'rows'"),
        ({"lora": {"targets": ["q_proj"]}}, r"\blora\.targets\b.*\bq_proj\b.*\bdense, key, query\b"),
        ({"model": {"device": "cuda"}}, r"\bmodel\.device\b.*'cuda'.*--set model\.device=cpu\b"),
        ({"model": {"device": "tpu"}}, r"\bmodel\.device\b.*'tpu'"),
        ({"loss": {"dimensions": [65]}}, r"\bloss\.dimensions\b.*\b65\b.*\b64\b"),
        ({"run": {"trackers": ["tensorbord"]}}, r"\brun\.trackers\b.*'tensorbord'.*\btensorboard\b"),
    ],
)
def test_what_cannot_train_is_refused_before_the_first_step(make_recipe, change, message):
    recipe = make_recipe(**change)
    with pytest.raises(TrainingError, match=message):
        train(recipe)
    assert not (recipe.run.output / "checkpoints").exists()

"""Training a cross-encoder: the loss by hand, what it learns, and that a stopped run ends as an undisturbed one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from reasonembed_rag.backbone import emulates_bfloat16
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.rerank import CrossEncoder
from reasonembed_training import read_metrics, read_reranker_recipe, train_reranker
from reasonembed_training.progress import SilentCallback
from reasonembed_training.reranker import listwise_loss

WORDS = ["fox", "dog", "list", "brown", "lazy", "quick", "cells", "divide"]


@pytest.fixture
def recipe(tiny_model, tmp_path):
    """Write a recipe over rows whose positive repeats the query's word: recipe("optim.max_steps=3")."""
    folder = tiny_model("bert")
    rows = [
        {
            "id": str(number),
            "query": f"the {word}",
            "pos": [f"a {word}"],
            "neg": [f"a {other}" for other in WORDS if other != word],
        }
        for number, word in enumerate(WORDS * 2)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'[model]\nname = "{folder}"\ndevice = "cpu"\nmax_length = 32\n[[data]]\npath = "{tmp_path}/rows.jsonl"\n'
        f"[batch]\nqueries = 8\ngroup = 4\ntokens = 200\n[optim]\nlr = 2e-3\nmax_steps = 6\n"
        f'[run]\noutput = "{tmp_path}/run"\ncache = "{tmp_path}/cache"\ncheckpoint_every = 2\nlog_every = 1\n'
    )
    return lambda *changes: read_reranker_recipe(path, changes=changes)


class Told(SilentCallback):
    """Keep what a run says, and stop it at a step."""

    def __init__(self, *, stop_at=None):
        self.texts, self.steps, self.stop_at = [], [], stop_at

    def message(self, text):
        self.texts.append(text)

    def step(self, metrics, *, steps):
        self.steps.append(metrics)
        if metrics.step == self.stop_at:
            raise KeyboardInterrupt


def test_the_loss_is_that_of_the_formula():
    import torch

    scores, nan = torch.tensor([1.0, 2.0, 0.0]), float("nan")
    total = math.e + math.e**2 + 1
    assert listwise_loss(scores, torch.full((3,), nan)).item() == pytest.approx(-1 + math.log(total), abs=1e-6)
    share = math.e**3 / (math.e**3 + 1)  # grades 3 and 0
    graded = listwise_loss(scores[:2], torch.tensor([3.0, 0.0])).item()
    first, second = (score - math.log(math.e + math.e**2) for score in (1.0, 2.0))
    assert graded == pytest.approx(-share * first - (1 - share) * second, abs=1e-6)
    partly = listwise_loss(scores, torch.tensor([3.0, nan, 1.0]))
    assert partly == listwise_loss(scores, torch.full((3,), nan))


def test_a_trained_model_loads_and_prefers_the_positives(recipe):
    told = Told()
    outcome = train_reranker(recipe("optim.max_steps=120"), callback=told)
    losses = [metrics.loss for metrics in told.steps]
    assert sum(losses[-10:]) / 10 < 0.5 * losses[0]
    model = CrossEncoder.from_pretrained(outcome.model)
    firsts = 0
    for word in WORDS:
        scores = model.score([(f"the {word}", f"a {other}") for other in WORDS])
        firsts += WORDS[int(np.argmax(scores))] == word
    assert firsts >= 6


def test_a_stopped_run_ends_as_an_undisturbed_one(recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_reranker(recipe(), callback=Told(stop_at=5))
    told = Told()
    resumed = train_reranker(recipe(), callback=told)
    assert told.texts[0].startswith("resuming after step 4 of 6")
    logged = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in logged] == [1, 2, 3, 4, 5, 6]
    assert [line["loss"] for line in logged[4:]] == [metrics.loss for metrics in told.steps]
    whole = train_reranker(recipe(f"run.output={tmp_path}/whole"))
    pairs = [("the fox", f"a {word}") for word in WORDS]
    first, second = (CrossEncoder.from_pretrained(one.model).score(pairs) for one in (resumed, whole))
    assert np.array_equal(first, second)
    other = train_reranker(recipe(f"run.output={tmp_path}/other", "run.seed=1"))
    assert not np.array_equal(first, CrossEncoder.from_pretrained(other.model).score(pairs))


def test_the_loss_is_the_same_in_parts_of_any_size(recipe, tmp_path):
    said = []
    for tokens in (1, 100_000):
        told = Told()
        train_reranker(
            recipe(f"batch.tokens={tokens}", "optim.max_steps=1", f"run.output={tmp_path}/{tokens}"), callback=told
        )
        said.append(told.steps[-1].loss)
    assert said[0] == pytest.approx(said[1], abs=0.3)  # dropout differs with the parts


def test_bfloat16_gives_nearly_the_loss_of_float32(recipe, tmp_path):
    losses = []
    for precision in ("float32", "bfloat16"):
        told = Told()
        changes = (f"model.precision={precision}", "optim.max_steps=1", f"run.output={tmp_path}/{precision}")
        train_reranker(recipe(*changes), callback=told)
        losses.append(told.steps[0].loss)
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    assert (losses[0] == losses[1]) == emulates_bfloat16()  # then float32 is used, and told
    with pytest.raises(TrainingError, match="device is 'gpu'"):
        train_reranker(recipe("model.device=gpu"))


def test_a_task_has_a_weight_of_its_own(recipe, tmp_path):
    (tmp_path / "more.jsonl").write_text((tmp_path / "rows.jsonl").read_text())
    both = f'data=[{{path="{tmp_path}/rows.jsonl"}}, {{path="{tmp_path}/more.jsonl"}}]'
    told = Told()
    train_reranker(recipe(both, "batch.tasks={more={weight=0.5}}"), callback=told)
    assert sorted(metrics.task for metrics in told.steps) == ["more"] * 2 + ["rows"] * 4
    with pytest.raises(TrainingError, match=r"batch\.tasks names 'mor'.*'more'"):
        train_reranker(recipe(both, "batch.tasks={mor={weight=0.5}}"))


def test_another_recipe_does_not_resume_a_run(recipe):
    train_reranker(recipe("optim.max_steps=2"))
    with pytest.raises(TrainingError, match=r"optim\.lr"):
        train_reranker(recipe("optim.lr=0.5", "optim.max_steps=2"))


def test_rows_without_negatives_and_bad_settings_are_refused(recipe, tmp_path):
    row = {"query": "fox", "pos": ["a fox"]}
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row | {"id": str(n)}) + "\n" for n in range(8)))
    bare = recipe()
    data = tuple(type(one)(path=tmp_path / "bare.jsonl") for one in bare.data)
    with pytest.raises(TrainingError, match="negative"):
        train_reranker(type(bare)(model=bare.model, data=data, run=bare.run, batch=bare.batch))
    with pytest.raises(TrainingError, match=r"batch\.group is 1"):
        recipe("batch.group=1")
    with pytest.raises(TrainingError, match="max_length is 9999"):
        train_reranker(recipe("model.max_length=9999"))

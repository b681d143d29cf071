"""Training an adapter further: where it starts, what it exports, and adapters that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from reasonembed_rag import Encoder
from reasonembed_rag.errors import ModelError, TrainingError
from reasonembed_training.trainer import train

TEXTS = ["quick brown fox", "cells divide over default parameter values", "lazy dog"]


@pytest.fixture
def first(make_recipe, tmp_path) -> Path:
    """An adapter of four steps."""
    run = {"output": str(tmp_path / "first"), "export": "adapter"}
    return train(make_recipe(optim={"max_steps": 4, "lr": 5e-2}, dev={"sets": []}, run=run)).model


@pytest.fixture
def further(make_recipe, first, tmp_path):
    """Train `first` further, or another adapter."""

    def run(start: Path = first, **changes) -> Path:
        changes = {
            "optim": {"max_steps": 2, "lr": 1e-2},
            "dev": {"sets": []},
            "run": {"output": str(tmp_path / "second"), "export": "adapter"},
        } | changes
        lora = changes.pop("lora", {}) | {"start": str(start)}
        return train(make_recipe(lora=lora, **changes)).model

    return run


def _vectors(folder: Path) -> np.ndarray:
    return Encoder.from_pretrained(str(folder), device="cpu").encode_documents(TEXTS)


def test_with_a_learning_rate_of_almost_nothing_it_ends_where_it_started(first, further):
    np.testing.assert_allclose(_vectors(further(optim={"max_steps": 2, "lr": 1e-12})), _vectors(first), atol=1e-6)


def test_an_adapter_trained_further_is_one_adapter_of_the_base(first, further, tiny_bert):
    second = further(optim={"max_steps": 2, "lr": 1e-3})  # a hundredth of the first run's way
    apart = np.abs(_vectors(second) - _vectors(first)).max()
    assert 1e-5 < apart < np.abs(_vectors(first) - _vectors(tiny_bert)).max()
    config = json.loads((second / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == (str(tiny_bert), 4)


def test_the_record_holds_that_of_the_adapter_and_the_card_names_it(first, further):
    second = further()
    record = json.loads((second / "training.json").read_text())
    assert record["started_from"] == json.loads((first / "training.json").read_text())
    assert f"started from the adapter {first}" in (second / "README.md").read_text()


def test_a_resumed_run_does_not_start_again(first, further, tmp_path):
    whole = further(optim={"max_steps": 4, "lr": 1e-2})
    wanted = load_file(whole / "adapter_model.safetensors")
    for path in (tmp_path / "second" / "checkpoints").glob("step-*"):
        if not path.name.endswith("2"):
            shutil.rmtree(path)
    shutil.rmtree(whole)
    got = load_file(further(optim={"max_steps": 4, "lr": 1e-2}) / "adapter_model.safetensors")
    assert all((got[name] == wanted[name]).all() for name in wanted)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"rank": 2}, r"lora\.start: .* has rank 4; want lora\.rank, 2"),
        ({"alpha": 16}, r"has alpha 8; want lora\.alpha, 16"),
        ({"targets": ["query", "value"]}, r"does not have the layers of lora\.targets \(.*dense"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_before_the_first_step(further, lora, message, tmp_path):
    with pytest.raises(TrainingError, match=message):
        further(lora=lora)
    assert not list((tmp_path / "second").glob("checkpoints/*"))


def test_an_adapter_of_another_base_is_refused(first, further):
    path = first / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "elsewhere/model"}))
    with pytest.raises(TrainingError, match=r"is of the base elsewhere/model; want model\.name"):
        further()


def test_a_folder_without_an_adapter_is_refused(further, tiny_bert):
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        further(start=tiny_bert)

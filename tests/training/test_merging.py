"""Averaged adapters: the exact mean of the changes, and errors for what cannot be averaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reasonembed_rag import Encoder
from reasonembed_rag.errors import ModelError, TrainingError
from reasonembed_training import merging as soup
from reasonembed_training.merging import average_adapters
from reasonembed_training.trainer import train

TEXTS = ["quick brown fox", "cells divide over default parameter values", "lazy dog"]


@pytest.fixture
def adapters(make_recipe, tmp_path) -> list[Path]:
    """Two runs with different seeds, ranks and scales."""
    folders = []
    for seed, rank, alpha in ((1, 4, 8), (2, 2, 2)):
        recipe = make_recipe(
            model={"tuning": "lora"},
            lora={"rank": rank, "alpha": alpha},
            optim={"max_steps": 4, "lr": 5e-2},
            dev={"sets": []},
            run={"output": str(tmp_path / f"run{seed}"), "seed": seed, "export": "adapter"},
        )
        folders.append(train(recipe).model)
    return folders


def _changes(folder: Path) -> dict[str, np.ndarray]:
    tensors = {name: tensor.float().numpy() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    config = json.loads((folder / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    ends = ("lora_B.weight", "lora_A.weight")
    layers = {name.removesuffix(end) for name in tensors for end in ends if name.endswith(end)}
    return {layer: scale * tensors[layer + ends[0]] @ tensors[layer + ends[1]] for layer in layers}


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_average_changes_every_weight_by_the_mean_of_the_changes(adapters, tmp_path, share):
    average_adapters(adapters, tmp_path / "both", interpolate=share)
    first, second, both = (_changes(folder) for folder in (*adapters, tmp_path / "both"))
    assert first.keys() == second.keys() == both.keys()
    for layer, change in both.items():
        np.testing.assert_allclose(change, (1 - share) * (first[layer] + second[layer]) / 2, atol=1e-6)
    assert max(np.abs(change).max() for change in both.values()) > 1e-3
    record = json.loads((tmp_path / "both" / "training.json").read_text())
    assert (record["interpolate"], [one["recipe"]["run"]["seed"] for one in record["average_of"]]) == (share, [1, 2])


def test_an_adapter_that_is_named_twice_counts_twice(adapters, tmp_path):
    average_adapters([adapters[0], *adapters], tmp_path / "both")
    first, second, both = (_changes(folder) for folder in (*adapters, tmp_path / "both"))
    for layer, change in both.items():
        np.testing.assert_allclose(change, (2 * first[layer] + second[layer]) / 3, atol=1e-6)
    record = json.loads((tmp_path / "both" / "training.json").read_text())
    assert [one.get("times", 1) for one in record["average_of"]] == [2, 1]


def test_one_adapter_is_scaled_by_the_share_that_is_not_the_base(adapters, tmp_path):
    average_adapters(adapters[:1], tmp_path / "milder", interpolate=0.4)
    whole, milder = (_changes(folder) for folder in (adapters[0], tmp_path / "milder"))
    for layer, change in milder.items():
        np.testing.assert_allclose(change, 0.6 * whole[layer], atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_smaller_rank_keeps_the_nearest_change_of_that_rank(adapters, tmp_path, rank):
    """The oracle is NumPy's SVD of the whole change."""
    average_adapters(adapters, tmp_path / "cut", rank=rank)
    first, second, cut = (_changes(folder) for folder in (*adapters, tmp_path / "cut"))
    for layer, change in cut.items():
        left, values, right = np.linalg.svd((first[layer] + second[layer]) / 2, full_matrices=False)
        np.testing.assert_allclose(change, left[:, :rank] * values[:rank] @ right[:rank], atol=1e-5)
        assert values[rank] > 1e-4, "what was cut was nothing"
    Encoder.from_pretrained(str(tmp_path / "cut")).encode_documents(TEXTS)
    assert json.loads((tmp_path / "cut" / "adapter_config.json").read_text())["r"] == rank
    assert json.loads((tmp_path / "cut" / "training.json").read_text())["rank"] == rank


def test_a_rank_wider_than_a_layer_is_kept(tmp_path):
    weights = {"l.lora_A.weight": torch.randn(4, 3), "l.lora_B.weight": torch.randn(2, 4)}
    nearest = soup._nearest(weights, 3)
    assert [tuple(one.shape) for one in nearest.values()] == [(2, 3), (3, 3)]
    wanted = weights["l.lora_B.weight"] @ weights["l.lora_A.weight"]
    torch.testing.assert_close(nearest["l.lora_B.weight"] @ nearest["l.lora_A.weight"], wanted)


def test_the_encoder_loads_an_average(adapters, tmp_path):
    average_adapters(adapters, tmp_path / "both")
    for folder in (*adapters, tmp_path / "both"):
        modes = {path.stat().st_mode for path in folder.iterdir() if path.is_file()}
        assert len(modes) == 1, "who may read the spec may read the weights"
    vectors = [
        Encoder.from_pretrained(str(folder)).encode_documents(TEXTS) for folder in (*adapters, tmp_path / "both")
    ]
    assert all((vectors[2] * one).sum(1).max() < 1 - 1e-6 for one in vectors[:2])
    average_adapters([adapters[0], adapters[0]], tmp_path / "same")
    same = Encoder.from_pretrained(str(tmp_path / "same")).encode_documents(TEXTS)
    np.testing.assert_allclose(same, vectors[0], atol=1e-5)


def test_what_cannot_be_averaged_is_refused_and_nothing_is_written(adapters, tmp_path):
    to = tmp_path / "both"
    with pytest.raises(TrainingError, match=rf"{adapters[0]}.*\binterpolate\b"):
        average_adapters(adapters[:1], to)
    with pytest.raises(TrainingError, match=r"\binterpolate\b.*\b1\.0\b"):
        average_adapters(adapters, to, interpolate=1.0)
    for rank in (0, 7):
        with pytest.raises(TrainingError, match=rf"\brank\b.*\b{rank}\b.*\b6\b"):
            average_adapters(adapters, to, rank=rank)
    with pytest.raises(ModelError, match=r"\badapter_config\.json\b.*\badapter_model\.safetensors\b"):
        average_adapters([adapters[0], tmp_path], to)
    with pytest.raises(TrainingError, match=str(adapters[0])):
        average_adapters(adapters, adapters[0])
    config, weights = adapters[1] / "adapter_config.json", adapters[1] / "adapter_model.safetensors"
    kept = config.read_text()
    for change, said in (
        ({"base_model_name_or_path": "other"}, r"\bbase_model_name_or_path\b.*'other'"),
        ({"use_rslora": True}, r"\branks?\b.*\bscales?\b"),
    ):
        config.write_text(json.dumps({**json.loads(kept), **change}))
        with pytest.raises(TrainingError, match=said):
            average_adapters(adapters, to)
    config.write_text(kept)
    tensors = load_file(weights)
    save_file(dict(list(tensors.items())[2:]), weights)
    with pytest.raises(TrainingError, match=r"\bencoder\.layer\.0\b"):
        average_adapters(adapters, to)
    weights.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"\badapter_model\.safetensors\b.*\bheader\b"):
        average_adapters(adapters, to)
    assert not to.exists()

"""`reasonembed train average` writes the mean of adapters, and refuses a folder that is not empty."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file


def _adapter(folder, seed):
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "default-base", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "spec.json").write_text(json.dumps({"model": folder.name, "pooling": "mean"}))
    draw = torch.Generator().manual_seed(seed)
    tensors = {
        "q.lora_A.weight": torch.randn(2, 5, generator=draw),
        "q.lora_B.weight": torch.randn(3, 2, generator=draw),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder, 2 * tensors["q.lora_B.weight"] @ tensors["q.lora_A.weight"]


def test_two_adapters_are_averaged_and_interpolated_with_the_base(succeeds, fails, tmp_path):
    (first, one), (second, two) = (_adapter(tmp_path / name, seed) for seed, name in enumerate(("a", "b")))
    out = tmp_path / "c"
    assert succeeds("train", "average", first, second, "--interpolate", "0.5", "--out", out).strip() == str(out)
    tensors = load_file(tmp_path / "c" / "adapter_model.safetensors")
    config = json.loads((tmp_path / "c" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 4)
    change = tensors["q.lora_B.weight"] @ tensors["q.lora_A.weight"]
    torch.testing.assert_close(change, 0.25 * (one + two))
    assert str(tmp_path / "c") in fails("train", "average", first, second, "--out", tmp_path / "c")


def test_the_deprecated_name_of_interpolate_still_works(succeeds, tmp_path):
    first, second = (_adapter(tmp_path / name, seed)[0] for seed, name in enumerate(("a", "b")))
    succeeds("train", "average", first, second, "--interpolate", "0.5", "--out", tmp_path / "new")
    with pytest.warns(FutureWarning, match="--interpolate"):
        succeeds("train", "average", first, second, "--base-share", "0.5", "--out", tmp_path / "old")
    old, new = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("old", "new"))
    assert all(torch.equal(old[name], new[name]) for name in new)

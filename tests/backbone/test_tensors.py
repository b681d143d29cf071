"""Reading safetensors files without torch, against safetensors' own reader for torch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reasonembed_rag.backbone.tensors import read_tensor_file, read_tensors
from reasonembed_rag.errors import ModelError

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_of_every_format_are_those_that_torch_reads(tmp_path, dtype):
    torch.manual_seed(0)
    odd = {"small": torch.tensor([1e-40, -0.0, float("inf"), float("nan"), 3.3895e38])}
    path = tmp_path / "model.safetensors"
    tensors = {"a.weight": torch.randn(3, 5), "empty": torch.zeros(0, 4), "one": torch.tensor(2.5)} | odd
    save_file({name: one.to(dtype) for name, one in tensors.items()} | {"ids": torch.arange(3)}, path)
    expected = {name: one.float().numpy() for name, one in load_file(path).items() if name != "ids"}
    got = read_tensor_file(path)
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], values)


def test_a_checkpoint_in_parts_is_read_by_its_index_and_other_files_are_not(tmp_path):
    parts = {"a": torch.ones(2), "b": torch.zeros(3)}
    for name, tensor in parts.items():
        save_file({name: tensor}, tmp_path / f"part-{name}.safetensors")
    save_file({"other": torch.ones(1)}, tmp_path / "consolidated.safetensors")
    index = {"weight_map": {name: f"part-{name}.safetensors" for name in parts}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {name: one.tolist() for name, one in read_tensors(tmp_path).items()} == {"a": [1, 1], "b": [0, 0, 0]}
    (tmp_path / "part-b.safetensors").unlink()
    with pytest.raises(ModelError, match="part-b"):
        read_tensors(tmp_path)


def test_an_index_reaches_no_file_outside_its_folder(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "secret.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(ModelError, match="secret"):
        read_tensors(folder)


def test_a_damaged_file_is_refused_with_its_name(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(100)}, path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", b"\xff" * 40):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            read_tensors(tmp_path)

"""A complete run on two processes against the same run on one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from waits import all_succeed

from reasonembed_rag import Encoder
from reasonembed_training.log import read_metrics
from reasonembed_training.recipe import recipe_to_json
from reasonembed_training.trainer import train

_PROCESS = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from reasonembed_training.recipe import recipe_from
from reasonembed_training.trainer import train
train(recipe_from(json.loads(Path(sys.argv[1]).read_text()), where="tiny"))
"""


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_on(world: int, recipe, folder: Path) -> None:
    described = folder / f"{world}.json"
    described.write_text(json.dumps(without_nulls(json.loads(recipe_to_json(recipe)))))
    port, processes = str(free_port()), []
    for rank in range(world):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        environment = os.environ | {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
        processes.append(subprocess.Popen([sys.executable, "-c", _PROCESS, str(described)], env=environment))
    all_succeed(processes)


@pytest.mark.loopback
def test_two_processes_train_the_model_that_one_does(make_recipe, tmp_path, socket_enabled):
    changes = {
        "model": {"tuning": "full"},
        "batch": {"queries": 7, "tokens": 60},  # uneven shares and different numbers of chunks
        "optim": {"lr": 1e-3, "max_steps": 5},
        "loss": {"dimensions": [64, 16]},
        "consistency": {"weight": 0.5},
        "reference": {"weight": 0.5},
        "dev": {"keep": "last"},
    }
    recipes = {world: make_recipe(run={"output": str(tmp_path / f"run{world}")}, **changes) for world in (1, 2)}
    train(recipes[1])
    train_on(2, recipes[2], tmp_path)
    one, two = (load_file(tmp_path / f"run{world}" / "model" / "model.safetensors") for world in (1, 2))
    started = load_file(Path(recipes[1].model.name) / "model.safetensors")
    moved = torch.cat([(one[name] - started[name]).flatten() for name in one])
    apart = torch.cat([(one[name] - two[name]).flatten() for name in one])
    assert moved.abs().max() > 1e-3
    assert apart.norm() < 0.01 * moved.norm()  # AdamW amplifies the last bits of small gradients
    lines = {world: read_metrics(tmp_path / f"run{world}" / "metrics.jsonl") for world in (1, 2)}
    assert len(lines[1]) == len(lines[2])
    for alone, together in zip(lines[1], lines[2], strict=True):
        for name in ("loss", "info_nce", "divergence", "drift", "gradient_norm", "tokens", "mean"):
            if name in alone:
                assert together[name] == pytest.approx(alone[name], rel=2e-3, abs=1e-6)
        if alone.get("intensity"):
            assert together["intensity"]["median"] == pytest.approx(alone["intensity"]["median"], rel=2e-3)
    states = sorted((tmp_path / "run2" / "checkpoints" / "step-00000005").iterdir())
    assert [path.name for path in states if path.name.startswith("random")] == [
        "random-00000.safetensors",
        "random-00001.safetensors",
    ]
    assert Encoder.from_pretrained(str(tmp_path / "run2" / "model")).dimension == 64

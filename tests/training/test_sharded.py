"""Weights sharded over two processes (FSDP 2) against one process: gradients, dev scores, checkpoints, export."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from waits import all_succeed

_PROCESS = """
import contextlib, sys
from dataclasses import replace
from pathlib import Path
import torch
from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_training import checkpoint
from reasonembed_training.data.batch import BatchMaker
from reasonembed_training.config import LoraConfig, ModelConfig
from reasonembed_training.data.sources import RowSource, open_rows
from reasonembed_training.export import export_model
from reasonembed_training.dev_eval import measure_dev_sets
from reasonembed_training.devices import Machine
from reasonembed_training.model import build_model
from reasonembed_training.objective import Objective, Redapter
from reasonembed_training.data.sampler import Sampler, TaskPlan
from reasonembed_training.step import Stepper

rank, world = int(sys.argv[1]), int(sys.argv[2])
base, rows, folder = sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])
torch.set_num_threads(1)
if world > 1:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))


class Accelerator:
    device, process_index, num_processes = torch.device("cpu"), rank, world

    @contextlib.contextmanager
    def no_sync(self, module):
        if world > 1:
            module.set_requires_gradient_sync(False)
        yield
        if world > 1:
            module.set_requires_gradient_sync(True)


machine = Machine(Accelerator(), bfloat16=False, sharded=world > 1)
table = open_rows([RowSource(path=rows)], cache=folder / f"cache{rank}")
sampler = Sampler({"rows": TaskPlan(rows=len(table), queries=7, group=3)}, seed=1)
documents = tuple(Document(str(number), f"fox {number} dog") for number in range(9))
task = RetrievalTask("dev", None, documents, (Example("q", "fox 3", ("3",)),))


def built(tuning):
    torch.manual_seed(0)
    lora = LoraConfig(rank=4, dropout=0.0, targets=("query", "value"))
    config = ModelConfig(name=base, tuning=tuning, forward="padded")
    model = build_model(config, lora, device=torch.device("cpu"), bfloat16=False)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    if world > 1:
        for layer in model.module.backbone.encoder.layer:
            fully_shard(layer, mesh=mesh)
        fully_shard(model.module, mesh=mesh)
    return model


def run(tuning):
    model = built(tuning)
    optimizer = torch.optim.AdamW(list(model.trainable().values()), lr=1e-3)
    maker = BatchMaker(
        table=table, tasks={task.name: task for task in table.tasks()}, sampler=sampler, tokenizer=model.tokenizer,
        spec=model.spec, seed=1, rank=rank, world=world, reasoning_from=0, fill_reasoning=world > 1,
    )
    stepper = Stepper(
        module=model.module, objective=Objective(), redapter=Redapter(), machine=machine, dimension=64, budget=60,
        pool_prompt=True,
    )

    def step(number):
        result = stepper(maker(sampler.batch(number), number), weighted=True)
        gradients = {name: checkpoint._unsharded(one.grad) for name, one in model.trainable().items()}
        optimizer.step()
        optimizer.zero_grad()
        return {"loss": result.loss, "intensity": result.intensity.sort().values, "gradients": gradients}

    told = {"first": step(0)}
    progress = checkpoint.TrainingProgress(step=1, recipe="", data="")
    saved = checkpoint.save(folder / f"kept-{tuning}", progress, model.module, optimizer, rank=rank)
    told["second"] = step(1)
    checkpoint.restore(saved, model.module, optimizer, rank=rank)
    told["again"] = step(1)
    told["dev"] = measure_dev_sets(model, [task], step=2, budget=40, share=not machine.sharded).mean
    export_model(model, folder / tuning, kind="merged", files={}, rank=rank)
    return told


told = {tuning: run(tuning) for tuning in ("lora", "full")}
if rank == 0:
    torch.save(told, folder / "told")
if world > 1:
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def runs(tiny_bert, tiny_data, tmp_path_factory):
    """The folders of results of one process, and of two."""
    folders = []
    for world in (1, 2):
        folder = tmp_path_factory.mktemp(f"world{world}")
        arguments = [str(world), str(tiny_bert), str(tiny_data / "rows.jsonl"), str(folder)]
        processes = [subprocess.Popen([sys.executable, "-c", _PROCESS, str(rank), *arguments]) for rank in range(world)]
        all_succeed(processes)
        folders.append(folder)
    return folders


@pytest.mark.loopback
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_two_processes_that_share_the_weights_train_as_one(runs, tuning):
    one, two = (torch.load(folder / "told")[tuning] for folder in runs)
    assert two["first"]["loss"] == pytest.approx(one["first"]["loss"], rel=1e-4)
    torch.testing.assert_close(two["first"]["intensity"], one["first"]["intensity"], rtol=1e-3, atol=1e-4)
    for name, gradient in one["first"]["gradients"].items():
        torch.testing.assert_close(two["first"]["gradients"][name], gradient, rtol=1e-3, atol=1e-4)
    for told in (one, two):
        assert told["again"]["loss"] == told["second"]["loss"]
        for name, gradient in told["second"]["gradients"].items():
            assert torch.equal(told["again"]["gradients"][name], gradient)
    assert two["dev"] == one["dev"]
    weights, other = (load_file(folder / tuning / "model.safetensors") for folder in runs)
    apart = torch.cat([(weights[name] - other[name]).flatten() for name in weights])
    assert apart.norm() < 0.01 * torch.cat([tensor.flatten() for tensor in weights.values()]).norm()

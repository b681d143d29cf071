"""Two processes against one: the same loss, weights and gradient of the encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from waits import all_succeed

from reasonembed_training.gather import Shards, gather_rows, my_shards, sum_over_processes

_PROCESS = """
import sys
import torch
from reasonembed_training.data import Labels
from reasonembed_training.objective import Objective, ReasoningQueries, Redapter

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
if world > 1:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
torch.manual_seed(0)
weight = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)
inputs = torch.randn(5 + 5 + 11, 6, dtype=torch.float64)
queries, reasoning, documents = inputs.split([5, 5, 11])
sizes = [3, 2, 3, 1, 2]  # documents per query: the processes differ in queries and in documents
first = [0, 3, 5, 8, 9]
mine = list(range(5))[rank::world]
columns = [column for row in mine for column in range(first[row], first[row] + sizes[row])]


def embed(rows):
    return torch.nn.functional.normalize(rows @ weight, dim=-1)


labels = Labels(
    positives=torch.tensor([columns.index(first[row]) for row in mine]),
    document_keys=torch.tensor([7 if column in (2, 5) else 100 + column for column in columns]),
    left_out_keys=tuple(torch.tensor([7] if row == 1 else [100 + first[row]]) for row in mine),
    owners=torch.tensor([number for number, row in enumerate(mine) for _ in range(sizes[row])]),
    grades=torch.full((len(columns),), float("nan"), dtype=torch.float64),
)
with torch.no_grad():
    present = torch.tensor([row != 4 for row in mine])
    thought = ReasoningQueries(redapter=Redapter(), vectors=embed(reasoning[mine]), present=present)
objective = Objective(temperature=0.2, dimensions=(6, 3))
step = objective(embed(queries[mine]), embed(documents[columns]), labels, reasoning=thought)
step.loss.backward()
gradient, loss = weight.grad.clone(), step.loss.detach().clone()
if world > 1:
    torch.distributed.all_reduce(gradient)
    torch.distributed.all_reduce(loss)
    torch.distributed.destroy_process_group()
torch.save({"gradient": gradient, "loss": loss, "losses": step.losses, "intensity": step.intensity}, f"{folder}/{rank}")
"""


def run(world: int, folder: Path):
    folder.mkdir()
    processes = [
        subprocess.Popen([sys.executable, "-c", _PROCESS, str(rank), str(world), str(folder)]) for rank in range(world)
    ]
    all_succeed(processes)
    return [torch.load(folder / str(rank)) for rank in range(world)]


@pytest.mark.loopback
def test_two_processes_with_uneven_shares_equal_one(tmp_path):
    (alone,), (left, right) = run(1, tmp_path / "one"), run(2, tmp_path / "two")
    for name in ("loss", "gradient"):
        torch.testing.assert_close(left[name], alone[name], atol=1e-12, rtol=0)
        torch.testing.assert_close(right[name], alone[name], atol=1e-12, rtol=0)
    for name in ("losses", "intensity"):
        torch.testing.assert_close(left[name], alone[name][0::2], atol=1e-12, rtol=0)
        torch.testing.assert_close(right[name], alone[name][1::2], atol=1e-12, rtol=0)


def test_one_process_gathers_its_own_rows_unchanged():
    rows = torch.randn(3, 2)
    shards = my_shards(3, device=rows.device)
    assert gather_rows(rows, shards) is rows
    assert (shards.offset, shards.total) == (0, 3)
    assert sum_over_processes(torch.tensor([2.0])).item() == 2


def test_shards_say_where_a_process_has_its_rows():
    shards = Shards((2, 5, 1), rank=1)
    assert shards.mine == slice(2, 7)
    assert shards.total == 8

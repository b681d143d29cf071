"""One step from tokens to gradients, with a model small enough to check by hand."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from reasonembed_rag.backbone import Tokens
from reasonembed_training.data.batch import Labels, TrainingBatch
from reasonembed_training.devices import Machine
from reasonembed_training.objective import Objective, ReasoningQueries, Redapter
from reasonembed_training.step import NotFiniteError, Stepper

DIMENSION = 5


class Bag(torch.nn.Module):
    """The normalised mean of the tokens' vectors without the first `skip`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(50, DIMENSION, dtype=torch.float64)
        self.calls = []

    def forward(self, sequences, skip=0):
        self.calls.append((sum(map(len, sequences)), skip, torch.is_grad_enabled()))
        means = [self.table(torch.from_numpy(one.astype(np.int64)))[skip:].mean(dim=0) for one in sequences]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


class Accelerator:
    device, process_index, num_processes = torch.device("cpu"), 0, 1

    def no_sync(self, module):
        return nullcontext()


def tokens(sequences, *, skip=0):
    lengths = [len(one) for one in sequences]
    ids = np.concatenate([np.asarray(one, dtype=np.int32) for one in sequences]) if sequences else np.empty(0, np.int32)
    return Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), truncated=0, skip=skip)


QUERIES = [[1, 2, 3], [1, 2, 5, 6], [1, 2, 8]]
DOCUMENTS = [[3, 4], [20, 21, 22], [5, 7], [23, 24], [8, 9, 10, 11], [25]]
THOUGHTS = {0: [1, 2, 3, 4], 2: [1, 2, 9, 10, 11]}


def batch_of(thoughts=THOUGHTS, *, filled=False):
    present = torch.tensor([row in thoughts for row in range(3)])
    shown = [thoughts.get(row, QUERIES[row]) for row in range(3) if filled or row in thoughts]
    return TrainingBatch(
        step=0,
        task="one",
        row_ids=("a", "b", "c"),
        queries=tokens(QUERIES, skip=2),
        documents=tokens(DOCUMENTS),
        reasoning=tokens(shown, skip=2),
        has_reasoning=present,
        labels=Labels(
            positives=torch.tensor([0, 2, 4]),
            document_keys=torch.arange(6),
            left_out_keys=tuple(torch.tensor([key]) for key in (0, 2, 4)),
            owners=torch.tensor([0, 0, 1, 1, 2, 2]),
            grades=torch.full((6,), float("nan"), dtype=torch.float64),
        ),
    )


def stepper_of(module, *, pool_prompt=True, budget=8):
    return Stepper(
        module=module,
        objective=Objective(temperature=0.1),
        redapter=Redapter(),
        machine=Machine(Accelerator(), bfloat16=False),
        dimension=DIMENSION,
        budget=budget,
        pool_prompt=pool_prompt,
    )


def plainly(thoughts, *, skip):
    """The same step in one graph, without chunks."""
    module = Bag()

    def embed(sequences, skip):
        return module([np.asarray(one) for one in sequences], skip)

    with torch.no_grad():
        rows = [thoughts.get(row, QUERIES[row]) for row in range(3)]
        reasoning = ReasoningQueries(
            redapter=Redapter(),
            vectors=embed(rows, skip),
            present=torch.tensor([row in thoughts for row in range(3)]),
        )
    step = Objective(temperature=0.1)(
        embed(QUERIES, skip), embed(DOCUMENTS, 0), batch_of(thoughts).labels, reasoning=reasoning
    )
    step.loss.backward()
    return step, module.table.weight.grad


@pytest.mark.parametrize("pool_prompt", [True, False])
@pytest.mark.parametrize("budget", [1, 8, 1000])
@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("thoughts", [THOUGHTS, {1: [1, 2, 7]}, {}])
def test_a_step_is_that_of_one_graph_for_any_chunks(pool_prompt, budget, filled, thoughts):
    wanted, gradient = plainly(thoughts, skip=0 if pool_prompt else 2)
    module = Bag()
    batch = batch_of(thoughts, filled=filled)
    result = stepper_of(module, pool_prompt=pool_prompt, budget=budget)(batch, weighted=True)
    assert result.loss == pytest.approx(wanted.loss.item(), abs=1e-7)
    assert result.info_nce == pytest.approx(wanted.losses.mean().item(), abs=1e-7)
    torch.testing.assert_close(result.intensity, wanted.intensity, atol=1e-6, rtol=0)
    torch.testing.assert_close(module.table.weight.grad, gradient, atol=1e-6, rtol=0)


def test_chunks_hold_the_budget_and_reasoning_queries_run_once_without_graph():
    module = Bag()
    stepper_of(module, budget=8)(batch_of(), weighted=True)
    assert all(count <= 8 for count, _, _ in module.calls)
    with_graph = sum(count for count, _, grad in module.calls if grad)
    assert with_graph == sum(map(len, QUERIES + DOCUMENTS))
    without = sum(count for count, _, grad in module.calls if not grad)
    kept = next(count for count, _, grad in module.calls if grad)
    assert without == sum(map(len, THOUGHTS.values())) + with_graph - kept


def test_a_step_that_is_not_weighted_does_not_look_at_reasoning_queries():
    module = Bag()
    result = stepper_of(module, budget=1000)(batch_of(), weighted=False)
    assert result.intensity is None
    assert len(module.calls) == 1


def test_a_loss_that_is_not_a_number_raises_before_any_gradient():
    module = Bag()
    with torch.no_grad():
        module.table.weight[3] = float("nan")
    with pytest.raises(NotFiniteError, match=r"\bloss\b.*\bnan\b"):
        stepper_of(module)(batch_of(), weighted=False)
    assert module.table.weight.grad is None

"""The reference model: the term's value, its gradient, the regularised tasks, and a run with it."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from reasonembed_rag.backbone import Tokens
from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_training.data.batch import Labels, TrainingBatch
from reasonembed_training.devices import Machine
from reasonembed_training.log import read_metrics
from reasonembed_training.losses import kl_to_reference
from reasonembed_training.objective import Objective
from reasonembed_training.objective_config import ReferenceConfig
from reasonembed_training.recipe import changed_keys, recipe_to_json
from reasonembed_training.step import ReferenceModel, Stepper
from reasonembed_training.trainer import train

TEMPERATURE, WEIGHT = 0.1, 1.5
QUERIES = [[1, 2, 3], [1, 2, 5, 6], [1, 2, 8]]
DOCUMENTS = [[3, 4], [20, 21, 22], [5, 7], [23, 24], [8, 9, 10, 11], [25]]
POSITIVES = (0, 2, 4)


class Bag(torch.nn.Module):
    """The normalised mean of the tokens' vectors without the first `skip`."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.table = torch.nn.Embedding(50, 5, dtype=torch.float64)

    def forward(self, sequences, skip=0):
        means = [self.table(torch.as_tensor(np.asarray(one), dtype=torch.long))[skip:].mean(dim=0) for one in sequences]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


class Accelerator:
    device, process_index, num_processes = torch.device("cpu"), 0, 1

    def no_sync(self, module):
        return nullcontext()


def tokens(sequences, *, skip=0):
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])]).astype(np.int64)
    return Tokens(np.concatenate(sequences).astype(np.int32), offsets, truncated=0, skip=skip)


def stepped(*, budget=1000, tasks=(), task="one", pool_prompt=True, seed_of_first=1):
    module = Bag(0)
    batch = TrainingBatch(
        step=0,
        task=task,
        row_ids=("a", "b", "c"),
        queries=tokens(QUERIES, skip=2),
        documents=tokens(DOCUMENTS),
        reasoning=Tokens(np.empty(0, np.int32), np.zeros(1, np.int64), truncated=0),
        has_reasoning=torch.zeros(3, dtype=torch.bool),
        labels=Labels(
            positives=torch.tensor(POSITIVES),
            document_keys=torch.arange(6),
            left_out_keys=tuple(torch.tensor([key]) for key in POSITIVES),
            owners=torch.tensor([0, 0, 1, 1, 2, 2]),
            grades=torch.full((6,), float("nan"), dtype=torch.float64),
        ),
    )
    stepper = Stepper(
        module=module,
        objective=Objective(temperature=TEMPERATURE, reference=WEIGHT),
        redapter=None,
        machine=Machine(Accelerator(), bfloat16=False),
        dimension=5,
        budget=budget,
        pool_prompt=pool_prompt,
        reference=ReferenceModel(forward=Bag(seed_of_first), tasks=frozenset(tasks)),
    )
    return stepper(batch, weighted=False), module.table.weight.grad


def written_out(*, weight, skip):
    """The objective computed term by term in one graph."""
    module, first = Bag(0), Bag(1)
    queries, documents = module(QUERIES, skip), module(DOCUMENTS)
    with torch.no_grad():
        wanted_scores = first(QUERIES, skip) @ first(DOCUMENTS).T / TEMPERATURE
    losses, drifts = [], []
    for row, positive in enumerate(POSITIVES):
        scores = queries[row] @ documents.T / TEMPERATURE
        losses.append(torch.logsumexp(scores, 0) - scores[positive])
        others = [column for column in range(len(DOCUMENTS)) if column != positive]
        wanted, got = torch.softmax(wanted_scores[row, others], 0), torch.softmax(scores[others], 0)
        drifts.append((wanted * (wanted.log() - got.log())).sum())
    drift = torch.stack(drifts).mean()
    loss = torch.stack(losses).mean() + weight * drift
    loss.backward()
    return loss.item(), drift.item(), module.table.weight.grad


@pytest.mark.parametrize("pool_prompt", [True, False])
@pytest.mark.parametrize("budget", [1, 6, 1000])
def test_a_step_is_the_formula_in_one_graph_for_any_chunks(budget, pool_prompt):
    loss, drift, gradient = written_out(weight=WEIGHT, skip=0 if pool_prompt else 2)
    result, cached = stepped(budget=budget, pool_prompt=pool_prompt)
    assert result.loss == pytest.approx(loss, abs=1e-9)
    assert result.drift == pytest.approx(drift, abs=1e-9)
    torch.testing.assert_close(cached, gradient, atol=1e-9, rtol=0)


def test_a_task_that_is_not_named_is_not_regularised():
    _, _, without = written_out(weight=0.0, skip=0)
    held, _ = stepped(tasks=("one", "two"), task="two")
    free, gradient = stepped(tasks=("one", "two"), task="three")
    assert held.drift > 1e-3
    assert free.drift is None
    torch.testing.assert_close(gradient, without, atol=1e-9, rtol=0)


def test_a_model_that_has_not_moved_yet_has_no_drift():
    _, _, without = written_out(weight=0.0, skip=0)
    result, gradient = stepped(seed_of_first=0)
    assert result.drift == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(gradient, without, atol=1e-9, rtol=0)


def test_scores_of_the_positive_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    scores, first = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    positives = torch.tensor([4, 0, 2])
    moved = scores.scatter(1, positives[:, None], 9.0)
    torch.testing.assert_close(kl_to_reference(scores, first, positives), kl_to_reference(moved, first, positives))
    assert (kl_to_reference(scores, first, positives) > 0).all()


def test_one_document_and_shapes_that_disagree():
    alone = kl_to_reference(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([0]))
    assert alone.tolist() == [0.0]
    with pytest.raises(InputError, match=r"\(2, 3\).*\(1,\)"):
        kl_to_reference(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0]))
    with pytest.raises(InputError, match=r"\(2, 4\).*\(2, 3\)"):
        kl_to_reference(torch.zeros(2, 3), torch.zeros(2, 4), torch.tensor([0, 1]))


def test_settings_that_make_no_sense_are_refused(make_recipe):
    with pytest.raises(TrainingError, match=r"\breference\.weight\b.*-1\.0\b"):
        make_recipe(reference={"weight": -1.0})
    with pytest.raises(TrainingError, match=r"\breference\.tasks\b.*'row'.*'rows'"):
        train(make_recipe(reference={"weight": 1.0, "tasks": ["row"]}))


def run_of(make_recipe, tmp_path, weight):
    recipe = make_recipe(
        run={"output": str(tmp_path / f"weight-{weight}")},
        reference={"weight": weight},
        redapter={"enabled": False},
        optim={"max_steps": 6},
        dev={"sets": []},
    )
    train(recipe)
    return read_metrics(recipe.run.output / "metrics.jsonl")


def test_a_regularised_run_drifts_less(make_recipe, tmp_path):
    free, held, bound = (run_of(make_recipe, tmp_path, weight) for weight in (0.0, 1e-6, 10.0))
    assert [line["drift"] for line in free] == [None] * 6
    assert held[0]["drift"] == pytest.approx(0.0, abs=1e-6)
    assert held[-1]["info_nce"] == pytest.approx(free[-1]["info_nce"], abs=1e-3)
    assert held[-1]["drift"] > 0
    assert sum(line["drift"] for line in bound) < 0.8 * sum(line["drift"] for line in held)


def test_a_run_from_before_the_term_existed_is_resumed_and_one_with_another_weight_is_refused(make_recipe):
    recipe = make_recipe()
    written = recipe_to_json(recipe)
    older = json.loads(written)
    del older["reference"]
    changed = dataclasses.replace(recipe, reference=ReferenceConfig(weight=1.0))
    assert changed_keys(json.dumps(older), written) == []
    assert changed_keys(json.dumps(older), recipe_to_json(changed)) == ["reference.weight"]

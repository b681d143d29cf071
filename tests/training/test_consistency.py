"""The consistency term: its value, its gradient, the perturbed queries, and a run with it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonembed_rag.backbone import Tokens
from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_rag.perturb import perturb
from reasonembed_training.data.batch import Labels, TrainingBatch
from reasonembed_training.devices import Machine
from reasonembed_training.log import read_metrics
from reasonembed_training.losses import consistency
from reasonembed_training.objective import Objective, Redapter
from reasonembed_training.objective_config import ConsistencyConfig
from reasonembed_training.plan import perturber_from
from reasonembed_training.recipe import changed_keys, read_recipe, recipe_to_json
from reasonembed_training.step import Stepper
from reasonembed_training.trainer import train

TEMPERATURE = 0.1


class Bag(torch.nn.Module):
    """The normalised mean of the tokens' vectors without the first `skip`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(50, 5, dtype=torch.float64)

    def forward(self, sequences, skip=0):
        means = [self.table(torch.as_tensor(np.asarray(one), dtype=torch.long))[skip:].mean(dim=0) for one in sequences]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


class Accelerator:
    device, process_index, num_processes = torch.device("cpu"), 0, 1

    def no_sync(self, module):
        return nullcontext()


QUERIES = [[1, 2, 3], [1, 2, 5, 6], [1, 2, 8]]
PERTURBED = [[1, 2, 4], [1, 2, 5], [1, 2, 8]]
DOCUMENTS = [[3, 4], [20, 21, 22], [5, 7], [23, 24], [8, 9, 10, 11], [25]]


def tokens(sequences, *, skip=0):
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])]).astype(np.int64)
    return Tokens(np.concatenate(sequences).astype(np.int32), offsets, truncated=0, skip=skip)


def batch_of(perturbed=PERTURBED):
    return TrainingBatch(
        step=0,
        task="one",
        row_ids=("a", "b", "c"),
        queries=tokens(QUERIES, skip=2),
        documents=tokens(DOCUMENTS),
        reasoning=Tokens(np.empty(0, np.int32), np.zeros(1, np.int64), truncated=0),
        has_reasoning=torch.zeros(3, dtype=torch.bool),
        labels=Labels(
            positives=torch.tensor([0, 2, 4]),
            document_keys=torch.arange(6),
            left_out_keys=tuple(torch.tensor([key]) for key in (0, 2, 4)),
            owners=torch.tensor([0, 0, 1, 1, 2, 2]),
            grades=torch.full((6,), float("nan"), dtype=torch.float64),
        ),
        perturbed=None if perturbed is None else tokens(perturbed, skip=2),
    )


def stepped(*, weight, budget, perturbed=PERTURBED, pool_prompt=True):
    module = Bag()
    stepper = Stepper(
        module=module,
        objective=Objective(temperature=TEMPERATURE, consistency=weight),
        redapter=Redapter(),
        machine=Machine(Accelerator(), bfloat16=False),
        dimension=5,
        budget=budget,
        pool_prompt=pool_prompt,
    )
    return stepper(batch_of(perturbed), weighted=False), module.table.weight.grad


def written_out(weight, *, skip):
    """The objective computed term by term in one graph."""
    module = Bag()
    queries, documents, perturbed = module(QUERIES, skip), module(DOCUMENTS), module(PERTURBED, skip)
    total, divergences = torch.zeros(3, dtype=torch.float64), []
    for row, positive in enumerate((0, 2, 4)):
        scores = queries[row] @ documents.T / TEMPERATURE
        total[row] = torch.logsumexp(scores, 0) - scores[positive]
        wanted = torch.softmax(scores, 0).detach()
        got = torch.softmax(perturbed[row] @ documents.T / TEMPERATURE, 0)
        divergences.append((wanted * (wanted.log() - got.log())).sum())
    divergence = torch.stack(divergences).mean()
    loss = total.mean() + weight * divergence
    loss.backward()
    return loss.item(), divergence.item(), module.table.weight.grad


@pytest.mark.parametrize("pool_prompt", [True, False])
@pytest.mark.parametrize("budget", [1, 6, 1000])
@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_a_step_is_the_formula_in_one_graph_for_any_chunks(weight, budget, pool_prompt):
    loss, divergence, gradient = written_out(weight, skip=0 if pool_prompt else 2)
    result, cached = stepped(weight=weight, budget=budget, pool_prompt=pool_prompt)
    assert result.loss == pytest.approx(loss, abs=1e-9)
    assert result.divergence == pytest.approx(divergence, abs=1e-9)
    torch.testing.assert_close(cached, gradient, atol=1e-9, rtol=0)


def test_the_term_moves_the_gradient_and_a_query_left_as_it_is_adds_none():
    _, without = stepped(weight=0.0, budget=6, perturbed=None)
    _, with_term = stepped(weight=1.0, budget=6)
    result, unmoved = stepped(weight=1.0, budget=6, perturbed=QUERIES)
    assert (with_term - without).abs().max() > 1e-3
    assert result.divergence == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(unmoved, without, atol=1e-9, rtol=0)


def test_no_gradient_flows_through_the_querys_own_scores():
    scores = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    perturbed = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    consistency(scores, perturbed, temperature=0.5).sum().backward()
    assert scores.grad is None
    expected = (torch.softmax(perturbed / 0.5, 1) - torch.softmax(scores / 0.5, 1)).detach() / 0.5
    torch.testing.assert_close(perturbed.grad, expected)


def test_scores_far_apart_stay_finite():
    scores = torch.tensor([[1.0, -1.0]], requires_grad=False)
    perturbed = torch.tensor([[-1.0, 1.0]], requires_grad=True)
    value = consistency(scores, perturbed, temperature=0.001)
    value.sum().backward()
    assert value.item() == pytest.approx(2000, rel=1e-5)
    assert torch.isfinite(perturbed.grad).all()


def test_shapes_that_disagree_are_refused():
    with pytest.raises(InputError, match=r"\(2, 3\).*\(2, 4\)"):
        consistency(torch.zeros(2, 3), torch.zeros(2, 4))


QUESTIONS = [
    f"why does the number {word} keep growing between two calls" for word in ["one", "two", "three", "four"]
] * 6


def test_perturbed_queries_are_those_of_the_core_and_change_with_the_step():
    kinds = ("misspelling", "reordering")
    perturber = perturber_from(ConsistencyConfig(weight=1.0, kinds=kinds), seed=3)
    rows = list(range(len(QUESTIONS)))
    texts = perturber(QUESTIONS, rows=rows, step=5)
    seed = int(np.random.SeedSequence([3, 5]).generate_state(1)[0])
    possible = [set(pair) for pair in zip(*(perturb(QUESTIONS, kind, seed=seed).texts for kind in kinds), strict=True)]
    assert all(text in pair for text, pair in zip(texts, possible, strict=True))
    assert len(set(texts)) > 4  # both kinds were drawn
    assert texts == perturber(QUESTIONS, rows=rows, step=5)
    assert texts != perturber(QUESTIONS, rows=rows, step=6)
    halves = perturber(QUESTIONS[:9], rows=rows[:9], step=5) + perturber(QUESTIONS[9:], rows=rows[9:], step=5)
    assert halves == texts  # the same on whichever process


def test_a_query_that_a_kind_would_leave_empty_stays():
    perturber = perturber_from(ConsistencyConfig(weight=1.0, kinds=("naturalizing",)), seed=0)
    assert perturber(["what is it", "???"], rows=[0, 1], step=0)[1] == "???"
    assert all(text.strip() for text in perturber(["to be or not to be", "it"], rows=[0, 1], step=0))


def test_without_weight_nothing_is_perturbed():
    assert perturber_from(ConsistencyConfig(), seed=0) is None


def test_settings_that_make_no_sense_are_refused(make_recipe):
    for settings, message in (
        ({"weight": -1.0}, r"\bconsistency\.weight\b.*-1\.0\b"),
        ({"kinds": []}, r"\bconsistency\.kinds\b.*\bempty\b"),
        ({"kinds": ["paraphrasing"]}, r"\bconsistency\.kinds\b.*'paraphrasing'.*misspelling, reordering"),
        ({"wieght": 1.0}, r"\bconsistency\.wieght\b.*'weight'"),
    ):
        with pytest.raises(TrainingError, match=message):
            make_recipe(consistency=settings)


def test_a_run_with_the_term_logs_it_and_ends_with_other_weights(make_recipe, tmp_path):
    runs = {}
    for name, weight in (("with", 2.0), ("without", 0.0)):
        recipe = make_recipe(
            run={"output": str(tmp_path / name)},
            consistency={"weight": weight},
            optim={"max_steps": 3},
            dev={"sets": []},
        )
        outcome = train(recipe)
        weights = (outcome.model / "model.safetensors").read_bytes()
        runs[name] = read_metrics(recipe.run.output / "metrics.jsonl"), weights
    logged = [line["divergence"] for line in runs["with"][0]]
    assert len(logged) == 3
    assert all(value > 0 for value in logged)
    first = {name: lines[0] for name, (lines, _) in runs.items()}
    assert first["with"]["info_nce"] == pytest.approx(first["without"]["info_nce"], abs=1e-5)
    assert first["with"]["loss"] == pytest.approx(first["without"]["loss"] + 2 * logged[0], abs=1e-4)
    assert [line["divergence"] for line in runs["without"][0]] == [None] * 3
    assert runs["with"][1] != runs["without"][1]


def test_a_run_from_before_the_term_existed_is_resumed_and_one_with_another_weight_is_refused(make_recipe):
    recipe = make_recipe()
    written = recipe_to_json(recipe)
    older = json.loads(written)
    del older["consistency"]
    changed = dataclasses.replace(recipe, consistency=ConsistencyConfig(weight=1.0))
    assert changed_keys(json.dumps(older), written) == []
    assert changed_keys(json.dumps(older), recipe_to_json(changed)) == ["consistency.weight"]


def test_the_guides_settings_are_a_recipes():
    root = Path(__file__).parents[2]
    guide = (root / "docs" / "guide" / "training.md").read_text()
    line = next(line for line in guide.splitlines() if "consistency.kinds=" in line)
    words = shlex.split(line)
    changes = [change for flag, change in itertools.pairwise(words) if flag == "--set"]
    recipe = read_recipe(root / "training" / "recipes" / "tiny-cpu.toml", changes=changes)
    assert recipe.consistency == ConsistencyConfig(weight=0.5, kinds=("misspelling",))

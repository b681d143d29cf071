"""Gradient caching against the gradient of the full batch in one graph."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_training import gradcache
from reasonembed_training.gradcache import cached_backward, embed_detached

ROWS = 9


@dataclass(frozen=True)
class Result:
    loss: torch.Tensor


def objective(vectors_ND):
    """Couple all rows, so that no chunk's gradient depends on that chunk alone."""
    scores = torch.nn.functional.normalize(vectors_ND, dim=-1)
    return Result(torch.logsumexp(scores @ scores.T / 0.1, dim=1).square().mean())


class Model(torch.nn.Module):
    def __init__(self, *, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(7, 4)
        ).double()
        self.inputs = torch.randn(ROWS, 5, dtype=torch.float64)
        self.seen = []

    def forward(self, rows):
        self.seen.append((tuple(rows.tolist()), torch.is_grad_enabled()))
        return self.layers(self.inputs[torch.from_numpy(rows)])

    def gradients(self):
        return torch.cat([parameter.grad.flatten() for parameter in self.layers.parameters()])


def whole_gradient():
    model = Model()
    objective(model(np.arange(ROWS))).loss.backward()
    return model.gradients()


@st.composite
def plans(draw):
    order = draw(st.permutations(range(ROWS)))
    cuts = sorted(draw(st.sets(st.integers(1, ROWS - 1), max_size=ROWS - 1)))
    return [np.array(part, dtype=np.int64) for part in np.split(np.array(order), cuts)]


@given(plans())
@settings(max_examples=40, deadline=None)
def test_any_chunking_gives_the_gradient_of_the_full_batch(plan):
    model = Model()
    result = cached_backward(model, plan, objective)
    assert result.loss.item() == pytest.approx(objective(Model()(np.arange(ROWS))).loss.item(), abs=1e-12)
    torch.testing.assert_close(model.gradients(), whole_gradient(), atol=1e-12, rtol=0)


def chunks(*rows):
    return [np.array(one) for one in rows]


PLAN = chunks([0, 2, 4], [1, 3], [5, 6, 7, 8])


def gradient_with_dropout(plan):
    """The oracle: one graph, with each chunk's dropout drawn once in the order in which the chunks are embedded."""
    model = Model(dropout=0.5)
    torch.manual_seed(11)
    vectors = {number: model(plan[number]) for number in [*range(1, len(plan)), 0]}
    rows = np.concatenate(plan)
    joined = torch.cat([vectors[number] for number in range(len(plan))])
    objective(joined[torch.from_numpy(np.argsort(rows))]).loss.backward()
    return model.gradients(), torch.rand(())


def test_dropout_falls_on_the_same_units_when_a_chunk_comes_again():
    wanted, _ = gradient_with_dropout(PLAN)
    model = Model(dropout=0.5)
    torch.manual_seed(11)
    cached_backward(model, PLAN, objective)
    torch.testing.assert_close(model.gradients(), wanted, atol=1e-12, rtol=0)


def test_without_the_replay_dropout_would_give_another_gradient(monkeypatch):
    @contextmanager
    def forgotten(self):
        yield

    monkeypatch.setattr(gradcache._RandomState, "replayed", forgotten)
    wanted, _ = gradient_with_dropout(PLAN)
    model = Model(dropout=0.5)
    torch.manual_seed(11)
    cached_backward(model, PLAN, objective)
    assert not torch.allclose(model.gradients(), wanted, atol=1e-3)


def test_the_replay_leaves_the_generator_where_the_first_pass_left_it():
    _, wanted = gradient_with_dropout(PLAN)
    model = Model(dropout=0.5)
    torch.manual_seed(11)
    cached_backward(model, PLAN, objective)
    assert torch.rand(()) == wanted


def test_the_first_chunk_is_embedded_once_and_every_other_twice():
    model = Model()
    cached_backward(model, PLAN, objective)
    assert model.seen == [
        ((1, 3), False),
        ((5, 6, 7, 8), False),
        ((0, 2, 4), True),
        ((1, 3), True),
        ((5, 6, 7, 8), True),
    ]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_only_the_last_backward_runs_outside_accumulate(number):
    depth, outside = 0, []

    @contextmanager
    def accumulate():
        nonlocal depth
        depth += 1
        yield
        depth -= 1

    def embed(rows):
        if torch.is_grad_enabled() and not depth:
            outside.append(tuple(rows.tolist()))
        return Model()(rows)

    plan = np.array_split(np.arange(ROWS), number)
    cached_backward(embed, plan, objective, accumulate=accumulate)
    assert outside == [tuple(plan[-1].tolist())]


def test_gradients_add_to_those_that_are_there():
    model = Model()
    cached_backward(model, PLAN, objective)
    cached_backward(model, PLAN, objective)
    torch.testing.assert_close(model.gradients(), 2 * whole_gradient(), atol=1e-12, rtol=0)


def test_an_objective_that_fails_leaves_no_gradient():
    model = Model()

    def failing(vectors_ND):
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        cached_backward(model, PLAN, failing)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("plan", "rows"), [([], 0), (chunks([0, 1], [1]), 3), (chunks([0], [2]), 2)])
def test_a_plan_that_is_not_a_partition_is_refused(plan, rows):
    with pytest.raises(InputError, match=rf"\b{len(plan)} chunks\b.*\b{rows} rows\b"):
        cached_backward(Model(), plan, objective)


def test_detached_embedding_has_no_graph_and_keeps_row_order():
    model = Model()
    vectors = embed_detached(model, chunks([4, 0], [1], [8, 2, 3, 5, 7, 6]))
    assert not vectors.requires_grad
    torch.testing.assert_close(vectors, model(np.arange(ROWS)).detach())

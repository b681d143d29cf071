"""The sampler: a pure function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import TrainingError
from reasonembed_training.data.sampler import Sampler, TaskPlan

PLANS = {
    "biology": TaskPlan(rows=23, queries=4, group=8),
    "pony": TaskPlan(rows=10, queries=2, group=64, weight=0.4),
    "aops": TaskPlan(rows=7, queries=7, group=2, weight=3),
}


def described(batch):
    return batch.task, batch.rows.tolist(), batch.draw, batch.group


def test_any_step_asked_in_any_order_is_the_step_of_an_uninterrupted_run():
    whole = [described(Sampler(PLANS, seed=3).batch(step)) for step in range(20)]
    one_run = Sampler(PLANS, seed=3)
    assert [described(one_run.batch(step)) for step in range(20)] == whole
    resumed = Sampler(PLANS, seed=3)
    assert [described(resumed.batch(step)) for step in range(13, 20)] == whole[13:]
    assert described(resumed.batch(2)) == whole[2]


def test_an_epoch_passes_over_each_task_as_often_as_its_weight_says():
    sampler = Sampler(PLANS, seed=3)
    assert sampler.steps_per_epoch == 5 + 2 + 3
    batches = [sampler.batch(step) for step in range(sampler.steps_per_epoch)]
    assert sorted(batch.task for batch in batches) == ["aops"] * 3 + ["biology"] * 5 + ["pony"] * 2
    assert {batch.draw for batch in batches if batch.task == "aops"} == {0, 1, 2}


def test_batches_of_one_task_hold_its_sizes_and_no_row_twice_in_a_pass():
    sampler = Sampler(PLANS, seed=0)
    seen: dict[tuple[str, int], list[int]] = {}
    for step in range(5 * sampler.steps_per_epoch):
        batch = sampler.batch(step)
        assert len(batch.rows) == PLANS[batch.task].queries
        assert batch.group == PLANS[batch.task].group
        seen.setdefault((batch.task, batch.draw), []).extend(batch.rows.tolist())
    for (task, _), rows in seen.items():
        assert len(rows) == len(set(rows))
        assert max(rows) < PLANS[task].rows


def test_a_task_with_less_than_one_pass_per_epoch_continues_in_the_next_epoch():
    sampler = Sampler({"pony": PLANS["pony"], "biology": PLANS["biology"]}, seed=1)
    rows = []
    for step in range(5 * sampler.steps_per_epoch):
        batch = sampler.batch(step)
        if batch.task == "pony" and batch.draw == 0:
            rows += batch.rows.tolist()
    assert sorted(rows) == list(range(10))


def test_seeds_and_epochs_shuffle_differently():
    one, other = Sampler(PLANS, seed=1), Sampler(PLANS, seed=2)
    steps = range(one.steps_per_epoch)
    first = [described(one.batch(step)) for step in steps]
    assert first != [described(other.batch(step)) for step in steps]
    assert first != [described(one.batch(step + len(steps))) for step in steps]


def test_adding_a_task_leaves_the_batches_of_the_others_alone():
    def of_biology(plans):
        sampler = Sampler(plans, seed=3)
        batches = [sampler.batch(step) for step in range(sampler.steps_per_epoch)]
        return sorted(batch.rows.tolist() for batch in batches if batch.task == "biology")

    assert of_biology(PLANS) == of_biology({"biology": PLANS["biology"]})


@given(st.integers(1, 40), st.integers(1, 5))
def test_the_shares_of_all_processes_are_the_batch(queries, world):
    sampler = Sampler({"one": TaskPlan(rows=40, queries=queries, group=1)}, seed=0)
    batch = sampler.batch(0)
    shares = np.concatenate([batch.share(rank, world) for rank in range(world)])
    assert sorted(shares.tolist()) == sorted(batch.rows.tolist())


def test_too_little_data_for_a_batch_says_how_many_rows_a_step_needs():
    with pytest.raises(TrainingError, match=r"'tiny'.*\b63\b.*\b64\b.*\bbatch\.queries\b"):
        Sampler({"tiny": TaskPlan(rows=63, queries=64, group=16)}, seed=0)


def test_a_weight_that_rounds_to_no_batch_is_an_error_and_weight_zero_is_not():
    with pytest.raises(TrainingError, match=r"'one'.*\b0\.1\b"):
        Sampler({"one": TaskPlan(rows=8, queries=4, group=2, weight=0.1)}, seed=0)
    plans = {"one": TaskPlan(rows=8, queries=4, group=2), "off": TaskPlan(rows=1, queries=4, group=2, weight=0)}
    sampler = Sampler(plans, seed=0)
    assert {sampler.batch(step).task for step in range(4)} == {"one"}
    with pytest.raises(TrainingError, match=r"\bweight\b.*\b0\b"):
        Sampler({"off": plans["off"]}, seed=0)


@pytest.mark.parametrize("sizes", [{"queries": 0}, {"group": 0}, {"weight": -1.0}])
def test_sizes_that_make_no_sense_are_refused(sizes):
    [(name, value)] = sizes.items()
    with pytest.raises(TrainingError, match=rf"'odd'.*\b{name}\b.*{value}\b"):
        Sampler({"odd": TaskPlan(**({"rows": 9, "queries": 2, "group": 2} | sizes))}, seed=0)

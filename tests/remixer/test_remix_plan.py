"""The plan: what it counts is what the run then asks."""

from __future__ import annotations

import pytest

from reasonembed_rag.errors import TrainingError
from reasonembed_training.remixer.plan import make_plan


def _calls(plan) -> dict[str, int]:
    return {stage.stage: stage.calls for stage in plan.stages}


def test_the_calls_planned_are_those_that_are_made(make_config, run_remix, scripted):
    config = make_config(sources={"clean": "off"})
    plan = make_plan(config)
    states = run_remix(config, scripted)
    assert _calls(plan) == {"generate": 5, "reason": 5, "judge": 40}
    assert {stage: states[stage].spent.calls for stage in _calls(plan)} == _calls(plan)


def test_a_plan_sends_nothing_and_writes_nothing(make_config):
    config = make_config()
    make_plan(config)
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        ({}, {"clean": 5, "generate": 5, "reason": 5, "judge": 40}),
        ({"sources": {"clean": "corpus"}}, {"clean": 30, "generate": 5, "reason": 5, "judge": 40}),
        ({"sources": {"limit": 99}}, {"clean": 30, "generate": 30, "reason": 30, "judge": 240}),
        ({"mine": {"depth": 100}}, {"clean": 5, "generate": 5, "reason": 5, "judge": 5 * 29}),
        ({"judge": {"group": 3}}, {"clean": 5, "generate": 5, "reason": 5, "judge": 15}),
        ({"reasoning": False}, {"clean": 5, "generate": 5, "judge": 40}),
    ],
    ids=str,
)
def test_calls_follow_the_settings(make_config, change, calls):
    assert _calls(make_plan(make_config(**change))) == calls


def test_a_plan_in_the_middle_counts_what_is_answered_and_measures_its_tokens(make_config, run_remix, scripted):
    config = make_config()
    run_remix(config, scripted, until="reason")
    stages = {stage.stage: stage for stage in make_plan(config).stages}
    assert [stages[name].answered for name in ("generate", "reason", "judge")] == [5, 5, 0]
    assert stages["generate"].measured
    assert stages["generate"].input_tokens == 0
    assert not stages["judge"].measured
    assert stages["judge"].input_tokens > 0
    run_remix(config, scripted)
    assert all(stage.answered == stage.calls for stage in make_plan(config).stages if stage.stage != "clean")


def test_the_tokens_of_prompts_are_estimated_within_a_fifth(make_config, run_remix, scripted):
    documents = {f"d{number}": f"note {number}: " + "nest egg wing song " * 20 for number in range(12)}
    config = make_config(documents, sources={"clean": "off"})
    planned = {stage.stage: stage.input_tokens for stage in make_plan(config).stages}
    states = run_remix(config, scripted)
    assert planned["generate"] == pytest.approx(states["generate"].spent.input_tokens, rel=0.2)


def test_cost_is_the_prices_times_the_tokens_and_unknown_without_prices(make_config):
    prices = {"name": "m", "input_price": 2.0, "output_price": 8.0}
    plan = make_plan(make_config(model=prices))
    wanted = sum(2.0 * stage.input_tokens + 8.0 * stage.output_tokens for stage in plan.stages) / 1e6
    assert plan.cost == pytest.approx(wanted)
    assert make_plan(make_config(models={"judge": prices})).cost is None


def test_prices_below_nothing_are_refused(make_config):
    with pytest.raises(TrainingError, match=r"\btest\b.*\bprices?\b.*-1\.0\b.*\b1\.0\b"):
        make_config(model={"name": "m", "input_price": -1.0, "output_price": 1.0})


def test_rate_limits_tell_the_least_time(make_config):
    plan = make_plan(make_config(model={"name": "m", "requests_per_minute": 10}))
    assert {stage.stage: stage.minutes for stage in plan.stages}["judge"] == pytest.approx(4.0)


def test_documents_over_the_context_are_counted(make_config):
    documents = {"a": "short", "b": "short too", "long": "word " * 4000}
    config = make_config(documents, models={"judge": {"name": "m", "context": 4000}})
    assert {stage.stage: stage.over_context for stage in make_plan(config).stages}["judge"] == 1


def test_the_plan_refuses_a_corpus_without_sources(make_config):
    with pytest.raises(TrainingError, match=r"\b200\b.*\b300\b.*\bsources\.min_chars\b"):
        make_plan(make_config(sources={"min_chars": 200, "max_chars": 300}))

"""Contrasts equal those of a fitted mixed model; incomplete blocks are refused by the names of what is missing."""

import dataclasses
import itertools

import numpy as np
import pytest

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import Example, QueryResult, RetrievalTask, Run, System, score_run
from reasonembed_rag.hits import Hits
from reasonembed_rag.robustness.contrast import compare_models

_TYPES = ("why is it so?", "which one is it?", "a statement")


def _task(name, queries):
    examples = tuple(Example(f"q{n}", _TYPES[n % 7 % 3], ("gold",)) for n in range(queries))
    return RetrievalTask(name, None, (), examples)


def _report(name, queries, *, model, skill, seed=0, through="core"):
    rng = np.random.default_rng([seed, queries, *model.encode()])
    results = []
    for n in range(queries):
        ids = [f"d{i}" for i in range(12)]
        ids[min(11, int(rng.exponential(skill)))] = "gold"
        results.append(QueryResult(f"q{n}", Hits(tuple(ids), -np.arange(12, dtype=np.float32))))
    return score_run(Run(tuple(results), 12), _task(name, queries), system=System(name=model, through=through))


def _block():
    skills = {"base": (2, 4, 3), "tuned": (3, 2, 1), "other": (4, 4, 4)}
    sizes = {"quora": 30, "biology": 17, "bright_pony": 9}
    return [
        _report(task, size, model=model, skill=skill)
        for model, of_model in skills.items()
        for (task, size), skill in zip(sizes.items(), of_model, strict=True)
    ]


def _emm_contrasts(reports, level_of, spread):
    """Fit y ~ model * level + (1 | task / query) by generalised least squares under given standard deviations."""
    rows = [
        (report.system.name, report.task.name, query.id, level_of(report, query), query.measures["nDCG@10"])
        for report in reports
        for query in report.queries
    ]
    models, levels = (list(dict.fromkeys(row[place] for row in rows)) for place in (0, 3))
    cells = list(itertools.product(models, levels))
    design = np.asarray([[float((row[0], row[3]) == cell) for cell in cells] for row in rows])
    task, query, noise = spread
    tasks = np.asarray([row[1] for row in rows])
    queries = np.asarray([f"{row[1]}/{row[2]}" for row in rows])
    covariance = (
        task**2 * (tasks[:, None] == tasks) + query**2 * (queries[:, None] == queries) + noise**2 * np.eye(len(rows))
    )
    weighted = np.linalg.solve(covariance, design)
    means = np.linalg.solve(design.T @ weighted, weighted.T @ np.asarray([row[4] for row in rows]))
    emm = {m: np.mean([means[cells.index((m, level))] for level in levels]) for m in models}
    return {model: emm[model] - emm[models[0]] for model in models[1:]}


@pytest.mark.parametrize("spread", [(0.1, 0.3, 0.2), (1.0, 0.01, 0.5), (1e-3, 2.0, 0.1)])
def test_the_closed_form_is_the_contrast_of_a_mixed_model_for_any_variances(spread):
    reports = _block()
    comparison = compare_models(reports)
    factors = {"task": lambda report, _: report.task.name, "query type": lambda _, query: query.query_type}
    for factor, level_of in factors.items():
        for model, contrast in _emm_contrasts(reports, level_of, spread).items():
            assert comparison.contrast(model, factor).difference == pytest.approx(contrast, abs=1e-6)


def test_levels_are_the_differences_within_them_and_intervals_hold_them():
    reports = _block()
    contrast = compare_models(reports).contrast("tuned", "task")
    values = {(r.system.name, r.task.name): [q.measures["nDCG@10"] for q in r.queries] for r in reports}
    for level in contrast.levels:
        difference = np.subtract(values["tuned", level.name], values["base", level.name])
        assert level.difference == pytest.approx(difference.mean())
        assert level.queries == len(difference)
        assert level.interval.low <= level.difference <= level.interval.high
    assert contrast.interval.low <= contrast.difference <= contrast.interval.high
    assert {level.name for level in compare_models(reports).contrast("tuned", "query type").levels} == {
        "why",
        "which",
        "no question",
    }


def test_tax_and_gain_are_measured_against_the_best_general_model_on_each_side():
    comparison = compare_models(_block(), general_models=["base", "other"])
    mean = {(r.system.name, r.task.name): np.mean([q.measures["nDCG@10"] for q in r.queries]) for r in _block()}
    assert comparison.reasoning_tasks == ("biology", "bright_pony")
    for trade in comparison.trades:
        on_reasoning = {m: (mean[m, "biology"] + mean[m, "bright_pony"]) / 2 for m in comparison.models}
        assert trade.tax == pytest.approx(
            max(mean["base", "quora"], mean["other", "quora"]) - mean[trade.model, "quora"]
        )
        assert trade.gain == pytest.approx(on_reasoning[trade.model] - max(on_reasoning["base"], on_reasoning["other"]))
    tuned = next(trade for trade in comparison.trades if trade.model == "tuned")
    assert tuned.tax > 0
    assert tuned.gain > 0


def test_a_side_without_tasks_has_no_figure():
    reports = [report for report in _block() if report.task.name != "quora"]
    assert [trade.tax for trade in compare_models(reports).trades] == [None] * 3
    assert [trade.gain for trade in compare_models(reports, reasoning_tasks=[]).trades] == [None] * 3


def test_whole_tasks_can_be_drawn_which_is_less_sure():
    by_query, by_task = (compare_models(_block(), resampled=what) for what in ("queries", "tasks"))
    for factor in ("task", "query type"):
        drawn = by_task.contrast("tuned", factor)
        assert drawn.difference == by_query.contrast("tuned", factor).difference
        assert drawn.interval != by_query.contrast("tuned", factor).interval
        assert drawn.levels == by_query.contrast("tuned", factor).levels
    levels = [level.difference for level in by_task.contrast("tuned", "task").levels]
    interval = by_task.contrast("tuned", "task").interval
    assert min(levels) - 1e-9 <= interval.low < interval.high <= max(levels) + 1e-9


def test_one_model_through_two_frameworks_is_two_models():
    reports = [
        _report("biology", 9, model="base", skill=2),
        _report("biology", 9, model="base", skill=2, through="langchain"),
    ]
    comparison = compare_models(reports)
    assert comparison.models == ("base", "base (langchain)")
    assert comparison.contrast("base (langchain)", "task").difference == 0.0


def test_an_incomplete_block_names_the_missing_cells():
    reports = _block()
    lacking = [report for report in reports if (report.system.name, report.task.name) != ("tuned", "biology")]
    with pytest.raises(EvaluationError, match=r"\btuned\b.*\bbiology\b"):
        compare_models(lacking)
    short = dataclasses.replace(reports[1], queries=reports[1].queries[2:])
    with pytest.raises(EvaluationError, match=r"\bbase\b.*\bbiology\b.*\bq0\b.*\bbase\b.*\bbiology\b.*\bq1\b"):
        compare_models([short, *(r for r in reports if r is not reports[1])])
    shorter = dataclasses.replace(reports[0], queries=reports[0].queries[:5])
    with pytest.raises(EvaluationError, match=r"\bq12\b.*\b17\b"):
        compare_models([shorter, *reports[1:]])


def test_what_cannot_be_compared_is_refused():
    reports = _block()
    with pytest.raises(EvaluationError, match=r"\bbase\b.*\bquora\b"):
        compare_models([*reports, reports[0]])
    with pytest.raises(EvaluationError, match=r"\bbase\b.*\bmodels\b"):
        compare_models(reports[:3])
    with pytest.raises(EvaluationError, match=r"\bmodels?\b"):
        compare_models([])
    with pytest.raises(EvaluationError, match=r"'best'.*\bbase, tuned, other\b"):
        compare_models(reports, baseline="best")
    with pytest.raises(EvaluationError, match=r"'chess'.*\bquora, biology, bright_pony\b"):
        compare_models(reports, reasoning_tasks=["chess"])
    with pytest.raises(EvaluationError, match=r"\bmeasure\b.*'accuracy'"):
        compare_models(reports, measure="accuracy")
    with pytest.raises(InputError, match=r"\bresampled\b.*'words'.*\bqueries, tasks\b"):
        compare_models(reports, resampled="words")
    with pytest.raises(EvaluationError, match=r"\bquora\b.*\btasks\b"):
        compare_models([r for r in reports if r.task.name == "quora"], resampled="tasks")
    other = dataclasses.replace(reports[0], task=dataclasses.replace(reports[0].task, digest="0" * 32))
    with pytest.raises(EvaluationError, match=r"\bquora\b.*\bgold\b"):
        compare_models([other, *reports[1:]])
    with pytest.raises(EvaluationError, match=r"'base'.*'task'"):
        compare_models(reports).contrast("base", "task")

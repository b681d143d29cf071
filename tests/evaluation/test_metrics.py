"""Measures are trec_eval's, with BRIGHT's order of ties."""

import math
import sys

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import EvaluationError, MissingDependencyError
from reasonembed_rag.evaluation.metrics import CUTOFFS, MEASURES, mean_over, ranking, score_rankings

_IDS = st.text("ab/é水", min_size=1, max_size=3)


def test_the_measures_are_the_official_twenty_five():
    assert len(MEASURES) == len(set(MEASURES)) == 25
    assert MEASURES[2] == "nDCG@10"
    assert MEASURES[-1] == "MRR"


def _by_hand(ids, gold):
    """Write the measures down from their definitions."""
    gains = [identity in gold for identity in ids]
    first = gains.index(True) + 1 if any(gains) else None
    values = {"MRR": 1 / first if first else 0.0}
    for k in CUTOFFS:
        found = [place for place, gain in enumerate(gains[:k], start=1) if gain]
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(gold)) + 1))
        values[f"nDCG@{k}"] = sum(1 / math.log2(place + 1) for place in found) / ideal
        values[f"MAP@{k}"] = sum(number / place for number, place in enumerate(found, start=1)) / len(gold)
        values[f"recall@{k}"] = len(found) / len(gold)
        values[f"P@{k}"] = len(found) / k
    return values


@given(
    ids=st.lists(st.integers(0, 400).map("d{}".format), unique=True, max_size=300),
    gold=st.sets(st.integers(0, 400).map("d{}".format), min_size=1, max_size=130),
)
def test_every_measure_is_its_definition_however_late_the_first_gold(ids, gold):
    assert score_rankings({"q": ids}, {"q": gold})["q"] == pytest.approx(_by_hand(ids, gold))


@pytest.mark.parametrize("place", [1, 100, 101, 250])
def test_the_first_gold_counts_for_mrr_however_late(place):
    ids = [f"d{number}" for number in range(1, 301)]
    assert score_rankings({"q": ids}, {"q": [f"d{place}", "d300"]})["q"]["MRR"] == 1 / place


@given(scores=st.dictionaries(_IDS, st.sampled_from([0.5, 0.5 + 1e-9, 0.25, -1.0]), min_size=1), data=st.data())
def test_scores_reproduce_pytrec_eval_on_a_float32_score_file_ties_included(scores, data):
    gold = data.draw(st.sets(st.sampled_from(sorted(scores)), min_size=1))
    ours = score_rankings({"q": ranking(list(scores), list(scores.values()))}, {"q": gold})["q"]
    evaluator = pytrec_eval.RelevanceEvaluator({"q": dict.fromkeys(gold, 1)}, {"ndcg_cut", "recip_rank", "map_cut"})
    theirs = evaluator.evaluate({"q": {identity: float(np.float32(score)) for identity, score in scores.items()}})
    assert ours["nDCG@10"] == pytest.approx(theirs["q"]["ndcg_cut_10"], abs=1e-9)
    assert ours["MAP@5"] == pytest.approx(theirs["q"]["map_cut_5"], abs=1e-9)
    assert ours["MRR"] == pytest.approx(theirs["q"]["recip_rank"], abs=1e-9)


@given(scores=st.dictionaries(_IDS, st.floats(-2, 2, width=16)))
def test_a_ranking_falls_in_float32_score_and_then_in_id(scores):
    order = ranking(list(scores), list(scores.values()))
    assert list(order) == sorted(scores, key=lambda i: (np.float32(scores[i]), i), reverse=True)


def test_scores_a_billionth_apart_tie_and_the_larger_id_leads():
    assert ranking(["a", "b"], [0.5 + 1e-9, 0.5]) == ("b", "a")
    assert ranking(["a", "b"], [0.5 + 1e-6, 0.5]) == ("a", "b")


def test_ids_and_scores_of_unlike_number_are_refused():
    with pytest.raises(EvaluationError, match=r"\b2\b.*\b1\b"):
        ranking(["a", "b"], [0.5])


def test_a_query_without_gold_or_without_hits_scores_nothing():
    scores = score_rankings({"a": ["x"], "b": []}, {"a": [], "b": ["x"]})
    assert scores == {"a": dict.fromkeys(MEASURES, 0.0), "b": dict.fromkeys(MEASURES, 0.0)}


@pytest.mark.parametrize(
    ("rankings", "message"),
    [({"other": ["x"]}, "'other'"), ({"q": ["x", "y", "x"]}, "'q'")],
)
def test_rankings_that_cannot_be_scored_are_named(rankings, message):
    with pytest.raises(EvaluationError, match=message):
        score_rankings(rankings, {"q": ["x"]})


def test_the_mean_over_all_counts_absent_queries_as_nothing():
    per_query = score_rankings({"a": ["x"], "b": ["y"]}, {"a": ["x"], "b": ["x"], "c": ["x"], "d": ["x"]})
    assert mean_over(per_query, queries=2)["nDCG@10"] == 0.5
    assert mean_over(per_query, queries=4)["nDCG@10"] == 0.25
    with pytest.raises(EvaluationError, match=r"\b2\b.*\b1\b"):
        mean_over(per_query, queries=1)


def test_without_pytrec_eval_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[eval\]"):
        score_rankings({"q": ["x"]}, {"q": ["x"]})

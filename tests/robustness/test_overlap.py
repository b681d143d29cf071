"""Overlap and rank-biased overlap agree with their definitions and obey their laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.robustness.overlap import overlap, rank_biased_overlap

_RANKING = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=12)
_P = st.floats(0.05, 0.95)


def _by_the_sum(first, second, p):
    """Equation 32 of Webber, Moffat and Zobel (2010), term by term."""
    shorter, longer = sorted((first, second), key=len)
    s, length = len(shorter), len(longer)

    def common(depth):
        return len(set(shorter[:depth]) & set(longer[:depth]))

    total = sum(common(d) / d * p**d for d in range(1, length + 1))
    total += sum(common(s) * (d - s) / (s * d) * p**d for d in range(s + 1, length + 1))
    return (1 - p) / p * total + ((common(length) - common(s)) / length + common(s) / s) * p**length


@given(_RANKING, _RANKING, _P)
def test_rank_biased_overlap_is_the_sum_of_its_equation(first, second, p):
    value = rank_biased_overlap(first, second, p=p)
    if first and second:
        assert value == pytest.approx(_by_the_sum(first, second, p), abs=1e-12)
    else:
        assert value == (1.0 if not first and not second else 0.0)
    assert value == rank_biased_overlap(second, first, p=p)
    assert -1e-12 <= value <= 1 + 1e-12


@given(_RANKING, _P)
def test_a_ranking_agrees_wholly_with_itself_and_not_at_all_with_strangers(ranking, p):
    strangers = [identity.upper() for identity in ranking]
    assert rank_biased_overlap(ranking, ranking, p=p) == pytest.approx(1.0)
    assert overlap(ranking, ranking) == 1.0
    if ranking:
        assert rank_biased_overlap(ranking, strangers, p=p) == 0.0
        assert overlap(ranking, strangers) == 0.0


def test_a_change_at_the_top_weighs_more_than_one_below():
    ranking = list("abcdefghij")
    top, bottom = ["x", *ranking[1:]], [*ranking[:-1], "x"]
    assert rank_biased_overlap(ranking, top) < rank_biased_overlap(ranking, bottom) < 1.0
    assert overlap(ranking, top) == overlap(ranking, bottom) == 0.9


def test_overlap_counts_the_shared_of_the_best():
    assert overlap(["a", "b", "c"], ["b", "x", "a"], k=2) == 0.5
    assert overlap(["a"], ["a", "b"]) == 0.5
    assert overlap([], []) == 1.0
    assert overlap([], ["a"]) == 0.0


def test_depth_and_patience_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"\bk\b.*\b0\b"):
        overlap(["a"], ["a"], k=0)
    for p in (0.0, 1.0):
        with pytest.raises(InputError, match=rf"\bp\b.*\b{p}\b"):
            rank_biased_overlap(["a"], ["a"], p=p)

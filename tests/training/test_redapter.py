"""Reasoning intensity and weights: cases from the paper that can be checked by hand, and laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_training.redapter import intensity_statistics, reasoning_intensity, sample_weights


def of(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_a_loss_ten_times_its_reasoning_loss_is_clipped_to_kappa():
    assert reasoning_intensity(of(2), of(0.2)).item() == 5
    assert reasoning_intensity(of(2), of(0.2), kappa=100).item() == pytest.approx(9.99995, abs=1e-9)


def test_a_reasoning_loss_of_nothing_gives_kappa():
    assert reasoning_intensity(of(2), of(0)).item() == 5


def test_the_paper_formula_on_two_queries():
    losses_Q = of(1, 2)
    intensity_Q = reasoning_intensity(losses_Q, of(1, 1))
    assert intensity_Q.tolist() == pytest.approx([0.999999, 1.999998], abs=1e-9)
    weights_Q = sample_weights(intensity_Q)
    assert weights_Q.tolist() == pytest.approx([1 / 3, 2 / 3], abs=1e-12)
    assert (weights_Q * losses_Q).sum().item() == pytest.approx(5 / 3, abs=1e-12)


losses = st.lists(st.floats(1e-6, 20), min_size=1, max_size=9)


@given(losses, st.floats(1e-6, 20))
def test_equal_ratios_weigh_the_same_and_give_the_mean(values, ratio):
    losses_Q = of(*[values[0]] * len(values))
    intensity_Q = reasoning_intensity(losses_Q, of(*[ratio] * len(values)))
    weights_Q = sample_weights(intensity_Q)
    assert weights_Q.tolist() == pytest.approx([1 / len(values)] * len(values))


@given(losses, st.data())
def test_normalised_weights_sum_to_one_and_are_never_negative(values, data):
    reasoning = data.draw(st.lists(st.floats(0, 20), min_size=len(values), max_size=len(values)))
    weights_Q = sample_weights(reasoning_intensity(of(*values), of(*reasoning)))
    assert weights_Q.sum().item() == pytest.approx(1)
    assert (weights_Q >= 0).all()


@given(losses, st.data())
def test_a_batch_in_two_shares_weighs_as_one(values, data):
    cut = data.draw(st.integers(0, len(values)))
    intensity_Q = of(*values)
    total = torch.stack([intensity_Q.sum(), of(len(values))[0]])
    shares = [sample_weights(part, total=total) for part in (intensity_Q[:cut], intensity_Q[cut:])]
    assert torch.cat(shares).tolist() == pytest.approx(sample_weights(intensity_Q).tolist())


def test_no_intensity_at_all_weighs_uniformly():
    assert sample_weights(of(0, 0, 0, 0)).tolist() == [0.25] * 4


def test_without_normalisation_the_weight_is_the_intensity_over_the_number_of_queries():
    assert sample_weights(of(1, 3), normalise=False).tolist() == [0.5, 1.5]


def test_no_gradient_flows_through_the_weights():
    losses_Q = of(1, 2).requires_grad_()
    weights_Q = sample_weights(reasoning_intensity(losses_Q, of(1, 1)))
    assert not weights_Q.requires_grad
    assert not sample_weights(of(1, 2).requires_grad_()).requires_grad
    (weights_Q * losses_Q).sum().backward()
    assert losses_Q.grad.tolist() == pytest.approx([1 / 3, 2 / 3])


def test_a_row_without_a_reasoning_query_has_intensity_one_for_any_loss():
    present_Q = torch.tensor([True, False])
    intensity_Q = reasoning_intensity(of(1, 9), of(0.5, float("nan")), has_reasoning_Q=present_Q)
    assert intensity_Q.tolist() == pytest.approx([1.999996, 1.0])


def test_a_floor_lifts_small_intensities():
    assert reasoning_intensity(of(1, 1), of(10, 0.1), floor=0.5).tolist() == [0.5, 5]


@pytest.mark.parametrize("bounds", [{"kappa": 0.0}, {"floor": -1.0}, {"floor": 6.0}, {"epsilon": 0.0}])
def test_bounds_that_cross_are_refused(bounds):
    [value] = bounds.values()
    with pytest.raises(InputError, match=rf"\bfloor\b.*\bkappa\b.*\bepsilon\b.*{value}"):
        reasoning_intensity(of(1), of(1), **bounds)


def test_losses_of_different_numbers_are_refused():
    with pytest.raises(InputError, match=r"\(2,\).*\(1,\)"):
        reasoning_intensity(of(1, 2), of(1))


def test_statistics_name_mean_bounds_median_and_share_at_kappa():
    statistics = intensity_statistics(of(0, 1, 2, 5), kappa=5)
    assert (statistics.mean, statistics.min, statistics.max, statistics.median) == (2, 0, 5, 1.5)
    assert statistics.clipped == 0.25
    assert len(statistics.histogram) == 20
    assert {place: count for place, count in enumerate(statistics.histogram) if count} == {0: 1, 4: 1, 8: 1, 19: 1}

"""InfoNCE, its masks and distillation against formulas in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_training.data.rows import content_key
from reasonembed_training.losses import distillation, info_nce, known_positives, left_out


def plain_info_nce(scores, positives, temperature, left_out_rows):
    losses = []
    for row, positive, barred in zip(scores, positives, left_out_rows, strict=True):
        terms = [s / temperature for j, s in enumerate(row) if j == positive or not barred[j]]
        top = max(terms)
        log_sum = top + math.log(math.fsum(math.exp(t - top) for t in terms))
        losses.append(log_sum - row[positive] / temperature)
    return losses


@st.composite
def batches(draw):
    queries, documents = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    number = st.floats(-1, 1, allow_nan=False, width=32)
    scores = draw(
        st.lists(st.lists(number, min_size=documents, max_size=documents), min_size=queries, max_size=queries)
    )
    positives = draw(st.lists(st.integers(0, documents - 1), min_size=queries, max_size=queries))
    keys = draw(st.lists(st.integers(0, 3), min_size=documents, max_size=documents))
    known = draw(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=queries, max_size=queries))
    return scores, positives, keys, known


@given(batches(), st.sampled_from([0.02, 0.5, 1.0]), st.sampled_from([None, 0.0, 0.1]))
def test_info_nce_with_masks_equals_the_written_out_sum(batch, temperature, margin):
    scores, positives, keys, known = batch
    scores_QN, positives_Q = torch.tensor(scores, dtype=torch.float64), torch.tensor(positives)
    known_QN = known_positives(torch.tensor(keys), [torch.tensor(row, dtype=torch.int64) for row in known])
    out_QN = left_out(scores_QN, positives_Q, known_QN=known_QN, margin=margin)

    barred = [
        [
            key in mine or (margin is not None and score > row[positive] + margin)
            for key, score in zip(keys, row, strict=True)
        ]
        for row, positive, mine in zip(scores, positives, known, strict=True)
    ]
    wanted = plain_info_nce(scores, positives, temperature, barred)
    got = info_nce(scores_QN, positives_Q, temperature=temperature, left_out_QN=out_QN)
    assert got.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_the_own_positive_is_never_left_out_though_its_key_is_known():
    scores_QN = torch.tensor([[0.1, 0.9]])
    out_QN = left_out(scores_QN, torch.tensor([0]), known_QN=torch.tensor([[True, True]]), margin=0.0)
    assert out_QN.tolist() == [[False, True]]


def test_left_out_does_not_write_into_the_mask_it_was_given():
    known_QN = torch.tensor([[True, True]])
    left_out(torch.zeros(1, 2), torch.tensor([0]), known_QN=known_QN)
    assert known_QN.all()


def test_a_query_alone_with_its_positive_has_no_loss_and_no_gradient():
    scores_QN = torch.tensor([[0.3, 0.8]], requires_grad=True)
    losses_Q = info_nce(scores_QN, torch.tensor([0]), left_out_QN=torch.tensor([[False, True]]))
    losses_Q.sum().backward()
    assert losses_Q.item() == 0
    assert scores_QN.grad.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("scores", "positives", "temperature", "word"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 0.02, r"\(3,\)"),
        (torch.zeros(2, 5), torch.zeros(3, dtype=torch.int64), 0.02, r"\(2, 5\).*\(3,\)"),
        (torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64), 0.0, r"\btemperature\b.*\b0\.0\b"),
        (torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64), float("nan"), r"\btemperature\b.*\bnan\b"),
    ],
)
def test_shapes_and_temperatures_that_make_no_sense_are_named(scores, positives, temperature, word):
    with pytest.raises(InputError, match=word):
        info_nce(scores, positives, temperature=temperature)


def test_content_keys_see_words_and_not_white_space():
    assert content_key("a  b\n c ") == content_key("a b c")
    assert content_key("ab c") != content_key("a bc")
    assert -(2**63) <= content_key("a") < 2**63


def test_distillation_is_the_divergence_from_the_graded_documents_alone():
    scores_QN = torch.tensor([[0.2, 0.5, 0.4], [0.9, 0.1, 0.3]], dtype=torch.float64, requires_grad=True)
    nan = float("nan")
    grades_QN = torch.tensor([[5.0, nan, 2.0], [3.0, nan, nan]], dtype=torch.float64)
    got_Q = distillation(scores_QN, grades_QN, temperature=0.1, grade_temperature=2.0)

    wanted = [math.exp(2.5), math.exp(1.0)]
    wanted = [w / sum(wanted) for w in wanted]
    logits = [2.0, 4.0]
    log_sum = math.log(sum(math.exp(x) for x in logits))
    kl = sum(w * (math.log(w) - (x - log_sum)) for w, x in zip(wanted, logits, strict=True))
    assert got_Q.tolist() == pytest.approx([kl, 0.0], abs=1e-9)

    got_Q.sum().backward()
    student = [math.exp(x - log_sum) for x in logits]
    assert scores_QN.grad[0].tolist() == pytest.approx(
        [(student[0] - wanted[0]) / 0.1, 0.0, (student[1] - wanted[1]) / 0.1], abs=1e-9
    )
    assert scores_QN.grad[1].tolist() == [0, 0, 0]

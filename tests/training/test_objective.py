"""The objective of a step against an independent implementation with gradients derived by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonembed_training.data import Labels
from reasonembed_training.losses import distillation, info_nce
from reasonembed_training.objective import Distillation, Objective, ReasoningQueries, Redapter

TAU = 0.05


def unit(generator, rows, dimension):
    vectors = generator.normal(size=(rows, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def batch():
    """Four queries with three documents each; document 7 is also a known positive of query 0."""
    generator = np.random.default_rng(5)
    queries, reasoning, documents = unit(generator, 4, 6), unit(generator, 4, 6), unit(generator, 12, 6)
    keys = np.arange(12)
    known = [[0, 7], [3], [6], [9]]
    labels = Labels(
        positives=torch.tensor([0, 3, 6, 9]),
        document_keys=torch.from_numpy(keys),
        left_out_keys=tuple(torch.tensor(row) for row in known),
        owners=torch.arange(12) // 3,
        grades=torch.full((12,), float("nan"), dtype=torch.float64),
    )
    return queries, reasoning, documents, labels


def tensors(*arrays):
    return [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]


def plain_losses(queries, documents, positives, barred):
    logits = queries @ documents.T / TAU
    logits[barred] = -np.inf
    shifted = logits - logits.max(axis=1, keepdims=True)
    chances = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return -np.log(chances[np.arange(len(queries)), positives]), chances


def plain_redapter(queries, reasoning, documents, present):
    """The weighted loss and its gradients, derived by hand: d L_i / d s_ij = (p_ij - [j = i+]) / tau."""
    positives = np.array([0, 3, 6, 9])
    barred = np.zeros((4, 12), dtype=bool)
    barred[0, 7] = True
    losses, chances = plain_losses(queries, documents, positives, barred)
    reasoning_losses, _ = plain_losses(reasoning, documents, positives, barred)
    intensity = np.where(present, np.clip(losses / (reasoning_losses + 1e-6), 0, 5), 1.0)
    weights = intensity / intensity.sum()
    error = chances.copy()
    error[np.arange(4), positives] -= 1
    error *= weights[:, None] / TAU
    return (weights * losses).sum(), error @ documents, error.T @ queries, intensity


@pytest.mark.parametrize("present", [[True] * 4, [True, False, True, False]])
def test_redapter_loss_weights_and_gradients_equal_the_hand_written_ones(batch, present):
    queries, reasoning, documents, labels = batch
    queries_QD, documents_ND = tensors(queries, documents)
    step = Objective(temperature=TAU)(
        queries_QD,
        documents_ND,
        labels,
        reasoning=ReasoningQueries(
            redapter=Redapter(), vectors=torch.from_numpy(reasoning), present=torch.tensor(present)
        ),
    )
    step.loss.backward()
    loss, query_gradient, document_gradient, intensity = plain_redapter(queries, reasoning, documents, present)
    assert step.loss.item() == pytest.approx(loss, abs=1e-9)
    assert step.intensity.numpy() == pytest.approx(intensity, abs=1e-9)
    assert queries_QD.grad.numpy() == pytest.approx(query_gradient, abs=1e-9)
    assert documents_ND.grad.numpy() == pytest.approx(document_gradient, abs=1e-9)


def test_without_reasoning_the_loss_is_the_mean(batch):
    queries, _, documents, labels = batch
    step = Objective(temperature=TAU)(*tensors(queries, documents), labels)
    assert step.loss.item() == pytest.approx(step.losses.mean().item(), abs=1e-12)
    assert step.intensity is None


def test_known_positives_count_only_where_masking_is_off(batch):
    queries, _, documents, labels = batch
    masked = Objective(temperature=TAU)(*tensors(queries, documents), labels).losses
    unmasked = Objective(temperature=TAU, mask_known=False)(*tensors(queries, documents), labels).losses
    assert unmasked[0] > masked[0]
    assert unmasked[1:].tolist() == masked[1:].tolist()


def test_the_margin_leaves_out_what_scores_above_the_positive(batch):
    queries, _, documents, labels = batch
    documents = documents.copy()
    documents[11] = queries[1]  # a negative of another query that is query 1 itself
    free = Objective(temperature=TAU)(*tensors(queries, documents), labels).losses
    guarded = Objective(temperature=TAU, margin=0.0)(*tensors(queries, documents), labels).losses
    scores = queries[1] @ documents.T
    kept = [row for row in range(12) if scores[row] <= scores[3]]
    wanted, _ = plain_losses(queries[1:2], documents[kept], [kept.index(3)], np.zeros((1, len(kept)), dtype=bool))
    assert guarded[1].item() == pytest.approx(wanted[0], abs=1e-9)
    assert guarded[1] < free[1]


def test_matryoshka_is_the_mean_over_truncated_and_renormalised_vectors(batch):
    queries, _, documents, labels = batch
    step = Objective(temperature=TAU, dimensions=(6, 2))(*tensors(queries, documents), labels)
    short_q = queries[:, :2] / np.linalg.norm(queries[:, :2], axis=1, keepdims=True)
    short_d = documents[:, :2] / np.linalg.norm(documents[:, :2], axis=1, keepdims=True)
    barred = np.zeros((4, 12), dtype=bool)
    barred[0, 7] = True
    positives = np.array([0, 3, 6, 9])
    whole, _ = plain_losses(queries, documents, positives, barred)
    short, _ = plain_losses(short_q, short_d, positives, barred)
    assert step.loss.item() == pytest.approx((whole.mean() + short.mean()) / 2, abs=1e-9)
    assert step.losses.numpy() == pytest.approx(whole, abs=1e-9)


def test_distillation_adds_its_weighted_mean_over_the_rows_own_documents(batch):
    queries, _, documents, labels = batch
    grades = torch.arange(12, dtype=torch.float64) % 5
    labels = Labels(
        positives=labels.positives,
        document_keys=labels.document_keys,
        left_out_keys=labels.left_out_keys,
        owners=labels.owners,
        grades=grades,
    )
    queries_QD, documents_ND = tensors(queries, documents)
    plain = Objective(temperature=TAU)(queries_QD, documents_ND, labels)
    step = Objective(temperature=TAU, distillation=Distillation(weight=0.5))(queries_QD, documents_ND, labels)
    own = torch.stack([queries_QD[row] @ documents_ND[3 * row : 3 * row + 3].T for row in range(4)])
    wanted = distillation(own, grades.view(4, 3), temperature=TAU).mean()
    assert (step.loss - plain.loss).item() == pytest.approx(0.5 * wanted.item(), abs=1e-9)


def test_the_float32_objective_agrees_with_the_float64_one(batch):
    queries, _, documents, labels = batch
    narrow = [torch.from_numpy(array.astype(np.float32)) for array in (queries, documents)]
    wide = Objective(temperature=TAU)(*tensors(queries, documents), labels)
    assert Objective(temperature=TAU)(*narrow, labels).losses.tolist() == pytest.approx(wide.losses.tolist(), rel=1e-4)
    assert info_nce(narrow[0] @ narrow[1].T, labels.positives, temperature=TAU).dtype == torch.float32

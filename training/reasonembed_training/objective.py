"""The objective of one optimiser step over the whole batch, whichever process holds which part of it.

Shapes: Q queries and N documents of this process, M documents of all processes, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reasonembed_rag.backbone import finish
from reasonembed_training.gather import gather_rows, my_shards, sum_over_processes
from reasonembed_training.losses import anchor, consistency, distillation, info_nce, known_positives, left_out
from reasonembed_training.redapter import reasoning_intensity, sample_weights

__all__ = ["Distillation", "First", "Labels", "Objective", "Reasoning", "Redapter", "StepLoss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redapter:
    """How samples are weighted by their reasoning intensity."""

    kappa: float = 5.0
    floor: float = 0.0
    epsilon: float = 1e-6
    normalise: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """How much the grades of a row's own documents shape their scores."""

    weight: float
    grade_temperature: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the objective knows of this process's rows beside their vectors."""

    positives: Tensor
    """(Q,) the place of each query's positive among this process's documents."""
    document_keys: Tensor
    """(N,) content keys."""
    left_out_keys: tuple[Tensor, ...]
    """For each query the content keys of documents that are no negatives of it."""
    owners: Tensor
    """(N,) the query that each document was drawn for."""
    grades: Tensor
    """(N,) the grade of each document for its owner, NaN where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """The reasoning-augmented queries of a step, and what is made of them."""

    redapter: Redapter
    vectors: Tensor
    """(Q, D), without graph; rows that are not present are not looked at."""
    present: Tensor
    """(Q,) whether the row has a reasoning query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What the model that training began with makes of the batch, without graph."""

    queries: Tensor
    """(Q, D)"""
    documents: Tensor
    """(N, D)"""


@dataclass(frozen=True, slots=True)
class StepLoss:
    """What a step came to; losses and intensities are those of this process's queries, detached."""

    loss: Tensor
    """This process's share: the objective is the sum over the processes."""
    losses: Tensor
    """(Q,) InfoNCE of each query."""
    intensity: Tensor | None
    """(Q,) reasoning intensities; None where samples weigh the same."""
    divergences: Tensor | None = None
    """(Q,) how far each perturbed query's ranking lies from the query's own; None where there are none."""
    drift: Tensor | None = None
    """(Q,) how far each query's ranking lies from the first model's; None where the batch is not held to it."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Which documents stand against each other for each query."""

    documents: Tensor
    """(M, D)"""
    positives: Tensor
    """(Q,) columns"""
    out: Tensor
    """(Q, M) documents left out"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """InfoNCE over every document of the global batch, and what may be added to it.

    `dimensions` are Matryoshka's: the loss is the mean over the vectors cut to each of them; intensities are always
    those of whole vectors. With distillation the objective is sum_i w_i L_i + weight * mean_i KL_i, and likewise with
    consistency, whose KL_i is that of the perturbed query's scores over all documents from the query's own, and with
    anchor, whose KL_i is that of the query's scores over all documents but its positive from the first model's.
    """

    temperature: float = 0.02
    mask_known: bool = True
    margin: float | None = None
    dimensions: tuple[int, ...] = ()
    normalize: bool = True
    """Whether vectors have length 1, also when cut."""
    distillation: Distillation | None = None
    consistency: float = 0.0
    """Weight of the divergence between a query and its perturbed form."""
    anchor: float = 0.0
    """Weight of the divergence from the model that training began with."""

    def __call__(
        self,
        queries_QD: Tensor,
        documents_ND: Tensor,
        labels: Labels,
        *,
        reasoning: Reasoning | None = None,
        perturbed_QD: Tensor | None = None,
        first: First | None = None,
    ) -> StepLoss:
        """Return the step's loss; samples are weighted by intensity where there are reasoning queries.

        The same documents are candidates for a query and for its reasoning-augmented form; for its perturbed form
        (perturbed_QD) all documents are.
        """
        shards = my_shards(len(documents_ND), device=documents_ND.device)
        documents_MD = gather_rows(documents_ND, shards)
        scores_QM = queries_QD @ documents_MD.T
        positives_Q = labels.positives + shards.offset
        known_QM = None
        if self.mask_known:
            known_QM = known_positives(gather_rows(labels.document_keys, shards), labels.left_out_keys)
        out_QM = left_out(scores_QM, positives_Q, known_QN=known_QM, margin=self.margin)
        candidates = _Candidates(documents_MD, positives_Q, out_QM)
        losses_Q = self._info_nce(scores_QM, candidates)
        count = sum_over_processes(losses_Q.new_tensor(len(losses_Q)))
        intensity_Q, weights_Q = None, torch.ones_like(losses_Q) / count
        if reasoning is not None:
            intensity_Q = self._intensity(losses_Q, reasoning, candidates)
            total = torch.stack([sum_over_processes(intensity_Q.sum()), count])
            weights_Q = sample_weights(intensity_Q, total=total, normalise=reasoning.redapter.normalise)
        loss = (weights_Q * self._over_dimensions(losses_Q, queries_QD, candidates)).sum()
        if self.distillation is not None:
            divergence_Q = self._divergence(scores_QM[:, shards.mine], labels, self.distillation)
            loss = loss + self.distillation.weight * divergence_Q.sum() / count
        apart_Q, drift_Q = None, None
        if perturbed_QD is not None:
            apart_Q = consistency(scores_QM, perturbed_QD @ documents_MD.T, temperature=self.temperature)
            loss = loss + self.consistency * apart_Q.sum() / count
        if first is not None:
            first_QM = first.queries @ gather_rows(first.documents, shards).T
            drift_Q = anchor(scores_QM, first_QM, positives_Q, temperature=self.temperature)
            loss = loss + self.anchor * drift_Q.sum() / count
        return StepLoss(loss, losses_Q.detach(), intensity_Q, *(_detached(one) for one in (apart_Q, drift_Q)))

    def _info_nce(self, scores_QM: Tensor, candidates: _Candidates) -> Tensor:
        return info_nce(scores_QM, candidates.positives, temperature=self.temperature, left_out_QN=candidates.out)

    def _intensity(self, losses_Q: Tensor, reasoning: Reasoning, candidates: _Candidates) -> Tensor:
        with torch.no_grad():
            reasoning_losses_Q = self._info_nce(
                reasoning.vectors.to(losses_Q.dtype) @ candidates.documents.T, candidates
            )
        return reasoning_intensity(
            losses_Q,
            reasoning_losses_Q,
            kappa=reasoning.redapter.kappa,
            floor=reasoning.redapter.floor,
            epsilon=reasoning.redapter.epsilon,
            has_reasoning_Q=reasoning.present,
        )

    def _over_dimensions(self, losses_Q: Tensor, queries_QD: Tensor, candidates: _Candidates) -> Tensor:
        """Return the mean of each query's losses over the Matryoshka dimensions; the whole one is known already."""
        if not self.dimensions:
            return losses_Q
        parts = []
        for dimension in self.dimensions:
            if dimension == queries_QD.shape[1]:
                parts.append(losses_Q)
                continue
            cut_QD, cut_MD = self._cut(queries_QD, dimension), self._cut(candidates.documents, dimension)
            parts.append(self._info_nce(cut_QD @ cut_MD.T, candidates))
        return torch.stack(parts).mean(dim=0)

    def _cut(self, vectors_ND: Tensor, dimension: int) -> Tensor:
        return finish(vectors_ND, dimension=dimension, normalize=self.normalize)

    def _divergence(self, scores_QN: Tensor, labels: Labels, settings: Distillation) -> Tensor:
        """Return the divergence from the grades of each query's own documents, (Q,)."""
        grades_QN = labels.grades.new_full(scores_QN.shape, float("nan"))
        columns_N = torch.arange(len(labels.grades), device=labels.grades.device)
        grades_QN[labels.owners, columns_N] = labels.grades
        return distillation(
            scores_QN, grades_QN, temperature=self.temperature, grade_temperature=settings.grade_temperature
        )


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()

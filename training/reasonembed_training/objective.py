"""The objective of an optimiser step over the global batch, whichever process holds which part of it.

Shapes: Q queries and N documents of this process, M documents of all processes, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reasonembed_rag.backbone import finish
from reasonembed_training.data import Labels
from reasonembed_training.gather import Shards, gather_rows, my_shards, sum_over_processes
from reasonembed_training.losses import consistency, distillation, info_nce, kl_to_reference, known_positives, left_out
from reasonembed_training.redapter import reasoning_intensity, sample_weights

__all__ = ["Distillation", "Objective", "ReasoningQueries", "Redapter", "ReferenceVectors", "StepLoss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redapter:
    """Weighting of queries by reasoning intensity: L / (L' + epsilon), clipped to floor and kappa."""

    kappa: float = 5.0
    floor: float = 0.0
    epsilon: float = 1e-6
    normalise: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Distillation from the grades of a row's own documents."""

    weight: float
    grade_temperature: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningQueries:
    """The reasoning-augmented queries of a step."""

    redapter: Redapter
    vectors: Tensor
    """(Q, D), detached; rows that are not present are ignored."""
    present: Tensor
    """(Q,) whether the row has a reasoning query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceVectors:
    """The batch embedded by the reference model or a teacher, detached."""

    queries: Tensor
    """(Q, E), of the dimension of that model"""
    documents: Tensor
    """(N, E)"""

    def scores(self, shards: Shards) -> Tensor:
        """Return (Q, M), the scores over the documents of all processes."""
        return self.queries @ gather_rows(self.documents, shards).T


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The loss of a step, and per query of this process its detached terms."""

    loss: Tensor
    """This process's share: the objective is the sum over the processes."""
    losses: Tensor
    """(Q,) InfoNCE."""
    intensity: Tensor | None
    """(Q,) reasoning intensity; None if queries are not weighted."""
    divergences: Tensor | None = None
    """(Q,) KL of the perturbed query's ranking from the query's own; None without perturbed queries."""
    drift: Tensor | None = None
    """(Q,) KL from the reference model's ranking; None if the batch is not regularised."""
    distance: Tensor | None = None
    """(Q,) KL from the teacher's ranking; None without a teacher."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The documents that each query is scored against."""

    documents: Tensor
    """(M, D)"""
    positives: Tensor
    """(Q,) columns"""
    out: Tensor
    """(Q, M) documents left out"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """InfoNCE over every document of the global batch, plus optional terms.

    With Matryoshka `dimensions` the loss is the mean over the vectors truncated to each of them; intensities always
    come from whole vectors. Distillation, consistency, the reference model and the teacher each add
    weight * mean_i KL_i to the weighted loss sum_i w_i L_i.
    """

    temperature: float = 0.02
    mask_known: bool = True
    margin: float | None = None
    dimensions: tuple[int, ...] = ()
    normalize: bool = True
    """Whether vectors, truncated ones included, have length 1."""
    distillation: Distillation | None = None
    consistency: float = 0.0
    """Weight of the KL of the perturbed query's scores over all documents from the query's own."""
    reference: float = 0.0
    """Weight of the KL of the query's scores over all documents but its positive from the reference model's."""
    teacher: float = 0.0
    """Weight of the KL of the query's scores over all documents from the teacher's."""

    def __call__(
        self,
        queries_QD: Tensor,
        documents_ND: Tensor,
        labels: Labels,
        *,
        reasoning: ReasoningQueries | None = None,
        perturbed_QD: Tensor | None = None,
        reference: ReferenceVectors | None = None,
        taught: ReferenceVectors | None = None,
    ) -> StepLoss:
        """Return the loss of the step; with reasoning queries, queries are weighted by intensity.

        A query and its reasoning-augmented form have the same candidates; for a perturbed query every document is one.
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
            graded_Q = self._distillation(scores_QM[:, shards.mine], labels, self.distillation)
            loss = loss + self.distillation.weight * graded_Q.sum() / count
        divergences_Q, drift_Q, distance_Q = None, None, None
        if perturbed_QD is not None:
            divergences_Q = consistency(scores_QM, perturbed_QD @ documents_MD.T, temperature=self.temperature)
            loss = loss + self.consistency * divergences_Q.sum() / count
        if reference is not None:
            reference_QM = reference.scores(shards)
            drift_Q = kl_to_reference(scores_QM, reference_QM, positives_Q, temperature=self.temperature)
            loss = loss + self.reference * drift_Q.sum() / count
        if taught is not None:
            distance_Q = consistency(taught.scores(shards), scores_QM, temperature=self.temperature)
            loss = loss + self.teacher * distance_Q.sum() / count
        return StepLoss(loss, losses_Q.detach(), intensity_Q, *map(_detached, (divergences_Q, drift_Q, distance_Q)))

    def _info_nce(self, scores_QM: Tensor, candidates: _Candidates) -> Tensor:
        return info_nce(scores_QM, candidates.positives, temperature=self.temperature, left_out_QN=candidates.out)

    def _intensity(self, losses_Q: Tensor, reasoning: ReasoningQueries, candidates: _Candidates) -> Tensor:
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
        """Return each query's mean loss over the Matryoshka dimensions; losses_Q are those of whole vectors."""
        if not self.dimensions:
            return losses_Q
        parts = []
        for dimension in self.dimensions:
            if dimension == queries_QD.shape[1]:
                parts.append(losses_Q)
                continue
            short_QD, short_MD = (
                self._truncated(queries_QD, dimension),
                self._truncated(candidates.documents, dimension),
            )
            parts.append(self._info_nce(short_QD @ short_MD.T, candidates))
        return torch.stack(parts).mean(dim=0)

    def _truncated(self, vectors_ND: Tensor, dimension: int) -> Tensor:
        return finish(vectors_ND, dimension=dimension, normalize=self.normalize)

    def _distillation(self, scores_QN: Tensor, labels: Labels, settings: Distillation) -> Tensor:
        """Return the KL divergence from the grades of each query's own documents, (Q,)."""
        grades_QN = labels.grades.new_full(scores_QN.shape, float("nan"))
        columns_N = torch.arange(len(labels.grades), device=labels.grades.device)
        grades_QN[labels.owners, columns_N] = labels.grades
        return distillation(
            scores_QN, grades_QN, temperature=self.temperature, grade_temperature=settings.grade_temperature
        )


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()

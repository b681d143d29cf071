"""One optimiser step: from a batch of tokens to gradients on the parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reasonembed_rag.backbone import Tokens, give_back_freed
from reasonembed_rag.encoder import plan_packs
from reasonembed_rag.errors import TrainingError
from reasonembed_training.data import Labels, TrainingBatch
from reasonembed_training.devices import Machine
from reasonembed_training.gather import gather_rows, greatest_over_processes, my_shards, sum_over_processes
from reasonembed_training.gradcache import EmbedRows, cached_backward, embed_detached
from reasonembed_training.log import LatentLosses
from reasonembed_training.model import Forward
from reasonembed_training.objective import Objective, ReasoningQueries, Redapter, ReferenceVectors, StepLoss
from reasonembed_training.teacher import Teacher

__all__ = ["NotFiniteError", "ReferenceModel", "StepResult", "Stepper"]


_CHUNKS_BETWEEN_TRIMS = 64


class NotFiniteError(TrainingError):
    """A loss or gradient that is NaN or infinite."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The figures of a step, over all processes."""

    loss: float
    """The objective."""
    info_nce: float
    """Mean InfoNCE, unweighted."""
    intensity: Tensor | None
    """(Q of all processes,) reasoning intensity."""
    tokens: int
    """Tokens of queries and documents."""
    divergence: float | None = None
    """Mean KL of perturbed queries' rankings, unweighted; None without perturbed queries."""
    drift: float | None = None
    """Mean KL from the reference model's rankings, unweighted; None if the batch is not regularised."""
    distance: float | None = None
    """Mean KL from the teacher's rankings, unweighted; None without a teacher."""
    latent: LatentLosses | None = None
    """The losses of latent rows; None without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceModel:
    """The model that training started from, and the tasks that are regularised towards it."""

    forward: Forward
    tasks: frozenset[str]
    """Empty means all."""

    def regularises(self, task: str) -> bool:
        """Return whether batches of the task are regularised."""
        return not self.tasks or task in self.tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Turn a batch into a gradient."""

    module: nn.Module
    """Maps (token sequences, skip) to vectors."""
    objective: Objective
    redapter: Redapter | None
    machine: Machine
    dimension: int
    budget: int
    """Tokens per forward pass."""
    pool_prompt: bool
    """Whether the template's tokens are pooled too."""
    reference: ReferenceModel | None = None
    teacher: Teacher | None = None
    chunks: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False, compare=False)
    """Numbers the chunks that get a gradient, to return freed memory from time to time."""

    def __call__(self, batch: TrainingBatch, *, weighted: bool) -> StepResult:
        """Add the batch's gradient to the parameters; if `weighted`, queries are weighted by reasoning intensity.

        Raises NotFiniteError before any gradient is added if the loss is not finite.
        """
        queries = len(batch.queries.lengths)
        both = queries + len(batch.documents.lengths)
        labels = _moved(batch.labels, self.machine.device)
        reasoning = self._reasoning(batch) if weighted and self.redapter is not None else None
        reference, taught = self._reference(batch), self._taught(batch)

        def objective(vectors_ND: Tensor) -> StepLoss:
            loss = self.objective(
                vectors_ND[:queries],
                vectors_ND[queries:both],
                labels,
                reasoning=reasoning,
                perturbed_QD=None if batch.perturbed is None else vectors_ND[both:],
                reference=reference,
                taught=taught,
            )
            total = sum_over_processes(loss.loss)
            if not torch.isfinite(total):
                raise NotFiniteError(f"the loss is {total.item()}")
            # Distributed wrappers average gradients over processes, and the objective is a sum.
            return replace(loss, loss=loss.loss * self.machine.world)

        parts = (batch.queries, batch.documents, *([] if batch.perturbed is None else [batch.perturbed]))
        loss = cached_backward(
            self._embed(parts, self.module),
            self._plan(parts),
            objective,
            accumulate=self.machine.accumulate(self.module),
        )
        return self._result(loss, batch)

    def _reasoning(self, batch: TrainingBatch) -> ReasoningQueries | None:
        """Embed the reasoning queries, detached, into the rows of their queries."""
        if self.redapter is None:
            return None
        present_Q = batch.has_reasoning.to(self.machine.device)
        parts = (batch.reasoning,)
        if not len(batch.reasoning.lengths):
            vectors_QD = torch.zeros((len(present_Q), self.dimension), device=self.machine.device)
            return ReasoningQueries(redapter=self.redapter, vectors=vectors_QD, present=present_Q)
        found = embed_detached(self._embed(parts, self.module), self._plan(parts))
        vectors_QD = found.new_zeros((len(present_Q), self.dimension))
        vectors_QD[present_Q if len(found) < len(present_Q) else slice(None)] = found
        return ReasoningQueries(redapter=self.redapter, vectors=vectors_QD, present=present_Q)

    def _reference(self, batch: TrainingBatch) -> ReferenceVectors | None:
        """Embed queries and documents by the reference model if the batch is regularised."""
        if self.reference is None or not self.reference.regularises(batch.task):
            return None
        parts = (batch.queries, batch.documents)
        found = embed_detached(self._embed(parts, self.reference.forward), self._plan(parts))
        queries = len(batch.queries.lengths)
        return ReferenceVectors(queries=found[:queries], documents=found[queries:])

    def _taught(self, batch: TrainingBatch) -> ReferenceVectors | None:
        """Embed queries and documents by the teacher."""
        if self.teacher is None:
            return None
        found = self.teacher(batch)
        device = self.machine.device
        return ReferenceVectors(queries=found.queries.to(device), documents=found.documents.to(device))

    def _embed(self, parts: tuple[Tokens, ...], forward: Forward | nn.Module) -> EmbedRows:
        """Return a function that embeds rows of the concatenated parts."""
        sequences = [one for part in parts for one in part.rows(np.arange(len(part.lengths)))]
        skips = np.concatenate([np.full(len(part.lengths), self._skip(part)) for part in parts])

        def embed(rows: NDArray[np.int64]) -> Tensor:
            # Chunks differ in shape, so the heap grows with their number; returning it costs more than a small chunk.
            on_cpu = self.machine.device.type == "cpu"
            if on_cpu and torch.is_grad_enabled() and next(self.chunks) % _CHUNKS_BETWEEN_TRIMS == 0:
                give_back_freed()
            vectors: Tensor = forward([sequences[row] for row in rows], skip=int(skips[rows[0]]))
            return vectors

        return embed

    def _plan(self, parts: tuple[Tokens, ...]) -> list[NDArray[np.int64]]:
        """Split the rows of the parts into chunks of at most `budget` tokens; all rows of a chunk pool alike."""
        plan: list[NDArray[np.int64]] = []
        if len({self._skip(part) for part in parts}) == 1:
            plan = plan_packs(np.concatenate([part.lengths for part in parts]), budget=self.budget)
        else:
            first = 0
            for part in parts:
                plan += [rows + first for rows in plan_packs(part.lengths, budget=self.budget)]
                first += len(part.lengths)
            plan.sort(key=len, reverse=True)
        return self._in_step(plan) if self.machine.sharded else plan

    def _in_step(self, plan: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Halve chunks until every process has the same number; raises TrainingError if one has too few rows."""
        most = int(greatest_over_processes(torch.tensor(len(plan), device=self.machine.device)))
        while len(plan) < most:
            largest = max(range(len(plan)), key=lambda number: len(plan[number]))
            if len(plan[largest]) < 2:
                raise TrainingError(
                    f"one process has {len(plan)} texts, another needs {most} chunks; "
                    "want more queries per batch or a larger batch.tokens"
                )
            plan[largest : largest + 1] = np.array_split(plan[largest], 2)
        return plan

    def _skip(self, part: Tokens) -> int:
        return 0 if self.pool_prompt else part.skip

    def _result(self, loss: StepLoss, batch: TrainingBatch) -> StepResult:
        count = torch.tensor([batch.tokens, len(loss.losses)], dtype=torch.float64, device=self.machine.device)
        sums = torch.stack([loss.loss.detach() / self.machine.world, loss.losses.sum()]).double()
        objective, info_nce, tokens, queries = sum_over_processes(torch.cat([sums, count])).tolist()
        intensity = loss.intensity
        if intensity is not None:
            intensity = gather_rows(intensity, my_shards(len(intensity), device=intensity.device)).cpu()
        means = [
            None if one is None else float(sum_over_processes(one.sum().double())) / queries
            for one in (loss.divergences, loss.drift, loss.distance)
        ]
        return StepResult(objective, info_nce / queries, intensity, round(tokens), *means)


def _moved(labels: Labels, device: torch.device) -> Labels:
    return Labels(
        positives=labels.positives.to(device),
        document_keys=labels.document_keys.to(device),
        left_out_keys=tuple(keys.to(device) for keys in labels.left_out_keys),
        owners=labels.owners.to(device),
        grades=labels.grades.to(device),
    )

"""A step of latent training: the contrastive step, then the memories' losses in passes of a token budget."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from reasonembed_rag.backbone import TextTokenizer
from reasonembed_rag.errors import TrainingError
from reasonembed_training.config import Recipe
from reasonembed_training.data import MemoryRows, TrainingBatch
from reasonembed_training.devices import Machine
from reasonembed_training.latent_model import LatentModule, MemoryExample, MemoryTokens
from reasonembed_training.log import LatentLosses
from reasonembed_training.model import TrainingModel
from reasonembed_training.objective_config import LatentConfig
from reasonembed_training.step import NotFiniteError, Stepper, StepResult

__all__ = ["LatentStepper", "latent_stepper", "memory_rows"]

_logger = logging.getLogger(__name__)


def memory_rows(recipe: Recipe, machine: Machine) -> MemoryRows | None:
    """Return the rows of a recipe's [latent], None without latents; raises TrainingError on several processes."""
    config = recipe.latent
    if not config.tokens:
        return None
    if machine.world > 1:
        raise TrainingError(f"[latent] trains in one process; got {machine.world}")
    return MemoryRows(config.rows, batch=config.batch, seed=recipe.run.seed)


def latent_stepper(recipe: Recipe, model: TrainingModel, contrastive: Stepper, rows: MemoryRows) -> LatentStepper:
    """Return the stepper of a recipe with [latent] around that of its other sections."""
    most = recipe.latent.max_document_length
    if most is not None and most > model.spec.max_document_length:
        raise TrainingError(
            f"latent.max_document_length is {most}; want at most the model's {model.spec.max_document_length}"
        )
    _check_continued(rows, model.tokenizer)
    module = cast("LatentModule", model.module)
    return LatentStepper(
        contrastive=contrastive,
        module=module,
        config=recipe.latent,
        rows=rows,
        tokens=MemoryTokens(
            tokenizer=model.tokenizer,
            spec=replace(model.spec, max_document_length=most or model.spec.max_document_length),
            settings=module.latent.settings,
            ends=recipe.latent.ends,
        ),
        budget=recipe.batch.tokens,
    )


def _check_continued(rows: MemoryRows, tokenizer: TextTokenizer) -> None:
    """Say how many rows have nothing to predict; raises TrainingError if that is all of them."""
    answers = rows.continued
    short = sum(len(ids) < 2 for ids in tokenizer.ids_alone(answers)) if answers else 0
    if short == len(rows):
        raise TrainingError(
            "every memory row has an answer of one token and no question, so that there is nothing to predict; want "
            "questions, or longer answers"
        )
    if short:
        _logger.warning(
            "%d of %d memory rows have an answer of one token and no question: nothing is predicted there",
            short,
            len(rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentStepper:
    """Turn a batch and a step's memory rows into a gradient."""

    contrastive: Stepper
    module: LatentModule
    config: LatentConfig
    rows: MemoryRows
    tokens: MemoryTokens
    budget: int
    """Positions per pass; the gradient does not depend on it."""

    def __call__(self, batch: TrainingBatch, *, weighted: bool) -> StepResult:
        """Add the step's gradient to the parameters.

        Raises NotFiniteError if a loss is not finite; the weights are unchanged then.
        """
        examples, truncated = self.tokens(self.rows.of_step(batch.step))
        result = self.contrastive(batch, weighted=weighted)
        parameters = [one for one in self.module.parameters() if one.requires_grad]
        embedding = [self._taken(one, factor=self.config.embedding) for one in parameters]
        losses, positions = self._memories(examples)
        memories = [self._taken(one, factor=1.0) for one in parameters]
        for one, first, second in zip(parameters, embedding, memories, strict=True):
            one.grad = first + second
        compressed = self.config.compression * losses.compression + self.config.divergence * (losses.divergence or 0.0)
        return replace(
            result,
            loss=self.config.embedding * result.loss + compressed,
            tokens=result.tokens + positions,
            latent=replace(losses, embedding=result.loss, cosine=_cosine(embedding, memories), truncated=truncated),
        )

    def _memories(self, examples: Sequence[MemoryExample]) -> tuple[LatentLosses, int]:
        """Add the gradient of the memories' losses; return their means, and the positions computed."""
        answers = max(1, sum(one.predicted for one in examples))
        documents = max(1, sum(len(ids) - 1 for one in examples for ids in one.documents))
        compression = divergence = generation = 0.0
        for part in self._passes(examples):
            found = self.module.losses(part, divergence=self.config.divergence > 0)
            share = (self.config.compression * found.compression + self.config.divergence * found.divergence) / answers
            if not torch.isfinite(share):
                raise NotFiniteError(f"the loss of the memories is {share.item()}")
            share.backward()
            compression += float(found.compression.detach()) / answers
            divergence += float(found.divergence.detach()) / answers
            generation += float(found.generation) / documents
        losses = LatentLosses(
            embedding=0.0,
            compression=compression,
            generation=generation,
            divergence=divergence if self.config.divergence else None,
            cosine=0.0,
        )
        return losses, sum(self._size(one) for one in examples)

    def _passes(self, examples: Sequence[MemoryExample]) -> Iterator[list[MemoryExample]]:
        """Yield examples of similar size together, at most `budget` positions; a larger one is alone."""
        part: list[MemoryExample] = []
        for one in sorted(examples, key=lambda one: -self._size(one)):
            if part and (len(part) + 1) * self._size(part[0]) > self.budget:
                yield part
                part = []
            part.append(one)
        yield part

    def _size(self, one: MemoryExample) -> int:
        return one.size + len(one.documents) * self.config.tokens

    @staticmethod
    def _taken(parameter: Tensor, *, factor: float) -> Tensor:
        """Return a parameter's gradient, which it then has no longer."""
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad * factor
        parameter.grad = None
        return found


def _cosine(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the cosine between two gradients, 0 where one is 0."""
    first, second = (torch.cat([part.flatten() for part in gradient]) for gradient in (one, other))
    return float(first @ second / (first.norm() * second.norm()).clamp_min(1e-30))

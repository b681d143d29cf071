"""Recipe sections of the objective: [loss], [redapter], [consistency], [reference], [teacher] and [latent].

Defaults are those of the paper (ReasonEmbed, arXiv 2510.08252) where it gives one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonembed_training.checks import check_setting
from reasonembed_training.data import TrainingPerturbation

__all__ = ["ConsistencyConfig", "LatentConfig", "LossConfig", "RedapterConfig", "ReferenceConfig", "TeacherConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """[loss]: InfoNCE and optional terms."""

    temperature: float = 0.02
    mask_known: bool = True
    """Never use a known positive of a query as its negative, whichever row of the batch it comes from."""
    margin: float | None = None
    """Mask documents that score more than this above the positive."""
    dimensions: tuple[int, ...] = ()
    """Matryoshka: also train the vectors truncated to each of these dimensions."""
    distillation: float = 0.0
    """Weight of the KL divergence from the grades in pos_scores and neg_scores; 0 turns it off."""
    grade_temperature: float = 1.0

    def __post_init__(self) -> None:
        check_setting(self.temperature > 0, f"loss.temperature is {self.temperature}; want above 0")
        check_setting(self.grade_temperature > 0, f"loss.grade_temperature is {self.grade_temperature}; want above 0")
        check_setting(self.distillation >= 0, f"loss.distillation is {self.distillation}; want at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedapterConfig:
    """[redapter]: weight queries by reasoning intensity (RI)."""

    enabled: bool = True
    start_step: int = 100
    """Optimiser steps of plain InfoNCE before the weighting starts."""
    kappa: float = 5.0
    """Upper bound of RI."""
    floor: float = 0.0
    """Lower bound of RI."""
    epsilon: float = 1e-6
    normalise: bool = True
    """Divide the weights by their sum over the global batch."""
    max_length: int | None = None
    """Tokens of a reasoning query; defaults to those of a query."""

    def __post_init__(self) -> None:
        check_setting(self.start_step >= 0, f"redapter.start_step is {self.start_step}; want at least 0")
        check_setting(
            0 <= self.floor <= self.kappa and self.kappa > 0,
            f"redapter: floor is {self.floor} and kappa {self.kappa}; want 0 <= floor <= kappa and kappa above 0",
        )
        check_setting(self.epsilon > 0, f"redapter.epsilon is {self.epsilon}; want above 0")
        length = self.max_length
        check_setting(length is None or length >= 1, f"redapter.max_length is {length}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyConfig:
    """[consistency]: a query and its perturbed form should rank the documents of the batch alike."""

    weight: float = 0.0
    """Weight of the KL divergence of the perturbed query's ranking from the query's own; 0 turns it off."""
    kinds: tuple[TrainingPerturbation, ...] = ("misspelling", "reordering", "naturalizing")
    """One is drawn per query and step; synonymizing needs a thesaurus (apt-get install wordnet-base)."""

    def __post_init__(self) -> None:
        check_setting(self.weight >= 0, f"consistency.weight is {self.weight}; want at least 0")
        check_setting(bool(self.kinds), "consistency.kinds is empty; want at least one kind of perturbation")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    """[reference]: keep rankings close to those of the reference model, the model that training starts from.

    For tasks that training should leave as they are. The reference model is held in memory as a second model.
    """

    weight: float = 0.0
    """Weight of the KL divergence from the reference model's ranking of all documents but the query's positive; 0
    turns it off."""
    tasks: tuple[str, ...] = ()
    """Tasks to regularise; all by default."""

    def __post_init__(self) -> None:
        check_setting(self.weight >= 0, f"reference.weight is {self.weight}; want at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """[teacher]: learn another encoder's rankings of the documents of each batch (distillation)."""

    model: str | None = None
    """Name, hub id or folder of the teacher."""
    weight: float = 0.0
    """Weight of the KL divergence from the teacher's ranking of all documents of the batch; 0 turns it off."""
    dtype: str = "auto"
    max_query_length: int | None = None
    """Tokens that the teacher reads of a query; the model's own by default."""
    max_document_length: int | None = None

    def __post_init__(self) -> None:
        check_setting(self.weight >= 0, f"teacher.weight is {self.weight}; want at least 0")
        check_setting(
            self.model is not None or not self.weight,
            f"teacher.weight is {self.weight} and teacher.model is missing; want the teacher's name, hub id or folder",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentConfig:
    """[latent]: train latent rows for vectors and memories at once, on a frozen decoder (a GRC-style reconstruction).

    The loss is embedding * (the loss of the other sections) + compression * CE + divergence * KL.
    """

    tokens: int = 0
    """Latents per document; 0 trains an ordinary encoder."""
    rows: tuple[Path, ...] = ()
    """Files of memory rows, JSON Lines: documents, and a question and its answer, or an answer that continues them, or
    neither, where the first document is to be written again."""
    batch: int = 16
    """Memory rows per step."""
    embedding: float = 1.0
    compression: float = 1.0
    """Weight of the cross-entropy of the answers' tokens given the memories."""
    divergence: float = 0.0
    """Weight of KL(the decoder with the full text || with the memories) at the answers' tokens; it costs a second pass
    over the documents."""
    ends: bool = True
    """Whether answers to questions, and documents that are written again, end with the tokenizer's end token, where it
    has one; without it a model may go on until its limit."""
    max_document_length: int | None = None
    """Tokens of a document in memory rows; defaults to the model's own."""
    question_template: str = "\nQuestion: {question}\nAnswer:"
    """What follows memories or texts; the answer follows it."""
    text_template: str = "{text}\n"
    """Each text, where the decoder reads texts instead of memories."""

    def __post_init__(self) -> None:
        check_setting(self.tokens >= 0, f"latent.tokens is {self.tokens}; want at least 1, or 0 for no latents")
        check_setting(self.batch >= 1, f"latent.batch is {self.batch}; want at least 1")
        for name in ("embedding", "compression", "divergence"):
            weight = getattr(self, name)
            check_setting(weight >= 0, f"latent.{name} is {weight}; want at least 0")
        check_setting(
            self.max_document_length is None or self.max_document_length >= 1,
            f"latent.max_document_length is {self.max_document_length}; want at least 1",
        )
        if not self.tokens:
            check_setting(not self.rows, "latent.rows are given and latent.tokens is 0; want at least 1 latent")
            return
        check_setting(bool(self.rows), "latent.rows is empty; want files of memory rows")
        check_setting(
            self.compression + self.divergence > 0,
            "latent.compression and latent.divergence are 0; want one above 0, or no latents",
        )

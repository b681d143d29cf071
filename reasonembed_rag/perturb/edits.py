"""Perturbed queries: every edit, or the reason why a query was left unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "PERTURBATION_KINDS",
    "Acceptance",
    "Edit",
    "Perturbation",
    "PerturbationKind",
    "PerturbedQuery",
    "UnchangedReason",
    "apply_edits",
    "edited",
    "unchanged",
]

PerturbationKind = Literal["misspelling", "reordering", "synonymizing", "paraphrasing", "naturalizing"]
PERTURBATION_KINDS: tuple[PerturbationKind, ...] = get_args(PerturbationKind)

UnchangedReason = Literal[
    "empty",
    "no words but code or formulae",
    "one word",
    "not English",
    "no word that may change",
    "no synonym known",
    "no synonym accepted",
    "the paraphraser failed",
    "the paraphraser changed nothing",
]
"""Why a query was left unchanged."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A replaced part of a query: its start, the operation, the text before and after."""

    start: int
    operation: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PerturbedQuery:
    """A perturbed query: its text, the drawn generator and its edits, or the reason why it is unchanged."""

    text: str
    generator: str | None
    edits: tuple[Edit, ...]
    kept: UnchangedReason | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """How many rewordings the judge was shown and how many it accepted; judge is None if there was none."""

    judge: str | None
    threshold: float
    proposed: int
    accepted: int

    @property
    def rate(self) -> float | None:
        """The accepted share; None where nothing was proposed or judged."""
        return self.accepted / self.proposed if self.proposed and self.judge is not None else None


@dataclass(frozen=True, slots=True)
class Perturbation:
    """Queries after one kind of perturbation with one seed, in input order."""

    kind: PerturbationKind
    seed: int
    variants: tuple[PerturbedQuery, ...]
    acceptance: Acceptance | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The perturbed queries."""
        return tuple(variant.text for variant in self.variants)

    @property
    def changed(self) -> int:
        """The number of queries that were changed."""
        return sum(variant.kept is None for variant in self.variants)

    @property
    def kept(self) -> Mapping[UnchangedReason, int]:
        """The number of unchanged queries by reason."""
        return Counter(variant.kept for variant in self.variants if variant.kept is not None)


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Apply edits, which do not overlap and are sorted by start, to a text."""
    parts: list[str] = []
    done = 0
    for edit in edits:
        parts += (text[done : edit.start], edit.after)
        done = edit.start + len(edit.before)
    return "".join((*parts, text[done:]))


def edited(text: str, generator: str, edits: Sequence[Edit]) -> PerturbedQuery:
    """Return a text after edits."""
    return PerturbedQuery(apply_edits(text, edits), generator, tuple(edits))


def unchanged(text: str, reason: UnchangedReason) -> PerturbedQuery:
    """Return a text that is left unchanged for a reason."""
    return PerturbedQuery(text, None, (), reason)

"""What was done to queries: every edit, and why a query was left as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["KINDS", "Acceptance", "Edit", "Kept", "Kind", "Perturbation", "Variant", "apply_edits", "kept", "varied"]

Kind = Literal["misspelling", "reordering", "synonymizing", "paraphrasing", "naturalizing"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Kept = Literal[
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
"""Why a query was left as it is."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a query that was replaced: where it starts, the operation, and what stood and stands there."""

    start: int
    operation: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A perturbed query: its text, the generator that was drawn, the edits that made it, or why there are none."""

    text: str
    generator: str | None
    edits: tuple[Edit, ...]
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """How many reworded queries the judge was shown, and how many of them it accepted; None where nothing judged."""

    judge: str | None
    threshold: float
    proposed: int
    accepted: int

    @property
    def rate(self) -> float | None:
        """The share that was accepted; None where nothing was proposed or judged."""
        return self.accepted / self.proposed if self.proposed and self.judge is not None else None


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A set of queries after one kind of perturbation under one seed, in input order."""

    kind: Kind
    seed: int
    variants: tuple[Variant, ...]
    acceptance: Acceptance | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The perturbed queries."""
        return tuple(variant.text for variant in self.variants)

    @property
    def changed(self) -> int:
        """How many queries are not as they were."""
        return sum(variant.kept is None for variant in self.variants)

    @property
    def kept(self) -> Mapping[Kept, int]:
        """How many queries were left as they are, by reason."""
        return Counter(variant.kept for variant in self.variants if variant.kept is not None)


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Return the text after edits that do not overlap and stand in the order of their starts."""
    parts: list[str] = []
    done = 0
    for edit in edits:
        parts += (text[done : edit.start], edit.after)
        done = edit.start + len(edit.before)
    return "".join((*parts, text[done:]))


def varied(text: str, generator: str, edits: Sequence[Edit]) -> Variant:
    """Return the variant that edits make of a text."""
    return Variant(apply_edits(text, edits), generator, tuple(edits))


def kept(text: str, reason: Kept) -> Variant:
    """Return the variant that leaves a text as it is."""
    return Variant(text, None, (), reason)

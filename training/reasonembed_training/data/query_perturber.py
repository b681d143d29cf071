"""Perturbed queries for the consistency term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reasonembed_rag.perturb import Rewording, perturb

__all__ = ["QueryPerturber", "TrainingPerturbation"]

TrainingPerturbation = Literal["misspelling", "reordering", "synonymizing", "naturalizing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPerturber:
    """Perturb the queries of a step; a pure function of step and row, whichever process has the row."""

    kinds: tuple[TrainingPerturbation, ...]
    seed: int
    rewording: Rewording | None = None

    def __call__(self, queries: Sequence[str], *, rows: Sequence[int], step: int) -> list[str]:
        """Return each query after one of the kinds, drawn per row; a query that the kind would empty is unchanged."""
        drawn = [int(np.random.default_rng([self.seed, step, row]).integers(len(self.kinds))) for row in rows]
        seed = int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0])
        perturbed = list(queries)
        for number, kind in enumerate(self.kinds):
            positions = [position for position, choice in enumerate(drawn) if choice == number]
            if positions:
                texts = perturb([queries[one] for one in positions], kind, seed=seed, rewording=self.rewording).texts
                for position, text in zip(positions, texts, strict=True):
                    perturbed[position] = text if text.strip() else queries[position]
        return perturbed

"""Training queries as other people would have typed them, drawn anew in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasonembed_rag.evaluation.robustness.perturbation import Rewording, perturb
from reasonembed_rag.evaluation.robustness.thesaurus import find_thesaurus
from reasonembed_training.config import ConsistencyConfig, PerturbationKind

__all__ = ["QueryPerturber", "perturber_from"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPerturber:
    """Perturb a step's queries; a pure function of the step and the row, whichever process has it."""

    kinds: tuple[PerturbationKind, ...]
    seed: int
    rewording: Rewording | None = None

    def __call__(self, queries: Sequence[str], *, rows: Sequence[int], step: int) -> list[str]:
        """Return each query after one of the kinds, drawn for its row; one that no kind applies to stays as it is."""
        drawn = [int(np.random.default_rng([self.seed, step, row]).integers(len(self.kinds))) for row in rows]
        seed = int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0])
        perturbed = list(queries)
        for number, kind in enumerate(self.kinds):
            places = [place for place, choice in enumerate(drawn) if choice == number]
            if places:
                texts = perturb([queries[place] for place in places], kind, seed=seed, rewording=self.rewording).texts
                for place, text in zip(places, texts, strict=True):
                    perturbed[place] = text if text.strip() else queries[place]
        return perturbed


def perturber_from(config: ConsistencyConfig, *, seed: int) -> QueryPerturber | None:
    """Return what perturbs queries as a recipe's [consistency] says, None where it is off.

    Raises MissingDependencyError where synonyms are asked for and the system has no thesaurus.
    """
    if not config.weight:
        return None
    rewording = Rewording(thesauri=(find_thesaurus(),)) if "synonymizing" in config.kinds else None
    return QueryPerturber(kinds=config.kinds, seed=seed, rewording=rewording)

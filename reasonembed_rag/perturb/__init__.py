"""Query perturbations, for training and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.perturb.edits import PERTURBATION_KINDS, Acceptance, Perturbation, PerturbationKind
    from reasonembed_rag.perturb.paraphrasing import chat_paraphraser
    from reasonembed_rag.perturb.perturbation import SEEDS, Rewording, perturb
    from reasonembed_rag.perturb.thesaurus import Thesaurus, find_thesaurus, open_thesaurus

__all__ = [
    "PERTURBATION_KINDS",
    "SEEDS",
    "Acceptance",
    "Perturbation",
    "PerturbationKind",
    "Rewording",
    "Thesaurus",
    "chat_paraphraser",
    "find_thesaurus",
    "open_thesaurus",
    "perturb",
]

__getattr__, __dir__ = lazy_face(__name__)

"""Query perturbations, for training and for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.perturb.edits import KINDS, Acceptance, Kind, Perturbation
    from reasonembed_rag.perturb.paraphrasing import chat_paraphraser
    from reasonembed_rag.perturb.perturbation import SEEDS, Rewording, perturb
    from reasonembed_rag.perturb.thesaurus import Thesaurus, find_thesaurus, open_thesaurus

__all__ = [
    "KINDS",
    "SEEDS",
    "Acceptance",
    "Kind",
    "Perturbation",
    "Rewording",
    "Thesaurus",
    "chat_paraphraser",
    "find_thesaurus",
    "open_thesaurus",
    "perturb",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "edits": ("Acceptance", "KINDS", "Kind", "Perturbation"),
        "paraphrasing": ("chat_paraphraser",),
        "perturbation": ("Rewording", "SEEDS", "perturb"),
        "thesaurus": ("Thesaurus", "find_thesaurus", "open_thesaurus"),
    },
)

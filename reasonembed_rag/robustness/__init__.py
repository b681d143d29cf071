"""Measure robustness: query perturbations, corpus poisoning, geometry, and the cost of specialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.robustness.audit import AuditSettings, halve_examples, poison_audit
    from reasonembed_rag.robustness.contrast import ModelComparison, compare_models
    from reasonembed_rag.robustness.drop import RobustnessOptions, robustness
    from reasonembed_rag.robustness.embedding_geometry import geometry, task_geometry
    from reasonembed_rag.robustness.hotflip_attack import hotflip, token_gradients
    from reasonembed_rag.robustness.poison import CachedEmbedder, poisoned_copy
    from reasonembed_rag.robustness.report import (
        AttackScore,
        DefenceScore,
        KindResult,
        PoisonReport,
        RobustnessReport,
        read_robustness,
        write_robustness,
        write_variants,
    )

__all__ = [
    "AttackScore",
    "AuditSettings",
    "CachedEmbedder",
    "DefenceScore",
    "KindResult",
    "ModelComparison",
    "PoisonReport",
    "RobustnessOptions",
    "RobustnessReport",
    "compare_models",
    "geometry",
    "halve_examples",
    "hotflip",
    "poison_audit",
    "poisoned_copy",
    "read_robustness",
    "robustness",
    "task_geometry",
    "token_gradients",
    "write_robustness",
    "write_variants",
]

__getattr__, __dir__ = lazy_face(__name__)

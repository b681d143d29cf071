"""Train embedding models for reasoning-intensive retrieval: InfoNCE and Redapter, exact at any batch size.

Source of Redapter: ReasonEmbed, arXiv 2510.08252.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_training.checkpoint import Progress
    from reasonembed_training.config import ConsistencyConfig, LoraConfig, ModelConfig, PerturbationKind
    from reasonembed_training.curves import draw_curves
    from reasonembed_training.devices import open_machine
    from reasonembed_training.merging import average_adapters
    from reasonembed_training.model import build_model
    from reasonembed_training.objective import Labels, Objective, Redapter
    from reasonembed_training.progress import bar
    from reasonembed_training.recipe import read_recipe, recipe_from
    from reasonembed_training.step import Stepper
    from reasonembed_training.trainer import Outcome, train

__all__ = [
    "ConsistencyConfig",
    "Labels",
    "LoraConfig",
    "ModelConfig",
    "Objective",
    "Outcome",
    "PerturbationKind",
    "Progress",
    "Redapter",
    "Stepper",
    "average_adapters",
    "bar",
    "build_model",
    "draw_curves",
    "open_machine",
    "read_recipe",
    "recipe_from",
    "train",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "checkpoint": ("Progress",),
        "config": ("ConsistencyConfig", "LoraConfig", "ModelConfig", "PerturbationKind"),
        "curves": ("draw_curves",),
        "devices": ("open_machine",),
        "merging": ("average_adapters",),
        "model": ("build_model",),
        "objective": ("Labels", "Objective", "Redapter"),
        "progress": ("bar",),
        "recipe": ("read_recipe", "recipe_from"),
        "step": ("Stepper",),
        "trainer": ("Outcome", "train"),
    },
)

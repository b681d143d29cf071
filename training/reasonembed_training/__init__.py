"""Train embedding models for reasoning-intensive retrieval: InfoNCE and Redapter, exact at any batch size.

Redapter is described in ReasonEmbed, arXiv 2510.08252.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from reasonembed_training.checkpoint import TrainingProgress
    from reasonembed_training.config import LoraConfig, ModelConfig, Recipe
    from reasonembed_training.curves import draw_curves
    from reasonembed_training.dense_reasoner import ReasonerOutcome, ReasonerSettings, train_reasoner
    from reasonembed_training.devices import open_machine
    from reasonembed_training.log import DevMetrics, StepMetrics, read_metrics
    from reasonembed_training.merging import average_adapters
    from reasonembed_training.model import build_model
    from reasonembed_training.objective import Objective, Redapter
    from reasonembed_training.progress import TrainingCallback, training_bar
    from reasonembed_training.recipe import read_recipe, recipe_from
    from reasonembed_training.reranker import train_reranker
    from reasonembed_training.reranker_recipe import RerankerRecipe, read_reranker_recipe
    from reasonembed_training.step import Stepper
    from reasonembed_training.trainer import TrainingOutcome, train

__all__ = [
    "DevMetrics",
    "LoraConfig",
    "ModelConfig",
    "Objective",
    "ReasonerOutcome",
    "ReasonerSettings",
    "Recipe",
    "Redapter",
    "RerankerRecipe",
    "StepMetrics",
    "Stepper",
    "TrainingCallback",
    "TrainingOutcome",
    "TrainingProgress",
    "average_adapters",
    "build_model",
    "draw_curves",
    "open_machine",
    "read_metrics",
    "read_recipe",
    "read_reranker_recipe",
    "recipe_from",
    "train",
    "train_reasoner",
    "train_reranker",
    "training_bar",
]

__getattr__, __dir__ = lazy_face(__name__, needs=Dependency("torch", "torch", "train"))

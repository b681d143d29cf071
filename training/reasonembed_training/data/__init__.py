"""Training data: rows, tables, sampling, batches, mining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_training.data.batch import BatchMaker, Labels, TrainingBatch, prefetched
    from reasonembed_training.data.cropping import CropReport, crop
    from reasonembed_training.data.memory_rows import MemoryRow, MemoryRows
    from reasonembed_training.data.mining import MiningReport, MiningSettings, mine
    from reasonembed_training.data.query_perturber import QueryPerturber, TrainingPerturbation
    from reasonembed_training.data.rows import ReasoningSource, TrainingRow, content_key
    from reasonembed_training.data.sampler import Sampler, TaskPlan
    from reasonembed_training.data.sources import RowSource, default_cache, open_rows, read_rows_of
    from reasonembed_training.data.table import Drawn, RowTable, TaskRows

__all__ = [
    "BatchMaker",
    "CropReport",
    "Drawn",
    "Labels",
    "MemoryRow",
    "MemoryRows",
    "MiningReport",
    "MiningSettings",
    "QueryPerturber",
    "ReasoningSource",
    "RowSource",
    "RowTable",
    "Sampler",
    "TaskPlan",
    "TaskRows",
    "TrainingBatch",
    "TrainingPerturbation",
    "TrainingRow",
    "content_key",
    "crop",
    "default_cache",
    "mine",
    "open_rows",
    "prefetched",
    "read_rows_of",
]

__getattr__, __dir__ = lazy_face(__name__)

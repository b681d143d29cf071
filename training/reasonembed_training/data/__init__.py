"""Training data: rows, tables, sampling, batches, mining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_training.data.batch import Batch, BatchMaker, perturber_from, prefetched
    from reasonembed_training.data.cropping import crop
    from reasonembed_training.data.mining import MiningSettings, mine
    from reasonembed_training.data.rows import Reasoning, content_key
    from reasonembed_training.data.sampler import Sampler, TaskPlan
    from reasonembed_training.data.sources import Source, open_rows
    from reasonembed_training.data.table import RowTable, TaskRows

__all__ = [
    "Batch",
    "BatchMaker",
    "MiningSettings",
    "Reasoning",
    "RowTable",
    "Sampler",
    "Source",
    "TaskPlan",
    "TaskRows",
    "content_key",
    "crop",
    "mine",
    "open_rows",
    "perturber_from",
    "prefetched",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "batch": ("Batch", "BatchMaker", "perturber_from", "prefetched"),
        "cropping": ("crop",),
        "mining": ("MiningSettings", "mine"),
        "rows": ("Reasoning", "content_key"),
        "sampler": ("Sampler", "TaskPlan"),
        "sources": ("Source", "open_rows"),
        "table": ("RowTable", "TaskRows"),
    },
)

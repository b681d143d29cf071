"""A teacher: another encoder, whose rankings of a batch's documents the model learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import VectorCache
from reasonembed_rag.errors import InputError, ModelError, TrainingError
from reasonembed_training.data import TrainingBatch, default_cache
from reasonembed_training.objective import ReferenceVectors
from reasonembed_training.objective_config import TeacherConfig

__all__ = ["Teacher", "open_teacher"]

_CACHE_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class Teacher:
    """Embeds batches by another encoder."""

    encoder: Encoder

    def __call__(self, batch: TrainingBatch) -> ReferenceVectors:
        """Return the teacher's vectors of the batch's queries and documents, on the CPU."""
        instruction = batch.instruction if self.encoder.spec.takes_instruction else None
        queries_QD = self.encoder.encode_queries(batch.query_texts, instruction=instruction)
        documents_ND = self.encoder.encode_documents(batch.document_texts)
        return ReferenceVectors(queries=torch.from_numpy(queries_QD), documents=torch.from_numpy(documents_ND))


def open_teacher(config: TeacherConfig, *, device: torch.device, cache: Path | None = None) -> Teacher | None:
    """Load the teacher of a recipe's [teacher]; None if its term has no weight.

    Its vectors are kept in the folder `cache`, so that further runs over the same texts need not compute them. Raises
    TrainingError for a model that cannot be loaded and for settings that it does not support.
    """
    if config.model is None or not config.weight:
        return None
    folder = (cache or default_cache()) / "teacher"
    try:
        encoder = Encoder.from_pretrained(
            config.model,
            device=str(device),
            dtype=config.dtype,
            max_query_length=config.max_query_length,
            max_document_length=config.max_document_length,
            cache=VectorCache(folder, max_bytes=_CACHE_BYTES),
        )
    except (InputError, ModelError) as error:
        raise TrainingError(f"[teacher]: {error}") from error
    return Teacher(encoder)

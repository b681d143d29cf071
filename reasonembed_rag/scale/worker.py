"""What encodes shards, in this process or in an actor of Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasonembed_rag.encoder import Encoder, EncoderSettings, collect_truncations
from reasonembed_rag.errors import SpecMismatchError
from reasonembed_rag.scale.places import Place
from reasonembed_rag.scale.plan import ShardPlan, document_space, shard_name
from reasonembed_rag.scale.rows import read_slice
from reasonembed_rag.scale.vector_shards import write_shard

if TYPE_CHECKING:
    from reasonembed_rag.protocols import Embedder

__all__ = ["ShardWorker", "WrittenShard"]


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """The outcome of one shard."""

    number: int
    truncated: int


class ShardWorker:
    """Read, encode and write shards; a model is loaded once."""

    def __init__(self, model: Embedder | EncoderSettings, plan: ShardPlan, folder: str) -> None:
        self._embedder = Encoder.from_settings(model) if isinstance(model, EncoderSettings) else model
        self._plan, self._folder = plan, Place(folder)
        if document_space(self._embedder.spec) != document_space(plan.spec):
            raise SpecMismatchError(
                f"a worker loaded {self._embedder.spec.model!r} with other weights or lengths than the plan's; "
                "want the same model on every machine"
            )

    def encode(self, number: int) -> WrittenShard:
        """Encode a shard and write it."""
        part = self._plan.shards[number]
        documents = read_slice(part, self._plan.columns, metadata=self._plan.text)
        with collect_truncations() as truncated:
            vectors = self._embedder.encode_documents([document.content for document in documents])
        write_shard(self._folder / shard_name(number), documents, vectors, self._plan)
        return WrittenShard(number, sum(truncated.by_length.values()))

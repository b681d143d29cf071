"""The retriever that mines a ReMixer run's candidates, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import EncodingProgress
    from reasonembed_rag.protocols import Retriever
    from reasonembed_training.remixer import MakeRetriever, RemixConfig

__all__ = ["retriever_maker"]

_BM25 = "bm25"
_HYBRID = "hybrid:"


def retriever_maker(config: RemixConfig, *, progress: EncodingProgress | None = None) -> MakeRetriever:
    """Return what makes the retriever of mine.retriever: bm25, an embedding model, or hybrid:MODEL for both fused.

    `progress` is told how many documents an embedding model has encoded. Nothing is loaded before it is called.
    Raises InputError for hybrid without a model.
    """
    name = config.mine.retriever
    if name == _HYBRID or not name:
        raise InputError(f"mine.retriever is {name!r}; want bm25, an embedding model or hybrid:MODEL")

    def make(documents: Sequence[Document]) -> Retriever:
        from reasonembed_rag.pipeline import Fusion
        from reasonembed_rag.retrieval import BM25

        if name == _BM25:
            return BM25(documents)
        if name.startswith(_HYBRID):
            return Fusion([BM25(documents), _dense(name.removeprefix(_HYBRID), documents, config, progress)])
        return _dense(name, documents, config, progress)

    return make


def _dense(
    model: str, documents: Sequence[Document], config: RemixConfig, progress: EncodingProgress | None
) -> Retriever:
    from reasonembed_rag import Encoder
    from reasonembed_rag.retrieval import DenseRetriever
    from reasonembed_training.remixer import load_card

    return DenseRetriever(
        Encoder.from_pretrained(model),
        documents,
        instruction=load_card(config.card).instruction,
        cache=config.out / "vectors",
        progress=progress,
    )

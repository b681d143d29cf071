"""The retriever that mines a ReMixer run's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import EncodingProgress
    from reasonembed_rag.protocols import Retriever
    from reasonembed_training.remixer import MakeRetriever, RemixConfig

__all__ = ["retriever_maker"]


def retriever_maker(config: RemixConfig, *, progress: EncodingProgress | None = None) -> MakeRetriever:
    """Return a function that builds the retriever named by mine.retriever; nothing is loaded before it is called.

    `progress` reports how many documents an embedding model has encoded. Raises InputError for a name without a model.
    """
    from reasonembed_rag.pipeline import build_retriever, parse_retriever
    from reasonembed_training.remixer import load_card

    parse_retriever(config.mine.retriever, field="mine.retriever")

    def make(documents: Sequence[Document]) -> Retriever:
        return build_retriever(
            config.mine.retriever,
            documents,
            instruction=load_card(config.card).instruction,
            cache=config.out / "vectors",
            progress=progress,
        )

    return make

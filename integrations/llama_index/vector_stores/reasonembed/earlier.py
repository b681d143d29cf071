"""What a store has of documents whose nodes are added again, as by a script that runs twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from llama_index.vector_stores.reasonembed.nodes import of_sources, piece_of, source_hash_of, source_of

from reasonembed_rag.documents import Document
from reasonembed_stores import Store

__all__ = ["EarlierNodes"]

_logger = logging.getLogger(__name__)


class EarlierNodes:
    """Compare nodes that were just added with what the store had of their documents."""

    def __init__(self) -> None:
        self._told = False

    def replaced_by(self, added: Sequence[Document], store: Store) -> list[str]:
        """Return the ids of the stored nodes that are the same parts of the same versions of the same documents.

        Nodes of other versions stay, with a warning the first time.
        """
        ids = {node.id for node in added}
        versions = {source: source_hash_of(node) for node in added if (source := source_of(node)) is not None}
        earlier = [node for node in store.select(of_sources(versions)) if node.id not in ids]
        others = [source for node in earlier if source_hash_of(node) != versions.get(source := source_of(node) or "")]
        if others and not self._told:
            self._told = True
            _logger.warning(
                "the store keeps nodes of other versions of documents that were added, such as %r; to replace them use "
                "VectorStoreIndex.from_vector_store(store).refresh_ref_docs, or call delete_ref_doc first; later cases "
                "are not reported",
                others[0],
            )
        pieces = {piece_of(node) for node in added} - {None}
        return [node.id for node in earlier if piece_of(node) in pieces]

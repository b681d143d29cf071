"""What VectorStoreIndex leaves undone where a vector store keeps the texts, done for ours.

LlamaIndex offers no other place for it: its indexes make their document stores themselves.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.vector_stores.types import BasePydanticVectorStore

__all__ = ["complete_indexes"]

_from_vector_store = VectorStoreIndex.from_vector_store.__func__  # type: ignore[attr-defined]  # of any subclass
_delete = VectorStoreIndex._delete_from_docstore  # noqa: SLF001
_adelete = VectorStoreIndex._adelete_from_docstore  # noqa: SLF001


def complete_indexes(kind: type[Any]) -> None:
    """Complete the indexes over one kind of vector store.

    from_vector_store gives them the store's make_docstore(), in place of an empty one, with which refresh_ref_docs adds
    every document again, beside itself. delete_ref_doc(..., delete_from_docstore=True) deletes from the docstore.
    """

    @wraps(_from_vector_store)
    def from_vector_store(
        cls: type[VectorStoreIndex], vector_store: BasePydanticVectorStore, *args: Any, **kwargs: Any
    ) -> VectorStoreIndex:
        index: VectorStoreIndex = _from_vector_store(cls, vector_store, *args, **kwargs)
        if isinstance(vector_store, kind):
            index._docstore = index.storage_context.docstore = vector_store.make_docstore()  # noqa: SLF001
        return index

    @wraps(_delete)
    def delete_from_docstore(self: VectorStoreIndex, ref_doc_id: str) -> None:
        _delete(self, ref_doc_id)
        if isinstance(self.vector_store, kind):
            self.docstore.delete_document(ref_doc_id, raise_error=False)

    @wraps(_adelete)
    async def adelete_from_docstore(self: VectorStoreIndex, ref_doc_id: str) -> None:
        await _adelete(self, ref_doc_id)
        if isinstance(self.vector_store, kind):
            await self.docstore.adelete_document(ref_doc_id, raise_error=False)

    VectorStoreIndex.from_vector_store = classmethod(from_vector_store)  # type: ignore[assignment, method-assign]
    VectorStoreIndex._delete_from_docstore = delete_from_docstore  # type: ignore[method-assign]  # noqa: SLF001
    VectorStoreIndex._adelete_from_docstore = adelete_from_docstore  # type: ignore[method-assign]  # noqa: SLF001

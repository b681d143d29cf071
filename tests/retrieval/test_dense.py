"""An embedder over documents is exact search over its vectors."""

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval.dense import DenseRetriever
from reasonembed_rag.retrieval.exact import exact_search

_DOCUMENTS = [Document("zzz", "abba"), Document("qqq", "cab"), Document("jjj", "dad")]


def test_hits_are_exact_search_s(letter_embedder):
    embedder = letter_embedder()
    retriever = DenseRetriever(embedder, _DOCUMENTS)
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


def test_documents_are_encoded_once_and_ids_never(letter_embedder):
    embedder = letter_embedder()
    retriever = DenseRetriever(embedder, _DOCUMENTS)
    retriever.search(["ab"], k=1)
    retriever.search(["d"], k=1)
    assert sorted(embedder.seen) == sorted(["abba", "cab", "dad", "ab", "d"])


@pytest.mark.parametrize(("template", "seen"), [("{instruction} {text}", "abfind"), ("{text}", "ab")])
def test_the_instruction_reaches_only_models_that_take_one(letter_embedder, template, seen):
    embedder = letter_embedder(query_template=template)
    DenseRetriever(embedder, _DOCUMENTS, instruction="find").search(["ab"], k=1)
    assert seen in embedder.seen


def test_with_a_cache_a_second_retriever_encodes_no_document(letter_embedder, tmp_path):
    first = DenseRetriever(letter_embedder(), _DOCUMENTS, cache=tmp_path).search(["ab"], k=3)[0]
    embedder = letter_embedder()
    second = DenseRetriever(embedder, _DOCUMENTS, cache=tmp_path).search(["ab"], k=3)[0]
    assert embedder.seen == ["ab"]
    assert (first.ids, first.scores.tolist()) == (second.ids, second.scores.tolist())


def test_usage_tells_time_bytes_and_the_tokens_of_an_embedder_that_counts(letter_embedder):
    embedder = letter_embedder()
    retriever = DenseRetriever(embedder, _DOCUMENTS)
    assert retriever.usage().index_bytes is None
    retriever.search(["ab"], k=1)
    usage = retriever.usage()
    assert usage.index_bytes == 3 * 26 * 4
    assert usage.encoding_seconds > 0
    assert usage.document_tokens is usage.query_tokens is None
    counting = type("Counting", (letter_embedder,), {"tokens_encoded": property(lambda self: 10 * len(self.seen))})()
    retriever = DenseRetriever(counting, _DOCUMENTS)
    retriever.search(["ab", "d"], k=1)
    retriever.search(["c"], k=1)
    assert (retriever.usage().document_tokens, retriever.usage().query_tokens) == (30, 30)

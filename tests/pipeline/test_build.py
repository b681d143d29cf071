"""One name, one retriever."""

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import EncoderSettings, share_embedder
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.build import RetrieverName, build_retriever, parse_retriever
from reasonembed_rag.pipeline.fusion import Fusion, Weighted
from reasonembed_rag.retrieval import BM25, DenseRetriever

_DOCUMENTS = [Document("a", "geese fly south"), Document("b", "herons wait in water"), Document("c", "owls hunt")]
_QUERIES = ["geese wait", "owls in water"]


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("bm25", RetrieverName("bm25")),
        ("bm25-query-side", RetrieverName("bm25-query-side")),
        ("BAAI/bge-m3", RetrieverName("model", "BAAI/bge-m3")),
        ("./bm25", RetrieverName("model", "./bm25")),
        ("hybrid:default", RetrieverName("hybrid", "default")),
    ],
)
def test_a_name_says_which_kind_and_which_model(name, parsed):
    assert parse_retriever(name) == parsed


@pytest.mark.parametrize("name", ["", "hybrid:"])
def test_a_name_without_a_model_is_refused(name):
    with pytest.raises(InputError, match=rf"\bmine\.retriever\b.*{name!r}"):
        parse_retriever(name, field="mine.retriever")
    with pytest.raises(InputError, match=repr(name)):
        build_retriever(name, _DOCUMENTS)


def _found(retriever):
    return retriever.search(_QUERIES, k=3)


def test_bm25_is_built_without_a_model(words):
    assert _found(build_retriever("bm25", _DOCUMENTS)) == _found(BM25(_DOCUMENTS))
    found = _found(build_retriever("bm25-query-side", _DOCUMENTS))
    assert found == _found(BM25(_DOCUMENTS, variant="query-side"))
    assert words.calls == []


def test_a_model_and_a_hybrid_are_the_retrievers_they_name(words, tmp_path):
    dense = DenseRetriever(words, _DOCUMENTS, instruction="Seek.")
    told = []
    built = build_retriever(
        "words", _DOCUMENTS, instruction="Seek.", cache=tmp_path, progress=lambda *now: told.append(now)
    )
    assert told[-1] == (3, 3)
    assert list(tmp_path.rglob("*.npy"))
    assert _found(built) == _found(dense)
    built = build_retriever("hybrid:words", _DOCUMENTS, instruction="Seek.", model_weight=0.7, bm25_weight=0.3)
    assert _found(built) == _found(Fusion([Weighted(dense, 0.7), Weighted(BM25(_DOCUMENTS), 0.3)]))


def test_documents_are_encoded_when_it_returns_and_the_model_is_the_shared_one(words):
    build_retriever("words", _DOCUMENTS)
    assert [kind for kind, _ in words.calls] == ["documents"]


def test_settings_are_those_of_the_model(words):
    share_embedder("words", words)
    with pytest.raises(InputError, match="'words'"):
        build_retriever("words", _DOCUMENTS, settings=EncoderSettings(dtype="float32"))

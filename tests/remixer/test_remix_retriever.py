"""The retriever that mines candidates, by its name."""

from __future__ import annotations

import pytest

from reasonembed_cli.remix_retriever import retriever_maker
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import Fusion
from reasonembed_rag.retrieval import BM25, DenseRetriever

DOCUMENTS = [Document("a", "geese fly south"), Document("b", "herons wait in water"), Document("c", "owls hunt")]


@pytest.mark.parametrize(
    ("name", "kind", "model"),
    [("bm25", BM25, False), ("words", DenseRetriever, True), ("hybrid:words", Fusion, True)],
)
def test_a_name_makes_its_retriever_over_the_documents_given(make_config, words, name, kind, model):
    make = retriever_maker(make_config(mine={"retriever": name}))
    assert words.calls == []
    retriever = make(DOCUMENTS)
    assert isinstance(retriever, kind)
    assert bool(words.calls) == model
    assert retriever.search(["geese fly south"], k=3)[0].ids[0] == "a"


def test_vectors_are_stored_in_the_runs_folder_and_progress_is_reported(make_config, words):
    config, told = make_config(mine={"retriever": "words"}), []
    retriever = retriever_maker(config, progress=lambda done, total: told.append((done, total)))(DOCUMENTS)
    retriever.search(["owls"], k=1)
    assert told[-1] == (3, 3)
    assert list((config.out / "vectors").rglob("*.npy"))


@pytest.mark.parametrize("name", ["", "hybrid:"])
def test_a_retriever_without_a_model_is_refused(make_config, name):
    with pytest.raises(InputError, match=rf"\bmine\.retriever\b.*{name!r}.*\bhybrid:MODEL\b"):
        retriever_maker(make_config(mine={"retriever": name}))

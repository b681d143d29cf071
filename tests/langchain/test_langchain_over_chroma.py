"""ReasonEmbedVectorStore over ChromaStore does what it does over FaissStore."""

from __future__ import annotations

import itertools
from datetime import date

import numpy as np
import pytest
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedVectorStore
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_stores import ChromaStore, FaissStore

NAMES = itertools.count()
TEXTS = ["use a tuple", "dictionaries remember order", "a loop may have an else"]
METADATAS = [
    {"on": date(2024, 1, day), "n": np.int64(day), "by": by} for day, by in ((1, "ann"), (2, "bob"), (3, "cy"))
]


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def embeddings():
    return ReasonEmbedEmbeddings(model="words")


@pytest.fixture
def over_chroma(embeddings):
    made = ReasonEmbedVectorStore(embeddings, ChromaStore.create(collection=f"langchain-{next(NAMES)}"))
    made.add_texts(TEXTS, METADATAS, ids=["a", "b", "c"])
    return made


class TestVectorStoreInChroma(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        return ReasonEmbedVectorStore(self.get_embeddings(), ChromaStore.create(collection=f"suite-{next(NAMES)}"))


async def test_searches_find_what_they_find_over_faiss(over_chroma, embeddings):
    over_faiss = ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, METADATAS, ids=["a", "b", "c"])
    for chosen in (None, {"by": ["ann", "cy"]}, {"on": {"$gte": date(2024, 1, 2)}}, lambda metadata: metadata["n"] > 1):
        for found, wanted in zip(
            over_chroma.similarity_search_with_score("tuple", filter=chosen),
            over_faiss.similarity_search_with_score("tuple", filter=chosen),
            strict=True,
        ):
            assert found[0] == wanted[0]
            assert found[1] == pytest.approx(wanted[1], abs=1e-6)
        assert over_chroma.max_marginal_relevance_search(
            "tuple", filter=chosen
        ) == await over_faiss.amax_marginal_relevance_search("tuple", filter=chosen)
    assert await over_chroma.aget_by_ids(["b"]) == over_faiss.get_by_ids(["b"])
    over_faiss.merge_from(over_chroma)
    over_chroma.merge_from(over_faiss)
    assert len(over_faiss.store) == len(over_chroma.store) == 3


def test_the_record_manager_keeps_a_collection_in_step(over_chroma):
    manager = InMemoryRecordManager("test")
    manager.create_schema()
    documents = over_chroma.get_by_ids(["a", "b"])
    over_chroma.delete()
    for given, counts in ((documents, (2, 0)), (documents[:1], (0, 1))):
        told = index(given, manager, over_chroma, cleanup="full", source_id_key="by", key_encoder="sha256")
        assert (told["num_added"], told["num_deleted"]) == counts


def test_a_collection_is_not_saved_to_a_folder(over_chroma, tmp_path):
    with pytest.raises(InputError, match="ChromaStore"):
        over_chroma.save_local(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("kind", ["faiss", "chroma"])
async def test_a_store_of_another_models_vectors_is_refused_before_anything_is_written(kind, make_embedder):
    others = make_embedder(model="others")
    share_embedder("others", others)
    store = (
        FaissStore.create(spec=others.spec)
        if kind == "faiss"
        else ChromaStore.create(collection=f"langchain-{next(NAMES)}", spec=others.spec)
    )
    made = ReasonEmbedVectorStore(ReasonEmbedEmbeddings(model="words"), store)
    for call in (made.add_texts, made.similarity_search, made.max_marginal_relevance_search):
        with pytest.raises(SpecMismatchError, match=r"'others'.*'words'"):
            call(["text"] if call == made.add_texts else "text")
    with pytest.raises(SpecMismatchError):
        await made.aadd_texts(["text"])
    with pytest.raises(SpecMismatchError):
        await made.asimilarity_search("text")
    assert len(store) == 0

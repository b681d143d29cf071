"""ReasonEmbedRetriever: settings only, per-call changes, serialisation, tracing, and loops that never block."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps, loads
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag import Document, Encoder
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_stores import ChromaStore, FaissStore

TEXTS = [f"passage about topic {n % 5}, number {n}" for n in range(30)]


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def folder(tmp_path, words):
    path = str(tmp_path / "index")
    documents = [Document(f"d{n:02}", text, {"n": n}) for n, text in enumerate(TEXTS)]
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(documents, words.encode_documents(TEXTS))
    return path


def ids(documents):
    return [document.id for document in documents]


def test_settings_and_calls_choose_what_is_found(folder):
    retriever = ReasonEmbedRetriever(index=folder, k=4, filters={"n": {"$lt": 20}}, excluded_ids=("d03",))
    found = ids(retriever.invoke("topic 3"))
    assert len(found) == 4
    assert "d03" not in found
    assert all(name < "d20" for name in found)
    assert ids(retriever.invoke("topic 3", k=2)) == found[:2]
    assert all(name >= "d20" for name in ids(retriever.invoke("topic 3", filters={"n": {"$gte": 20}})))
    assert "d03" in ids(retriever.invoke("topic 3", k=30, excluded_ids=[]))


def test_a_task_in_a_call_takes_the_place_of_the_instruction_in_the_settings(folder, words):
    seen = []
    encode = words.encode_queries
    words.encode_queries = lambda texts, **said: seen.append((said["task"], said["instruction"])) or encode(texts)
    retriever = ReasonEmbedRetriever(index=folder, instruction="Seek.")
    retriever.invoke("q")
    retriever.invoke("q", task="pony")
    assert seen == [(None, "Seek."), ("pony", None)]


def test_unknown_settings_and_arguments_are_refused(folder):
    with pytest.raises(ValueError, match="kk"):
        ReasonEmbedRetriever(index=folder, kk=3)
    with pytest.raises(ValueError, match=r"\bk\n.*\b1\b.*\binput_value=0\b"):
        ReasonEmbedRetriever(index=folder, k=0)
    with pytest.raises(InputError, match="'kk'"):
        ReasonEmbedRetriever(index=folder).invoke("q", kk=3)
    with pytest.raises(InputError, match=r"\bk\b.*\b0\b"):
        ReasonEmbedRetriever(index=folder).invoke("q", k=0)


def test_an_index_of_another_model_is_refused(folder, make_embedder):
    share_embedder("others", make_embedder(model="others"))
    with pytest.raises(SpecMismatchError, match=r"'words'.*'others'"):
        ReasonEmbedRetriever(index=folder, model="others").invoke("q")


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
def test_it_is_serialised_by_langchain_and_by_pickle_after_use_too(folder):
    retriever = ReasonEmbedRetriever(index=folder, k=3, filters={"n": {"$gt": 3}}, task="pony")
    found = retriever.invoke("topic 1")
    known = {"allowed_objects": [ReasonEmbedRetriever], "valid_namespaces": ["langchain_reasonembed"]}
    again = loads(dumps(retriever), **known)
    assert again.model_dump() == retriever.model_dump()
    assert again.invoke("topic 1") == found
    assert pickle.loads(pickle.dumps(retriever)).invoke("topic 1") == found


def test_it_takes_part_in_chains_and_batches(folder):
    retriever = ReasonEmbedRetriever(index=folder, k=2)
    prompt = ChatPromptTemplate.from_template("{context}\n{question}")
    joined = RunnableLambda(lambda documents: " | ".join(document.page_content for document in documents))
    chain = {"context": retriever | joined, "question": RunnablePassthrough()} | prompt
    text = chain.invoke("topic 2").to_string()
    assert all(document.page_content in text for document in retriever.invoke("topic 2"))
    assert retriever.batch(["topic 1", "topic 2"]) == [retriever.invoke("topic 1"), retriever.invoke("topic 2")]


def test_tracers_hear_of_the_model_and_the_documents(folder):
    heard = {}

    class Tracer(BaseCallbackHandler):
        def on_retriever_start(self, serialized, query, *, metadata=None, **kwargs):
            heard.update(metadata)

        def on_retriever_end(self, documents, **kwargs):
            heard["documents"] = documents

    retriever = ReasonEmbedRetriever(index=folder, k=2)
    assert retriever.invoke("q") == retriever.invoke("q", config={"callbacks": [Tracer()]}) == heard["documents"]
    assert heard["ls_embedding_model"] == "words"
    assert heard["ls_embedding_provider"] == heard["ls_retriever_name"] == "reasonembed"


def test_an_index_of_chroma_is_searched_too(tmp_path, words):
    store = ChromaStore.create(tmp_path / "chroma", spec=words.spec)
    store.upsert([Document("a", "one"), Document("b", "two")], words.encode_documents(["one", "two"]))
    (found,) = ReasonEmbedRetriever(index=str(tmp_path / "chroma"), k=1).invoke("two")
    assert found.id == "b"


def test_a_shortened_index_is_asked_with_shortened_queries(tmp_path, tiny_model):
    folder = str(tiny_model("bert", pooling="mean"))
    encoder = Encoder.from_pretrained(folder, truncate_dim=16, dtype="float32")
    with FaissStore.create(tmp_path / "index", spec=encoder.spec) as store:
        store.upsert([Document("a", "fox"), Document("b", "dog")], encoder.encode_documents(["fox", "dog"]))
    assert len(ReasonEmbedRetriever(index=str(tmp_path / "index"), dtype="float32").invoke("fox")) == 2


async def test_no_asynchronous_path_blocks_the_loop_not_even_loading_the_model(tmp_path, tiny_model):
    folder = str(tiny_model("bert", pooling="mean"))
    embeddings = ReasonEmbedEmbeddings(model=folder, dtype="float32", cache=str(tmp_path / "cache"))
    store = ReasonEmbedVectorStore(embeddings)
    with blockbuster_ctx():
        vector = await embeddings.aembed_query("fox")
        (document,) = await embeddings.aembed_documents(["dog"])
        await store.aadd_texts(["fox", "dog"], ids=["a", "b"])
        await store.asimilarity_search("fox")
        await store.asimilarity_search_with_score("fox")
        await store.asimilarity_search_with_relevance_scores("fox")
        await store.asimilarity_search_by_vector(vector)
        await store.amax_marginal_relevance_search("fox")
        await store.amax_marginal_relevance_search_by_vector(document)
        await store.aget_by_ids(["a"])
        await store.adelete(["a"])
        made = await ReasonEmbedVectorStore.afrom_texts(["fox"], embeddings, path=tmp_path / "index")
        retriever = ReasonEmbedRetriever(index=str(tmp_path / "index"), dtype="float32")
        assert ids(await retriever.ainvoke("fox")) == ids(await made.asimilarity_search("fox"))
        await asyncio.gather(*(retriever.ainvoke(f"fox {n}") for n in range(20)))
        await retriever.abatch(["a", "b"])


async def test_concurrent_questions_get_their_own_answers(folder):
    retriever = ReasonEmbedRetriever(index=folder, k=3)
    questions = [f"topic {n}" for n in range(20)]
    together = await asyncio.gather(*map(retriever.ainvoke, questions))
    assert together == [retriever.invoke(question) for question in questions]

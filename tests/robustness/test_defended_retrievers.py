"""Defences behind both frameworks' retrievers: what is left is what the defence leaves of the core's ranking."""

from __future__ import annotations

import asyncio

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever as LangChainRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import DefendedRetriever as LlamaDefended
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaOwn
from llama_index.retrievers.reasonembed import as_retriever as llama_as_retriever

from langchain_reasonembed import DefendedRetriever, ReasonEmbedEmbeddings, ReasonEmbedRetriever, as_retriever
from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import HubnessGuard, NearDuplicateFilter, keep_through
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_stores import FaissStore

DOCUMENTS = [Document(f"d{n:02}", f"passage about topic {n % 5}, number {n}") for n in range(30)]


class Every:
    """Keep every other document, and remember what was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def keep(self, documents):
        self.asked.append([document.id for document in documents])
        return list(range(0, len(documents), 2))


@pytest.fixture
def folder(tmp_path, words):
    path = str(tmp_path / "index")
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return path


@pytest.fixture
def ranked(words):
    """The core's own ranking."""

    def rank(query, k, banned=()):
        return list(DenseRetriever(words, DOCUMENTS).search([query], k=k, excluded_ids=[banned])[0].ids)

    return rank


def langchain_faces(folder, words):
    store = InMemoryVectorStore(ReasonEmbedEmbeddings(model="words"))
    store.add_documents([LangChainDocument(id=d.id, page_content=d.content) for d in DOCUMENTS])
    return [ReasonEmbedRetriever(index=folder), store.as_retriever()]


def llama_faces(folder, words):
    nodes = [TextNode(id_=document.id, text=document.content) for document in DOCUMENTS]
    index = VectorStoreIndex(nodes, embed_model=ReasonEmbedEmbedding(model_name="words"))
    return [LlamaOwn(folder), index.as_retriever()]


@pytest.mark.parametrize("own", [True, False])
def test_both_frameworks_leave_what_the_core_leaves(folder, words, ranked, own):
    guard = HubnessGuard.of(ranked("topic 3", 2), DOCUMENTS)
    expected = [identity for identity in ranked("topic 3", 8, ["d03"]) if identity not in guard.flagged_ids]
    langchain = DefendedRetriever(base=langchain_faces(folder, words)[not own], defences=(guard,))
    llama = LlamaDefended(llama_faces(folder, words)[not own], defences=[guard])
    for face in (as_retriever(langchain, DOCUMENTS), llama_as_retriever(llama, DOCUMENTS)):
        (found,) = face.search(["topic 3"], k=8, excluded_ids=[["d03"]])
        assert list(found.ids) == expected
    for face in (
        as_retriever(langchain, DOCUMENTS, use_async=True),
        llama_as_retriever(llama, DOCUMENTS, use_async=True),
    ):
        (found,) = face.search(["topic 3"], k=8, excluded_ids=[["d03"]])
        assert list(found.ids) == expected


def test_each_defence_sees_what_the_one_before_it_left(folder, words, ranked):
    first, second = Every(), Every()
    found = DefendedRetriever(base=ReasonEmbedRetriever(index=folder, k=8), defences=(first, second)).invoke("topic 3")
    best = ranked("topic 3", 8)
    assert (first.asked, second.asked) == ([best], [best[::2]])
    assert [document.id for document in found] == best[::4]
    nodes = LlamaDefended(LlamaOwn(folder, k=8), defences=[Every(), Every()]).retrieve("topic 3")
    assert [node.node_id for node in nodes] == best[::4]
    assert all(node.score is not None for node in nodes)
    assert keep_through((), DOCUMENTS) == list(range(30))


def test_defences_may_be_put_around_one_another(folder, ranked):
    best = ranked("topic 3", 8)
    inner = DefendedRetriever(base=ReasonEmbedRetriever(index=folder), defences=(Every(),))
    outer = DefendedRetriever(base=inner, defences=(Every(),))
    (found,) = as_retriever(outer, DOCUMENTS).search(["topic 3"], k=8)
    assert list(found.ids) == best[::4]
    llama = LlamaDefended(LlamaDefended(LlamaOwn(folder), defences=[Every()]), defences=[Every()])
    (found,) = llama_as_retriever(llama, DOCUMENTS).search(["topic 3"], k=8)
    assert list(found.ids) == best[::4]


def test_a_defence_embeds_with_the_frameworks_own_class(folder, words):
    embeddings = ReasonEmbedEmbeddings(model="words")
    twins = [LangChainDocument(page_content="a fox"), LangChainDocument(page_content="a dog")] * 2

    class Fixed(LangChainRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return twins

    defence = NearDuplicateFilter(embed=embeddings.embed_documents)
    assert DefendedRetriever(base=Fixed(), defences=(defence,)).invoke("q") == twins[:2]


def test_arguments_of_a_call_reach_the_retriever_behind(folder, ranked):
    langchain = DefendedRetriever(base=ReasonEmbedRetriever(index=folder), defences=())
    assert [document.id for document in langchain.invoke("topic 3", k=3)] == ranked("topic 3", 3)
    llama = LlamaDefended(LlamaOwn(folder), defences=())
    assert [node.node_id for node in llama.retrieve("topic 3", k=3)] == ranked("topic 3", 3)
    assert len(llama.retrieve("topic 3")) == 10
    for call in (lambda: langchain.invoke("q", kk=3), lambda: llama.retrieve("q", kk=3)):
        with pytest.raises(InputError, match="'kk'"):
            call()


def test_the_run_of_the_retriever_behind_is_a_child_of_the_defended_one(folder):
    class Listener(BaseCallbackHandler):
        def __init__(self):
            self.parents = []

        def on_retriever_start(self, serialized, query, *, run_id, parent_run_id=None, **_):
            self.parents.append((run_id, parent_run_id))

    listener = Listener()
    retriever = DefendedRetriever(base=ReasonEmbedRetriever(index=folder), defences=())
    retriever.invoke("topic 3", config={"callbacks": [listener]})
    (outer, nothing), (_, parent) = listener.parents
    assert nothing is None
    assert parent == outer


async def test_a_slow_defence_does_not_block_the_loop(folder):
    class Asleep:
        def keep(self, documents):
            import time

            time.sleep(0)  # what blockbuster forbids on a loop's thread
            return list(range(len(documents)))

    retriever = DefendedRetriever(base=ReasonEmbedRetriever(index=folder), defences=(Asleep(),))
    llama = LlamaDefended(LlamaOwn(folder), defences=[Asleep()])
    await asyncio.gather(retriever.ainvoke("warm"), llama.aretrieve("warm"))
    with blockbuster_ctx():
        found, nodes = await asyncio.gather(retriever.ainvoke("topic 3"), llama.aretrieve("topic 3"))
    assert len(found) == len(nodes) == 10


def test_what_is_no_defence_is_refused(folder):
    with pytest.raises(ValueError, match="Defence"):
        DefendedRetriever(base=ReasonEmbedRetriever(index=folder), defences=("trust",))
    with pytest.raises(InputError, match=r"defences\[0\].*\bstr\b.*\bkeep\b"):
        LlamaDefended(LlamaOwn(folder), defences=["trust"])

"""Hit filters behind both frameworks' retrievers: what is kept is what the filter keeps of the core's ranking."""

from __future__ import annotations

import asyncio

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document as LangChainDocument
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.postprocessor.reasonembed import ReasonEmbedPostprocessor
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaOwn
from llama_index.retrievers.reasonembed import as_retriever as llama_as_retriever

from langchain_reasonembed import ReasonEmbedCompressor, ReasonEmbedEmbeddings, ReasonEmbedRetriever, as_retriever
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


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("own", [True, False])
def test_both_frameworks_keep_what_the_core_keeps(folder, words, ranked, own, use_async):
    guard = HubnessGuard.of(ranked("topic 3", 2), DOCUMENTS)
    expected = [identity for identity in ranked("topic 3", 8, ["d03"]) if identity not in guard.flagged_ids]
    compressor = ReasonEmbedCompressor(filters=(guard,))
    postprocessor = ReasonEmbedPostprocessor(filters=(guard,))
    langchain, llama = langchain_faces(folder, words)[not own], llama_faces(folder, words)[not own]
    for face in (
        as_retriever(langchain, DOCUMENTS, compressor=compressor, use_async=use_async),
        llama_as_retriever(llama, DOCUMENTS, node_postprocessors=[postprocessor], use_async=use_async),
    ):
        (found,) = face.search(["topic 3"], k=8, excluded_ids=[["d03"]])
        assert list(found.ids) == expected


def test_each_filter_sees_what_the_one_before_it_kept(folder, words, ranked):
    first, second = Every(), Every()
    found = (
        ReasonEmbedCompressor(filters=(first, second)).around(ReasonEmbedRetriever(index=folder, k=8)).invoke("topic 3")
    )
    best = ranked("topic 3", 8)
    assert (first.asked, second.asked) == ([best], [best[::2]])
    assert [document.id for document in found] == best[::4]
    nodes = ReasonEmbedPostprocessor(filters=(Every(), Every())).around(LlamaOwn(folder, k=8)).retrieve("topic 3")
    assert [node.node_id for node in nodes] == best[::4]
    assert all(node.score is not None for node in nodes)
    assert keep_through((), DOCUMENTS) == list(range(30))


def test_a_filter_embeds_with_the_frameworks_own_class(words):
    embeddings = ReasonEmbedEmbeddings(model="words")
    twins = [LangChainDocument(page_content="a fox"), LangChainDocument(page_content="a dog")] * 2
    compressor = ReasonEmbedCompressor(filters=(NearDuplicateFilter(embed=embeddings.embed_documents),))
    assert compressor.compress_documents(twins, "q") == twins[:2]


def test_the_arguments_of_a_call_reach_the_retriever(folder, ranked):
    langchain = ReasonEmbedCompressor(filters=()).around(ReasonEmbedRetriever(index=folder))
    assert [document.id for document in langchain.invoke("topic 3", k=3)] == ranked("topic 3", 3)
    assert len(langchain.invoke("topic 3")) == 10
    with pytest.raises(InputError, match="'kk'"):
        langchain.invoke("q", kk=3)


def test_the_run_of_the_retriever_is_a_child_of_the_whole(folder):
    class Listener(BaseCallbackHandler):
        def __init__(self):
            self.parents = []

        def on_chain_start(self, serialized, inputs, *, run_id, parent_run_id=None, **_):
            self.parents.append((run_id, parent_run_id))

        on_retriever_start = on_chain_start

    listener = Listener()
    whole = ReasonEmbedCompressor(filters=()).around(ReasonEmbedRetriever(index=folder))
    whole.invoke("topic 3", config={"callbacks": [listener]})
    (outer, nothing), (_, parent) = listener.parents
    assert nothing is None
    assert parent == outer


async def test_a_slow_filter_does_not_block_the_loop(folder):
    class Asleep:
        def keep(self, documents):
            import time

            time.sleep(0)  # what blockbuster forbids on a loop's thread
            return list(range(len(documents)))

    langchain = ReasonEmbedCompressor(filters=(Asleep(),)).around(ReasonEmbedRetriever(index=folder))
    llama = ReasonEmbedPostprocessor(filters=(Asleep(),)).around(LlamaOwn(folder))
    await asyncio.gather(langchain.ainvoke("warm"), llama.aretrieve("warm"))
    with blockbuster_ctx():
        found, nodes = await asyncio.gather(langchain.ainvoke("topic 3"), llama.aretrieve("topic 3"))
    assert len(found) == len(nodes) == 10


@pytest.mark.parametrize("kind", [ReasonEmbedCompressor, ReasonEmbedPostprocessor])
def test_what_is_no_filter_is_refused(kind):
    with pytest.raises(ValueError, match="HitFilter"):
        kind(filters=("trust",))


def test_the_old_names_warn_and_work(folder, ranked):
    from llama_index.retrievers import reasonembed as llama_face

    import langchain_reasonembed

    with pytest.warns(DeprecationWarning, match="ReasonEmbedCompressor"):
        langchain = langchain_reasonembed.DefendedRetriever(
            base=ReasonEmbedRetriever(index=folder), defences=(Every(),)
        )
    with pytest.warns(DeprecationWarning, match="ReasonEmbedPostprocessor"):
        llama = llama_face.DefendedRetriever(LlamaOwn(folder), defences=[Every()])
    best = ranked("topic 3", 10)[::2]
    assert [document.id for document in langchain.invoke("topic 3")] == best
    assert [node.node_id for node in llama.retrieve("topic 3")] == best

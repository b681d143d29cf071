"""LlamaIndex's own retrievers, engines and memories over our store, as over SimpleVectorStore."""

from __future__ import annotations

import pytest
from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings.multi_modal_base import MultiModalEmbedding
from llama_index.core.indices.multi_modal import MultiModalVectorStoreIndex
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import VectorMemory
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceWindowNodeParser, get_leaf_nodes
from llama_index.core.objects import ObjectIndex
from llama_index.core.postprocessor import MetadataReplacementPostProcessor, SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import (
    AutoMergingRetriever,
    QueryFusionRetriever,
    RecursiveRetriever,
    RouterRetriever,
    VectorIndexAutoRetriever,
)
from llama_index.core.schema import ImageNode, IndexNode, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import FunctionTool, RetrieverTool
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import MetadataInfo, VectorStoreInfo
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

DOCUMENTS = [
    Document(doc_id="cats", text="Cats sleep most of the day. They hunt at dawn.", metadata={"score": 421}),
    Document(doc_id="dogs", text="Dogs bark at night. Dogs guard houses.", metadata={"score": 7}),
    Document(doc_id="boats", text="Boats need wind. Sails catch the wind of the day.", metadata={"score": 3}),
]


@pytest.fixture(autouse=True)
def model(words, monkeypatch):
    made = ReasonEmbedEmbedding(model_name="words")
    monkeypatch.setattr(Settings, "_embed_model", made)
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    return made


def _index(store):
    return VectorStoreIndex.from_documents(DOCUMENTS, storage_context=StorageContext.from_defaults(vector_store=store))


def _found(nodes):
    return [(n.node.ref_doc_id, n.text, n.metadata, None if n.score is None else round(n.score, 4)) for n in nodes]


def fusion(store):
    """Fuse the rankings and the scores of two retrievers."""
    index, found = _index(store), []
    for mode in ("reciprocal_rerank", "relative_score", "dist_based_score", "simple"):
        retrievers = [index.as_retriever(similarity_top_k=k) for k in (2, 3)]
        fused = QueryFusionRetriever(retrievers, similarity_top_k=3, num_queries=1, mode=mode, use_async=False)
        found.append(_found(fused.retrieve("who sleeps?")))
    return found


def router(store):
    """Choose a retriever by its description."""
    index = _index(store)
    tools = [RetrieverTool.from_defaults(index.as_retriever(), description=about) for about in ("animals", "ships")]
    selector = EmbeddingSingleSelector.from_defaults()
    return _found(RouterRetriever(selector=selector, retriever_tools=tools).retrieve("who sleeps?"))


def auto_merging(store):
    """Merge leaves into their parents."""
    nodes = HierarchicalNodeParser.from_defaults(chunk_sizes=[64, 16], chunk_overlap=0).get_nodes_from_documents(
        DOCUMENTS
    )
    docstore = SimpleDocumentStore()
    docstore.add_documents(nodes)
    context = StorageContext.from_defaults(docstore=docstore, vector_store=store)
    index = VectorStoreIndex(get_leaf_nodes(nodes), storage_context=context)
    return _found(AutoMergingRetriever(index.as_retriever(similarity_top_k=3), context).retrieve("who hunts at dawn?"))


def windows(store):
    """Replace a sentence by the sentences around it."""
    nodes = SentenceWindowNodeParser.from_defaults(window_size=1).get_nodes_from_documents(DOCUMENTS)
    index = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store))
    replace = [MetadataReplacementPostProcessor(target_metadata_key="window"), SimilarityPostprocessor()]
    engine = index.as_query_engine(similarity_top_k=1, node_postprocessors=replace)
    return [node.text for node in engine.query("who hunts?").source_nodes]


def recursive(store):
    """Follow an index node to another retriever."""
    nodes = [IndexNode(text="all about animals", index_id="animals"), TextNode(id_="b", text="boats are things")]
    index = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store))
    inner = _index(type(store)()).as_retriever(similarity_top_k=1)
    retrievers = {"vector": index.as_retriever(similarity_top_k=2), "animals": inner}
    return sorted(_found(RecursiveRetriever("vector", retriever_dict=retrievers).retrieve("animals")), key=repr)


def auto_retriever(store):
    """Let a model write the filters."""
    info = VectorStoreInfo(
        content_info="texts", metadata_info=[MetadataInfo(name="score", type="int", description="votes")]
    )
    return _found(VectorIndexAutoRetriever(_index(store), vector_store_info=info).retrieve("who sleeps?"))


def chats(store):
    """Chat about what is found."""
    modes = ("context", "condense_question", "condense_plus_context")
    engines = [_index(type(store)()).as_chat_engine(chat_mode=mode) for mode in modes]
    return [_found(engine.chat("who sleeps?").source_nodes) for engine in engines]


def tools(store):
    """Find tools by what they do."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    def wait(seconds: int) -> int:
        """Sleep for some seconds."""
        return seconds

    context = StorageContext.from_defaults(vector_store=store)
    made = ObjectIndex.from_objects([FunctionTool.from_defaults(one) for one in (add, wait)], storage_context=context)
    return [tool.metadata.name for tool in made.as_retriever(similarity_top_k=1).retrieve("sum of numbers")]


def memory(store):
    """Remember messages."""
    given = None if isinstance(store, SimpleVectorStore) else store  # which is what None stands for
    remembering = VectorMemory.from_defaults(vector_store=given, retriever_kwargs={"similarity_top_k": 1})
    for text in ("My cat is called Tom.", "I like boats."):
        remembering.put(ChatMessage(role="user", content=text))
        remembering.put(ChatMessage(role="assistant", content="I see."))
    remembered = [message.content for message in remembering.get("what is my cat called?")]
    remembering.reset()
    return remembered, remembering.get("cat")


@pytest.mark.parametrize(
    "part",
    [fusion, router, auto_merging, windows, recursive, auto_retriever, chats, tools, memory],
    ids=lambda part: part.__name__,
)
def test_a_part_of_llama_index_finds_the_same(part):
    wanted = part(SimpleVectorStore())
    assert wanted
    assert part(ReasonEmbedVectorStore()) == wanted


class Pictures(MultiModalEmbedding):
    """Embed texts and pictures by their lengths."""

    def _get_text_embedding(self, text):
        return [float(len(str(text)) % 7 + 1), float(len(str(text)) % 3 + 1), 1.0]

    _get_query_embedding = _get_image_embedding = _get_text_embedding

    async def _aget_text_embedding(self, text):
        return self._get_text_embedding(text)

    _aget_query_embedding = _aget_image_embedding = _aget_text_embedding


def _pictures(store_class, folder):
    nodes = [TextNode(id_="t1", text="abc"), TextNode(id_="t2", text="defgh")]
    nodes += [ImageNode(id_="i1", text="caption", image="aGkh"), ImageNode(id_="i2", text="other", image="eA==")]
    context = StorageContext.from_defaults(vector_store=store_class(), image_store=store_class())
    models = {"embed_model": Pictures(), "image_embed_model": Pictures()}
    index = MultiModalVectorStoreIndex(nodes, storage_context=context, **models)
    index.storage_context.persist(folder)
    loaded = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(folder)), **models)
    every = {"similarity_top_k": 9, "image_similarity_top_k": 9}
    return [
        sorted((n.node_id, type(n.node), round(n.score, 5)) for n in one.as_retriever(**every).retrieve("question"))
        for one in (index, loaded)
    ]


def test_pictures_and_texts_are_found_in_their_stores_and_after_loading(tmp_path):
    wanted = _pictures(SimpleVectorStore, tmp_path / "simple")
    assert _pictures(ReasonEmbedVectorStore, tmp_path / "ours") == wanted
    assert {name for name, *_ in wanted[0]} == {"t1", "t2", "i1", "i2"}


def test_a_saved_index_goes_where_a_retriever_goes(tmp_path, model):
    path = str(tmp_path / "index")
    index = _index(ReasonEmbedVectorStore.for_model(model, path))
    wanted = _found(index.as_retriever(similarity_top_k=2).retrieve("who sleeps?"))
    saved = ReasonEmbedRetriever(path, k=2)
    assert _found(saved.retrieve("who sleeps?")) == wanted
    assert _found(RetrieverQueryEngine.from_args(saved).query("who sleeps?").source_nodes) == wanted
    fused = QueryFusionRetriever([saved, index.as_retriever()], similarity_top_k=2, num_queries=1, use_async=False)
    assert [one[:3] for one in _found(fused.retrieve("who sleeps?"))] == [one[:3] for one in wanted]
    index.vector_store.client.close()

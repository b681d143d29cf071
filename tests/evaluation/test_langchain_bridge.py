"""LangChain components are asked through LangChain, and score what the core scores."""

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_reasonembed import LangChainRag, as_retriever
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation.rag import evaluate_context
from reasonembed_rag.evaluation.report import System
from reasonembed_rag.evaluation.run import RunOptions, run_retriever
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.retrieval import EmbeddingFunctions

_TEXTS = ["tides rise with the moon", "a list grows", "the moon is far", "defaults are shared", "tides", "calls"]
_DOCUMENTS = [Document(f"d{n}/({n})", text) for n, text in enumerate(_TEXTS)]
_TASK = RetrievalTask(
    "toy",
    None,
    tuple(_DOCUMENTS),
    (
        Example("1", "why do tides rise", ("d0/(0)",), ("d4/(4)", "absent")),
        Example("2", "how far is the moon", ("d2/(2)",)),
        Example("3", "shared calls", ("d3/(3)",), ("d5/(5)",)),
    ),
)


class _Letters(Embeddings):
    def __init__(self):
        self.queries = []

    def embed_documents(self, texts):
        return [self._embed(text) for text in texts]

    def embed_query(self, text):
        self.queries.append(text)
        return self._embed(text)

    def _embed(self, text):
        counts = np.asarray([text.count(chr(97 + i)) for i in range(26)], dtype=np.float64)
        return (counts / np.linalg.norm(counts)).astype(np.float32).tolist()


def _core(k=3):
    letters = _Letters()
    retriever = EmbeddingFunctions(_DOCUMENTS, embed_documents=letters.embed_documents, embed_query=letters.embed_query)
    return _ids(run_retriever(retriever, _TASK, options=RunOptions(k=k)))


def _ids(run):
    return [result.hits.ids for result in run.results]


def _store(embeddings=None):
    store = InMemoryVectorStore(embeddings or _Letters())
    store.add_documents([LangChainDocument(id=d.id, page_content=d.content, metadata={"n": 1}) for d in _DOCUMENTS])
    return store


class _KField(BaseRetriever):
    """A retriever whose k is a field and no argument."""

    store: object
    k: int = 2

    def _get_relevant_documents(self, query, *, run_manager):
        return self.store.similarity_search(query, k=self.k)


class _KArgument(BaseRetriever):
    store: object

    def _get_relevant_documents(self, query, *, run_manager, k: int = 1):
        return self.store.similarity_search(query, k=k)

    async def _aget_relevant_documents(self, query, *, run_manager, k: int = 1):
        return self.store.similarity_search(query, k=k)


class _SyncKArgument(BaseRetriever):
    store: object

    def _get_relevant_documents(self, query, *, run_manager, k: int = 6):
        return self.store.similarity_search(query, k=k)


_COMPONENTS = {
    "embeddings": _Letters,
    "vector store": _store,
    "its retriever": lambda: _store().as_retriever(),
    "a retriever with k as a field": lambda: _KField(store=_store()),
    "a retriever with k as an argument": lambda: _KArgument(store=_store()),
    "a retriever with k as an argument of its sync method alone": lambda: _SyncKArgument(store=_store()),
    "a runnable of documents": lambda: RunnableLambda(lambda query: _store().similarity_search(query, k=9)),
}


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("kind", _COMPONENTS)
def test_every_component_finds_what_the_core_finds_with_exclusions_before_the_cut(kind, batch_size, use_async):
    retriever = as_retriever(_COMPONENTS[kind](), _DOCUMENTS, use_async=use_async)
    run = run_retriever(retriever, _TASK, options=RunOptions(k=3, batch_size=batch_size))
    assert _ids(run) == _core()


def test_a_retriever_s_own_settings_stay_as_they_were():
    retriever = _KField(store=_store())
    run_retriever(as_retriever(retriever, _DOCUMENTS), _TASK, options=RunOptions(k=5))
    assert retriever.k == 2


def test_scores_come_from_the_store_and_distances_turn_round():
    scored = as_retriever(_store(), _DOCUMENTS).search(["tides"], k=2)[0].scores
    assert scored[0] == pytest.approx(1.0)

    class Distances(InMemoryVectorStore):
        def similarity_search_with_score(self, query, k=4, **kwargs):
            return [(d, 1.0 - s) for d, s in super().similarity_search_with_score(query, k=k, **kwargs)]

    store = Distances(_Letters())
    store.add_texts([d.content for d in _DOCUMENTS], ids=[d.id for d in _DOCUMENTS])
    turned = as_retriever(store, _DOCUMENTS).search(["tides"], k=2)[0]
    assert turned.ids == as_retriever(_store(), _DOCUMENTS).search(["tides"], k=2)[0].ids
    assert turned.scores.tolist() == pytest.approx((scored - 1.0).tolist())


def test_queries_are_embedded_as_queries():
    letters = _Letters()
    run_retriever(as_retriever(_store(letters), _DOCUMENTS), _TASK)
    assert letters.queries == [example.query for example in _TASK.examples]


def test_chunks_are_matched_by_metadata_and_texts_by_content():
    chunks = [
        LangChainDocument(id="c1", page_content="tides ri", metadata={"id": "d0/(0)"}),
        LangChainDocument(id="c2", page_content="se with", metadata={"document_id": "d0/(0)"}),
        LangChainDocument(page_content="a list grows"),
    ]
    hits = as_retriever(RunnableLambda(lambda _: chunks), _DOCUMENTS).search(["q"], k=5)[0]
    assert hits.ids == ("d0/(0)", "d1/(1)")


def test_a_mapping_holds_documents_under_a_known_key_and_takes_an_input_key():
    chain = RunnableLambda(
        lambda given: {"input": given, "context": _store().similarity_search(given["question"], k=9)}
    )
    run = run_retriever(as_retriever(chain, _DOCUMENTS, input_key="question"), _TASK, options=RunOptions(k=3))
    assert _ids(run) == _core()


@pytest.mark.parametrize(("output", "kind"), [("text", "str"), ({"answer": "text"}, "NoneType"), ([1, 2], "list")])
def test_a_runnable_without_documents_is_refused(output, kind):
    with pytest.raises(InputError, match=rf"\b{kind}\b.*\bcontext, source_documents, documents\b"):
        as_retriever(RunnableLambda(lambda _: output), _DOCUMENTS).search(["q"], k=1)


def test_anything_else_is_refused():
    with pytest.raises(InputError, match=r"\bint\b.*\bRunnable\b"):
        as_retriever(3, _DOCUMENTS)


_PROMPT = "Answer from this:\n{context}\n\nQuestion: {question}"


def _join(documents):
    return "\n\n".join(document.page_content for document in documents)


def _chain(model, *, kept=2, prompt=None):
    retriever = _store().as_retriever(search_kwargs={"k": 4})
    cut = RunnableLambda(lambda documents: documents[:kept][::-1])
    prompt = prompt or ChatPromptTemplate.from_template(_PROMPT)
    return {"context": retriever | cut | _join, "question": RunnablePassthrough()} | prompt | model


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        (FakeListChatModel(responses=["because"]), None),
        (FakeListLLM(responses=["because"]), PromptTemplate.from_template(_PROMPT)),
    ],
)
def test_a_context_is_what_stands_in_the_prompt_in_its_order(model, prompt):
    pipeline = LangChainRag(_chain(model, prompt=prompt), _DOCUMENTS)
    context = pipeline.answer("why do tides rise")
    best = [document.id for document in _store().similarity_search("why do tides rise", k=2)]
    assert [document.id for document in context.documents] == best[::-1]
    assert context.answer == "because"
    assert pipeline.usage().llm_calls == 1


def test_the_last_prompt_that_holds_documents_is_the_context():
    store, model = _store(), FakeListChatModel(responses=["sift", "because"])
    sift = ChatPromptTemplate.from_template("Sift: {context}") | model
    retriever = store.as_retriever(search_kwargs={"k": 4})

    def answer(query):
        found = retriever.invoke(query)
        sift.invoke({"context": _join(found)})
        kept = _join(found[:1])
        return (ChatPromptTemplate.from_template(_PROMPT) | model).invoke({"context": kept, "question": query})

    pipeline = LangChainRag(RunnableLambda(answer), _DOCUMENTS)
    assert [document.id for document in pipeline.answer("tides").documents] == ["d4/(4)"]
    assert pipeline.usage().llm_calls == 2


def test_calls_of_language_models_within_a_retriever_are_counted():
    rewrite = ChatPromptTemplate.from_template("Rewrite {q}") | FakeListChatModel(responses=["tides"] * 9)
    chain = {"q": RunnablePassthrough()} | rewrite | RunnableLambda(lambda m: _store().similarity_search(m.text, k=2))
    run = run_retriever(as_retriever(chain, _DOCUMENTS), _TASK, options=RunOptions(k=2, batch_size=2))
    assert run.usage.llm_calls == 3
    assert {result.hits.ids[0] for result in run.results if result.id != "1"} == {"d4/(4)"}


def test_without_a_model_the_context_is_what_the_chain_returns_or_its_last_retriever():
    retriever = _store().as_retriever(search_kwargs={"k": 3})
    returned = {"context": retriever | RunnableLambda(lambda documents: documents[:1]), "answer": RunnablePassthrough()}
    context = LangChainRag(RunnableLambda(lambda q: q) | returned, _DOCUMENTS).answer("tides")
    assert [document.id for document in context.documents] == ["d4/(4)"]
    assert context.answer == "tides"
    bare = RunnableLambda(lambda q: _store().similarity_search(q, k=2))
    assert len(LangChainRag(bare, _DOCUMENTS).answer("tides").documents) == 2
    silent = LangChainRag(retriever | _join, _DOCUMENTS)
    assert len(silent.answer("tides").documents) == 3
    assert silent.usage().llm_calls == 0


def test_a_chain_is_scored_by_the_gold_its_context_held():
    pipeline = LangChainRag(_chain(FakeListChatModel(responses=["so"]), kept=4), _DOCUMENTS)
    report = evaluate_context(pipeline, _TASK, system=System(name="chain", through="langchain"))
    expected = {e.id: {d.id for d in _store().similarity_search(e.query, k=4)} for e in _TASK.examples}
    for example, query in zip(_TASK.examples, report.queries, strict=True):
        assert set(query.gold_held) == expected[example.id] & set(example.gold_ids)
        assert query.documents == len(expected[example.id] - set(example.excluded_ids))
    assert report.report.usage.llm_calls == 3

"""The types that a type checker shows to users; mypy checks this file in the gate, nothing runs it.

`assert_type` holds what an expression must be. A line with an ignore is a mistake that must be found: mypy's
warn_unused_ignores reports it where it is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeWithScore
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaIndexRetriever
from numpy.typing import NDArray

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag import (
    BM25,
    Document,
    Embedder,
    EmbeddingSpec,
    Encoder,
    EncoderSettings,
    Fusion,
    Hit,
    Hits,
    RemoteEncoder,
    Retriever,
    TaskCard,
    compare,
    evaluate,
    exact_search,
    get_task,
    load_task,
)
from reasonembed_rag.evaluation import Comparison, Report, RetrievalTask
from reasonembed_rag.pipeline import Pipeline, PipelineStage, StageCost, VectorFeedback
from reasonembed_rag.retrieval import CallableRetriever, DenseRetriever
from reasonembed_stores import FaissStore, FileCorpus, IndexReport, IndexRetriever, build_index
from reasonembed_training import Recipe, TrainingOutcome, read_recipe, train

Vectors = NDArray[np.float32]


def encoders(path: Path) -> None:
    encoder = Encoder.from_pretrained("default")
    assert_type(encoder, Encoder)
    assert_type(encoder.encode_queries(["a"]), Vectors)
    assert_type(encoder.encode_documents(["a"]), Vectors)
    assert_type(encoder.spec, EmbeddingSpec)
    assert_type(encoder.dimension, int)
    assert_type(Encoder.from_settings(EncoderSettings(model="default")), Encoder)
    remote = RemoteEncoder("http://localhost/v1", "default", encoder.spec)
    embedders: list[Embedder] = [encoder, remote]
    assert_type(embedders[0].encode_queries(["a"]), Vectors)
    with Encoder.from_pretrained(path) as opened:
        assert_type(opened, Encoder)
    Encoder.from_pretrained("default", devices="cpu")  # type: ignore[call-arg]


def retrievers(encoder: Encoder, documents: list[Document]) -> None:
    vectors = encoder.encode_documents([document.content for document in documents])
    hits = exact_search(vectors, vectors, [document.id for document in documents], k=3)
    assert_type(hits, list[Hits])
    for hit in hits[0]:
        assert_type(hit, Hit)
        assert_type(hit.id, str)
        assert_type(hit.document, Document | None)
    bm25 = BM25(documents)
    dense = DenseRetriever(encoder, documents)
    several: list[Retriever] = [bm25, dense, Fusion([bm25, dense]), IndexRetriever("docs.index")]
    several.append(CallableRetriever(lambda query, _k: [(query, 1.0)]))
    pipeline = Pipeline(dense, [PipelineStage("feedback", lambda inner: VectorFeedback(inner, depth=3))])
    several.append(pipeline)
    assert_type(pipeline.search(["a"], k=1), list[Hits])
    assert_type(pipeline.costs(), tuple[StageCost, ...])
    bm25.search(["a"])  # type: ignore[call-arg]
    several.append(encoder)  # type: ignore[arg-type]


def evaluation(bm25: BM25, encoder: Encoder) -> None:
    assert_type(get_task("biology"), TaskCard)
    task = load_task(folder=Path("my-task"), split="dev")
    assert_type(task, RetrievalTask)
    first, second = evaluate(bm25, task), evaluate(encoder, task)
    assert_type(first, Report)
    assert_type(compare(first, second), Comparison)
    assert_type(compare(first, second).mean.interval.low, float)
    evaluate("bm25", task)  # type: ignore[arg-type]


def stores(encoder: Encoder) -> None:
    assert_type(build_index(FileCorpus("docs"), Path("docs.index"), encoder), IndexReport)
    assert_type(FaissStore.create(spec=encoder.spec), FaissStore)
    FaissStore.create(ann="annoy")  # type: ignore[arg-type]


def frameworks() -> None:
    embeddings = ReasonEmbedEmbeddings()
    assert_type(embeddings.embed_query("a"), list[float])
    assert_type(ReasonEmbedRetriever(index="docs.index", k=1).invoke("a"), list[LangChainDocument])
    assert_type(ReasonEmbedVectorStore.from_texts(["a"], embeddings), ReasonEmbedVectorStore)
    assert_type(ReasonEmbedEmbedding().get_query_embedding("a"), list[float])
    assert_type(LlamaIndexRetriever("docs.index", k=1).retrieve("a"), list[NodeWithScore])


def training() -> None:
    recipe = read_recipe(Path("recipe.toml"), changes=["optim.lr=2e-5"])
    assert_type(recipe, Recipe)
    assert_type(train(recipe), TrainingOutcome)

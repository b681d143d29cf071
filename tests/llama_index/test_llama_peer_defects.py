"""Defects of other LlamaIndex integrations that ReasonEmbed's classes do not have."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

from reasonembed_rag.errors import InputError


@pytest.fixture(autouse=True)
def _words(words):
    return words


def nodes(*vectors):
    return [TextNode(id_=name, text=name, embedding=vector) for name, vector in zip("abcdefgh", vectors, strict=False)]


def ask(store, vector, k=1):
    return store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=k))


class TestEmbedding:
    def test_the_models_own_prompts_are_used(self, words):
        embedding = ReasonEmbedEmbedding(model_name="words")
        assert embedding.get_query_embedding("same") != embedding.get_text_embedding("same")
        assert words.calls == [("queries", ["same"]), ("documents", ["same"])]

    def test_an_error_is_raised_at_the_first_call_without_retries(self):
        from reasonembed_rag.encoder import share_embedder

        calls = []

        class Failing:
            def encode_documents(self, texts, *, show_progress=False):
                calls.append(texts)
                raise MemoryError

        share_embedder("failing", Failing())
        with pytest.raises(MemoryError):
            ReasonEmbedEmbedding(model_name="failing").get_text_embedding("x")
        assert len(calls) == 1

    def test_it_round_trips_through_a_dict_and_pickle_without_the_weights(self, tiny_model):
        folder = str(tiny_model("bert", pooling="mean"))
        embedding = ReasonEmbedEmbedding(model_name=folder, num_workers=2, device="cpu", embed_batch_size=7)
        vector = embedding.get_text_embedding("text")
        frozen = pickle.dumps(embedding)
        assert len(frozen) < 5000
        thawed = pickle.loads(frozen)
        assert (thawed.device, thawed.embed_batch_size) == ("cpu", 7)
        assert thawed.get_text_embedding("text") == vector
        assert ReasonEmbedEmbedding.from_dict(embedding.to_dict()).get_text_embedding("text") == vector

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("model_name", "other"),
            ("revision", "v2"),
            ("adapter", "lora"),
            ("dtype", "float16"),
            ("max_query_length", 7),
            ("max_document_length", 7),
            ("truncate_dim", 8),
            ("task", "pony"),
            ("query_instruction", "Seek."),
        ],
    )
    def test_a_setting_that_changes_vectors_changes_the_ingestion_cache_key(self, name, value):
        plain = ReasonEmbedEmbedding(model_name="words")
        other = ReasonEmbedEmbedding(**{"model_name": "words", name: value})
        assert get_transformation_hash(nodes([1.0]), plain) != get_transformation_hash(nodes([1.0]), other)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("device", "cuda"),
            ("embed_batch_size", 10),
            ("num_workers", 4),
            ("show_progress", True),
            ("token_budget", 99),
            ("cache", "folder"),
            ("cache_bytes", 1 << 30),
        ],
    )
    def test_a_setting_that_changes_no_vector_does_not_change_the_ingestion_cache_key(self, name, value):
        plain = ReasonEmbedEmbedding(model_name="words")
        other = ReasonEmbedEmbedding(**{"model_name": "words", name: value})
        assert get_transformation_hash(nodes([1.0]), plain) == get_transformation_hash(nodes([1.0]), other)

    def test_the_encoder_gets_2048_texts_at_once(self, words):
        texts = [f"text {n}" for n in range(2500)]
        vectors = ReasonEmbedEmbedding(model_name="words").get_text_embedding_batch(texts)
        assert [len(batch) for _, batch in words.calls] == [2048, 452]
        np.testing.assert_array_equal(vectors[2400:], words.encode_documents(texts[2400:]))

    def test_the_embeddings_cache_of_llama_index_is_refused(self):
        """It keeps queries and documents of any model under the bare text."""
        with pytest.raises(ValueError, match="cache="):
            ReasonEmbedEmbedding(model_name="words", embeddings_cache=SimpleKVStore())

    def test_a_pipeline_does_not_embed_cached_nodes_again(self, words):
        pipeline = IngestionPipeline(transformations=[ReasonEmbedEmbedding(model_name="words")])
        first = pipeline.run(nodes=[TextNode(text="one")])
        words.calls.clear()
        assert pipeline.run(nodes=[TextNode(text="one")])[0].embedding == first[0].embedding
        assert words.calls == []

    async def test_queries_are_aggregated_in_one_batch(self, words):
        embedding = ReasonEmbedEmbedding(model_name="words")
        vector = embedding.get_agg_embedding_from_queries(["one", "two"])
        assert words.calls == [("queries", ["one", "two"])]
        np.testing.assert_allclose(vector, words.encode_queries(["one", "two"]).mean(axis=0), atol=1e-7)
        assert await embedding.aget_agg_embedding_from_queries(["one", "two"]) == vector

    async def test_every_asynchronous_hook_gives_what_the_synchronous_one_gives(self):
        embedding = ReasonEmbedEmbedding(model_name="words", task="pony")
        texts = [f"text {n}" for n in range(40)]
        assert await asyncio.gather(*map(embedding.aget_query_embedding, texts)) == [
            embedding.get_query_embedding(text) for text in texts
        ]
        assert await asyncio.gather(*map(embedding.aget_text_embedding, texts)) == [
            embedding.get_text_embedding(text) for text in texts
        ]
        assert await embedding.aget_text_embedding_batch(texts) == embedding.get_text_embedding_batch(texts)
        (node,) = await embedding.acall([TextNode(text="x")])
        assert node.embedding == embedding([TextNode(text="x")])[0].embedding

    def test_events_and_spans_come_as_the_core_expects(self):
        import llama_index.core.instrumentation as instrument
        from llama_index.core.instrumentation.event_handlers import BaseEventHandler
        from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler

        events = []

        class Handler(BaseEventHandler):
            @classmethod
            def class_name(cls):
                return "Handler"

            def handle(self, event, **kwargs):
                events.append(event)

        spans, dispatcher = SimpleSpanHandler(), instrument.get_dispatcher()
        handler = Handler()
        dispatcher.add_event_handler(handler)
        dispatcher.add_span_handler(spans)
        try:
            vectors = ReasonEmbedEmbedding(model_name="words").get_text_embedding_batch(["one", "two"])
        finally:
            dispatcher.event_handlers.remove(handler)
            dispatcher.span_handlers.remove(spans)
        assert [event.class_name() for event in events] == ["EmbeddingStartEvent", "EmbeddingEndEvent"]
        assert events[0].model_dict["model_name"] == "words"
        assert (events[1].chunks, events[1].embeddings) == (["one", "two"], vectors)
        assert any("get_text_embedding_batch" in span.id_ for span in spans.completed_spans)


class TestVectorStore:
    def test_six_thousand_nodes_are_added_in_one_call(self):
        store = ReasonEmbedVectorStore()
        many = [TextNode(id_=str(n), text="", embedding=[1.0, n / 6000]) for n in range(6000)]
        assert len(store.add(many)) == 6000

    def test_an_id_that_is_added_again_has_its_text_replaced(self):
        store = ReasonEmbedVectorStore()
        store.add([TextNode(id_="a", text="old", embedding=[1.0, 0.0])])
        store.add([TextNode(id_="a", text="new", embedding=[1.0, 0.0])])
        assert [node.text for node in ask(store, [1.0, 0.0], k=9).nodes] == ["new"]

    def test_lists_in_metadata_are_kept_and_filtered(self):
        store = ReasonEmbedVectorStore()
        store.add([TextNode(id_="a", text="x", embedding=[1.0], metadata={"tags": ["p", "q"]})])
        filters = MetadataFilters(filters=[MetadataFilter(key="tags", operator="contains", value="q")])
        (node,) = store.get_nodes(filters=filters)
        assert node.metadata == {"tags": ["p", "q"]}
        store.delete_nodes(filters=filters)
        store.clear()

    def test_similarities_are_cosines_in_descending_order(self):
        store = ReasonEmbedVectorStore()
        store.add(nodes([3.0, 4.0], [4.0, 3.0]))
        result = ask(store, [6.0, 8.0], k=2)
        assert result.ids == ["a", "b"]
        np.testing.assert_allclose(result.similarities, [1.0, 0.96], atol=1e-6)

    def test_ids_are_the_nodes_own_and_nodes_can_be_deleted_and_filtered(self):
        store = ReasonEmbedVectorStore()
        assert store.add(nodes([1.0, 0.0], [0.0, 1.0])) == ["a", "b"]
        store.delete_nodes(["a"])
        assert ask(store, [1.0, 0.0], k=9).ids == ["b"]

    def test_every_node_keeps_its_vector_after_deletions_and_replacements(self):
        store = ReasonEmbedVectorStore()
        axes = np.eye(4).tolist()
        store.add(nodes(*axes[:3]))
        store.delete_nodes(["a"])
        store.add([TextNode(id_="d", text="d", embedding=axes[3])])
        assert [ask(store, axes[n]).ids for n in (1, 2, 3)] == [["b"], ["c"], ["d"]]
        store.add([TextNode(id_="c", text="c", embedding=axes[0])])
        assert [ask(store, axes[n]).ids for n in (0, 1, 3)] == [["c"], ["b"], ["d"]]
        assert len(store.client) == 3

    def test_wrong_dimensions_are_input_errors(self):
        store = ReasonEmbedVectorStore()
        store.add(nodes([1.0, 0.0]))
        with pytest.raises(InputError, match=r"\(n, 2\)"):
            ask(store, [1.0])

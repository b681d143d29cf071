"""Hybrid search in Milvus: python examples/milvus_search.py documents.db (Milvus Lite), or http://localhost:19530."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence

try:
    import numpy as np
    from numpy.typing import NDArray
    from pymilvus import AnnSearchRequest, DataType, Function, FunctionType, MilvusClient, RRFRanker

    from reasonembed_rag import Document, EmbeddingSpec, Encoder, Hits
    from reasonembed_rag.errors import ReasonEmbedError, SpecMismatchError
    from reasonembed_rag.protocols import Embedder
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all,examples]'")

_SPEC = "reasonembed.spec"
_FREQUENT = ["a", "an", "and", "are", "for", "how", "in", "is", "it", "of", "on", "that", "the", "to", "what", "why"]
"""Milvus Lite knows neither "_english_", Milvus' own list, nor stemming."""
_ENGLISH = {
    "tokenizer": "standard",
    "filter": [
        "lowercase",
        {"type": "stop", "stop_words": ["_english_", *_FREQUENT]},
        {"type": "stemmer", "language": "english"},
    ],
}


class MilvusRetriever:
    """A core Retriever over one collection: vectors and Milvus' BM25 over contents, fused by reciprocal ranks."""

    def __init__(self, client: MilvusClient, name: str, embedder: Embedder) -> None:
        self._client, self._name, self._embedder = client, name, embedder
        if not client.has_collection(name):
            self._create()
        kept = (client.describe_collection(name).get("properties") or {}).get(_SPEC)
        if kept is None or EmbeddingSpec.from_json(kept).space() != embedder.spec.space():
            model = EmbeddingSpec.from_json(kept).model if kept else "a model that it does not name"
            raise SpecMismatchError(
                f"collection {name!r} holds vectors of {model!r}, asked is {embedder.spec.model!r}; "
                "load that model, or use another collection"
            )
        client.load_collection(name)

    def _create(self) -> None:
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=1024)
        schema.add_field("content", DataType.VARCHAR, max_length=65535, enable_analyzer=True, analyzer_params=_ENGLISH)
        schema.add_field("metadata", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._embedder.dimension)
        schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(
                name="bm25",
                function_type=FunctionType.BM25,
                input_field_names=["content"],
                output_field_names=["words"],
            )
        )
        indexes = self._client.prepare_index_params()
        indexes.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
        indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        kept = {_SPEC: self._embedder.spec.to_json()}
        self._client.create_collection(
            self._name, schema=schema, index_params=indexes, properties=kept, consistency_level="Strong"
        )

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32]) -> None:
        """Add documents with their vectors; those of known ids are replaced."""
        rows = [
            {
                "id": document.id,
                "content": document.content,
                "metadata": dict(document.metadata),
                "vector": vector.tolist(),
            }
            for document, vector in zip(documents, vectors, strict=True)
        ]
        self._client.upsert(self._name, rows)

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return at most k hits for each query; scores are those of the fusion."""
        vectors = self._embedder.encode_queries(list(queries))
        results = []
        for text, vector, without in zip(queries, vectors, excluded_ids or [()] * len(queries), strict=True):
            kept = f"id not in {json.dumps(list(without), ensure_ascii=False)}" if without else ""
            requests = [
                AnnSearchRequest([vector.tolist()], "vector", {"metric_type": "IP"}, limit=4 * k, expr=kept),
                AnnSearchRequest([text], "words", {"metric_type": "BM25"}, limit=4 * k, expr=kept),
            ]
            (found,) = self._client.hybrid_search(
                self._name, requests, RRFRanker(), limit=k, output_fields=["id", "content", "metadata"]
            )
            rows = [hit["entity"] for hit in found]
            documents = tuple(Document(row["id"], row["content"], row["metadata"]) for row in rows)
            ids = tuple(document.id for document in documents)
            results.append(Hits(ids, np.asarray([hit["distance"] for hit in found], np.float32), documents))
        return results


DOCUMENTS = [
    Document("defaults", "A default value is made once: a list as default keeps what earlier calls appended to it."),
    Document("closures", "A nested function sees the variables of the enclosing one at the time it is called."),
    Document("dicts", "Dictionaries remember the order in which keys were inserted."),
]
QUESTION = "Why does my list keep growing between calls?"


def main(where: str) -> None:
    """Add three documents, and ask."""
    encoder = Encoder.from_pretrained("default")
    client = MilvusClient(where)
    retriever = MilvusRetriever(client, "reference", encoder)
    retriever.add(DOCUMENTS, encoder.encode_documents([document.content for document in DOCUMENTS]))
    for hit in retriever.search([QUESTION], k=2)[0]:
        sys.stdout.write(f"{hit.score:.4f} {hit.id}\n")
    client.close()


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")

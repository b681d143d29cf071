"""Hybrid search in Qdrant: python examples/qdrant_search.py documents.qdrant, or http://localhost:6333."""

from __future__ import annotations

import sys
import uuid
import zlib
from collections import Counter
from collections.abc import Collection, Sequence

try:
    import numpy as np
    from numpy.typing import NDArray
    from qdrant_client import QdrantClient, models

    from reasonembed_rag import Document, EmbeddingSpec, Encoder, Hits
    from reasonembed_rag.errors import ReasonEmbedError, SpecMismatchError
    from reasonembed_rag.protocols import Embedder
    from reasonembed_rag.retrieval import EnglishAnalyzer
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all,examples]'")

_SPEC = "reasonembed_spec"


class QdrantRetriever:
    """A core Retriever over one collection: vectors, and words as a sparse vector that Qdrant weighs by rarity."""

    def __init__(self, client: QdrantClient, name: str, embedder: Embedder) -> None:
        self._client, self._name, self._embedder = client, name, embedder
        self._words = EnglishAnalyzer()
        if not client.collection_exists(name):
            client.create_collection(
                name,
                vectors_config={"dense": models.VectorParams(size=embedder.dimension, distance=models.Distance.COSINE)},
                sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
                metadata={_SPEC: embedder.spec.to_json()},
            )
        kept = (client.get_collection(name).config.metadata or {}).get(_SPEC)
        if kept is None or EmbeddingSpec.from_json(kept).space() != embedder.spec.space():
            model = EmbeddingSpec.from_json(kept).model if kept else "a model that it does not name"
            raise SpecMismatchError(
                f"collection {name!r} holds vectors of {model!r}, asked is {embedder.spec.model!r}; "
                "load that model, or use another collection"
            )

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32]) -> None:
        """Add documents with their vectors; those of known ids are replaced."""
        points = [
            models.PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, document.id)),  # Qdrant's ids are numbers or UUIDs
                vector={"dense": vector.tolist(), "words": self._sparse(document.content)},
                payload={"id": document.id, "content": document.content, "metadata": dict(document.metadata)},
            )
            for document, vector in zip(documents, vectors, strict=True)
        ]
        self._client.upsert(self._name, points=points, wait=True)

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return at most k hits for each query; scores are those of Qdrant's reciprocal rank fusion."""
        vectors = self._embedder.encode_queries(list(queries))
        results = []
        for text, vector, without in zip(queries, vectors, excluded_ids or [()] * len(queries), strict=True):
            kept = models.Filter(
                must_not=[models.FieldCondition(key="id", match=models.MatchAny(any=list(without)))] if without else []
            )
            found = self._client.query_points(
                self._name,
                prefetch=[
                    models.Prefetch(query=vector.tolist(), using="dense", limit=4 * k, filter=kept),
                    models.Prefetch(query=self._sparse(text), using="words", limit=4 * k, filter=kept),
                ],
                query=models.FusionQuery(fusion=models.Fusion.RRF),
                limit=k,
            ).points
            payloads = [point.payload or {} for point in found]
            documents = tuple(Document(one["id"], one["content"], one["metadata"]) for one in payloads)
            ids = tuple(document.id for document in documents)
            results.append(Hits(ids, np.asarray([point.score for point in found], np.float32), documents))
        return results

    def _sparse(self, text: str) -> models.SparseVector:
        counts = Counter(zlib.crc32(word.encode()) for word in self._words.terms(text))
        values = [count / (count + 1.2) for count in counts.values()]  # BM25's saturation; Qdrant adds the rarity
        return models.SparseVector(indices=list(counts), values=values)


DOCUMENTS = [
    Document("defaults", "A default value is made once: a list as default keeps what earlier calls appended to it."),
    Document("closures", "A nested function sees the variables of the enclosing one at the time it is called."),
    Document("dicts", "Dictionaries remember the order in which keys were inserted."),
]
QUESTION = "Why does my list keep growing between calls?"


def main(where: str) -> None:
    """Add three documents, and ask."""
    encoder = Encoder.from_pretrained("default")
    client = QdrantClient(url=where) if where.startswith("http") else QdrantClient(path=where)
    retriever = QdrantRetriever(client, "reference", encoder)
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

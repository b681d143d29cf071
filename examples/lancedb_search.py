"""Hybrid search in LanceDB: python examples/lancedb_search.py documents.lance, or s3://bucket/documents.lance."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence

try:
    import lancedb
    import numpy as np
    import pyarrow as pa
    from lancedb.index import FTS
    from lancedb.rerankers import RRFReranker
    from numpy.typing import NDArray

    from reasonembed_rag import Document, EmbeddingSpec, Encoder, Hits
    from reasonembed_rag.errors import ReasonEmbedError, SpecMismatchError
    from reasonembed_rag.protocols import Embedder
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all,examples]'")

_SPEC = b"reasonembed.spec"  # as in datasets of `reasonembed encode-corpus --lance`


class LanceRetriever:
    """A core Retriever over one table: vectors and LanceDB's full-text index, fused by reciprocal ranks."""

    def __init__(self, database: lancedb.DBConnection, name: str, embedder: Embedder) -> None:
        self._embedder = embedder
        schema = pa.schema(
            [
                pa.field("id", pa.string()),
                pa.field("content", pa.string()),
                pa.field("metadata", pa.string()),
                pa.field("vector", pa.list_(pa.float32(), embedder.dimension)),
            ],
            metadata={_SPEC: embedder.spec.to_json().encode()},
        )
        existing = name in database.list_tables().tables
        self._table = database.open_table(name) if existing else database.create_table(name, schema=schema)
        kept = (self._table.schema.metadata or {}).get(_SPEC)
        if kept is None or EmbeddingSpec.from_json(kept.decode()).space() != embedder.spec.space():
            model = EmbeddingSpec.from_json(kept.decode()).model if kept else "a model that it does not name"
            raise SpecMismatchError(
                f"table {name!r} holds vectors of {model!r}, asked is {embedder.spec.model!r}; "
                "load that model, or use another table"
            )
        if self._table.count_rows() and not self._table.list_indices():
            self._table.create_index("content", config=FTS())

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32]) -> None:
        """Add documents with their vectors; those of known ids are replaced."""
        rows = [
            {
                "id": document.id,
                "content": document.content,
                "metadata": json.dumps(dict(document.metadata)),
                "vector": v,
            }
            for document, v in zip(documents, vectors, strict=True)
        ]
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(pa.Table.from_pylist(rows, schema=self._table.schema))
        self._table.create_index("content", config=FTS(), replace=True)

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return at most k hits for each query; scores are those of the fusion."""
        vectors = self._embedder.encode_queries(list(queries))
        results = []
        for text, vector, without in zip(queries, vectors, excluded_ids or [()] * len(queries), strict=True):
            found = self._table.search(query_type="hybrid").vector(vector).text(text).distance_type("cosine")
            if without:
                listed = ", ".join("'" + one.replace("'", "''") + "'" for one in without)
                found = found.where(f"id NOT IN ({listed})", prefilter=True)
            rows = found.rerank(RRFReranker()).limit(k).to_list()
            documents = tuple(Document(row["id"], row["content"], json.loads(row["metadata"])) for row in rows)
            scores = np.asarray([row["_relevance_score"] for row in rows], np.float32)
            results.append(Hits(tuple(row["id"] for row in rows), scores, documents))
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
    retriever = LanceRetriever(lancedb.connect(where), "reference", encoder)
    retriever.add(DOCUMENTS, encoder.encode_documents([document.content for document in DOCUMENTS]))
    for hit in retriever.search([QUESTION], k=2)[0]:
        sys.stdout.write(f"{hit.score:.4f} {hit.id}\n")


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

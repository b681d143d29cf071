"""Hybrid search in PostgreSQL with pgvector: python examples/pgvector_search.py postgresql://localhost/documents."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence

try:
    import numpy as np
    import psycopg
    from numpy.typing import NDArray
    from psycopg import sql

    from reasonembed_rag import Document, EmbeddingSpec, Encoder, Hits
    from reasonembed_rag.errors import ReasonEmbedError, SpecMismatchError
    from reasonembed_rag.protocols import Embedder
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all,examples]'")

_TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS reasonembed_collections (name text PRIMARY KEY, spec jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS {table} (
    id text PRIMARY KEY,
    content text NOT NULL,
    metadata jsonb NOT NULL,
    embedding vector({dimension}) NOT NULL,
    words tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED
);
CREATE INDEX IF NOT EXISTS {words} ON {table} USING gin (words);
CREATE INDEX IF NOT EXISTS {vectors} ON {table} USING hnsw (embedding vector_ip_ops);
"""
_UPSERT = """
INSERT INTO {table} (id, content, metadata, embedding) VALUES (%s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET content = EXCLUDED.content, metadata = EXCLUDED.metadata, embedding = EXCLUDED.embedding
"""
# Reciprocal rank fusion of the nearest vectors and of the query's words, any of which may match.
_SEARCH = """
WITH question AS (
    SELECT to_tsquery('english', replace(plainto_tsquery('english', %(text)s)::text, '&', '|')) AS words
), dense AS (
    SELECT id, row_number() OVER (ORDER BY embedding <#> %(vector)s::vector, id DESC) AS place
    FROM (SELECT id, embedding FROM {table} WHERE id <> ALL(%(excluded)s)
          ORDER BY embedding <#> %(vector)s::vector LIMIT %(depth)s) AS nearest
), lexical AS (
    SELECT id, row_number() OVER (ORDER BY ts_rank_cd(words, question, 1) DESC, id DESC) AS place
    FROM (SELECT id, {table}.words, question.words AS question FROM {table}, question
          WHERE {table}.words @@ question.words AND id <> ALL(%(excluded)s)
          ORDER BY ts_rank_cd({table}.words, question.words, 1) DESC LIMIT %(depth)s) AS matching
)
SELECT id, content, metadata,
       coalesce(1.0 / (60 + dense.place), 0) + %(weight)s * coalesce(1.0 / (60 + lexical.place), 0) AS score
FROM dense FULL JOIN lexical USING (id) JOIN {table} USING (id) ORDER BY score DESC, id DESC LIMIT %(k)s
"""


class PgVectorRetriever:
    """A core Retriever over one table; `weight` is that of words, 0 for vectors alone."""

    def __init__(self, connection: psycopg.Connection, name: str, embedder: Embedder, *, weight: float = 0.25) -> None:
        self._connection, self._name, self._embedder, self._weight = connection, name, embedder, weight
        names = {"table": name, "words": f"{name}_words", "vectors": f"{name}_vectors"}
        tables = sql.SQL(_TABLES).format(
            dimension=sql.Literal(embedder.dimension), **{one: sql.Identifier(text) for one, text in names.items()}
        )
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('reasonembed_collections'))")
            quoted = sql.Identifier(name).as_string(connection)
            existed = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (quoted,)).fetchone() == (True,)
            connection.execute(tables)
            if not existed:
                connection.execute(
                    "INSERT INTO reasonembed_collections VALUES (%s, %s) "
                    "ON CONFLICT (name) DO UPDATE SET spec = EXCLUDED.spec",
                    (name, embedder.spec.to_json()),
                )
            row = connection.execute("SELECT spec FROM reasonembed_collections WHERE name = %s", (name,)).fetchone()
            kept = EmbeddingSpec.from_json(json.dumps(row[0])) if row else None
            if kept is None or kept.space() != embedder.spec.space():
                model = repr(kept.model) if kept else "a model that it does not name"
                raise SpecMismatchError(
                    f"table {name!r} holds vectors of {model}, asked is {embedder.spec.model!r}; "
                    "load that model, or use another table"
                )

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32]) -> None:
        """Add documents with their vectors, all or none; those of known ids are replaced."""
        rows = [
            (document.id, document.content, json.dumps(dict(document.metadata)), _text(vector))
            for document, vector in zip(documents, vectors, strict=True)
        ]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(sql.SQL(_UPSERT).format(table=sql.Identifier(self._name)), rows)

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return at most k hits for each query; scores are those of the fusion."""
        vectors = self._embedder.encode_queries(list(queries))
        excluded = excluded_ids or [()] * len(queries)
        found = sql.SQL(_SEARCH).format(table=sql.Identifier(self._name))
        results = []
        for text, vector, without in zip(queries, vectors, excluded, strict=True):
            given = {"text": text, "vector": _text(vector), "excluded": list(without), "weight": self._weight}
            with self._connection.transaction():
                self._connection.execute(f"SET LOCAL hnsw.ef_search = {min(1000, max(40, 4 * int(k)))}")
                rows = self._connection.execute(found, {**given, "k": k, "depth": 4 * k}).fetchall()
            documents = tuple(Document(row[0], row[1], row[2]) for row in rows)
            results.append(
                Hits(tuple(row[0] for row in rows), np.asarray([row[3] for row in rows], np.float32), documents)
            )
        return results


def _text(vector: NDArray[np.float32]) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"


DOCUMENTS = [
    Document("defaults", "A default value is made once: a list as default keeps what earlier calls appended to it."),
    Document("closures", "A nested function sees the variables of the enclosing one at the time it is called."),
    Document("dicts", "Dictionaries remember the order in which keys were inserted."),
]
QUESTION = "Why does my list keep growing between calls?"


def main(address: str) -> None:
    """Add three documents, and ask."""
    encoder = Encoder.from_pretrained("default")
    with psycopg.connect(address) as connection:
        retriever = PgVectorRetriever(connection, "reference", encoder)
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
    except (ReasonEmbedError, psycopg.OperationalError) as error:
        sys.exit(f"error: {error}")

"""Poisoned corpora: what stands in them, and how often queries find it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Embedder, Retriever
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_rag.spec import EmbeddingSpec

__all__ = [
    "KS",
    "BuildIndex",
    "KeptVectors",
    "as_build",
    "attack_success",
    "poisoned_copy",
    "poisoned_rag",
    "random_texts",
    "success_rates",
]

KS = (5, 10, 20, 50)

BuildIndex = Callable[[Sequence[Document]], Retriever]
"""Makes a fresh index of documents: of LangChain, of LlamaIndex, of anything."""

_POISON = "poison/"


class KeptVectors:
    """An embedder that remembers, for as long as it lives: copies of one corpus are encoded once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._documents: dict[str, NDArray[np.float32]] = {}
        self._queries: dict[tuple[str, str | None, str | None], NDArray[np.float32]] = {}

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""
        return self._embedder.spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order."""
        missing = [text for text in dict.fromkeys(texts) if (text, task, instruction) not in self._queries]
        if missing:
            vectors = self._embedder.encode_queries(
                missing, task=task, instruction=instruction, show_progress=show_progress
            )
            self._queries |= {(text, task, instruction): row for text, row in zip(missing, vectors, strict=True)}
        return self._stacked([self._queries[text, task, instruction] for text in texts])

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._documents]
        if missing:
            vectors = self._embedder.encode_documents(missing, show_progress=show_progress)
            self._documents |= dict(zip(missing, vectors, strict=True))
        return self._stacked([self._documents[text] for text in texts])

    def _stacked(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(rows) if rows else np.empty((0, self.dimension), dtype=np.float32)


def attack_success(
    system: Embedder | BuildIndex,
    queries: Sequence[str],
    documents: Sequence[Document],
    poison: Sequence[str],
    *,
    ks: Sequence[int] = KS,
    excluded_ids: Sequence[Collection[str]] | None = None,
    instruction: str | None = None,
) -> dict[int, float]:
    """Return ASR@k: the share of queries with at least one adversarial passage among their k best documents.

    A fresh index is made of the documents and the passages, so that no index of yours is touched: by an embedder
    searched exactly, or by a function from documents to a retriever. The instruction is an embedder's. Raises
    InputError for no queries, no passages and a k below 1.
    """
    copy = poisoned_copy(documents, poison)
    retriever = as_build(system, instruction=instruction)(copy)
    hits = retriever.search(list(queries), k=max(ks, default=1), excluded_ids=excluded_ids)
    return success_rates(hits, [document.id for document in copy[len(documents) :]], ks=ks)


def success_rates(hits: Sequence[Hits], poison_ids: Collection[str], *, ks: Sequence[int] = KS) -> dict[int, float]:
    """Return ASR@k of rankings; raises InputError for none and for a k below 1."""
    if not hits:
        raise InputError("got no queries; want at least one to attack")
    if not ks or min(ks) < 1:
        raise InputError(f"ks is {tuple(ks)}; want at least one cutoff, each at least 1")
    adversarial = frozenset(poison_ids)
    first = [
        next((place for place, identity in enumerate(found.ids) if identity in adversarial), None) for found in hits
    ]
    return {k: sum(place is not None and place < k for place in first) / len(first) for k in ks}


def poisoned_copy(documents: Sequence[Document], poison: Sequence[str]) -> list[Document]:
    """Return the documents and, after them, the passages under ids of their own; raises InputError for no passage."""
    if not poison:
        raise InputError("got no adversarial passage; want at least one")
    taken = {document.id for document in documents}
    prefix = _POISON
    while any(identity.startswith(prefix) for identity in taken):
        prefix = f"_{prefix}"
    return [*documents, *(Document(f"{prefix}{number}", text) for number, text in enumerate(poison))]


def as_build(system: Embedder | BuildIndex, *, instruction: str | None = None) -> BuildIndex:
    """Return what makes an index: an embedder's is searched exactly.

    Raises InputError for a retriever, whose documents cannot be had.
    """
    if isinstance(system, Embedder):
        return lambda documents: DenseRetriever(system, documents, instruction=instruction)
    if isinstance(system, Retriever):
        raise InputError(
            f"got a {type(system).__name__}; want an embedder, or a function that makes a retriever of documents: "
            "the attack is on an index of its own"
        )
    return system


def poisoned_rag(queries: Sequence[str], attacks: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return PoisonedRAG's passages (arXiv 2402.07867): each query followed by each of its attacker's texts.

    The query makes the passage found, the text is what the language model is to believe. Raises InputError where the
    lists of texts are not as many as the queries.
    """
    if len(attacks) != len(queries):
        raise InputError(f"got {len(queries)} queries and {len(attacks)} lists of attacker's texts; want one a query")
    return tuple(f"{query} {text}" for query, texts in zip(queries, attacks, strict=True) for text in texts)


def random_texts(corpus: Sequence[Document], *, count: int, words: int, seed: int = 0) -> tuple[str, ...]:
    """Return texts of `words` words drawn from a corpus as often as they stand there: the attack that knows the topic.

    Raises EvaluationError for a corpus without words.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(corpus))
    drawn: list[str] = []
    for row in rows:
        drawn += corpus[row].content.split()
        if len(drawn) >= 50 * count * words:
            break
    if not drawn:
        raise EvaluationError("the corpus has no word to draw; want documents with text")
    return tuple(" ".join(generator.choice(np.asarray(drawn, dtype=object), size=words)) for _ in range(count))

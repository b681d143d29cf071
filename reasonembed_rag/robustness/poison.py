"""Poisoned corpora: adversarial passages, and how often queries find them."""

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
    "CachedEmbedder",
    "as_build",
    "attack_success",
    "poisoned_copy",
    "poisoned_rag",
    "random_texts",
    "success_rates",
]

KS = (5, 10, 20, 50)

BuildIndex = Callable[[Sequence[Document]], Retriever]
"""Builds a new retriever over documents: of LangChain, of LlamaIndex, or any other."""

_POISON = "poison/"


class CachedEmbedder:
    """An embedder that caches every vector in memory, so that copies of a corpus are encoded once."""

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

    A new index is built of the documents and the passages, so that no existing index is changed: an exact search with
    an embedder and its instruction, or what a function from documents to a retriever returns. Raises InputError for no
    queries, no passages and a k below 1.
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
    first = [next((rank for rank, identity in enumerate(found.ids) if identity in adversarial), None) for found in hits]
    return {k: sum(rank is not None and rank < k for rank in first) / len(first) for k in ks}


def poisoned_copy(documents: Sequence[Document], poison: Sequence[str]) -> list[Document]:
    """Return the documents followed by the passages under new ids; raises InputError for no passage."""
    if not poison:
        raise InputError("got no adversarial passage; want at least one")
    taken = {document.id for document in documents}
    prefix = _POISON
    while any(identity.startswith(prefix) for identity in taken):
        prefix = f"_{prefix}"
    return [*documents, *(Document(f"{prefix}{number}", text) for number, text in enumerate(poison))]


def as_build(system: Embedder | BuildIndex, *, instruction: str | None = None) -> BuildIndex:
    """Return a function that builds a retriever over documents: an exact search for an embedder.

    Raises InputError for a retriever, whose documents are not accessible.
    """
    if isinstance(system, Embedder):
        return lambda documents: DenseRetriever(system, documents, instruction=instruction)
    if isinstance(system, Retriever):
        raise InputError(
            f"got a {type(system).__name__}; want an embedder, or a function from documents to a retriever: "
            "the attack is on a new index"
        )
    return system


def poisoned_rag(queries: Sequence[str], attacks: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return PoisonedRAG's passages (arXiv 2402.07867): each query followed by each of its attacker's texts.

    The query lets the retriever find the passage; the text is what the language model should believe. Raises InputError
    unless there is one list of texts per query.
    """
    if len(attacks) != len(queries):
        raise InputError(f"got {len(queries)} queries and {len(attacks)} lists of attacker's texts; want one per query")
    return tuple(f"{query} {text}" for query, texts in zip(queries, attacks, strict=True) for text in texts)


def random_texts(corpus: Sequence[Document], *, count: int, words: int, seed: int = 0) -> tuple[str, ...]:
    """Return texts of `words` words sampled from a corpus by frequency: an attack that knows only the topic.

    Raises EvaluationError for a corpus without words.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(corpus))
    words_of_corpus: list[str] = []
    for row in rows:
        words_of_corpus += corpus[row].content.split()
        if len(words_of_corpus) >= 50 * count * words:
            break
    if not words_of_corpus:
        raise EvaluationError("the corpus has no words; want documents with text")
    choices = np.asarray(words_of_corpus, dtype=object)
    return tuple(" ".join(generator.choice(choices, size=words)) for _ in range(count))

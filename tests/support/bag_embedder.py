"""An embedder that an attacker can differentiate, small enough to check every step by brute force."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.spec import EmbeddingSpec

WORD = re.compile(r"\w+")


TOPIC = re.compile(r"topic\d+")


def _drawn(name: str, dimension: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dimension)


class BagEmbedder:
    """The mean of a text's word vectors, scaled to length 1; a word is a token, known words are the vocabulary."""

    def __init__(self, texts, *, dimension: int = 64) -> None:
        self.words = sorted({word for text in texts for word in WORD.findall(text.lower())})
        self._id_of = {word: number for number, word in enumerate(self.words)}
        self.table = np.stack([self._meaning(word, dimension) for word in self.words])
        self.spec = EmbeddingSpec(
            model="bag",
            weights=f"bag-{len(self.words)}-{dimension}",
            pooling="mean",
            attention="bidirectional",
            max_query_length=10_000,
            max_document_length=10_000,
            dimension=dimension,
        )
        self.encoded: list[str] = []

    @property
    def dimension(self) -> int:
        return self.spec.dimension

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        return self._vectors(texts)

    def encode_documents(self, texts, *, show_progress=False):
        self.encoded += list(texts)
        return self._vectors(texts)

    def token_gradients(self):
        return self

    def tokens(self, texts):
        known = [[self._id_of[word] for word in WORD.findall(text.lower()) if word in self._id_of] for text in texts]
        return [np.asarray(ids, dtype=np.int32) for ids in known]

    def texts(self, tokens):
        return [" ".join(self.words[token] for token in ids) for ids in tokens]

    def vectors(self, texts):
        return self._vectors(texts)

    def gains(self, text, *, place, direction):
        ids = self.tokens([text])[0]
        mean = self.table[ids].mean(axis=0)
        length = np.linalg.norm(mean)
        unit = mean / length
        slope = (direction - unit * (unit @ direction)) / length / len(ids)
        return (self.table @ slope).astype(np.float32)

    def _meaning(self, word, dimension):
        """Return a vector of the word's own and, where it is of a topic, the topic's."""
        topic = TOPIC.match(word)
        own = _drawn(word, dimension)
        return own if topic is None else own + _drawn(topic[0], dimension)

    def _vectors(self, texts):
        sums = np.stack([self.table[ids].sum(axis=0) for ids in self.tokens(texts)]) if len(texts) else np.empty((0, 1))
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32).reshape(len(texts), self.dimension)


def made_task(*, topics: int = 6, queries: int = 48, documents: int = 150, seed: int = 0) -> RetrievalTask:
    """Queries and documents about topics, words being drawn from the topic's own and from common ones."""
    generator = np.random.default_rng(seed)
    own = [[f"topic{topic}word{number}" for number in range(25)] for topic in range(topics)]
    common = [f"common{number}" for number in range(60)]

    def text(topic: int, of_topic: int, of_all: int) -> str:
        return " ".join([*generator.choice(own[topic], of_topic), *generator.choice(common, of_all)])

    corpus = [Document(f"d{number}", text(number % topics, 4, 10)) for number in range(documents)]
    examples = []
    for number in range(queries):
        gold = int(generator.integers(documents))
        asked = " ".join([text(gold % topics, 4, 2), *corpus[gold].content.split()[:5]])
        examples.append(Example(f"q{number}", asked, (f"d{gold}",)))
    return RetrievalTask("made", None, tuple(corpus), tuple(examples))


def bag_of(task: RetrievalTask) -> BagEmbedder:
    return BagEmbedder([*(one.content for one in task.documents), *(one.query for one in task.examples)])


@pytest.fixture(scope="session")
def task() -> RetrievalTask:
    return made_task()


@pytest.fixture
def bag(task: RetrievalTask) -> BagEmbedder:
    """An embedder that knows the words of the task."""
    return bag_of(task)


@pytest.fixture(scope="session")
def large_task() -> RetrievalTask:
    """Enough queries for an attack to be on topics rather than on single queries."""
    return made_task(queries=240, documents=300)


@pytest.fixture
def large_bag(large_task: RetrievalTask) -> BagEmbedder:
    return bag_of(large_task)


@pytest.fixture(scope="session")
def bag_for():
    """Make the embedder that knows a task's words: bag_for(task)."""
    return bag_of

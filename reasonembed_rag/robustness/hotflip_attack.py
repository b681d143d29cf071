"""Query-agnostic corpus poisoning by HotFlip (Zhong et al., EMNLP 2023), on cluster centres (Li et al., ECIR 2025).

The queries an attacker knows are put in clusters, and for each cluster one passage is written whose vector lies as near
to the centre as swaps of single tokens bring it. With inner products the mean similarity to a cluster's queries is the
similarity to their mean, so that the centre stands for the whole cluster without loss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import write_text
from reasonembed_rag.pipeline import k_means
from reasonembed_rag.protocols import Embedder

__all__ = [
    "GradientEmbedder",
    "Passage",
    "Poison",
    "PoisonJournal",
    "Progress",
    "TokenGradients",
    "attack_digest",
    "fitted",
    "hotflip",
    "random_tokens",
    "token_gradients",
]

Progress = Callable[[int, int], None]
"""Told (steps done, steps in all)."""

_SPARE = 1.5
"""Times as many swaps are written down as are to be tried: some are no text."""
_SETTLING = 8


class TokenGradients(Protocol):
    """An embedder's documents as tokens, with gradients."""

    def tokens(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's own token ids as they stand in a document."""

    def texts(self, tokens: Sequence[NDArray[np.int32]]) -> list[str]:
        """Return what token ids say."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, D) of documents."""

    def gains(self, text: str, *, place: int, direction: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (V,) how much direction (D,) times the text's vector rises with each token at a place, -inf for none.

        To first order, up to a term common to all tokens.
        """


@runtime_checkable
class GradientEmbedder(Protocol):
    """An embedder that can be differentiated; reasonembed_rag.encoder.Encoder is one."""

    def token_gradients(self) -> TokenGradients:
        """Return the embedder's documents as tokens, with gradients; raises InputError where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What is the same for all passages."""

    view: TokenGradients
    seed: int
    candidates: int

    def step(self, passage: Passage, centre_D: NDArray[np.float64], *, number: int) -> Passage:
        """Try the most promising swaps at one random place; keep the best where it is an improvement."""
        place_draw = np.random.default_rng([self.seed, number, passage.steps])
        tokens_L = self.view.tokens([passage.text])[0]
        place = int(place_draw.integers(len(tokens_L)))
        gains_V = self.view.gains(passage.text, place=place, direction=centre_D)
        gains_V[tokens_L[place]] = -np.inf
        texts = self._swapped(tokens_L, place, gains_V)
        similarities = self.view.vectors(texts) @ centre_D if texts else np.empty(0)
        if not len(similarities) or similarities.max() <= passage.similarity:
            return passage.grown(passage.text, passage.similarity)
        best = int(similarities.argmax())
        return passage.grown(texts[best], float(similarities[best]))

    def _swapped(self, tokens_L: NDArray[np.int32], place: int, gains_V: NDArray[np.float32]) -> list[str]:
        """Return the texts of the best swaps: only such as give just these tokens when they are read again."""
        order = np.argsort(-gains_V, kind="stable")[: int(_SPARE * self.candidates)]
        order = order[gains_V[order] > -np.inf]
        swapped_CL = np.repeat(tokens_L[None], len(order), axis=0)
        swapped_CL[:, place] = order
        texts = self.view.texts(list(swapped_CL))
        read = self.view.tokens(texts)
        same = [text for text, ids, want in zip(texts, read, swapped_CL, strict=True) if np.array_equal(ids, want)]
        return same[: self.candidates]


def hotflip(  # noqa: PLR0913 - the one door to the attack: each setting is one of the papers'
    encoder: Embedder,
    queries: Sequence[str],
    corpus: Sequence[Document],
    *,
    passages: int = 10,
    tokens: int = 50,
    steps: int = 5000,
    candidates: int = 100,
    seed: int = 0,
    starts: Sequence[str] | None = None,
    instruction: str | None = None,
    checkpoint: Path | None = None,
    on_progress: Progress | None = None,
) -> Poison:
    """Write `passages` texts of about `tokens` tokens that the queries of a model find wherever they lie.

    Every passage starts from a text: with `starts`, one a query, that of the query nearest to the cluster's centre (its
    gold passage, say), else from a document drawn from the corpus. Each of `steps` steps ranks the tokens for one
    random place by first-order gain, encodes the best `candidates` as texts and keeps the best one that is better than
    what stands. With a checkpoint file the same call, or one of more steps, goes on where a killed one was, and comes
    to the same passages. Raises InputError, before any work, for an embedder without gradients and for settings that
    cannot be met; a checkpoint of another attack is refused.
    """
    view = token_gradients(encoder)
    _check(queries, corpus, passages=passages, tokens=tokens, steps=steps, candidates=candidates, starts=starts)
    words = instruction if encoder.spec.takes_instruction else None
    vectors_QD = encoder.encode_queries(list(queries), instruction=words)
    clusters = k_means(vectors_QD, passages, seed=seed)
    texts = _first_texts(clusters.centres, vectors_QD, corpus, starts=starts, seed=seed)
    journal = PoisonJournal(
        checkpoint,
        digest=attack_digest(encoder.spec.digest(), queries, texts, [words, passages, tokens, candidates, seed]),
    )
    search = _Search(view=view, seed=seed, candidates=candidates)
    done = journal.read(most_steps=steps)
    for number, (text, centre_D) in enumerate(zip(texts, clusters.centres, strict=True)):
        passage = done[number] if number < len(done) else _begun(view, text, centre_D, tokens=tokens)
        while passage.steps < steps:
            passage = search.step(passage, centre_D, number=number)
            journal.keep(number, passage, last=passage.steps == steps)
            if on_progress is not None:
                on_progress(number * steps + passage.steps, passages * steps)
        done[number : number + 1] = [passage]
    sizes = np.bincount(clusters.labels, minlength=passages)
    return Poison(tuple(done), tuple(sizes.tolist()))


def token_gradients(encoder: Embedder) -> TokenGradients:
    """Return an embedder's tokens with gradients; raises InputError, saying what to do, where it has none."""
    if not isinstance(encoder, GradientEmbedder):
        raise InputError(
            f"{type(encoder).__name__} ({encoder.spec.model}) gives no gradients; HotFlip wants a model in this "
            "process: Encoder.from_pretrained(...). Its passages can then be tried on any retriever"
        )
    return encoder.token_gradients()


def fitted(view: TokenGradients, text: str, *, tokens: int) -> str:
    """Return a text of about `tokens` tokens: repeated until it has as many, then cut until it reads as it was written.

    Raises InputError for a text without tokens.
    """
    ids = view.tokens([text])[0]
    if not len(ids):
        raise InputError(f"a passage starts from {text!r}, which has no token; want a text with words")
    repeats = -(-tokens // len(ids))
    ids = view.tokens([" ".join([text] * repeats)])[0][:tokens]
    for _ in range(_SETTLING):
        (text,) = view.texts([ids])
        read = view.tokens([text])[0]
        if np.array_equal(read, ids):
            break
        ids = read[:tokens]
    return text


def random_tokens(view: TokenGradients, text: str, *, count: int, tokens: int, seed: int = 0) -> tuple[str, ...]:
    """Return `count` texts of about `tokens` tokens drawn from all that could stand in `text`: what knows nothing."""
    direction_D = np.zeros(view.vectors([text]).shape[1])
    writable = np.flatnonzero(view.gains(text, place=0, direction=direction_D) > -np.inf)
    generator = np.random.default_rng([seed, 5])
    drawn = [generator.choice(writable, size=tokens).astype(np.int32) for _ in range(count)]
    return tuple(fitted(view, one, tokens=tokens) for one in view.texts(drawn))


def _begun(view: TokenGradients, text: str, centre_D: NDArray[np.float64], *, tokens: int) -> Passage:
    start = fitted(view, text, tokens=tokens)
    return Passage(start, start, (float(view.vectors([start])[0] @ centre_D),))


def _first_texts(
    centres_KD: NDArray[np.float64],
    vectors_QD: NDArray[np.float32],
    corpus: Sequence[Document],
    *,
    starts: Sequence[str] | None,
    seed: int,
) -> list[str]:
    if starts is None:
        rows = np.random.default_rng([seed, 1]).choice(len(corpus), size=len(centres_KD), replace=False)
        return [corpus[row].content for row in rows]
    nearest_K = (centres_KD @ vectors_QD.T).argmax(axis=1)
    return [starts[query] for query in nearest_K]


def _check(
    queries: Sequence[str], corpus: Sequence[Document], *, passages: int, starts: Sequence[str] | None, **counts: int
) -> None:
    for name, count in {"passages": passages, **counts}.items():
        if count < 1:
            raise InputError(f"{name} is {count}; want at least 1")
    if len(queries) < passages:
        raise InputError(f"got {len(queries)} queries for {passages} passages; want a query a passage at least")
    if starts is not None and len(starts) != len(queries):
        raise InputError(f"got {len(starts)} starts for {len(queries)} queries; want one a query")
    if starts is None and len(corpus) < passages:
        raise InputError(f"got {len(corpus)} documents for {passages} passages to start from; want more, or starts")


_EVERY = 20
"""Steps between two writings."""


@dataclass(frozen=True, slots=True)
class Passage:
    """An adversarial passage and how it came about."""

    text: str
    start: str
    history: tuple[float, ...]
    """Mean similarity to the cluster's queries, at the start and after every step."""

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.history) - 1

    @property
    def similarity(self) -> float:
        """Mean similarity to the cluster's queries now."""
        return self.history[-1]

    def grown(self, text: str, similarity: float) -> Passage:
        """Return the passage after one more step."""
        return Passage(text, self.start, (*self.history, similarity))


@dataclass(frozen=True, slots=True)
class Poison:
    """The passages of an attack, one a cluster, and how many queries each was written for."""

    passages: tuple[Passage, ...]
    cluster_sizes: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The passages as texts: what an attacker would put in a corpus."""
        return tuple(passage.text for passage in self.passages)

    @property
    def history(self) -> tuple[tuple[float, ...], ...]:
        """For each passage its mean similarity to the cluster's queries, at the start and after every step."""
        return tuple(passage.history for passage in self.passages)


def attack_digest(spec: str, queries: Sequence[str], texts: Sequence[str], settings: Sequence[object]) -> str:
    """Return 32 hexadecimal digits that change with the model, the queries, the first texts and the settings."""
    parts = json.dumps([spec, list(queries), list(texts), list(settings)]).encode()
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


class PoisonJournal:
    """A file that holds the passages so far; without a path nothing is kept."""

    def __init__(self, path: Path | None, *, digest: str) -> None:
        self._path = path
        self._digest = digest
        self._passages: list[Passage] = []

    def read(self, *, most_steps: int) -> list[Passage]:
        """Return the passages kept, the last of them half-way perhaps.

        Raises InputError for a file that is no such journal, one of another attack, and one that went further.
        """
        if self._path is None or not self._path.exists():
            return []
        try:
            fields: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            digest, rows = fields["digest"], fields["passages"]
            self._passages = [Passage(row["text"], row["start"], tuple(row["history"])) for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path}: not an attack's checkpoint ({error!r}); want another path") from error
        if digest != self._digest:
            raise InputError(
                f"{self._path}: belongs to another attack (model, queries, settings or starts differ); "
                "name another file, or delete it to begin anew"
            )
        if any(passage.steps > most_steps for passage in self._passages):
            furthest = max(passage.steps for passage in self._passages)
            raise InputError(f"{self._path}: went {furthest} steps already; want as many or more, or another file")
        return list(self._passages)

    def keep(self, number: int, passage: Passage, *, last: bool) -> None:
        """Take note of a passage; it is written down every so many steps, and at its last."""
        self._passages[number:] = [passage]
        if self._path is not None and (last or passage.steps % _EVERY == 0):
            rows = [asdict(one) for one in self._passages]
            write_text(json.dumps({"digest": self._digest, "passages": rows}, ensure_ascii=False), self._path)

"""Query-agnostic corpus poisoning by HotFlip (Zhong et al., EMNLP 2023), on cluster centres (Li et al., ECIR 2025).

The queries known to the attacker are clustered, and for each cluster a passage is optimised by swaps of single tokens
so that its vector comes close to the centre. With inner products, the mean similarity to a cluster's queries equals the
similarity to their mean, so that the centre represents the cluster without loss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import plain_record, record_from, write_text
from reasonembed_rag.pipeline import k_means
from reasonembed_rag.protocols import Embedder

__all__ = [
    "AttackCheckpoint",
    "AttackProgress",
    "DocumentGradients",
    "GradientEmbedder",
    "Poison",
    "PoisonPassage",
    "attack_digest",
    "fit_to_length",
    "hotflip",
    "random_tokens",
    "token_gradients",
]

AttackProgress = Callable[[int, int], None]
"""Called with (steps done, all steps)."""

_SPARE = 1.5
"""How many swaps are decoded per swap that is tried: some do not survive tokenization."""
_MOST_REPAIRS = 8
"""Rounds of decoding and tokenizing until a text is stable."""


class DocumentGradients(Protocol):
    """An embedder's documents as tokens, with gradients."""

    def tokens(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's token ids in a document, without those of the template."""

    def texts(self, tokens: Sequence[NDArray[np.int32]]) -> list[str]:
        """Return the texts of token ids."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, D) of documents."""

    def gains(self, text: str, *, place: int, direction: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (V,) how far each token at a position increases the text's similarity to direction (D,).

        To first order, up to a term common to all tokens; -inf for a token that cannot be there.
        """


@runtime_checkable
class GradientEmbedder(Protocol):
    """An embedder that can be differentiated; reasonembed_rag.encoder.Encoder is one."""

    def token_gradients(self) -> DocumentGradients:
        """Return the embedder's documents as tokens, with gradients; raises InputError if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """The settings common to all passages."""

    view: DocumentGradients
    seed: int
    candidates: int

    def step(self, passage: PoisonPassage, centre_D: NDArray[np.float64], *, number: int) -> PoisonPassage:
        """Try the most promising swaps at one random position; keep the best one if it is an improvement."""
        generator = np.random.default_rng([self.seed, number, passage.steps])
        tokens_L = self.view.tokens([passage.text])[0]
        place = int(generator.integers(len(tokens_L)))
        gains_V = self.view.gains(passage.text, place=place, direction=centre_D)
        gains_V[tokens_L[place]] = -np.inf
        texts = self._swapped(tokens_L, place, gains_V)
        similarities = self.view.vectors(texts) @ centre_D if texts else np.empty(0)
        if not len(similarities) or similarities.max() <= passage.similarity:
            return passage.grown(passage.text, passage.similarity)
        best = int(similarities.argmax())
        return passage.grown(texts[best], float(similarities[best]))

    def _swapped(self, tokens_L: NDArray[np.int32], place: int, gains_V: NDArray[np.float32]) -> list[str]:
        """Return the texts of the best swaps, only those that tokenize to the same tokens again."""
        order = np.argsort(-gains_V, kind="stable")[: int(_SPARE * self.candidates)]
        order = order[gains_V[order] > -np.inf]
        swapped_CL = np.repeat(tokens_L[None], len(order), axis=0)
        swapped_CL[:, place] = order
        texts = self.view.texts(list(swapped_CL))
        read = self.view.tokens(texts)
        same = [text for text, ids, want in zip(texts, read, swapped_CL, strict=True) if np.array_equal(ids, want)]
        return same[: self.candidates]


def hotflip(  # noqa: PLR0913 - the single entry point: each setting is one of the papers'
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
    on_progress: AttackProgress | None = None,
) -> Poison:
    """Optimise `passages` texts of about `tokens` tokens that a model finds for as many queries as possible.

    Every passage starts from a text: with `starts`, one per query, that of the query nearest to the cluster's centre
    (such as its gold document), else from a random document of the corpus. Each of `steps` steps ranks the tokens for
    one random position by first-order gain, encodes the best `candidates` as texts and keeps the best one if it is an
    improvement. With a checkpoint file, the same call, or one with more steps, resumes a killed one and arrives at the
    same passages. Raises InputError, before any work, for an embedder without gradients, for settings that are
    impossible, and for a checkpoint of another attack.
    """
    view = token_gradients(encoder)
    _check(queries, corpus, passages=passages, tokens=tokens, steps=steps, candidates=candidates, starts=starts)
    instruction = instruction if encoder.spec.takes_instruction else None
    vectors_QD = encoder.encode_queries(list(queries), instruction=instruction)
    clusters = k_means(vectors_QD, passages, seed=seed)
    texts = _first_texts(clusters.centres, vectors_QD, corpus, starts=starts, seed=seed)
    kept = AttackCheckpoint(
        checkpoint,
        digest=attack_digest(encoder.spec.digest(), queries, texts, [instruction, passages, tokens, candidates, seed]),
    )
    search = _Search(view=view, seed=seed, candidates=candidates)
    done = kept.read(most_steps=steps)
    for number, (text, centre_D) in enumerate(zip(texts, clusters.centres, strict=True)):
        passage = done[number] if number < len(done) else _started(view, text, centre_D, tokens=tokens)
        while passage.steps < steps:
            passage = search.step(passage, centre_D, number=number)
            kept.keep(number, passage, last=passage.steps == steps)
            if on_progress is not None:
                on_progress(number * steps + passage.steps, passages * steps)
        done[number : number + 1] = [passage]
    sizes = np.bincount(clusters.labels, minlength=passages)
    return Poison(tuple(done), tuple(sizes.tolist()))


def token_gradients(encoder: Embedder) -> DocumentGradients:
    """Return an embedder's tokens with gradients; raises InputError, with the cure, if it has none."""
    if not isinstance(encoder, GradientEmbedder):
        raise InputError(
            f"{type(encoder).__name__} ({encoder.spec.model}) has no gradients; HotFlip wants a model in this "
            "process: Encoder.from_pretrained(...). Its passages can then be tried on any retriever"
        )
    return encoder.token_gradients()


def fit_to_length(view: DocumentGradients, text: str, *, tokens: int) -> str:
    """Return a text of about `tokens` tokens: repeated to that length, then truncated until its tokens are stable.

    Raises InputError for a text without tokens.
    """
    ids = view.tokens([text])[0]
    if not len(ids):
        raise InputError(f"a passage starts from {text!r}, which has no tokens; want a text with words")
    repeats = -(-tokens // len(ids))
    ids = view.tokens([" ".join([text] * repeats)])[0][:tokens]
    for _ in range(_MOST_REPAIRS):
        (text,) = view.texts([ids])
        read = view.tokens([text])[0]
        if np.array_equal(read, ids):
            break
        ids = read[:tokens]
    return text


def random_tokens(view: DocumentGradients, text: str, *, count: int, tokens: int, seed: int = 0) -> tuple[str, ...]:
    """Return `count` texts of about `tokens` random tokens that may occur in `text`: an attack that knows nothing."""
    direction_D = np.zeros(view.vectors([text]).shape[1])
    allowed = np.flatnonzero(view.gains(text, place=0, direction=direction_D) > -np.inf)
    generator = np.random.default_rng([seed, 5])
    drawn = [generator.choice(allowed, size=tokens).astype(np.int32) for _ in range(count)]
    return tuple(fit_to_length(view, one, tokens=tokens) for one in view.texts(drawn))


def _started(view: DocumentGradients, text: str, centre_D: NDArray[np.float64], *, tokens: int) -> PoisonPassage:
    start = fit_to_length(view, text, tokens=tokens)
    return PoisonPassage(start, start, (float(view.vectors([start])[0] @ centre_D),))


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
        raise InputError(f"got {len(queries)} queries for {passages} passages; want at least one query per passage")
    if starts is not None and len(starts) != len(queries):
        raise InputError(f"got {len(starts)} starts for {len(queries)} queries; want one per query")
    if starts is None and len(corpus) < passages:
        raise InputError(
            f"got {len(corpus)} documents for {passages} passages to start from; want more documents, or starts"
        )


_SAVED_EVERY = 20
"""Steps between two writes of the checkpoint."""


@dataclass(frozen=True, slots=True)
class PoisonPassage:
    """An adversarial passage, its first text, and its similarities."""

    text: str
    start: str
    history: tuple[float, ...]
    """Mean similarity to the cluster's queries at the start and after every step."""

    @property
    def steps(self) -> int:
        """The number of steps done."""
        return len(self.history) - 1

    @property
    def similarity(self) -> float:
        """The current mean similarity to the cluster's queries."""
        return self.history[-1]

    def grown(self, text: str, similarity: float) -> PoisonPassage:
        """Return the passage after one more step."""
        return PoisonPassage(text, self.start, (*self.history, similarity))


@dataclass(frozen=True, slots=True)
class Poison:
    """The passages of an attack, one per cluster, and the number of queries in each cluster."""

    passages: tuple[PoisonPassage, ...]
    cluster_sizes: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The passages as texts, which the attacker puts into a corpus."""
        return tuple(passage.text for passage in self.passages)

    @property
    def history(self) -> tuple[tuple[float, ...], ...]:
        """Each passage's mean similarity to the cluster's queries at the start and after every step."""
        return tuple(passage.history for passage in self.passages)


def attack_digest(spec: str, queries: Sequence[str], texts: Sequence[str], settings: Sequence[object]) -> str:
    """Return 32 hexadecimal digits that depend on the model, the queries, the first texts and the settings."""
    parts = json.dumps([spec, list(queries), list(texts), list(settings)]).encode()
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class _Saved:
    """The content of a checkpoint file."""

    digest: str
    passages: tuple[PoisonPassage, ...]


class AttackCheckpoint:
    """A file with the passages so far; without a path nothing is written."""

    def __init__(self, path: Path | None, *, digest: str) -> None:
        self._path = path
        self._digest = digest
        self._passages: list[PoisonPassage] = []

    def read(self, *, most_steps: int) -> list[PoisonPassage]:
        """Return the saved passages, the last of which may be unfinished.

        Raises InputError for a file that is not a checkpoint, one of another attack, and one with more steps.
        """
        if self._path is None or not self._path.exists():
            return []
        try:
            table = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self._path}: not an attack's checkpoint ({error}); want another path") from error
        saved = record_from(_Saved, table, where=str(self._path), error=InputError)
        if saved.digest != self._digest:
            raise InputError(
                f"{self._path}: belongs to another attack (model, queries, settings or starts differ); "
                "name another file, or delete it to start again"
            )
        self._passages = list(saved.passages)
        if any(passage.steps > most_steps for passage in self._passages):
            furthest = max(passage.steps for passage in self._passages)
            raise InputError(f"{self._path}: has {furthest} steps already; want at least as many, or another file")
        return list(self._passages)

    def keep(self, number: int, passage: PoisonPassage, *, last: bool) -> None:
        """Update a passage; it is written every 20 steps and after its last."""
        self._passages[number:] = [passage]
        if self._path is not None and (last or passage.steps % _SAVED_EVERY == 0):
            saved = _Saved(self._digest, tuple(self._passages))
            write_text(json.dumps(plain_record(saved), ensure_ascii=False), self._path)

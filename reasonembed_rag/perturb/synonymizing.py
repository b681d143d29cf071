"""A tenth of a query's words replaced by synonyms, if another model finds that the meaning stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.perturb.edits import Acceptance, Edit, PerturbedQuery, UnchangedReason, edited, unchanged
from reasonembed_rag.perturb.hashed_random import keys_of, uniform
from reasonembed_rag.perturb.selection import chosen_words, reason_to_keep
from reasonembed_rag.perturb.thesaurus import Thesaurus
from reasonembed_rag.perturb.wording import Word, words_of
from reasonembed_rag.protocols import Embedder

__all__ = ["Synonyms", "synonymize"]

_ATTEMPTS = 5
"""Rewordings that the judge may reject before a query is left unchanged; each draws new words and synonyms."""
_THESAURUS, _SYNONYM = 0, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Synonyms:
    """Sources of synonyms, one drawn per query, and the model that judges the result."""

    thesauri: tuple[Thesaurus, ...]
    judge: Embedder | None
    threshold: float


def synonymize(texts: Sequence[str], *, seed: int, synonyms: Synonyms) -> tuple[list[PerturbedQuery], Acceptance]:
    """Return each text with max(int(0.1 n), 1) of its n words replaced, and how many rewordings were accepted.

    A rewording is accepted if the judge's cosine between it and the query is at least the threshold; without a judge
    all are. Stop words and queries that are not English are left unchanged.
    """
    words = [words_of(text) for text in texts]
    reasons: list[UnchangedReason | None] = [
        reason_to_keep(t, found, english=True) for t, found in zip(texts, words, strict=True)
    ]
    variants = [unchanged(text, reason or "no synonym known") for text, reason in zip(texts, reasons, strict=True)]
    pending = [place for place, reason in enumerate(reasons) if reason is None]
    judge = _Judge(synonyms.judge, synonyms.threshold, texts)
    proposed = accepted = 0
    for attempt in range(_ATTEMPTS):
        keys = keys_of([texts[place] for place in pending], seed=seed, purpose=f"synonymizing {attempt}")
        drawn = _rewordings(keys, [texts[p] for p in pending], [words[p] for p in pending], synonyms.thesauri)
        offers = [(place, offer) for place, offer in zip(pending, drawn, strict=True) if offer is not None]
        verdicts = judge.accepts(offers)
        proposed += len(offers)
        accepted += sum(verdicts)
        pending = []
        for (place, offer), verdict in zip(offers, verdicts, strict=True):
            variants[place] = offer if verdict else unchanged(texts[place], "no synonym accepted")
            if not verdict:
                pending.append(place)
        if not pending:
            break
    name = synonyms.judge.spec.model if synonyms.judge is not None else None
    return variants, Acceptance(name, synonyms.threshold, proposed, accepted)


class _Judge:
    """Compare rewordings with their queries; each query is encoded once."""

    def __init__(self, model: Embedder | None, threshold: float, texts: Sequence[str]) -> None:
        self._model = model
        self._threshold = threshold
        self._texts = texts
        self._known: dict[int, NDArray[np.float64]] = {}

    def accepts(self, offers: Sequence[tuple[int, PerturbedQuery]]) -> list[bool]:
        """Return a verdict for each (index of the query, rewording)."""
        if self._model is None or not offers:
            return [True] * len(offers)
        new = [place for place, _ in offers if place not in self._known]
        if new:
            encoded = _unit(self._model.encode_documents([self._texts[place] for place in new]))
            self._known.update(zip(new, encoded, strict=True))
        reworded = _unit(self._model.encode_documents([offer.text for _, offer in offers]))
        asked = np.stack([self._known[place] for place, _ in offers])
        cosines = np.einsum("nd,nd->n", asked, reworded)
        return [bool(cosine >= self._threshold) for cosine in cosines]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    lengths = np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    unit: NDArray[np.float64] = wide / lengths
    return unit


def _rewordings(
    keys: NDArray[np.uint64],
    texts: Sequence[str],
    words: Sequence[list[Word]],
    thesauri: tuple[Thesaurus, ...],
) -> list[PerturbedQuery | None]:
    """Return a rewording of each text, None where none of its words has a synonym."""
    sources = [thesauri[int(drawn * len(thesauri))] for drawn in uniform(keys, _THESAURUS).tolist()]
    known = [[_synonyms_of(word, source) for word in found] for found, source in zip(words, sources, strict=True)]
    chosen = chosen_words(keys, [[bool(of_word) for of_word in of_query] for of_query in known])
    rewordings: list[PerturbedQuery | None] = []
    for row, places in enumerate(chosen):
        drawn = uniform(keys[row : row + 1], np.asarray(sorted(places), dtype=np.int64) + _SYNONYM).tolist()
        edits = [
            Edit(
                words[row][place].start,
                "synonym",
                words[row][place].text,
                known[row][place][int(at * len(known[row][place]))],
            )
            for place, at in zip(sorted(places), drawn, strict=True)
        ]
        rewordings.append(edited(texts[row], sources[row].name, edits) if edits else None)
    return rewordings


def _synonyms_of(word: Word, thesaurus: Thesaurus) -> tuple[str, ...]:
    return () if word.is_stop_word else thesaurus.synonyms(word.text)

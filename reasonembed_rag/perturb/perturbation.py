"""Queries as other people might have typed them: five kinds of perturbation, seeded, with every edit recorded.

The kinds, their parameters and the seeds are those of Li, Eustratiadis, Fan and Kanoulas (arXiv 2604.16576).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.perturb.edits import PERTURBATION_KINDS, Acceptance, Perturbation, PerturbationKind, PerturbedQuery
from reasonembed_rag.perturb.misspelling import misspell
from reasonembed_rag.perturb.paraphrasing import Paraphraser, paraphrase
from reasonembed_rag.perturb.rearranging import naturalize, reorder
from reasonembed_rag.perturb.synonymizing import Synonyms, synonymize
from reasonembed_rag.perturb.thesaurus import Thesaurus, find_thesaurus
from reasonembed_rag.protocols import Embedder

__all__ = ["SEEDS", "Rewording", "perturb"]

SEEDS: tuple[int, ...] = (1999, 5, 27, 2016, 2026)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewording:
    """Sources of other words: thesauri, a judge of their synonyms, and a paraphraser."""

    thesauri: tuple[Thesaurus, ...] = ()
    """Empty: WordNet or a mythes thesaurus, if the system has one."""
    judge: Embedder | None = None
    """An embedding model, never the one under test; None accepts every synonym."""
    threshold: float = 0.7
    """The lowest accepted cosine between a query and its rewording, by the judge."""
    paraphraser: Paraphraser | None = None
    workers: int = 1
    """Queries that are paraphrased at once, each in its own thread."""

    def __post_init__(self) -> None:
        if not -1.0 <= self.threshold <= 1.0:
            raise InputError(f"threshold is {self.threshold}; want a cosine between -1 and 1")
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; want at least 1")


def perturb(
    queries: Sequence[str],
    kind: PerturbationKind,
    *,
    seed: int = SEEDS[0],
    rewording: Rewording | None = None,
) -> Perturbation:
    """Return the queries after one kind of perturbation; the result for a query depends only on the seed and the query.

    A query to which the kind does not apply stays unchanged, with the reason. Raises InputError for an unknown kind and
    for paraphrasing without a paraphraser, MissingDependencyError for synonymizing without a thesaurus, ChatError where
    the paraphraser fails for every query.
    """
    if isinstance(queries, str):
        raise InputError("queries is one string; want a sequence of them: [query]")
    rewording = rewording or Rewording()
    variants, acceptance = _variants(list(queries), kind, seed, rewording)
    return Perturbation(kind, seed, tuple(variants), acceptance)


def _variants(
    queries: list[str], kind: PerturbationKind, seed: int, rewording: Rewording
) -> tuple[list[PerturbedQuery], Acceptance | None]:
    match kind:
        case "misspelling":
            return misspell(queries, seed=seed), None
        case "reordering":
            return reorder(queries, seed=seed), None
        case "naturalizing":
            return naturalize(queries), None
        case "synonymizing":
            thesauri = rewording.thesauri or (find_thesaurus(),)
            synonyms = Synonyms(thesauri=thesauri, judge=rewording.judge, threshold=rewording.threshold)
            return synonymize(queries, seed=seed, synonyms=synonyms)
        case "paraphrasing":
            if rewording.paraphraser is None:
                raise InputError("paraphrasing needs a paraphraser: any function from text to text, or a chat model")
            return paraphrase(queries, rewording.paraphraser, workers=rewording.workers), None
        case _:
            raise InputError(f"kind is {kind!r}; {want_one_of(kind, PERTURBATION_KINDS)}")

"""Queries as other people would have typed them: five kinds of perturbation, seeded, every edit recorded.

The kinds, their parameters and the seeds are those of Li, Eustratiadis, Fan and Kanoulas (arXiv 2604.16576).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasonembed_rag.errors import InputError
from reasonembed_rag.perturb.edits import KINDS, Acceptance, Kind, Perturbation, Variant
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
    """What other words come from: thesauri and the judge of their synonyms, and a paraphraser."""

    thesauri: tuple[Thesaurus, ...] = ()
    """Empty: WordNet or a mythes thesaurus, where the system has one."""
    judge: Embedder | None = None
    """A sentence model, never the one under test; None accepts every synonym."""
    threshold: float = 0.7
    """The least cosine that the judge must find between a query and its rewording."""
    paraphraser: Paraphraser | None = None
    workers: int = 1
    """How many queries the paraphraser is given at once, each in a thread of its own."""

    def __post_init__(self) -> None:
        if not -1.0 <= self.threshold <= 1.0:
            raise InputError(f"threshold is {self.threshold}; want a cosine between -1 and 1")
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; want at least 1")


def perturb(
    queries: Sequence[str],
    kind: Kind,
    *,
    seed: int = SEEDS[0],
    rewording: Rewording | None = None,
) -> Perturbation:
    """Return the queries after one kind of perturbation; what it does to a query depends on the seed and that query.

    A query to which the kind does not apply stays as it is, and says why. Raises InputError for an unknown kind and for
    paraphrasing without a paraphraser, MissingDependencyError for synonymizing without a thesaurus, ChatError where the
    paraphraser fails throughout.
    """
    if isinstance(queries, str):
        raise InputError("queries is one string; want a sequence of them: [query]")
    rewording = rewording or Rewording()
    variants, acceptance = _variants(list(queries), kind, seed, rewording)
    return Perturbation(kind, seed, tuple(variants), acceptance)


def _variants(
    queries: list[str], kind: Kind, seed: int, rewording: Rewording
) -> tuple[list[Variant], Acceptance | None]:
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
            raise InputError(f"kind is {kind!r}; want one of {', '.join(KINDS)}")

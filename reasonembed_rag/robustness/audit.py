"""The poisoning audit: attacks on copies of an index, defences, and their cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import HEADLINE, Example, RetrievalTask, score_rankings
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline import HitFilter, HubScan, NearDuplicateFilter, TrustFilter, count_hubs, ranks_of
from reasonembed_rag.protocols import Embedder, Retriever
from reasonembed_rag.robustness.hotflip_attack import (
    AttackProgress,
    DocumentGradients,
    Poison,
    fit_to_length,
    hotflip,
    random_tokens,
    token_gradients,
)
from reasonembed_rag.robustness.poison import (
    KS,
    BuildIndex,
    CachedEmbedder,
    as_build,
    poisoned_copy,
    poisoned_rag,
    random_texts,
    success_rates,
)
from reasonembed_rag.robustness.report import AttackScore, DefenceScore, PoisonReport

__all__ = ["AttackText", "AuditSettings", "halve_examples", "poison_audit"]

AttackText = Callable[[str, int], str]
"""(query, number) to a text that the attacker wants a language model to believe."""

_COPIES = 5
"""PoisonedRAG's passages per query."""
_TEXT_WORDS = 30
_TOP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """The strength of the attacks, the cutoffs, and the hubness guard's thresholds."""

    passages: int = 10
    tokens: int = 50
    steps: int = 100
    """HotFlip steps per passage; the papers' 5,000 need a GPU, 100 are enough to see whether a model is vulnerable."""
    candidates: int = 100
    seed: int = 0
    ks: tuple[int, ...] = KS
    hub_k: int = 50
    """Results counted per query in the hubness scan: more than are shown, since passages at low ranks of many queries
    differ from clean documents more clearly than at 20, but far fewer than there are documents."""
    hub_z: float = 6.0
    hub_share: float = 0.045
    """Documents at or above both thresholds are flagged."""


@dataclass(frozen=True, slots=True)
class _Index:
    """A copy of the corpus with the passages of an attack, or none, searched once for all measured queries."""

    name: str
    retriever: Retriever
    documents: Sequence[Document]
    poison_ids: tuple[str, ...]
    hits: list[Hits]
    reference_hits: list[Hits]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audit:
    """What all parts of an audit have in common."""

    build: BuildIndex
    embedder: Embedder
    documents: Sequence[Document]
    measured: Sequence[Example]
    reference: Sequence[Example]
    """The guard's queries other than the measured ones."""
    settings: AuditSettings
    depth: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", max(*self.settings.ks, self.settings.hub_k, _TOP))

    def index(self, name: str, poison: Sequence[str]) -> _Index:
        documents = poisoned_copy(self.documents, poison) if poison else list(self.documents)
        retriever = self.build(documents)
        own = tuple(document.id for document in documents[len(self.documents) :])
        hits, reference_hits = (self.search(retriever, examples) for examples in (self.measured, self.reference))
        return _Index(name, retriever, documents, own, hits, reference_hits)

    def search(self, retriever: Retriever, examples: Sequence[Example], *, without: Collection[str] = ()) -> list[Hits]:
        if not examples:
            return []
        excluded = [(*example.excluded_ids, *without) for example in examples]
        return retriever.search([example.query for example in examples], k=self.depth, excluded_ids=excluded)

    def scan(self, index: _Index) -> HubScan:
        return count_hubs([*index.hits, *index.reference_hits], k=self.settings.hub_k, documents=len(index.documents))

    def guarded(self, index: _Index) -> Mapping[int, list[Hits]]:
        """Return the rankings at each cutoff without the documents flagged by a hubness scan of the index."""
        flagged = self.scan(index).flagged(z=self.settings.hub_z, share=self.settings.hub_share)
        hits = self.search(index.retriever, self.measured, without=flagged)
        return {k: _truncated(hits, k) for k in (*self.settings.ks, _TOP)}

    def filtered(self, index: _Index, defence: HitFilter) -> Mapping[int, list[Hits]]:
        """Return the documents that a defence keeps of the k best, for each cutoff."""
        document_of = {document.id: document for document in index.documents}
        return {
            k: [_filtered(found, defence, document_of) for found in _truncated(index.hits, k)]
            for k in sorted({*self.settings.ks, _TOP})
        }

    def ndcg(self, hits: Sequence[Hits]) -> float | None:
        """Return the mean nDCG@10 over the judged measured queries; None if there are none."""
        gold = {example.id: example.gold_ids for example in self.measured if example.gold_ids}
        pairs = zip(self.measured, hits, strict=True)
        rankings = {example.id: found.ids for example, found in pairs if example.id in gold}
        if not rankings:
            return None
        return float(np.mean([values[HEADLINE] for values in score_rankings(rankings, gold).values()]))


def poison_audit(  # noqa: PLR0913 - the single entry point: attacker, guard and target are set here
    encoder: Embedder,
    task: RetrievalTask,
    *,
    system: BuildIndex | None = None,
    settings: AuditSettings | None = None,
    attackers: Sequence[Example] | None = None,
    reference: Sequence[Example] = (),
    attack_text: AttackText | None = None,
    checkpoint: Path | None = None,
    on_progress: AttackProgress | None = None,
) -> PoisonReport:
    """Attack copies of a task's corpus and measure the success, with and without defences.

    `attackers` are the queries that the attacker knows, such as a training split's, by default a seeded half of the
    task's. The task's other queries are measured. The hubness guard scans with them and with `reference`, further
    queries that users ask and the attacker has not seen. HotFlip optimises its passages against `encoder`, starting
    from gold documents. The target is an exact search with the encoder, or `system`, a function from documents to a
    retriever (each attack gets a new index). attack_text returns PoisonedRAG's texts, by default the first words of
    random documents. Raises InputError, before any work, for an encoder without gradients and for fewer than two
    queries per passage.
    """
    chosen = settings or AuditSettings()
    view = token_gradients(encoder)
    known, measured = (
        _split_queries(task.examples, chosen) if attackers is None else (list(attackers), list(task.examples))
    )
    cached = CachedEmbedder(encoder)
    instruction = task.card.instruction if task.card else None
    poison = hotflip(
        encoder,
        [example.query for example in known],
        task.documents,
        passages=chosen.passages,
        tokens=chosen.tokens,
        steps=chosen.steps,
        candidates=chosen.candidates,
        seed=chosen.seed,
        starts=_gold_texts(known, task.documents, seed=chosen.seed),
        instruction=instruction,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    build = system or as_build(cached, instruction=instruction)
    audit = _Audit(
        build=build,
        embedder=cached,
        documents=task.documents,
        measured=measured,
        reference=reference,
        settings=chosen,
    )
    attacks = {
        "hotflip": poison.texts,
        **_baselines(view, poison.texts[0], task.documents, chosen),
        "poisoned_rag": _query_specific(measured, task.documents, attack_text, seed=chosen.seed),
    }
    return _report(audit, poison, attacks, task=task.name, known=len(known))


def _report(
    audit: _Audit, poison: Poison, attacks: Mapping[str, Sequence[str]], *, task: str, known: int
) -> PoisonReport:
    """Search the corpus clean and with each attack's passages, the first of which are `poison`, and measure."""
    settings, measured = audit.settings, len(audit.measured)
    clean = audit.index("clean", ())
    poisoned = [audit.index(name, texts) for name, texts in attacks.items()]
    return PoisonReport(
        task=task,
        model=audit.embedder.spec.model,
        queries=measured,
        attacker_queries=known,
        guard_queries=measured + len(audit.reference),
        documents=len(audit.documents),
        tokens=settings.tokens,
        steps=settings.steps,
        candidates=settings.candidates,
        seed=settings.seed,
        clean_ndcg=audit.ndcg(_truncated(clean.hits, _TOP)),
        attacks=tuple(_attack_score(index, attacks[index.name][0], ks=settings.ks) for index in poisoned),
        defences=_defences(audit, clean, poisoned),
        hub_k=settings.hub_k,
        hub_z=settings.hub_z,
        hub_share=settings.hub_share,
        hub_ranks=ranks_of(audit.scan(poisoned[0]), poisoned[0].poison_ids),
        similarity=_similarity(poison),
    )


def _baselines(
    view: DocumentGradients, text: str, documents: Sequence[Document], settings: AuditSettings
) -> dict[str, tuple[str, ...]]:
    """Return attacks equal to HotFlip's passages, such as `text`, in number and length that optimise nothing."""
    count, tokens, seed = settings.passages, settings.tokens, settings.seed
    drawn = random_texts(documents, count=count, words=tokens, seed=seed)
    return {
        "random": random_tokens(view, text, count=count, tokens=tokens, seed=seed),
        "corpus_words": tuple(fit_to_length(view, drawn_text, tokens=tokens) for drawn_text in drawn),
    }


def _attack_score(index: _Index, example: str, *, ks: Sequence[int]) -> AttackScore:
    success = success_rates(index.hits, index.poison_ids, ks=ks)
    return AttackScore(name=index.name, passages=len(index.poison_ids), success=success, example=example)


def _defences(audit: _Audit, clean: _Index, poisoned: Sequence[_Index]) -> tuple[DefenceScore, ...]:
    embed = audit.embedder.encode_documents
    filters: dict[str, HitFilter] = {
        "trust_filter": TrustFilter(embed=embed),
        "near_duplicates": NearDuplicateFilter(embed=embed),
    }
    ways: dict[str, Callable[[_Index], Mapping[int, list[Hits]]]] = {
        "trust_filter": lambda index: audit.filtered(index, filters["trust_filter"]),
        "hubness_guard": audit.guarded,
        "near_duplicates": lambda index: audit.filtered(index, filters["near_duplicates"]),
    }
    scores = []
    for name, behind in ways.items():
        left = behind(clean)[_TOP]
        success = {index.name: _rates_at(behind(index), index.poison_ids, audit.settings.ks) for index in poisoned}
        dropped = _dropped(_truncated(clean.hits, _TOP), left)
        scores.append(DefenceScore(name=name, success=success, clean_ndcg=audit.ndcg(left), clean_dropped=dropped))
    return tuple(scores)


def _rates_at(hits_at: Mapping[int, list[Hits]], poison_ids: Collection[str], ks: Sequence[int]) -> dict[int, float]:
    return {k: success_rates(hits_at[k], poison_ids, ks=(k,))[k] for k in ks}


def _truncated(hits: Sequence[Hits], k: int) -> list[Hits]:
    return [found[:k] for found in hits]


def _filtered(found: Hits, defence: HitFilter, document_of: Mapping[str, Document]) -> Hits:
    return found.take(defence.keep([document_of[identity] for identity in found.ids]))


def _dropped(before: Sequence[Hits], after: Sequence[Hits]) -> float:
    """Return the share of the documents ranked before that are not ranked after."""
    total = sum(len(found.ids) for found in before)
    dropped = sum(len(set(one.ids) - set(other.ids)) for one, other in zip(before, after, strict=True))
    return dropped / total if total else 0.0


def halve_examples(examples: Sequence[Example], *, seed: int) -> tuple[list[Example], list[Example]]:
    """Return two random halves of examples, each in its original order; the first is the smaller one."""
    half = len(examples) // 2
    order = np.random.default_rng([seed, 2]).permutation(len(examples))
    return [examples[row] for row in sorted(order[:half])], [examples[row] for row in sorted(order[half:])]


def _split_queries(examples: Sequence[Example], settings: AuditSettings) -> tuple[list[Example], list[Example]]:
    """Return the attacker's half of the queries, and the measured half."""
    if len(examples) // 2 < settings.passages:
        raise InputError(
            f"{len(examples)} queries leave the attacker {len(examples) // 2} for {settings.passages} passages; "
            "want at least two queries per passage: fewer passages, or a larger task"
        )
    return halve_examples(examples, seed=settings.seed)


def _gold_texts(examples: Sequence[Example], documents: Sequence[Document], *, seed: int) -> list[str]:
    """Return a gold document's text for each query, that of a random document where none is in the corpus."""
    content_of = {document.id: document.content for document in documents if document.content.strip()}
    drawn = np.random.default_rng([seed, 3]).choice(np.asarray(list(content_of), dtype=object), size=len(examples))
    starts = []
    for example, other in zip(examples, drawn, strict=True):
        gold = next((identity for identity in example.gold_ids if identity in content_of), other)
        starts.append(content_of[gold])
    return starts


def _query_specific(
    measured: Sequence[Example], documents: Sequence[Document], attack_text: AttackText | None, *, seed: int
) -> tuple[str, ...]:
    queries = [example.query for example in measured]
    if attack_text is not None:
        return poisoned_rag(queries, [[attack_text(query, number) for number in range(_COPIES)] for query in queries])
    rows_QC = np.random.default_rng([seed, 4]).integers(len(documents), size=(len(queries), _COPIES))
    texts = [[" ".join(documents[row].content.split()[:_TEXT_WORDS]) for row in rows_C] for rows_C in rows_QC]
    return poisoned_rag(queries, texts)


def _similarity(poison: Poison) -> tuple[tuple[float, float], ...]:
    return tuple((passage.history[0], passage.similarity) for passage in poison.passages)

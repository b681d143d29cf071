"""Robustness reports of one retriever on one task, and their JSON files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import Environment, Interval, Report, RetrievalTask, System, TaskFacts
from reasonembed_rag.files import plain_record, record_from, write_text
from reasonembed_rag.perturb import Acceptance, Perturbation, PerturbationKind
from reasonembed_rag.robustness.embedding_geometry import Geometry

__all__ = [
    "AttackScore",
    "DefenceScore",
    "Drop",
    "KindResult",
    "PoisonReport",
    "RankingAgreement",
    "RobustnessReport",
    "read_robustness",
    "write_robustness",
    "write_variants",
]

_FORMAT = 1
_WANTED = "want the JSON that `reasonembed robustness` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A measure before and after a perturbation; the drop rate is (clean - perturbed) / clean, negative for a gain."""

    clean: float
    perturbed: float
    """Mean over the seeds."""
    rate: float | None
    """Mean over the seeds; None where the clean mean is 0."""
    interval: Interval | None
    """The 95 % interval over pairs of clean and perturbed queries, with fixed seeds."""
    deviation: float
    """Standard deviation of the rates over the seeds (n - 1); 0 for one seed."""
    seeds: tuple[float, ...]
    """The rate under each seed; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingAgreement:
    """Similarity of the rankings of clean and perturbed queries, 1 if they are equal; needs no judgements."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class KindResult:
    """The effect of one kind of perturbation."""

    kind: PerturbationKind
    changed: float
    """Number of changed queries, mean over the seeds."""
    kept: Mapping[str, int]
    """Number of unchanged queries by reason, summed over the seeds."""
    acceptance: Acceptance | None
    """Accepted synonyms, summed over the seeds."""
    drops: Mapping[str, Drop]
    """By measure; empty without judgements."""
    overlap_at_10: RankingAgreement
    rank_biased_overlap: RankingAgreement
    failed: int
    """Number of queries on which the retriever failed, summed over the seeds; they count 0."""
    per_query: Mapping[str, float]
    """The headline measure of each judged query, mean over the seeds."""
    example: tuple[str, str] | None
    """A query and its variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessReport:
    """The robustness of one retriever on one task, with everything needed to repeat the measurement."""

    task: TaskFacts
    system: System
    k: int
    seeds: tuple[int, ...]
    kinds: tuple[KindResult, ...]
    skipped: Mapping[str, str]
    """Kinds of perturbation that were not possible, with the reason."""
    clean: Report | None
    """The evaluation of the clean queries; None without judgements."""
    environment: Environment
    created: str
    """UTC, ISO 8601."""
    geometry: Mapping[str, Geometry] = field(default_factory=dict)
    """Geometry of the documents' and queries' vectors, where they are available; a diagnostic."""
    poison: PoisonReport | None = None
    """The poisoning audit, if one was run."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    variants: tuple[Perturbation, ...] = field(default=(), compare=False, repr=False)
    """Every perturbed query with its edits, in the task's order; written by write_variants, not to the JSON."""

    def kind(self, name: str) -> KindResult:
        """Return the result of a kind; raises EvaluationError if it was not measured."""
        for result in self.kinds:
            if result.kind == name:
                return result
        reason = self.skipped.get(name)
        raise EvaluationError(f"{name} was not measured{f': {reason}' if reason else ''}")

    def to_json(self) -> str:
        """Return the report as JSON; from_json reads it back."""
        fields = plain_record(dataclasses.replace(self, clean=None, variants=()))
        del fields["variants"]
        fields["clean"] = self.clean.to_fields() if self.clean else None
        return json.dumps({"format": _FORMAT, "robustness": True, **fields}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> RobustnessReport:
        """Read a report that to_json wrote; raises EvaluationError for anything else."""
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"not JSON ({error}); {_WANTED}") from error
        if not isinstance(fields, dict) or fields.get("robustness") is not True:
            raise EvaluationError(f"not a robustness report; {_WANTED}")
        if fields.get("format") != _FORMAT:
            raise EvaluationError(
                f"report format is {fields.get('format')!r}; want {_FORMAT}: measure again with this version"
            )
        clean = Report.from_fields(fields["clean"]) if fields.get("clean") else None
        table = {name: value for name, value in fields.items() if name not in {"format", "robustness", "clean"}}
        report = record_from(cls, {**table, "clean": None}, where="robustness report", error=EvaluationError)
        return dataclasses.replace(report, clean=clean)


def write_robustness(report: RobustnessReport, path: Path) -> None:
    """Write a report atomically; raises InputError where it cannot be written."""
    write_text(f"{report.to_json()}\n", path)


def read_robustness(path: Path) -> RobustnessReport:
    """Read a report file; raises InputError where there is none, EvaluationError where it is not a report."""
    try:
        return RobustnessReport.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror}); want a robustness report") from error
    except (EvaluationError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: {error}") from error


def write_variants(report: RobustnessReport, path: Path, *, task: RetrievalTask) -> None:
    """Write one JSON line per kind, seed and query of the report's task: its variant and edits, or why it is unchanged.

    Raises InputError where the file cannot be written.
    """
    lines = [
        json.dumps(
            {"kind": made.kind, "seed": made.seed, "id": example.id, **dataclasses.asdict(variant)}, ensure_ascii=False
        )
        for made in report.variants
        for example, variant in zip(task.examples, made.variants, strict=True)
    ]
    write_text("".join(f"{line}\n" for line in lines), path)


_HEADLINE_K = 20

_LABELS = {
    "hotflip": "HotFlip",
    "random": "random tokens",
    "corpus_words": "words of the corpus",
    "poisoned_rag": "PoisonedRAG",
    "trust_filter": "TrustRAG-style filter",
    "hubness_guard": "hubness guard",
    "near_duplicates": "near-duplicate removal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackScore:
    """One attack: the number of its passages, and the share of queries that found one of them."""

    name: str
    passages: int
    success: Mapping[int, float]
    """ASR@k: share of queries with an adversarial passage among their k best."""
    example: str
    """One of the passages."""

    @property
    def label(self) -> str:
        """The name in words."""
        return _LABELS.get(self.name, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenceScore:
    """One defence: the remaining success of each attack, and its cost on the clean corpus."""

    name: str
    success: Mapping[str, Mapping[int, float]]
    """ASR@k with the defence, by the attack's name."""
    clean_ndcg: float | None
    """nDCG@10 on the clean corpus with the defence; None without judgements."""
    clean_dropped: float
    """Share of the ten best clean documents that it removes."""

    @property
    def label(self) -> str:
        """The name in words."""
        return _LABELS.get(self.name, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonReport:
    """A poisoning audit of one retriever on one task."""

    task: str
    model: str
    queries: int
    """Measured queries; the attack was not optimised for them."""
    attacker_queries: int
    guard_queries: int
    """Queries of the hubness scan: the measured ones, and others unknown to the attacker."""
    documents: int
    tokens: int
    steps: int
    candidates: int
    seed: int
    clean_ndcg: float | None
    """nDCG@10 on the clean corpus without a defence; None without judgements."""
    attacks: tuple[AttackScore, ...]
    """hotflip; random (tokens of the vocabulary) and corpus_words (words of the corpus), equal to HotFlip's passages in
    number and length; poisoned_rag."""
    defences: tuple[DefenceScore, ...]
    """trust_filter, hubness_guard, near_duplicates."""
    hub_k: int
    hub_z: float
    hub_share: float
    """Settings of the hubness guard: results counted per query, and the minimum z and share of flagged documents."""
    hub_ranks: tuple[int | None, ...]
    """Rank of each HotFlip passage among all documents in the hubness scan, from 1; None if no query found it."""
    similarity: tuple[tuple[float, float], ...]
    """Mean similarity of each HotFlip passage to its cluster's queries, before and after the attack."""

    def attack(self, name: str) -> AttackScore:
        """Return an attack by name; raises EvaluationError for an unknown one."""
        found = {attack.name: attack for attack in self.attacks}
        if name not in found:
            raise EvaluationError(f"no attack {name!r}; the audit has {', '.join(found)}")
        return found[name]

    @property
    def factor(self) -> float | None:
        """HotFlip's ASR@20 over that of random tokens; None if both are 0 or were not measured at 20."""
        hotflip, random = (self.attack(name).success.get(_HEADLINE_K) for name in ("hotflip", "random"))
        if hotflip is None or random is None or hotflip == random == 0.0:
            return None
        return hotflip / random if random else float("inf")

    def blocked(self, defence: DefenceScore, attack: str) -> dict[int, float]:
        """Return how far a defence lowers an attack's ASR@k, for every k."""
        return {k: rate - defence.success[attack][k] for k, rate in self.attack(attack).success.items()}

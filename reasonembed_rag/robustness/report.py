"""What perturbations, poison and geometry show of one retriever on one task, and its JSON file."""

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
    "Agreement",
    "AttackScore",
    "DefenceScore",
    "Drop",
    "KindResult",
    "PoisonReport",
    "RobustnessReport",
    "read_robustness",
    "write_robustness",
    "write_variants",
]

_FORMAT = 1
_WANTED = "want the JSON that `reasonembed robustness` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A measure before and after a perturbation: the drop rate is (clean - perturbed) / clean, negative for a gain."""

    clean: float
    perturbed: float
    """Mean over the seeds."""
    rate: float | None
    """Mean over the seeds; None where the clean mean is 0."""
    interval: Interval | None
    """95 %, queries drawn in pairs of clean and perturbed, the seeds held."""
    deviation: float
    """Of the rates over the seeds, n - 1 in the denominator; 0 for one seed."""
    seeds: tuple[float, ...]
    """The rate under each seed; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How alike the rankings of clean and perturbed queries are, 1 for the same; needs no judgements."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class KindResult:
    """What one kind of perturbation did."""

    kind: PerturbationKind
    changed: float
    """Queries that were changed, mean over the seeds."""
    kept: Mapping[str, int]
    """Queries left as they are, by reason, summed over the seeds."""
    acceptance: Acceptance | None
    """Of synonyms, summed over the seeds."""
    drops: Mapping[str, Drop]
    """By measure; empty where nothing is judged."""
    overlap_at_10: Agreement
    rank_biased_overlap: Agreement
    failed: int
    """Queries for which the retriever failed, summed over the seeds; they count 0."""
    per_query: Mapping[str, float]
    """The headline measure of each judged query, mean over the seeds."""
    example: tuple[str, str] | None
    """A query and its variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessReport:
    """The robustness of one retriever on one task, with all that is needed to repeat it."""

    task: TaskFacts
    system: System
    k: int
    seeds: tuple[int, ...]
    kinds: tuple[KindResult, ...]
    skipped: Mapping[str, str]
    """Kinds that could not be made, with the reason."""
    clean: Report | None
    """The unperturbed evaluation; None where nothing is judged."""
    environment: Environment
    created: str
    """UTC, ISO 8601."""
    geometry: Mapping[str, Geometry] = field(default_factory=dict)
    """Of documents and queries, where the vectors could be had; a diagnostic."""
    poison: PoisonReport | None = None
    """The poisoning audit, where one was asked for."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    variants: tuple[Perturbation, ...] = field(default=(), compare=False, repr=False)
    """Every query of every kind and seed with its edits, in the task's order; not in the JSON, see write_variants."""

    def kind(self, name: str) -> KindResult:
        """Return the result of a kind; raises EvaluationError where it was not measured."""
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
    """Write a report whole or not at all; raises InputError where it cannot be written."""
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
    """Write one JSON line for each kind, seed and query of the report's task: its variant, edits, or why it was kept.

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


HEADLINE_K = 20

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
    """One attack: how many passages it put in, and how many queries found one of them."""

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
    """One defence: what is left of each attack behind it, and what it costs where nothing is poisoned."""

    name: str
    success: Mapping[str, Mapping[int, float]]
    """ASR@k behind the defence, by the attack's name."""
    clean_ndcg: float | None
    """nDCG@10 on the clean corpus behind the defence; None where nothing is judged."""
    clean_dropped: float
    """Share of the ten best documents of the clean corpus that it drops."""

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
    """Queries measured; the attack was not written for these."""
    attacker_queries: int
    guard_queries: int
    """What the hubness guard asks: the measured queries, and others that the attacker has not seen."""
    documents: int
    tokens: int
    steps: int
    candidates: int
    seed: int
    clean_ndcg: float | None
    """nDCG@10 on the clean corpus, undefended; None where nothing is judged."""
    attacks: tuple[AttackScore, ...]
    """hotflip; random (tokens drawn from the vocabulary) and corpus_words (words drawn from the corpus), both as many
    and as long as HotFlip's passages; poisoned_rag."""
    defences: tuple[DefenceScore, ...]
    """trust_filter, hubness_guard, near_duplicates."""
    hub_k: int
    hub_z: float
    hub_share: float
    """The hubness guard's: results a query counts, and the least z and share of a document that is flagged."""
    hub_ranks: tuple[int | None, ...]
    """Place of each HotFlip passage among all documents in the hubness scan, from 1; None: no query found it."""
    similarity: tuple[tuple[float, float], ...]
    """Of each HotFlip passage the mean similarity to its cluster's queries, before and after."""

    def attack(self, name: str) -> AttackScore:
        """Return an attack by name; raises EvaluationError for another."""
        found = {attack.name: attack for attack in self.attacks}
        if name not in found:
            raise EvaluationError(f"no attack {name!r}; the audit has {', '.join(found)}")
        return found[name]

    @property
    def factor(self) -> float | None:
        """HotFlip's ASR@20 over that of random text of the same length; None where both are 0 or 20 was not asked."""
        hotflip, random = (self.attack(name).success.get(HEADLINE_K) for name in ("hotflip", "random"))
        if hotflip is None or random is None or hotflip == random == 0.0:
            return None
        return hotflip / random if random else float("inf")

    def blocked(self, defence: DefenceScore, attack: str) -> dict[int, float]:
        """Return by how much a defence lowers an attack's ASR@k, for every k."""
        return {k: rate - defence.success[attack][k] for k, rate in self.attack(attack).success.items()}

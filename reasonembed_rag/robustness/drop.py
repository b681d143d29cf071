"""Measure how far a retriever's scores drop when its queries are perturbed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import EvaluationError, InputError, MissingDependencyError, want_one_of
from reasonembed_rag.evaluation import (
    HEADLINE,
    MEASURES,
    Interval,
    RetrievalTask,
    Run,
    RunOptions,
    RunProgress,
    System,
    bootstrap_intervals,
    describe_environment,
    rankings_of,
    resampled_means,
    run_retriever,
    score_rankings,
    score_run,
    task_facts,
)
from reasonembed_rag.perturb import (
    PERTURBATION_KINDS,
    SEEDS,
    Acceptance,
    Perturbation,
    PerturbationKind,
    Rewording,
    find_thesaurus,
    perturb,
)
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.robustness.overlap import overlap, rank_biased_overlap
from reasonembed_rag.robustness.report import Drop, KindResult, RankingAgreement, RobustnessReport

__all__ = ["RobustnessOptions", "drop_of", "robustness"]

_Similarity = Callable[[Sequence[str], Sequence[str]], float]

_SHOWN = (HEADLINE, "recall@10", "recall@100")
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessOptions:
    """How the queries are perturbed and the retriever is run."""

    kinds: tuple[PerturbationKind, ...] = PERTURBATION_KINDS
    seeds: tuple[int, ...] = SEEDS
    rewording: Rewording = field(default_factory=Rewording)
    asking: RunOptions = field(default_factory=lambda: RunOptions(k=100))

    def __post_init__(self) -> None:
        for name, values, known in (("kinds", self.kinds, PERTURBATION_KINDS), ("seeds", self.seeds, None)):
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} is {values!r}; want at least one, without repetitions")
            unknown = [value for value in values if known is not None and value not in known]
            if unknown:
                raise InputError(f"kind is {unknown[0]!r}; {want_one_of(unknown[0], PERTURBATION_KINDS)}")


def robustness(
    retriever: Retriever,
    task: RetrievalTask,
    *,
    system: System | str | None = None,
    options: RobustnessOptions | None = None,
    progress: RunProgress | None = None,
    command: str | None = None,
) -> RobustnessReport:
    """Run a task's queries through a retriever, clean and perturbed, and return how far its scores drop.

    With judgements, the drop rates of nDCG@10 and recall are measured; in any case, the similarity of the rankings. A
    kind without its thesaurus or paraphraser is skipped, and the report gives the reason. `system` describes the
    retriever: a System, a name, or by default the name of its class. Raises EvaluationError if every kind is skipped,
    InputError if the judge of synonyms is the model under test, and as run_retriever does.
    """
    options = options or RobustnessOptions()
    if not isinstance(system, System):
        system = System(name=system or type(retriever).__name__)
    judge = options.rewording.judge
    if judge is not None and system.spec is not None and judge.spec.space() == system.spec.space():
        raise InputError(
            f"the judge of synonyms is {judge.spec.model}, the model under test; want another sentence model, or none"
        )
    runs = _CachedRuns(retriever, task, options.asking, progress)
    made, skipped = _perturbations([example.query for example in task.examples], options)
    runs.expect(made)
    clean = runs.rankings([example.query for example in task.examples])
    judged = any(example.gold_ids for example in task.examples)
    return RobustnessReport(
        task=task_facts(task),
        system=system,
        k=options.asking.k,
        seeds=options.seeds,
        kinds=tuple(_KindMeasurement(task, clean, runs).result(of_kind) for of_kind in made.values()),
        skipped=skipped,
        clean=score_run(runs.clean_run(), task, system=system, command=command) if judged else None,
        environment=describe_environment(command),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=_notes(made, judged=judged),
        variants=tuple(perturbation for of_kind in made.values() for perturbation in of_kind),
    )


def drop_of(clean_Q: NDArray[np.float64], perturbed_SQ: NDArray[np.float64]) -> Drop:
    """Return the drop rate of a measure from its values clean (Q,) and under each seed (S, Q).

    The bootstrap draws queries in pairs; resamples whose clean mean is 0 have no rate and are left out.
    """
    clean, perturbed_Q = float(clean_Q.mean()), perturbed_SQ.mean(axis=0)
    if clean == 0.0:
        return Drop(clean=0.0, perturbed=float(perturbed_Q.mean()), rate=None, interval=None, deviation=0.0, seeds=())
    rates_S = 1.0 - perturbed_SQ.mean(axis=1) / clean
    means_R2 = resampled_means(np.stack([clean_Q, perturbed_Q], axis=1), _RESAMPLES, 0)
    means_R2 = means_R2[means_R2[:, 0] > 0.0]
    low, high = np.quantile(1.0 - means_R2[:, 1] / means_R2[:, 0], (0.025, 0.975))
    return Drop(
        clean=clean,
        perturbed=float(perturbed_Q.mean()),
        rate=float(rates_S.mean()),
        interval=Interval(float(low), float(high)),
        deviation=float(rates_S.std(ddof=1)) if len(rates_S) > 1 else 0.0,
        seeds=tuple(rates_S.tolist()),
    )


class _CachedRuns:
    """Runs the queries of a task in any wording, each wording of a query once."""

    def __init__(
        self, retriever: Retriever, task: RetrievalTask, options: RunOptions, progress: RunProgress | None
    ) -> None:
        self._retriever = retriever
        self._task = task
        self._options = options
        self._progress = progress
        self._done = self._total = 0
        self._runs: list[Run] = []
        self._rankings: dict[tuple[str, str], tuple[str, ...] | None] = {}

    def expect(self, made: Mapping[PerturbationKind, Sequence[Perturbation]]) -> None:
        """Count the queries to run, for the progress callback."""
        examples = self._task.examples
        wordings = {
            (example.id, text)
            for perturbations in made.values()
            for perturbation in perturbations
            for example, text in zip(examples, perturbation.texts, strict=True)
        }
        self._total = len(wordings | {(example.id, example.query) for example in examples})

    def rankings(self, texts: Sequence[str]) -> list[tuple[str, ...] | None]:
        """Return the ranking of each query in this wording, None for a failed one."""
        pairs = list(zip(self._task.examples, texts, strict=True))
        new = tuple(
            dataclasses.replace(example, query=text)
            for example, text in pairs
            if (example.id, text) not in self._rankings
        )
        if new:
            task = dataclasses.replace(self._task, examples=new)
            run = run_retriever(self._retriever, task, options=self._options, progress=self._report)
            self._done += len(new)
            self._runs.append(run)
            rankings = rankings_of(run, task)
            self._rankings |= {(example.id, example.query): rankings.get(example.id) for example in new}
        return [self._rankings[example.id, text] for example, text in pairs]

    def clean_run(self) -> Run:
        """Return the first run, that of the clean queries."""
        return self._runs[0]

    def _report(self, done: int, _total: int) -> None:
        if self._progress is not None:
            self._progress(self._done + done, self._total)


@dataclass(frozen=True, slots=True)
class _KindMeasurement:
    """Compares one kind of perturbation with the clean rankings."""

    task: RetrievalTask
    clean: Sequence[tuple[str, ...] | None]
    runs: _CachedRuns

    def result(self, perturbations: Sequence[Perturbation]) -> KindResult:
        rankings = [self.runs.rankings(perturbation.texts) for perturbation in perturbations]
        clean_QM = self._measures(self.clean)
        perturbed_SQM = np.stack([self._measures(of_seed) for of_seed in rankings])
        judged = [example.id for example in self.task.examples if example.gold_ids]
        headline = perturbed_SQM[:, :, _SHOWN.index(HEADLINE)].mean(axis=0).tolist() if judged else []
        shown = enumerate(_SHOWN if judged else ())
        drops = {measure: drop_of(clean_QM[:, column], perturbed_SQM[:, :, column]) for column, measure in shown}
        return KindResult(
            kind=perturbations[0].kind,
            changed=float(np.mean([perturbation.changed for perturbation in perturbations])),
            kept=dict(sorted(sum((Counter(one.kept) for one in perturbations), Counter[str]()).items())),
            acceptance=_accepted(perturbations),
            drops=drops,
            overlap_at_10=self._agreement(rankings, overlap),
            rank_biased_overlap=self._agreement(rankings, rank_biased_overlap),
            failed=sum(ranked is None for of_seed in rankings for ranked in of_seed),
            per_query=dict(zip(judged, headline, strict=True)),
            example=self._example(perturbations[0]),
        )

    def _measures(self, rankings: Sequence[tuple[str, ...] | None]) -> NDArray[np.float64]:
        """Return the shown measures (Q, M) of the judged queries; failed queries count 0."""
        gold = {example.id: example.gold_ids for example in self.task.examples if example.gold_ids}
        ranked = {
            example.id: ranking
            for example, ranking in zip(self.task.examples, rankings, strict=True)
            if example.id in gold and ranking is not None
        }
        scores = score_rankings(ranked, gold)
        zeros = dict.fromkeys(MEASURES, 0.0)
        rows = [[scores.get(query, zeros)[measure] for measure in _SHOWN] for query in gold]
        return np.asarray(rows, dtype=np.float64).reshape(len(gold), len(_SHOWN))

    def _agreement(
        self, rankings: Sequence[Sequence[tuple[str, ...] | None]], similarity: _Similarity
    ) -> RankingAgreement:
        """Return the mean similarity of the rankings over queries and seeds; failed queries count 0."""
        values_SQ = np.asarray(
            [
                [
                    similarity(before, after) if before is not None and after is not None else 0.0
                    for before, after in zip(self.clean, of_seed, strict=True)
                ]
                for of_seed in rankings
            ]
        )
        (interval,) = bootstrap_intervals([values_SQ.mean(axis=0)[:, None]])
        return RankingAgreement(mean=float(values_SQ.mean()), interval=interval)

    def _example(self, perturbation: Perturbation) -> tuple[str, str] | None:
        for example, variant in zip(self.task.examples, perturbation.variants, strict=True):
            if variant.kept is None:
                return example.query, variant.text
        return None


def _perturbations(
    queries: Sequence[str], options: RobustnessOptions
) -> tuple[dict[PerturbationKind, list[Perturbation]], dict[str, str]]:
    """Return each kind's perturbations by seed, and the reasons for skipping the others."""
    rewording = options.rewording
    skipped: dict[str, str] = {}
    if "paraphrasing" in options.kinds and rewording.paraphraser is None:
        skipped["paraphrasing"] = "no paraphraser was given"
    if "synonymizing" in options.kinds and not rewording.thesauri:
        try:
            rewording = dataclasses.replace(rewording, thesauri=(find_thesaurus(),))
        except MissingDependencyError as error:
            skipped["synonymizing"] = str(error)
    wanted = [kind for kind in options.kinds if kind not in skipped]
    if not wanted:
        raise EvaluationError(f"no kind of perturbation is possible: {'; '.join(skipped.values())}")
    made = {kind: [perturb(queries, kind, seed=seed, rewording=rewording) for seed in options.seeds] for kind in wanted}
    return made, skipped


def _accepted(perturbations: Sequence[Perturbation]) -> Acceptance | None:
    parts = [one.acceptance for one in perturbations if one.acceptance is not None]
    if not parts:
        return None
    return dataclasses.replace(
        parts[0],
        proposed=sum(part.proposed for part in parts),
        accepted=sum(part.accepted for part in parts),
    )


def _notes(made: Mapping[PerturbationKind, Sequence[Perturbation]], *, judged: bool) -> tuple[str, ...]:
    notes: list[str] = []
    if not judged:
        notes.append("no query has gold ids: rankings are compared with each other, their quality is not measured")
    synonyms = made.get("synonymizing", ())
    if any(one.acceptance is not None and one.acceptance.judge is None for one in synonyms):
        notes.append("synonyms were not judged by another model: all were accepted; name a judge")
    return tuple(notes)

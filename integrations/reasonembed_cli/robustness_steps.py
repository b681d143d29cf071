"""The steps of `reasonembed robustness`: perturbations, geometry, poison, and printing the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasonembed_cli.progress import progress_of, truncations_summed
from reasonembed_cli.system_choice import SystemChoice
from reasonembed_cli.systems import describe_system, open_retriever
from reasonembed_rag.errors import EvaluationError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from reasonembed_cli.progress import ProgressCallback
    from reasonembed_rag.documents import Document
    from reasonembed_rag.evaluation import Example, RetrievalTask
    from reasonembed_rag.protocols import Retriever
    from reasonembed_rag.robustness import PoisonReport, RobustnessOptions, RobustnessReport

__all__ = ["Attack", "measure_robustness", "show_robustness"]

_SHARED = "what reasonembed robustness poisons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """The requested poisoning audit; 0 passages for none."""

    passages: int
    steps: int
    others: tuple[Example, ...] | None
    """Queries of another split, half for the attacker and half for the hubness guard. None gives the attacker half of
    the task's own queries."""

    def __post_init__(self) -> None:
        if self.passages < 0 or self.steps < 1:
            raise InputError(
                f"poison is {self.passages} and poison_steps {self.steps}; want 0 or more passages and at least 1 step"
            )
        if self.others is not None and len(self.others) // 2 < self.passages:
            raise InputError(
                f"the poison's split has {len(self.others)} queries for {self.passages} passages; want two per "
                "passage at least, since half of them are the attacker's"
            )

    def check(self, choice: SystemChoice) -> None:
        """Raise InputError, before any work, if the system has no model with gradients."""
        if not self.passages:
            return
        if not choice.needs_model or choice.kind != "model":
            raise InputError(
                "poison is optimised with the gradients of a model; leave --poison out, or measure a model"
            )
        from reasonembed_rag.robustness import token_gradients

        token_gradients(choice.embedder)

    def audit(
        self, choice: SystemChoice, task: RetrievalTask, *, checkpoint: Path | None, progress: ProgressCallback
    ) -> PoisonReport:
        """Attack copies of the task's corpus, searched through the chosen framework."""
        from reasonembed_rag.encoder import EncoderSettings, share_embedder
        from reasonembed_rag.robustness import AuditSettings, CachedEmbedder, halve_examples, poison_audit

        encoder = choice.embedder
        settings = AuditSettings(passages=self.passages, steps=self.steps)
        known, reference = (None, []) if self.others is None else halve_examples(self.others, seed=settings.seed)
        with ExitStack() as stack:

            def build(documents: Sequence[Document]) -> Retriever:
                copy = dataclasses.replace(task, documents=documents)
                return stack.enter_context(open_retriever(kept, copy))

            # The copies differ in the poison alone: the frameworks' classes reuse the vectors of the other documents.
            share_embedder(_SHARED, CachedEmbedder(encoder))
            kept = SystemChoice(settings=EncoderSettings(model=_SHARED), through=choice.through, store=choice.store)
            return poison_audit(
                encoder,
                task,
                system=build if choice.through != "core" else None,
                settings=settings,
                attackers=known,
                reference=reference,
                checkpoint=checkpoint,
                on_progress=progress,
            )


def measure_robustness(
    choice: SystemChoice,
    task: RetrievalTask,
    options: RobustnessOptions,
    *,
    attack: Attack,
    geometry: bool,
    out: Path | None,
) -> RobustnessReport:
    """Measure a system on a task; the report is written after each step."""
    from reasonembed_rag.robustness import robustness, task_geometry, write_variants

    steps = [f"{task.name}: {step}" for step in ("encoding", "searching", "poisoning")]
    with (
        truncations_summed(task.name),
        progress_of(*steps) as (encoding, searching, poisoning),
    ):
        system = describe_system(choice, task)
        with open_retriever(choice, task, on_progress=encoding) as retriever:
            report = robustness(retriever, task, system=system, options=options, progress=searching)
        _write(report, out)
        if out is not None:
            write_variants(report, _path(report, out, ".variants.jsonl"), task=task)
        if geometry and choice.needs_model:
            figures = task_geometry(choice.embedder, task, cache=choice.cache)
            report = dataclasses.replace(report, geometry=figures)
            _write(report, out)
        if attack.passages:
            checkpoint = _path(report, out, ".hotflip.json") if out is not None else None
            audit = attack.audit(choice, task, checkpoint=checkpoint, progress=poisoning)
            report = dataclasses.replace(report, poison=audit)
            _write(report, out)
    return report


def show_robustness(reports: Sequence[RobustnessReport], out: Path | None, console: Console) -> None:
    """Print the first report, compare it with the others, and write one page of them all."""
    from reasonembed_cli import robustness_tables as tables
    from reasonembed_rag.files import write_text
    from reasonembed_rag.pages import robustness_page
    from reasonembed_rag.robustness import compare_models

    for report in reports:
        console.print(tables.kinds_table(report))
    own = reports[0]
    for note in tables.robustness_notes(own):
        console.print(note, style="yellow", markup=False, highlight=False)
    if own.geometry:
        console.print(tables.geometry_table(own))
    if own.poison is not None:
        console.print(tables.poison_table(own.poison))
    comparison = None
    if len(reports) > 1:
        try:
            comparison = compare_models([report.clean for report in (*reports[1:], own) if report.clean is not None])
        except EvaluationError as error:
            console.print(f"not compared: {error}", style="yellow", markup=False, highlight=False)
    if comparison is not None:
        console.print(tables.contrasts_table(comparison))
        console.print(tables.trades_table(comparison))
    if out is not None:
        path = _path(own, out, ".robustness.html")
        write_text(robustness_page(reports, comparison), path)
        console.print(f"{path}: open it in a browser", markup=False, highlight=False, soft_wrap=True)


def _write(report: RobustnessReport, out: Path | None) -> None:
    from reasonembed_rag.robustness import write_robustness

    if out is not None:
        write_robustness(report, _path(report, out, ".robustness.json"))


def _path(report: RobustnessReport, out: Path, suffix: str) -> Path:
    split = f".{report.task.split}" if report.task.split else ""
    return out / f"{report.task.name}{split}{suffix}"

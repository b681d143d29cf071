"""A folder of evaluation results: for each task a report, a run file, its best hits and a result in MTEB's layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reasonembed_rag.errors import InputError, ReasonEmbedError
from reasonembed_rag.evaluation.mteb import write_mteb_result
from reasonembed_rag.evaluation.report import Report, read_report, report_files, write_report
from reasonembed_rag.evaluation.run import Run
from reasonembed_rag.evaluation.scoring import judgement_digest
from reasonembed_rag.evaluation.task import RetrievalTask
from reasonembed_rag.evaluation.top_hits import TopHits, read_top_hits, top_hits_of, write_top_hits
from reasonembed_rag.evaluation.trec import read_run, write_run

__all__ = ["Results", "ResultsFolder", "find_run", "read_results"]

_HITS = ".top.json.gz"


@dataclass(frozen=True, slots=True)
class Results:
    """One system's reports, one per task, with the best hits of each by the task's label where they are known."""

    reports: tuple[Report, ...]
    top_hits: Mapping[str, TopHits] = field(default_factory=dict)

    def named(self, name: str) -> Results:
        """Return the results under another name of their system, to tell them apart from others of the same model."""
        reports = (replace(report, system=replace(report.system, name=name, through="core")) for report in self.reports)
        return Results(tuple(reports), self.top_hits)


def read_results(path: Path, *, load: Callable[[Report], RetrievalTask] | None = None) -> Results:
    """Read a report file, or a folder that ResultsFolder wrote, with the best hits beside each report.

    Where they are missing, as in folders of earlier versions, `load` returns the report's task, and the run file beside
    the report has its hits. Raises InputError for files that cannot be read, EvaluationError where report and hits do
    not belong together.
    """
    reports: list[Report] = []
    top_hits: dict[str, TopHits] = {}
    for file in report_files(path):
        report = read_report(file)
        reports.append(report)
        hits = _top_hits_beside(file, report, load)
        if hits is not None:
            hits.check_report(report)
            top_hits[report.task.label] = hits
    return Results(tuple(reports), top_hits)


def _top_hits_beside(file: Path, report: Report, load: Callable[[Report], RetrievalTask] | None) -> TopHits | None:
    kept, run = (file.with_name(f"{file.name.removesuffix('.json')}{suffix}") for suffix in (_HITS, ".run.gz"))
    if kept.is_file():
        return read_top_hits(kept)
    if load is None:
        return None
    return top_hits_of(read_run(run, k=report.k) if run.is_file() else None, load(report))


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """The results of one system, named for their tasks and splits."""

    path: Path

    def earlier(self, task: RetrievalTask, *, k: int) -> Report | None:
        """Return the report of an earlier run on the same task with the same k; None if there is no complete one.

        A report with failed queries is not complete, and one that cannot be read counts as missing. Whether it is of
        the same system is for the caller to compare.
        """
        path = self._file(task, ".json")
        if not path.is_file():
            return None
        try:
            report = read_report(path)
        except ReasonEmbedError:
            return None
        facts = report.task
        same = (
            report.k == k
            and facts.digest == judgement_digest(task)
            and (facts.query_source, facts.long, facts.revision) == (task.queries, task.long, task.revision)
            and facts.documents == (len(task.documents) or None)
            and not any(query.problem for query in report.queries)
        )
        return report if same else None

    def write(self, report: Report, run: Run, task: RetrievalTask) -> None:
        """Write a task's run file, best hits, MTEB result and report; the report last: it marks the task as done."""
        tag = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in report.system.name)
        write_run(run, self._file(task, ".run.gz"), tag=tag)
        write_top_hits(top_hits_of(run, task), self._file(task, _HITS))
        write_mteb_result(report, self._file(task, ".mteb.json"))
        write_report(report, self._file(task, ".json"))

    def _file(self, task: RetrievalTask, suffix: str) -> Path:
        return self.path / f"{task.name}{f'.{task.split}' if task.split else ''}{suffix}"


def find_run(folder: Path, task: str) -> Path:
    """Return the run file <task>.* of a folder, a TREC file rather than a score file (.json).

    Raises InputError if there is not exactly one.
    """
    files = sorted(f for f in folder.glob(f"{task}.*") if ".mteb." not in f.name and not f.name.endswith(_HITS))
    runs = [file for file in files if file.suffix != ".json"] or files
    if len(runs) != 1:
        found = ", ".join(file.name for file in runs) or "none"
        raise InputError(f"{folder}: want one run file {task}.*, found {found}")
    return runs[0]

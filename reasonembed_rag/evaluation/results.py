"""A folder of evaluation results: for each task a report, a run file and a result in MTEB's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.errors import InputError, ReasonEmbedError
from reasonembed_rag.evaluation.mteb import write_mteb_result
from reasonembed_rag.evaluation.report import Report, read_report, write_report
from reasonembed_rag.evaluation.run import Run
from reasonembed_rag.evaluation.scoring import judgement_digest
from reasonembed_rag.evaluation.task import RetrievalTask
from reasonembed_rag.evaluation.trec import write_run

__all__ = ["ResultsFolder", "find_run"]


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
        """Write a task's run file, MTEB result and report; the report last, since it marks the task as done."""
        tag = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in report.system.name)
        write_run(run, self._file(task, ".run.gz"), tag=tag)
        write_mteb_result(report, self._file(task, ".mteb.json"))
        write_report(report, self._file(task, ".json"))

    def _file(self, task: RetrievalTask, suffix: str) -> Path:
        return self.path / f"{task.name}{f'.{task.split}' if task.split else ''}{suffix}"


def find_run(folder: Path, task: str) -> Path:
    """Return the run file <task>.* of a folder, a TREC file rather than a score file (.json).

    Raises InputError if there is not exactly one.
    """
    files = sorted(file for file in folder.glob(f"{task}.*") if ".mteb." not in file.name)
    runs = [file for file in files if file.suffix != ".json"] or files
    if len(runs) != 1:
        found = ", ".join(file.name for file in runs) or "none"
        raise InputError(f"{folder}: want one run file {task}.*, found {found}")
    return runs[0]

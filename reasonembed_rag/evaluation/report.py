"""Evaluation reports of one system on one task, and their JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.environment import Environment
from reasonembed_rag.evaluation.significance import Interval
from reasonembed_rag.evaluation.slices import QuerySlice
from reasonembed_rag.files import plain_record, record_from, write_text
from reasonembed_rag.protocols import Usage
from reasonembed_rag.spec import EmbeddingSpec

__all__ = [
    "Latency",
    "QueryScore",
    "Report",
    "System",
    "TaskFacts",
    "read_report",
    "read_reports",
    "report_files",
    "write_report",
]

_FORMAT = 1
_WANTED = "want the JSON that `reasonembed eval run` wrote"
_OTHER_SUFFIXES = (".mteb.json", ".robustness.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The system under evaluation: its name, the framework it was called through, its model's spec and its settings."""

    name: str
    through: str = "core"
    spec: EmbeddingSpec | None = None
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name, with the framework it was called through unless that is the core."""
        return self.name if self.through == "core" else f"{self.name} ({self.through})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """The task in numbers; runs over the same judgements and exclusions have the same `digest`."""

    name: str
    split: str | None
    digest: str
    queries: int
    documents: int | None
    gold: int
    gold_not_in_corpus: int | None
    queries_without_gold: int
    query_source: str = "original"
    long: bool = False
    revision: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name, with the split where there is one."""
        return f"{self.name} ({self.split})" if self.split else self.name


@dataclass(frozen=True, slots=True)
class QueryScore:
    """One query: its measures, the number of documents found, its latency, and what went wrong."""

    id: str
    measures: Mapping[str, float]
    found: int
    seconds: float | None = None
    problem: str | None = None
    query_type: str | None = None
    """The kind of question; None in reports of earlier versions."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per query run on its own; the first of several is left out as a warm-up."""

    p50: float
    p95: float
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Per-query and mean measures of a system on a task, with everything needed to repeat them.

    mean_present averages over the queries with a ranking (official), mean_all over every judged query, those without a
    ranking counting 0 (trec_eval -c); both are rounded to 5 decimals, as the official result files are.
    intervals hold the 95 % bootstrap intervals of mean_present.
    """

    task: TaskFacts
    system: System
    k: int
    queries: tuple[QueryScore, ...]
    mean_present: Mapping[str, float]
    mean_all: Mapping[str, float]
    intervals: Mapping[str, Interval]
    slices: tuple[QuerySlice, ...]
    latency: Latency | None
    usage: Usage | None
    environment: Environment
    created: str
    """UTC, ISO 8601."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the run, as task.warnings are of the task."""

    def mean(self, measure: str) -> float:
        """Return a measure's mean over every judged query, not rounded.

        Values shown with fewer decimals are rounded from this one: rounding twice turns .316849 into 31.69.
        """
        return sum(query.measures[measure] for query in self.queries) / self.task.queries

    def too_few_hits(self, measure: str) -> int:
        """Return how many queries got fewer hits than the measure counts on; the failed ones are told apart.

        A corpus smaller than the measure's cutoff can give no more.
        """
        wanted = self._wanted(measure)
        return sum(query.found < wanted and query.problem is None for query in self.queries)

    def few_hits_note(self, measures: Iterable[str]) -> str | None:
        """Return a sentence on the measures for which queries got too few hits; None where none did.

        That rankings were truncated before a measure's cutoff is among the report's own notes.
        """
        names: dict[int, list[str]] = {}
        for measure in dict.fromkeys(measures):
            names.setdefault(self.too_few_hits(measure) if self._wanted(measure) <= self.k else 0, []).append(measure)
        few = "; ".join(f"{count:,} for {', '.join(alike)}" for count, alike in sorted(names.items()) if count)
        fewest = min((query.found for query in self.queries if query.problem is None), default=0)
        return (
            f"of {self.task.queries:,} queries, some got fewer hits than a measure looks at, which may read too low: "
            f"{few}; the fewest hits are {fewest:,}"
            if few
            else None
        )

    def _wanted(self, measure: str) -> int:
        _, at, cutoff = measure.partition("@")
        return min(int(cutoff), self.task.documents or int(cutoff)) if at else 0

    def costs(self) -> str:
        """Return the costs in one line: latency, encoding time, tokens, bytes, calls of language models."""
        usage = self.usage or Usage()
        known = (
            ("one query alone p50 {:.1f} ms", self.latency and 1000 * self.latency.p50),
            ("p95 {:.1f} ms", self.latency and 1000 * self.latency.p95),
            ("documents encoded in {:.1f} s", usage.encoding_seconds),
            ("{:,} document tokens", usage.document_tokens),
            ("{:,} query tokens", usage.query_tokens),
            ("index {:,} bytes", usage.index_bytes),
            ("{:,} calls of language models", usage.llm_calls),
            ("{:,} of their tokens", usage.llm_tokens),
            ("{:,.4f} paid for them", usage.llm_cost),
        )
        return ", ".join(text.format(value) for text, value in known if value is not None)

    def to_json(self) -> str:
        """Return the report as JSON; from_json reads it back."""
        return json.dumps(self.to_fields(), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read a report that to_json wrote; raises EvaluationError for anything else."""
        try:
            return cls.from_fields(json.loads(text))
        except json.JSONDecodeError as error:
            raise EvaluationError(f"not JSON ({error}); {_WANTED}") from error

    def to_fields(self) -> dict[str, Any]:
        """Return the report as what JSON can hold, with the format's number and the spec's digest."""
        fields = plain_record(self)
        spec = self.system.spec
        fields["system"]["digest"] = spec.digest() if spec else None
        if spec is not None:  # the defaults of newer fields are left out, as older versions read it
            own = fields["system"]["spec"]
            newer = {"query_map": None, "enrichment": None, "backend": "torch"}
            fields["system"]["spec"] = {
                name: value for name, value in own.items() if name not in newer or value != newer[name]
            }
        if self.environment.instruction_set is None:
            del fields["environment"]["instruction_set"]
        if self.usage is not None and self.usage.llm_cost is None:
            del fields["usage"]["llm_cost"]
        return {"format": _FORMAT, **fields}

    @classmethod
    def from_fields(cls, fields: object) -> Report:
        """Make a report of what JSON gave; raises EvaluationError for anything that to_fields did not return."""
        if not isinstance(fields, dict) or not isinstance(fields.get("system"), dict):
            raise EvaluationError(f"not a report; {_WANTED}")
        if fields.get("format") != _FORMAT:
            raise EvaluationError(
                f"report format is {fields.get('format')!r}; want {_FORMAT}: evaluate again with this version"
            )
        system = {name: value for name, value in fields["system"].items() if name != "digest"}
        table = {name: value for name, value in fields.items() if name != "format"} | {"system": system}
        return record_from(cls, table, where="report", error=EvaluationError)


def write_report(report: Report, path: Path) -> None:
    """Write a report atomically; raises InputError where it cannot be written."""
    write_text(f"{report.to_json()}\n", path)


def read_report(path: Path) -> Report:
    """Read a report file; raises InputError where there is none, EvaluationError where it is not a report."""
    try:
        return Report.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot read it ({error.strerror}); want a report, or the folder of reports that "
            "`reasonembed eval run --out` wrote"
        ) from error
    except (EvaluationError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: {error}") from error


def read_reports(path: Path) -> list[Report]:
    """Read a report file, or all of a folder by name; raises InputError where there is none.

    Result files in MTEB's layout and robustness reports in the folder are skipped.
    """
    return [read_report(file) for file in report_files(path)]


def report_files(path: Path) -> list[Path]:
    """Return the report files of a folder by name, or the file itself; raises InputError where there is none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.glob("*.json") if not file.name.endswith(_OTHER_SUFFIXES))
    if not files:
        raise InputError(f"{path}: holds no report; want the folder that `reasonembed eval run --out` wrote")
    return files

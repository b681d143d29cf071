"""The folder of a run: a file of records for each stage, and what the records depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reasonembed_rag.errors import StoreError, TrainingError
from reasonembed_rag.files import read_jsonl, replacing
from reasonembed_rag.llm import ResponseCache, TokenUsage
from reasonembed_training.remixer.config import STAGES, Stage
from reasonembed_training.remixer.records import StageOutcome

__all__ = ["FILE_OF_STAGE", "RunFolder", "StageState", "digest_of"]

T = TypeVar("T")

FILE_OF_STAGE: Mapping[Stage, str] = {
    "clean": "clean.jsonl",
    "sources": "sources.jsonl",
    "generate": "queries.jsonl",
    "reason": "reasoning.jsonl",
    "mine": "candidates.jsonl",
    "judge": "judgements.jsonl",
    "rows": "rows.jsonl",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """The result of a finished stage."""

    inputs: str
    """Digest of everything that its records depend on."""
    output: str
    """Digest of its file."""
    records: int
    drops: Mapping[str, int] = field(default_factory=dict)
    retryable: int = 0
    """Answers that are missing because of failures that may pass."""
    seconds: float = 0.0
    """Duration of the run that finished it."""
    spent: TokenUsage = field(default_factory=TokenUsage)
    """Usage of all runs for this stage and model."""
    failure: str | None = None
    """The message of its last failed call."""


class RunFolder:
    """Files of records in one folder, each written completely or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def cache_file(self) -> Path:
        """The file of the run's response cache."""
        return self.path / "journal.sqlite"

    def open_cache(self, *, corpus: str) -> ResponseCache:
        """Open the run's response cache for a corpus, by its digest; raises TrainingError where it cannot be used."""
        try:
            return ResponseCache.open(self.cache_file, corpus=corpus)
        except StoreError as error:
            raise TrainingError(f"{error}; or run into another folder") from error

    def file(self, stage: Stage) -> Path:
        """Return the file of a stage's records."""
        return self.path / FILE_OF_STAGE[stage]

    def states(self) -> dict[Stage, StageState]:
        """Return the finished stages; raises TrainingError where stages.json is damaged."""
        path = self.path / "stages.json"
        if not path.is_file():
            return {}
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return {stage: _state(table[stage]) for stage in STAGES if stage in table}
        except (ValueError, TypeError, LookupError) as error:
            raise TrainingError(
                f"{path}: damaged ({error}); delete it, the response cache keeps all answers"
            ) from error

    def finished(self, stage: Stage, *, inputs: str) -> StageState | None:
        """Return the state of a stage that was finished from these inputs without retryable failures."""
        state = self.states().get(stage)
        if state is None or state.inputs != inputs or state.retryable or not self.file(stage).is_file():
            return None
        return state

    def write(self, stage: Stage, outcomes: Iterable[StageOutcome[Any]], *, inputs: str) -> StageState:
        """Write a stage's records as they come; the stage is finished only once `note` has stored its state."""
        drops: Counter[str] = Counter()
        records = retryable = 0
        digest = hashlib.blake2b(digest_size=16)
        started = time.monotonic()
        with replacing(self.file(stage)) as file:
            for outcome in outcomes:
                drops.update(outcome.drops)
                retryable += outcome.retryable
                if outcome.record is not None:
                    line = _line(outcome.record)
                    digest.update(line)
                    file.write(line)
                    records += 1
        return StageState(
            inputs=inputs,
            output=digest.hexdigest(),
            records=records,
            drops=dict(sorted(drops.items())),
            retryable=retryable,
            seconds=round(time.monotonic() - started, 3),
        )

    def note(self, stage: Stage, state: StageState) -> None:
        """Store the state of a finished stage."""
        states = {**self.states(), stage: state}
        table = {name: _table(states[name]) for name in STAGES if name in states}
        with replacing(self.path / "stages.json") as file:
            file.write(json.dumps(table, indent=2).encode() + b"\n")

    def read(self, stage: Stage, kind: type[T]) -> Iterator[T]:
        """Yield a stage's records; raises TrainingError, naming file:line, for a damaged or missing one."""
        path = self.file(stage)
        if not path.is_file():
            raise TrainingError(f"{path}: no such file; run the stage {stage!r} first (`reasonembed remix run`)")
        for number, row in read_jsonl(path):
            try:
                yield kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})
            except TypeError as error:
                raise TrainingError(f"{path}:{number}: not a record of {stage!r} ({error}); delete the file") from error


def digest_of(*parts: Any) -> str:
    """Return a digest of plain data: 32 hexadecimal digits."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _table(state: StageState) -> dict[str, Any]:
    table = dataclasses.asdict(state)
    table["passing"] = table.pop("retryable")  # the key in folders of every version
    return table


def _state(table: Mapping[str, Any]) -> StageState:
    fields = {("retryable" if name == "passing" else name): value for name, value in dict(table).items()}
    return StageState(**{**fields, "spent": TokenUsage(**table["spent"])})


def _line(record: Any) -> bytes:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"

"""The folder of a run: a file of records for each stage, and what each was made from."""

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
from reasonembed_training.remixer.records import Outcome

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
    """What a finished stage left behind."""

    inputs: str
    """Digest of all that its records depend on."""
    output: str
    """Digest of its file."""
    records: int
    drops: Mapping[str, int] = field(default_factory=dict)
    passing: int = 0
    """Answers that are missing for a reason which may pass."""
    seconds: float = 0.0
    """How long the run took that finished it."""
    spent: TokenUsage = field(default_factory=TokenUsage)
    """What all runs paid for this stage and model."""
    failure: str | None = None
    """What the last of its failed calls said."""


class RunFolder:
    """Files of records under one folder, each written whole or not at all."""

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
        """Return the finished stages; raises TrainingError where stages.json is not one."""
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
        """Return the state of a stage that was finished from these inputs, nothing missing that may yet come."""
        state = self.states().get(stage)
        if state is None or state.inputs != inputs or state.passing or not self.file(stage).is_file():
            return None
        return state

    def write(self, stage: Stage, outcomes: Iterable[Outcome[Any]], *, inputs: str) -> StageState:
        """Write a stage's records as they come; the stage counts as finished only once it is noted."""
        drops: Counter[str] = Counter()
        records = passing = 0
        digest = hashlib.blake2b(digest_size=16)
        started = time.monotonic()
        self._sweep(stage)
        with replacing(self.file(stage)) as file:
            for outcome in outcomes:
                drops.update(outcome.drops)
                passing += outcome.passing
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
            passing=passing,
            seconds=round(time.monotonic() - started, 3),
        )

    def note(self, stage: Stage, state: StageState) -> None:
        """Remember a stage as finished."""
        states = {**self.states(), stage: state}
        table = {name: dataclasses.asdict(states[name]) for name in STAGES if name in states}
        with replacing(self.path / "stages.json") as file:
            file.write(json.dumps(table, indent=2).encode() + b"\n")

    def read(self, stage: Stage, kind: type[T]) -> Iterator[T]:
        """Yield a stage's records; raises TrainingError, naming file:line, for one that is damaged or missing."""
        path = self.file(stage)
        if not path.is_file():
            raise TrainingError(f"{path}: no such file; run the stage {stage!r} first (`reasonembed remix run`)")
        for number, row in read_jsonl(path):
            try:
                yield kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})
            except TypeError as error:
                raise TrainingError(f"{path}:{number}: not a record of {stage!r} ({error}); delete the file") from error

    def _sweep(self, stage: Stage) -> None:
        """Remove what a killed run left half-written."""
        for left in self.path.glob(f".{FILE_OF_STAGE[stage]}.*.tmp"):
            left.unlink(missing_ok=True)


def digest_of(*parts: Any) -> str:
    """Return 32 hexadecimal digits of plain data."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _state(table: Mapping[str, Any]) -> StageState:
    return StageState(**{**table, "spent": TokenUsage(**table["spent"])})


def _line(record: Any) -> bytes:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"

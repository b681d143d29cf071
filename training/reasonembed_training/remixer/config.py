"""The settings of a run: the meaning and default of every key.

Defaults are those of the paper (ReasonEmbed, arXiv 2510.08252) where it gives one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from reasonembed_rag.deprecation import warn_deprecated
from reasonembed_rag.errors import TrainingError, want_one_of
from reasonembed_rag.files import change_setting, plain_record, read_toml, record_from, replacing
from reasonembed_rag.llm import CallSettings, ChatModelSettings

__all__ = [
    "MODEL_STAGES",
    "STAGES",
    "STAGE_PARAMETERS",
    "JudgeConfig",
    "MineConfig",
    "ModelStage",
    "RemixConfig",
    "RowConfig",
    "SourceConfig",
    "Stage",
    "read_config",
    "read_settings",
    "stage_config",
    "write_settings",
]

Stage = Literal["clean", "sources", "generate", "reason", "mine", "judge", "rows"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In order."""

ModelStage = Literal["clean", "generate", "reason", "judge"]
MODEL_STAGES: tuple[ModelStage, ...] = get_args(ModelStage)
"""The stages that call a chat model."""

STAGE_PARAMETERS: Mapping[ModelStage, Mapping[str, Any]] = MappingProxyType(
    {
        "clean": {"temperature": 0.0, "max_tokens": 1024},
        "generate": {"temperature": 1.0, "top_p": 0.6, "max_tokens": 8192},
        "reason": {"temperature": 0.7, "max_tokens": 4096},
        "judge": {"temperature": 0.7, "top_p": 0.95, "max_tokens": 2048},
    }
)
"""Sampling parameters of a stage whose model settings give none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """[sources]: the documents that queries are written from."""

    limit: int = 10_000
    min_chars: int = 200
    max_chars: int = 5_000
    clean: Literal["sources", "corpus", "off"] = "sources"
    """Which documents a model checks against the card's domain: as many as needed to reach the limit, the whole corpus,
    or none. Documents outside the domain are not candidates either."""

    def __post_init__(self) -> None:
        _want(self.limit >= 1, f"sources.limit is {self.limit}; want at least 1")
        _want(
            0 < self.min_chars <= self.max_chars,
            f"sources: min_chars is {self.min_chars} and max_chars {self.max_chars}; want 0 < min_chars <= max_chars",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MineConfig:
    """[mine]: the candidates of a query."""

    retriever: str = "bm25"
    """"bm25", the name of an embedding model, or "hybrid:" and such a name for both fused."""
    depth: int = 100
    query: Literal["query", "reasoning"] = "query"
    """The text to search with: the query, or its reasoning-augmented version if there is one."""

    def __post_init__(self) -> None:
        _want(self.depth >= 1, f"mine.depth is {self.depth}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """[judge]: how candidates are graded."""

    group: int = 1
    """Candidates per prompt."""
    stop_after: int | None = None
    """Stop judging a query after this many consecutive candidates, in ranked order, with the lowest grade."""
    at_least: int = 20
    """Candidates that are judged in any case."""

    def __post_init__(self) -> None:
        _want(self.group >= 1, f"judge.group is {self.group}; want at least 1")
        _want(self.stop_after is None or self.stop_after >= 1, f"judge.stop_after is {self.stop_after}; want >= 1")
        _want(self.at_least >= 1, f"judge.at_least is {self.at_least}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """[rows]: the grades of positives and negatives; grades in between are neither."""

    positive_from: int = 3
    negative_to: int = 2

    def __post_init__(self) -> None:
        _want(
            1 <= self.negative_to < self.positive_from <= 5,
            f"rows: positive_from is {self.positive_from} and negative_to {self.negative_to}; "
            "want 1 <= negative_to < positive_from <= 5",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemixConfig:
    """All settings of a run."""

    corpus: str
    """A file of documents (.jsonl, .jsonl.gz, .parquet), a folder that holds documents.*, or bright:TASK."""
    card: str
    """The name of a shipped task card, or the path of a .toml file."""
    out: Path
    """The run's folder."""
    model: ChatModelSettings | None = None
    models: Mapping[str, ChatModelSettings] = field(default_factory=lambda: MappingProxyType({}))
    """Another model for a stage: clean, generate, reason, judge."""
    exclude_gold: tuple[Path, ...] = ()
    """Task folders whose gold documents are excluded."""
    keep_gold: bool = False
    """Whether gold documents stay in the corpus of a benchmark."""
    seed: int = 42
    reasoning: bool = True
    """Whether reasoning-augmented queries are written, which Redapter needs."""
    sources: SourceConfig = field(default_factory=SourceConfig)
    mine: MineConfig = field(default_factory=MineConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    rows: RowConfig = field(default_factory=RowConfig)
    calls: CallSettings = field(default_factory=CallSettings)
    pilot: int = 20
    """A stage stops where most of its first answers, this many, are unusable; 0: it never does."""

    def __post_init__(self) -> None:
        for name in self.models:
            _want(
                name in MODEL_STAGES,
                f"models.{name}: not a stage with a chat model; {want_one_of(name, MODEL_STAGES)}",
            )
        _want(self.pilot >= 0, f"pilot is {self.pilot}; want at least 0")
        _want(
            not (self.keep_gold and self.exclude_gold),
            "got keep_gold and exclude_gold, which contradict each other; want one of them",
        )
        _want(
            self.reasoning or self.mine.query == "query",
            'mine.query is "reasoning", but reasoning is false, so that there are no such queries',
        )

    def asks(self, stage: ModelStage) -> bool:
        """Return whether a stage calls a model."""
        return {"clean": self.sources.clean != "off", "reason": self.reasoning}.get(stage, True)

    def model_of(self, stage: ModelStage) -> ChatModelSettings | None:
        """Return the model settings of a stage."""
        return self.models.get(stage, self.model)


_FILE = "settings.json"


def read_config(path: Path | None, *, given: Mapping[str, Any], changes: Sequence[str] = ()) -> RemixConfig:
    """Read settings from a TOML file, overridden by `given` and then by `key.path=value` changes.

    Raises TrainingError for a file that is not TOML and for keys that are missing, unknown or of the wrong type.
    """
    table = read_toml(path, kind="settings", example="remix.toml", error=TrainingError) if path is not None else {}
    for key, value in given.items():
        table[key] = {**table.get(key, {}), **value} if isinstance(value, Mapping) else value
    for change in changes:
        change_setting(table, change, error=TrainingError)
    table, renamed = _with_new_names(table)
    if renamed:
        warn_deprecated("calls.fuse", "calls.max_failure_share", category=FutureWarning, stacklevel=3)
    where = str(path) if path is not None else "settings"
    return record_from(RemixConfig, table, where=where, error=TrainingError, cure="want it in the file or by --set")


def write_settings(config: RemixConfig) -> None:
    """Write a run's settings to its folder, with absolute paths."""
    local = Path(config.corpus).absolute()
    card = str(Path(config.card).absolute()) if config.card.endswith(".toml") else config.card
    kept = replace(
        config,
        corpus=str(local) if local.exists() else config.corpus,
        card=card,
        exclude_gold=tuple(folder.absolute() for folder in config.exclude_gold),
    )
    with replacing(config.out / _FILE) as file:
        file.write(json.dumps(plain_record(kept), indent=2, ensure_ascii=False).encode() + b"\n")


def read_settings(folder: Path) -> RemixConfig:
    """Read a run's settings from its folder; raises TrainingError where there are none."""
    path = folder / _FILE
    if not path.is_file():
        raise TrainingError(
            f"{folder}: not the folder of a run (no {_FILE}); want the output folder of `reasonembed remix run`"
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: not JSON ({error}); run into the folder again to rewrite it") from error
    table, _ = _with_new_names(table)
    return record_from(RemixConfig, {**table, "out": str(folder)}, where=str(path), error=TrainingError)


def _with_new_names(table: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return settings with the new names of keys that older versions wrote, and whether there were any."""
    calls = table.get("calls")
    if not isinstance(calls, dict) or "fuse" not in calls:
        return table, False
    if "max_failure_share" in calls:
        raise TrainingError("calls has both max_failure_share and fuse, its old name; want max_failure_share alone")
    new = {"max_failure_share" if key == "fuse" else key: value for key, value in calls.items()}
    return {**table, "calls": new}, True


def stage_config(config: ChatModelSettings, stage: ModelStage) -> ChatModelSettings:
    """Return a model's settings with the stage's default parameters if they have none."""
    if config.parameters is not None:
        return config
    return replace(config, parameters=STAGE_PARAMETERS[stage])


def _want(condition: bool, message: str) -> None:
    if not condition:
        raise TrainingError(message)

"""The recipe of a distilled cross-encoder: every key, its meaning and its default."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import change_setting, flat_record, plain_record, read_toml, record_from
from reasonembed_training.checks import check_setting
from reasonembed_training.config import DataConfig, OptimConfig, Precision, TaskBatchConfig

__all__ = ["RerankerBatch", "RerankerModel", "RerankerRecipe", "RerankerRun", "read_reranker_recipe"]

_WITHOUT_EFFECT = frozenset({"run.output", "run.cache", "run.checkpoint_every", "run.checkpoints", "run.log_every"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerModel:
    """[model]: the encoder or cross-encoder that training starts from; all its weights are trained."""

    name: str
    """A folder or hub id of BERT's kind, or "default-base"; a head with one label is added where it has none."""
    revision: str | None = None
    device: str | None = None
    """cpu, cuda or cuda:N; the GPU if there is one by default."""
    precision: Precision = "auto"
    """As in the recipes of `train run`: auto is bfloat16 on a GPU that supports it, else float32."""
    max_length: int = 256
    """Tokens of a query and a document together, special tokens included."""

    def __post_init__(self) -> None:
        check_setting(self.max_length >= 8, f"model.max_length is {self.max_length}; want at least 8")


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerBatch:
    """[batch]: the rows of an optimiser step."""

    queries: int = 16
    group: int = 8
    """Documents per query: one positive, group - 1 of its row's negatives, or all where it has fewer."""
    tokens: int = 8192
    """Tokens per forward pass, padding included; bounds the memory of a step."""
    tasks: Mapping[str, TaskBatchConfig] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        check_setting(self.queries >= 1, f"batch.queries is {self.queries}; want at least 1")
        check_setting(self.group >= 2, f"batch.group is {self.group}; want at least 2: a row is a list to rank")
        check_setting(self.tokens >= 1, f"batch.tokens is {self.tokens}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerRun:
    """[run]: output and checkpoints."""

    output: Path
    seed: int = 42
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    checkpoints: int = 2
    """Number of checkpoints to keep."""
    log_every: int = 10
    cache: Path | None = None
    """Folder of the rows in Arrow format; defaults to the user's cache folder."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "checkpoints", "log_every"):
            check_setting(getattr(self, name) >= 1, f"run.{name} is {getattr(self, name)}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerRecipe:
    """All settings of a run of `train reranker`."""

    model: RerankerModel
    data: tuple[DataConfig, ...]
    run: RerankerRun
    batch: RerankerBatch = field(default_factory=RerankerBatch)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        check_setting(bool(self.data), "data is empty; want at least one [[data]] table with a path")

    def to_json(self) -> str:
        """Return the recipe as a JSON object that includes every default."""
        return json.dumps(plain_record(self), indent=2, ensure_ascii=False, sort_keys=True)

    def changed_keys(self, before: str) -> list[str]:
        """Return the keys that change the trained weights and differ from a recipe that to_json wrote."""
        old, new = flat_record(json.loads(before)), flat_record(plain_record(self))
        return sorted({key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} - _WITHOUT_EFFECT)


def read_reranker_recipe(path: Path, *, changes: Sequence[str] = ()) -> RerankerRecipe:
    """Read a recipe; each change is `key.path=value`, its value in TOML or a bare string.

    Raises TrainingError for a file that is not TOML and for keys that are missing, misspelt or of the wrong type.
    """
    table = read_toml(path, kind="recipe", example="training/recipes/reranker.toml", error=TrainingError)
    for change in changes:
        change_setting(table, change, error=TrainingError)
    return record_from(
        RerankerRecipe, table, where=str(path), error=TrainingError, cure="want it in the file or by --set"
    )

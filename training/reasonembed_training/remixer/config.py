"""The settings of a run: what every key means, and its default.

Defaults are the paper's (ReasonEmbed, arXiv 2510.08252) wherever it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from reasonembed_rag.errors import TrainingError

__all__ = [
    "MODEL_STAGES",
    "STAGES",
    "STAGE_PARAMETERS",
    "CallConfig",
    "JudgeConfig",
    "MineConfig",
    "ModelConfig",
    "ModelStage",
    "RemixConfig",
    "RowConfig",
    "SourceConfig",
    "Stage",
]

Stage = Literal["clean", "sources", "generate", "reason", "mine", "judge", "rows"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which they run."""

ModelStage = Literal["clean", "generate", "reason", "judge"]
MODEL_STAGES: tuple[ModelStage, ...] = get_args(ModelStage)
"""Those that ask a chat model."""

STAGE_PARAMETERS: Mapping[ModelStage, Mapping[str, Any]] = MappingProxyType(
    {
        "clean": {"temperature": 0.0, "max_tokens": 1024},
        "generate": {"temperature": 1.0, "top_p": 0.6, "max_tokens": 8192},
        "reason": {"temperature": 0.7, "max_tokens": 4096},
        "judge": {"temperature": 0.7, "top_p": 0.95, "max_tokens": 2048},
    }
)
"""What a model is asked with where its settings say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """[model] for all stages, [models.STAGE] for one: a chat model and what it may be asked."""

    name: str
    base_url: str | None = None
    """An OpenAI-compatible server; left out, the name is one for LangChain's init_chat_model."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable of the server's key."""
    parameters: Mapping[str, Any] | None = None
    """What requests carry (temperature, max_tokens, ...); left out, the stage's own."""
    context: int = 32_768
    """Tokens that prompt and answer may have together."""
    timeout: float = 300.0
    """Seconds to wait for an answer."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_price: float | None = None
    """Of a million tokens, in any currency; with output_price, costs are told."""
    output_price: float | None = None

    def __post_init__(self) -> None:
        _want(bool(self.name.strip()), "model.name is empty; want the name of a chat model")
        _want(self.context >= 1, f"model.context is {self.context}; want at least 1")
        _want(self.timeout > 0, f"model.timeout is {self.timeout}; want seconds above 0")
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            _want(limit is None or limit >= 1, f"model.{name} is {limit}; want at least 1")
        _want(
            (self.input_price is None) == (self.output_price is None),
            "model: has one of input_price and output_price; want both or none",
        )
        _want(
            min(self.input_price or 0.0, self.output_price or 0.0) >= 0,
            f"model: prices are {self.input_price} and {self.output_price}; want at least 0",
        )

    @property
    def longest_answer(self) -> int:
        """Tokens that an answer may have, as far as the parameters tell."""
        parameters = self.parameters or {}
        limits = [parameters.get(name) for name in ("max_tokens", "max_completion_tokens", "num_predict")]
        return next((limit for limit in limits if isinstance(limit, int) and limit > 0), 0)

    def cost(self, *, input_tokens: int, output_tokens: int) -> float | None:
        """Return what tokens cost, None where no prices are given."""
        if self.input_price is None or self.output_price is None:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """[sources]: the documents that queries are written from."""

    limit: int = 10_000
    min_chars: int = 200
    max_chars: int = 5_000
    clean: Literal["sources", "corpus", "off"] = "sources"
    """Which documents a model checks for belonging to the card's domain: as many as it takes to fill the limit, all of
    the corpus, or none. What does not belong is no candidate either."""

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
    """What the retriever is asked: the query, or its reasoning-augmented twin where there is one."""

    def __post_init__(self) -> None:
        _want(self.depth >= 1, f"mine.depth is {self.depth}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """[judge]: how candidates are graded."""

    group: int = 1
    """Candidates judged by one answer."""
    stop_after: int | None = None
    """Candidates of the lowest grade in a row, best ranked first, after which a query's others are not judged."""
    at_least: int = 20
    """Candidates judged before that may happen."""

    def __post_init__(self) -> None:
        _want(self.group >= 1, f"judge.group is {self.group}; want at least 1")
        _want(self.stop_after is None or self.stop_after >= 1, f"judge.stop_after is {self.stop_after}; want >= 1")
        _want(self.at_least >= 1, f"judge.at_least is {self.at_least}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """[rows]: which grades make positives and negatives; what lies between is neither."""

    positive_from: int = 3
    negative_to: int = 2

    def __post_init__(self) -> None:
        _want(
            1 <= self.negative_to < self.positive_from <= 5,
            f"rows: positive_from is {self.positive_from} and negative_to {self.negative_to}; "
            "want 1 <= negative_to < positive_from <= 5",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """[calls]: how models are asked."""

    concurrency: int = 16
    """Calls under way at once."""
    attempts: int = 6
    """Times a call is made before a passing failure (429, 5xx, timeout, lost connection) counts."""
    first_wait: float = 1.0
    """Seconds before the second attempt, at most; doubled for every further one."""
    longest_wait: float = 60.0
    """Of any wait, one that the server asks for with Retry-After included."""
    asked_again: int = 1
    """Times that an answer nothing can be made of is asked for again."""
    retry_failed: bool = False
    """Whether calls that failed for good in an earlier run are made once more."""
    fuse: float = 0.5
    """Share of failures among the last hundred calls (at least twenty) at which the run stops."""

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts"):
            _want(getattr(self, name) >= 1, f"calls.{name} is {getattr(self, name)}; want at least 1")
        _want(
            0 <= self.first_wait <= self.longest_wait,
            f"calls: first_wait is {self.first_wait} and longest_wait {self.longest_wait}; want 0 <= first <= longest",
        )
        _want(self.asked_again >= 0, f"calls.asked_again is {self.asked_again}; want at least 0")
        _want(0 < self.fuse <= 1, f"calls.fuse is {self.fuse}; want a share above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemixConfig:
    """All settings of a run."""

    corpus: str
    """A file of documents (.jsonl, .jsonl.gz, .parquet), a folder that holds documents.*, or bright:TASK."""
    card: str
    """The name of a shipped task card, or the path of a .toml file."""
    out: Path
    """The run's folder."""
    model: ModelConfig | None = None
    models: Mapping[str, ModelConfig] = field(default_factory=lambda: MappingProxyType({}))
    """Another model for a stage: clean, generate, reason, judge."""
    exclude_gold: tuple[Path, ...] = ()
    """Task folders whose gold documents are kept out."""
    keep_gold: bool = False
    """Whether a benchmark's own gold documents stay in where the corpus is that benchmark's."""
    seed: int = 42
    reasoning: bool = True
    """Whether reasoning-augmented queries are written; Redapter needs them."""
    sources: SourceConfig = field(default_factory=SourceConfig)
    mine: MineConfig = field(default_factory=MineConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    rows: RowConfig = field(default_factory=RowConfig)
    calls: CallConfig = field(default_factory=CallConfig)

    def __post_init__(self) -> None:
        for name in self.models:
            _want(
                name in MODEL_STAGES,
                f"models.{name}: no stage that asks a model; want one of {', '.join(MODEL_STAGES)}",
            )
        _want(
            not (self.keep_gold and self.exclude_gold),
            "got keep_gold and exclude_gold, which contradict; give only one",
        )
        _want(
            self.reasoning or self.mine.query == "query",
            'mine.query is "reasoning", but reasoning is false: no such queries are written',
        )

    def asks(self, stage: ModelStage) -> bool:
        """Return whether a stage asks a model at all."""
        return {"clean": self.sources.clean != "off", "reason": self.reasoning}.get(stage, True)

    def model_of(self, stage: ModelStage) -> ModelConfig | None:
        """Return the model settings of a stage."""
        return self.models.get(stage, self.model)


def _want(condition: bool, message: str) -> None:
    if not condition:
        raise TrainingError(message)

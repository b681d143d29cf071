"""A recipe's settings: what every key means, and its default.

Defaults are the paper's (ReasonEmbed, arXiv 2510.08252) wherever it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.spec import Pooling
from reasonembed_training.data import Reasoning

__all__ = [
    "AnchorConfig",
    "BatchConfig",
    "ConsistencyConfig",
    "DataConfig",
    "DevConfig",
    "DevSetConfig",
    "LoraConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PerturbationKind",
    "Recipe",
    "RedapterConfig",
    "RunConfig",
    "TaskBatchConfig",
]

PerturbationKind = Literal["misspelling", "reordering", "synonymizing", "naturalizing"]

_DECODER_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """[model]: where training starts."""

    name: str
    """Anything Encoder.from_pretrained takes: "default", a folder, a hub id."""
    revision: str | None = None
    tuning: Literal["lora", "full"] = "lora"
    device: str | None = None
    """cpu, cuda or cuda:N; left out, the GPU where there is one. A launcher's processes get theirs from it."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto is bfloat16 on a GPU that has it, else float32. A CPU without instructions for bfloat16 (x86 before AVX-512
    BF16 or AMX) would emulate it several times slower than float32: there bfloat16 means float32, and the log says so
    with the measured factor. A GPU without it is an error."""
    forward: Literal["auto", "packed", "padded"] = "auto"
    """How texts run through the model: without padding, or as transformers does it."""
    gradient_checkpointing: bool = False
    pooling: Pooling | None = None
    """These four override what the model's files say."""
    query_template: str | None = None
    document_template: str | None = None
    default_instruction: str | None = None
    max_query_length: int | None = None
    max_document_length: int | None = None
    """In tokens, template included; left out, the model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """[lora]: the adapter, with tuning = "lora"."""

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.1
    targets: tuple[str, ...] = _DECODER_LINEARS
    """Names of linear layers; BERT's are query, key, value, dense."""

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            _want(getattr(self, name) >= 1, f"lora.{name} is {getattr(self, name)}; want at least 1")
        _want(0 <= self.dropout < 1, f"lora.dropout is {self.dropout}; want 0 to below 1")
        _want(bool(self.targets), "lora.targets is empty; want names of linear layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """[[data]]: one source of rows."""

    path: Path
    """From the working folder: a file of rows (.jsonl, .jsonl.gz), a folder of them, or a BRIGHT-format folder. Which
    split and how reasoning is taken are for the latter."""
    split: str | None = None
    task: str | None = None
    instruction: str | None = None
    reasoning: Reasoning = "append"
    only_with_reasoning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBatchConfig:
    """[batch.tasks.NAME]: what differs for one task."""

    queries: int | None = None
    group: int | None = None
    weight: float = 1.0
    """Passes over the task in an epoch."""

    def __post_init__(self) -> None:
        for name in ("queries", "group"):
            size = getattr(self, name)
            _want(size is None or size >= 1, f"batch.tasks: {name} is {size}; want at least 1")
        _want(self.weight >= 0, f"batch.tasks: weight is {self.weight}; want at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """[batch]: what one optimiser step sees, over all devices."""

    queries: int = 64
    group: int = 16
    """Documents a query brings: one positive, group - 1 negatives. All documents of the batch are candidates."""
    tokens: int = 16384
    """Tokens that run through the model at a time: the memory of a step, whatever its number of queries."""
    max_query_length: int | None = None
    max_document_length: int | None = None
    """Tokens of a text that training sees; left out, the model's own, which measuring and the exported model keep."""
    published_devices: int | None = None
    """Where set, rows' own train_group_size and batch_size (a device) hold, for that many devices."""
    tasks: Mapping[str, TaskBatchConfig] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("queries", "group", "tokens"):
            _want(getattr(self, name) >= 1, f"batch.{name} is {getattr(self, name)}; want at least 1")
        for name in ("max_query_length", "max_document_length", "published_devices"):
            value = getattr(self, name)
            _want(value is None or value >= 1, f"batch.{name} is {value}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """[loss]: InfoNCE and what may be added."""

    temperature: float = 0.02
    mask_known: bool = True
    """Known positives of a query are no negatives of it, wherever in the batch they turn up."""
    margin: float | None = None
    """Documents that score more than this above the positive are left out."""
    dimensions: tuple[int, ...] = ()
    """Matryoshka: train the vectors cut to each of these too."""
    distillation: float = 0.0
    """Weight of the divergence from pos_scores and neg_scores."""
    grade_temperature: float = 1.0

    def __post_init__(self) -> None:
        _want(self.temperature > 0, f"loss.temperature is {self.temperature}; want above 0")
        _want(self.grade_temperature > 0, f"loss.grade_temperature is {self.grade_temperature}; want above 0")
        _want(self.distillation >= 0, f"loss.distillation is {self.distillation}; want at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyConfig:
    """[consistency]: a query and what is left of it after typos, say, should rank the batch's documents alike."""

    weight: float = 0.0
    """Of the divergence of the perturbed query's ranking from the query's own; 0 is off."""
    kinds: tuple[PerturbationKind, ...] = ("misspelling", "reordering", "naturalizing")
    """One is drawn for each query in every step; synonymizing wants a thesaurus (apt-get install wordnet-base)."""

    def __post_init__(self) -> None:
        _want(self.weight >= 0, f"consistency.weight is {self.weight}; want at least 0")
        _want(bool(self.kinds), "consistency.kinds is empty; want at least one kind of perturbation")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorConfig:
    """[anchor]: some tasks' queries should go on ranking the batch's documents as before training.

    For texts that training is not about, so that what it teaches stays where it belongs. The model that training
    began with is held a second time.
    """

    weight: float = 0.0
    """Of the divergence of a query's ranking of all documents but its positive from the first model's; 0 is off."""
    tasks: tuple[str, ...] = ()
    """The tasks whose batches are held; left out, all."""

    def __post_init__(self) -> None:
        _want(self.weight >= 0, f"anchor.weight is {self.weight}; want at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedapterConfig:
    """[redapter]: samples weighted by reasoning intensity."""

    enabled: bool = True
    start_step: int = 100
    """Optimiser steps of plain InfoNCE before."""
    kappa: float = 5.0
    floor: float = 0.0
    epsilon: float = 1e-6
    normalise: bool = True
    max_length: int | None = None
    """Tokens of a reasoning query; left out, the query's."""

    def __post_init__(self) -> None:
        _want(self.start_step >= 0, f"redapter.start_step is {self.start_step}; want at least 0")
        _want(0 <= self.floor <= self.kappa and self.kappa > 0, "redapter: want 0 <= floor <= kappa and kappa above 0")
        _want(self.epsilon > 0, f"redapter.epsilon is {self.epsilon}; want above 0")
        length = self.max_length
        _want(length is None or length >= 1, f"redapter.max_length is {length}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """[optim]: AdamW and its schedule."""

    lr: float = 1e-4
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)
    epsilon: float = 1e-8
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.1
    """Share of the steps over which the rate rises to lr."""
    clip: float = 1.0
    """Greatest norm of the gradient; 0 leaves it as it is."""
    epochs: int = 1
    max_steps: int | None = None
    """Steps in all, instead of epochs."""

    def __post_init__(self) -> None:
        _want(self.lr > 0, f"optim.lr is {self.lr}; want above 0")
        _want(self.weight_decay >= 0, f"optim.weight_decay is {self.weight_decay}; want at least 0")
        _want(len(self.betas) == 2, f"optim.betas has {len(self.betas)} numbers; want 2")
        _want(all(0 <= beta < 1 for beta in self.betas), f"optim.betas is {self.betas}; want 0 to below 1")
        _want(self.epsilon > 0, f"optim.epsilon is {self.epsilon}; want above 0")
        _want(0 <= self.warmup <= 1, f"optim.warmup is {self.warmup}; want a share, 0 to 1")
        _want(self.clip >= 0, f"optim.clip is {self.clip}; want at least 0")
        _want(self.epochs >= 1, f"optim.epochs is {self.epochs}; want at least 1")
        _want(self.max_steps is None or self.max_steps >= 1, f"optim.max_steps is {self.max_steps}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSetConfig:
    """[[dev.sets]]: one BRIGHT-format folder to measure on."""

    path: Path
    split: str | None = None
    queries: int | None = None
    """Only so many of its examples, evenly spread; all documents are searched either way."""

    def __post_init__(self) -> None:
        _want(self.queries is None or self.queries >= 1, f"dev.sets: queries is {self.queries}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevConfig:
    """[dev]: measuring during training; the mean of the sets' nDCG@10 decides."""

    sets: tuple[DevSetConfig, ...] = ()
    every: int = 100
    """Steps between measurements; the start and the end are measured anyway."""
    patience: int | None = None
    """Measurements without a better mean before training stops; left out, it never stops early."""
    keep: Literal["best", "last"] = "best"
    """Which weights are exported."""

    def __post_init__(self) -> None:
        _want(self.every >= 1, f"dev.every is {self.every}; want at least 1")
        _want(self.patience is None or self.patience >= 1, f"dev.patience is {self.patience}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """[run]: where it goes and how it is kept."""

    output: Path
    seed: int = 42
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    checkpoints: int = 2
    """How many are kept."""
    export: Literal["merged", "adapter"] = "merged"
    base_share: float = 0.0
    """How far the exported weights go back towards those that training began with, 0 to below 1; the dev sets are
    measured once more with them."""
    log_every: int = 1
    workers: int = 2
    """Threads that read and tokenise ahead; 0 does it in line."""
    trackers: tuple[str, ...] | None = None
    """accelerate's trackers (tensorboard, wandb); left out, tensorboard where installed."""
    cache: Path | None = None
    """Where rows are kept in Arrow form; left out, the user's cache folder."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "checkpoints", "log_every"):
            _want(getattr(self, name) >= 1, f"run.{name} is {getattr(self, name)}; want at least 1")
        _want(self.workers >= 0, f"run.workers is {self.workers}; want at least 0")
        _want(0 <= self.seed < 2**63, f"run.seed is {self.seed}; want 0 to 2^63 - 1")
        _want(0 <= self.base_share < 1, f"run.base_share is {self.base_share}; want 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All of a recipe."""

    model: ModelConfig
    data: tuple[DataConfig, ...]
    run: RunConfig
    lora: LoraConfig = field(default_factory=LoraConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    redapter: RedapterConfig = field(default_factory=RedapterConfig)
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    anchor: AnchorConfig = field(default_factory=AnchorConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    dev: DevConfig = field(default_factory=DevConfig)

    def __post_init__(self) -> None:
        _want(
            self.model.tuning == "lora" or self.run.export == "merged",
            "run.export is 'adapter' and model.tuning 'full', which makes none; want 'merged'",
        )
        _want(bool(self.data), "data is empty; want at least one [[data]] table with a path")


def _want(condition: bool, message: str) -> None:
    if not condition:
        raise TrainingError(message)

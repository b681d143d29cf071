"""A recipe: every key, its meaning and its default.

Defaults are those of the paper (ReasonEmbed, arXiv 2510.08252) where it gives one. The sections that shape the
objective are in objective_config.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from reasonembed_rag.spec import Pooling
from reasonembed_training.checks import check_setting
from reasonembed_training.data import ReasoningSource
from reasonembed_training.objective_config import (
    ConsistencyConfig,
    LatentConfig,
    LossConfig,
    RedapterConfig,
    ReferenceConfig,
    TeacherConfig,
)

__all__ = [
    "BatchConfig",
    "DataConfig",
    "DevConfig",
    "DevSetConfig",
    "LoraConfig",
    "ModelConfig",
    "OptimConfig",
    "Precision",
    "Recipe",
    "RunConfig",
    "TaskBatchConfig",
]

_DECODER_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """[model]: the model that training starts from."""

    name: str
    """Anything that Encoder.from_pretrained accepts: "default", a folder, a hub id."""
    revision: str | None = None
    tuning: Literal["lora", "full"] = "lora"
    device: str | None = None
    """cpu, cuda or cuda:N; defaults to the GPU if there is one. A launcher assigns devices to its processes."""
    precision: Precision = "auto"
    """auto is bfloat16 on a GPU that supports it, else float32. A CPU without bfloat16 instructions (x86 before AVX-512
    BF16 or AMX) would emulate them several times slower than float32: there bfloat16 means float32, and a log message
    says so with the measured factor. A GPU without bfloat16 is an error."""
    forward: Literal["auto", "packed", "padded"] = "auto"
    """packed runs texts without padding, padded as transformers does; auto is packed where it passes its self-check."""
    gradient_checkpointing: bool = False
    pooling: Pooling | None = None
    """This and the next three override what the model's files say."""
    query_template: str | None = None
    document_template: str | None = None
    default_instruction: str | None = None
    max_query_length: int | None = None
    max_document_length: int | None = None
    """In tokens, including the template; defaults to the model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """[lora]: the adapter if tuning = "lora"."""

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.1
    targets: tuple[str, ...] = _DECODER_LINEARS
    """Names of linear layers; those of BERT are query, key, value, dense."""
    start: Path | None = None
    """An adapter folder to train further: LoRA of this rank and scale on the same base and layers. Training
    starts from its weights, the exported adapter replaces it, and run.interpolate still leads back to the base."""

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            check_setting(getattr(self, name) >= 1, f"lora.{name} is {getattr(self, name)}; want at least 1")
        check_setting(0 <= self.dropout < 1, f"lora.dropout is {self.dropout}; want 0 to below 1")
        check_setting(bool(self.targets), "lora.targets is empty; want names of linear layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """[[data]]: one source of rows."""

    path: Path
    """Relative to the working directory: a file of rows (.jsonl, .jsonl.gz), a folder of such files, or a
    BRIGHT-format folder. split and reasoning apply to the last kind only."""
    split: str | None = None
    task: str | None = None
    instruction: str | None = None
    reasoning: ReasoningSource = "append"
    only_with_reasoning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBatchConfig:
    """[batch.tasks.NAME]: settings for one task."""

    queries: int | None = None
    group: int | None = None
    weight: float = 1.0
    """Passes over the task per epoch."""

    def __post_init__(self) -> None:
        for name in ("queries", "group"):
            size = getattr(self, name)
            check_setting(size is None or size >= 1, f"batch.tasks: {name} is {size}; want at least 1")
        check_setting(self.weight >= 0, f"batch.tasks: weight is {self.weight}; want at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """[batch]: the global batch of an optimiser step, over all devices."""

    queries: int = 64
    group: int = 16
    """Documents per query: one positive, group - 1 negatives. Every document of the batch is a candidate."""
    tokens: int = 16384
    """Tokens per forward pass; bounds the memory of a step, however many queries it has."""
    max_query_length: int | None = None
    max_document_length: int | None = None
    """Tokens to which training truncates texts; defaults to the model's own, which dev scores and export always use."""
    published_devices: int | None = None
    """If set, each row's own train_group_size and batch_size (per device) apply, for this many devices."""
    tasks: Mapping[str, TaskBatchConfig] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("queries", "group", "tokens"):
            check_setting(getattr(self, name) >= 1, f"batch.{name} is {getattr(self, name)}; want at least 1")
        for name in ("max_query_length", "max_document_length", "published_devices"):
            value = getattr(self, name)
            check_setting(value is None or value >= 1, f"batch.{name} is {value}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """[optim]: AdamW and its learning rate schedule."""

    lr: float = 1e-4
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)
    epsilon: float = 1e-8
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises to lr."""
    clip: float = 1.0
    """Maximum gradient norm; 0 turns clipping off."""
    epochs: int = 1
    max_steps: int | None = None
    """Total number of steps; replaces epochs."""

    def __post_init__(self) -> None:
        check_setting(self.lr > 0, f"optim.lr is {self.lr}; want above 0")
        check_setting(self.weight_decay >= 0, f"optim.weight_decay is {self.weight_decay}; want at least 0")
        check_setting(len(self.betas) == 2, f"optim.betas has {len(self.betas)} numbers; want 2")
        check_setting(all(0 <= beta < 1 for beta in self.betas), f"optim.betas is {self.betas}; want 0 to below 1")
        check_setting(self.epsilon > 0, f"optim.epsilon is {self.epsilon}; want above 0")
        check_setting(0 <= self.warmup <= 1, f"optim.warmup is {self.warmup}; want a share, 0 to 1")
        check_setting(self.clip >= 0, f"optim.clip is {self.clip}; want at least 0")
        check_setting(self.epochs >= 1, f"optim.epochs is {self.epochs}; want at least 1")
        steps = self.max_steps
        check_setting(steps is None or steps >= 1, f"optim.max_steps is {steps}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSetConfig:
    """[[dev.sets]]: one BRIGHT-format folder to measure on."""

    path: Path
    split: str | None = None
    queries: int | None = None
    """Number of examples to use, evenly spread; all documents are searched either way."""

    def __post_init__(self) -> None:
        check_setting(
            self.queries is None or self.queries >= 1, f"dev.sets: queries is {self.queries}; want at least 1"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DevConfig:
    """[dev]: measuring during training; the mean nDCG@10 over the sets decides."""

    sets: tuple[DevSetConfig, ...] = ()
    every: int = 100
    """Steps between measurements; step 0 and the last step are always measured."""
    patience: int | None = None
    """Measurements without a better mean before training stops early; by default it never does."""
    keep: Literal["best", "last"] = "best"
    """Which weights are exported."""

    def __post_init__(self) -> None:
        check_setting(self.every >= 1, f"dev.every is {self.every}; want at least 1")
        patience = self.patience
        check_setting(patience is None or patience >= 1, f"dev.patience is {patience}; want at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """[run]: output, checkpoints and export."""

    output: Path
    seed: int = 42
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    checkpoints: int = 2
    """Number of checkpoints to keep."""
    export: Literal["merged", "adapter"] = "merged"
    interpolate: float = 0.0
    """Share of the initial weights in the exported weights, 0 to below 1; the dev sets are measured once more with
    the result."""
    log_every: int = 1
    workers: int = 2
    """Threads that read and tokenise ahead; with 0 the training thread does it."""
    trackers: tuple[str, ...] | None = None
    """accelerate's trackers (tensorboard, wandb); defaults to tensorboard if it is installed."""
    cache: Path | None = None
    """Folder of the rows in Arrow format; defaults to the user's cache folder."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "checkpoints", "log_every"):
            check_setting(getattr(self, name) >= 1, f"run.{name} is {getattr(self, name)}; want at least 1")
        check_setting(self.workers >= 0, f"run.workers is {self.workers}; want at least 0")
        check_setting(0 <= self.seed < 2**63, f"run.seed is {self.seed}; want 0 to 2^63 - 1")
        check_setting(0 <= self.interpolate < 1, f"run.interpolate is {self.interpolate}; want 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All settings of a training run."""

    model: ModelConfig
    data: tuple[DataConfig, ...]
    run: RunConfig
    lora: LoraConfig = field(default_factory=LoraConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    redapter: RedapterConfig = field(default_factory=RedapterConfig)
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    latent: LatentConfig = field(default_factory=LatentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    dev: DevConfig = field(default_factory=DevConfig)

    def __post_init__(self) -> None:
        check_setting(
            self.model.tuning == "lora" or self.run.export == "merged",
            "run.export is 'adapter' and model.tuning 'full', which trains no adapter; want run.export = 'merged'",
        )
        check_setting(bool(self.data), "data is empty; want at least one [[data]] table with a path")
        for wrong, what in (
            (self.model.tuning == "full", "model.tuning is 'full'; want lora"),
            (self.model.gradient_checkpointing, "model.gradient_checkpointing is true; want a smaller batch.tokens"),
            (self.model.forward == "packed", "model.forward is 'packed'; want auto"),
            (self.lora.dropout > 0, f"lora.dropout is {self.lora.dropout}; want 0"),
            (self.lora.start is not None, "lora.start is given; want a new adapter"),
            (self.run.interpolate > 0, "run.interpolate is above 0; want 0"),
            (self.reference.weight > 0, "reference.weight is above 0; want 0"),
        ):
            check_setting(
                not (wrong and self.latent.tokens), f"[latent] trains latents on a frozen decoder, and {what}"
            )

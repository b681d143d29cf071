"""The model in training: a backbone with or without LoRA, run by the encoder's forward pass under autograd."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reasonembed_rag.backbone import (
    EncoderSettings,
    LoadedModel,
    PackedForward,
    PaddedForward,
    TextTokenizer,
    UnsupportedError,
    finish,
    load_model,
    make_fast,
    make_live,
    read_adapter,
    read_blueprint,
)
from reasonembed_rag.errors import MissingDependencyError, TrainingError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training.config import LoraConfig, ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ADAPTER", "EmbeddingModule", "TrainingModel", "build_model", "merged_layer"]

_logger = logging.getLogger(__name__)

_TOLERANCE, _NARROW_TOLERANCE = 1e-3, 0.1
"""Largest relative difference of the packed forward from transformers', in float32 and in bfloat16."""
ADAPTER = "default"
"""Name of the LoRA adapter in the backbone."""


class Forward(Protocol):
    """Map token sequences to vectors."""

    def __call__(self, sequences: Sequence[NDArray[np.int32]], *, skip: int = 0) -> Tensor:
        """Return float32 vectors (n, D); mean pooling ignores the first `skip` tokens."""


class EmbeddingModule(nn.Module):
    """Map token sequences to vectors, as one module for a distributed wrapper."""

    def __init__(self, loaded: LoadedModel, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.backbone = loaded.backbone
        self._spec = loaded.spec
        self._pad_id = loaded.pad_id
        self._own_mask = loaded.needs_own_mask
        self._no_split_modules = getattr(loaded.backbone, "_no_split_modules", None)  # units that FSDP shards
        self._checkpointing = checkpointing
        self.use_padded()

    def use_padded(self) -> None:
        """Run texts with padding, as transformers does; works for every backbone."""
        self._run: Forward = PaddedForward(
            self.backbone, pooling=self._spec.pooling, pad_id=self._pad_id, own_mask=self._own_mask
        )

    def use_packed(self) -> None:
        """Run texts without padding; raises UnsupportedError if that does not support the backbone."""
        blueprint = read_blueprint(self.backbone, causal=self._spec.attention == "causal", make=make_live)
        self._run = PackedForward(blueprint, pooling=self._spec.pooling, checkpointing=self._checkpointing)

    def forward(self, sequences: Sequence[NDArray[np.int32]], skip: int = 0) -> Tensor:
        """Return the vectors (n, dimension) of n token sequences, in the current gradient mode."""
        pooled = self._run(sequences, skip=skip)
        return finish(pooled, dimension=self._spec.dimension, normalize=self._spec.normalize)

    def frozen(self) -> Forward:
        """Return a forward with the current weights, without dropout or gradients.

        On a CPU the weights, LoRA merged, are copied into the encoder's fast layout; elsewhere the model itself runs.
        """
        if not isinstance(self._run, PackedForward) or self.backbone.device.type != "cpu":
            return self._evaluated
        causal = self._spec.attention == "causal"
        blueprint = read_blueprint(
            self.backbone, causal=causal, make=lambda modules: make_fast([merged_layer(one) for one in modules])
        )
        run = PackedForward(blueprint, pooling=self._spec.pooling)

        @torch.no_grad()
        def embed(sequences: Sequence[NDArray[np.int32]], *, skip: int = 0) -> Tensor:
            pooled = run(sequences, skip=skip)
            return finish(pooled, dimension=self._spec.dimension, normalize=self._spec.normalize)

        return embed

    @torch.no_grad()
    def _evaluated(self, sequences: Sequence[NDArray[np.int32]], *, skip: int = 0) -> Tensor:
        training = self.training
        vectors: Tensor = self.eval()(sequences, skip)
        self.train(training)
        return vectors


def merged_layer(module: nn.Module) -> nn.Module:
    """Return a linear layer with LoRA merged into a copy of its weights; a layer without LoRA is returned as it is."""
    delta = getattr(module, "get_delta_weight", None)
    if delta is None:
        return module
    base = cast("nn.Linear", module.base_layer)
    merged = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    merged.weight = nn.Parameter(base.weight.detach() + delta(ADAPTER).detach().to(base.weight.dtype))
    if base.bias is not None:
        merged.bias = base.bias
    return merged


@dataclass(frozen=True, slots=True)
class TrainingModel:
    """A model in training, with its spec and tokenizer."""

    module: EmbeddingModule
    spec: EmbeddingSpec
    tokenizer: TextTokenizer
    folder: Path
    """The folder that the model was loaded from."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by name."""
        return {name: one for name, one in self.module.named_parameters() if one.requires_grad}


def build_model(config: ModelConfig, lora: LoraConfig, *, device: torch.device, bfloat16: bool) -> TrainingModel:
    """Load the model, add LoRA or unfreeze its weights, and choose its forward.

    The backbone's own dropout is turned off, LoRA's is not. With `bfloat16` frozen weights have that type. Raises
    ModelError or InputError for a model that cannot be loaded, TrainingError for LoRA targets that match no layer and
    for forward = "packed" where the packed forward does not support the backbone.
    """
    loaded = _load(config, device=device, bfloat16=bfloat16 and config.tuning == "lora")
    for module in loaded.backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if config.tuning == "full":
        loaded.backbone.requires_grad_(requires_grad=True)
    else:
        add_lora(loaded.backbone, lora)
    if config.gradient_checkpointing:
        backbone: Any = loaded.backbone
        enable = getattr(backbone, "activation_checkpointing_enable", None) or backbone.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    module = EmbeddingModule(loaded, checkpointing=config.gradient_checkpointing)
    _choose_forward(module, config.forward)
    if config.tuning == "lora" and lora.start is not None:
        start_from(lora.start, lora, backbone=loaded.backbone, base=config.name)
    return TrainingModel(module.train(), loaded.spec, loaded.tokenizer, loaded.folder)


def add_lora(backbone: PreTrainedModel, config: LoraConfig) -> None:
    """Add LoRA to the target layers in place; raises TrainingError, naming the linear layers, for an unknown target."""
    try:
        import peft
    except ImportError as error:
        raise MissingDependencyError("peft", "train") from error
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        task_type="FEATURE_EXTRACTION",
    )
    names = {name.rpartition(".")[2] for name, one in backbone.named_modules() if isinstance(one, nn.Linear)}
    unmatched = sorted(target for target in config.targets if target.rpartition(".")[2] not in names)
    if unmatched:
        raise TrainingError(
            f"lora.targets names {', '.join(unmatched)}, which {type(backbone).__name__} does not have; "
            f"its linear layers are {', '.join(sorted(names))}"
        )
    peft.inject_adapter_in_model(settings, backbone, adapter_name=ADAPTER)


@torch.no_grad()
def start_from(folder: Path, config: LoraConfig, *, backbone: nn.Module, base: str) -> None:
    """Set the trained LoRA weights of the backbone, in place, to those of an adapter folder.

    Raises ModelError for a folder without a plain LoRA adapter, TrainingError for one of another base, rank, scale or
    set of layers.
    """
    found, tensors = read_adapter(folder)
    named = str(found.get("base_model_name_or_path"))
    same = named == base or (Path(base).is_dir() and Path(named).resolve() == Path(base).resolve())
    parameters = {name: one for name, one in backbone.named_parameters() if one.requires_grad}
    plain = {f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}": one for name, one in parameters.items()}
    differ = sorted(name for name in plain.keys() | tensors.keys() if _shape(plain, name) != _shape(tensors, name))
    uneven = [key for key in ("use_rslora", "rank_pattern", "alpha_pattern") if found.get(key)]
    for wrong, got, want in (
        (bool(uneven), f"sets {', '.join(uneven)}", "LoRA with one rank and scale"),
        (not same, f"is of the base {named}", f"model.name, {base}"),
        (found["r"] != config.rank, f"has rank {found['r']}", f"lora.rank, {config.rank}"),
        (found["lora_alpha"] != config.alpha, f"has alpha {found['lora_alpha']}", f"lora.alpha, {config.alpha}"),
        (bool(differ), f"does not have the layers of lora.targets ({', '.join(differ[:1])})", "the same layers"),
    ):
        if wrong:
            raise TrainingError(f"lora.start: {folder} {got}; want {want}")
    for name, one in plain.items():
        one.copy_(tensors[name])


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None


def _load(config: ModelConfig, *, device: torch.device, bfloat16: bool) -> LoadedModel:
    settings = EncoderSettings(
        model=config.name,
        revision=config.revision,
        device=str(device),
        dtype="bfloat16" if bfloat16 else "float32",
        max_query_length=config.max_query_length,
        max_document_length=config.max_document_length,
    )
    loaded = load_model(settings)
    names = ("pooling", "query_template", "document_template", "default_instruction")
    changes: dict[str, Any] = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    return dataclasses.replace(loaded, spec=dataclasses.replace(loaded.spec, **changes)) if changes else loaded


def _choose_forward(module: EmbeddingModule, wanted: Literal["auto", "packed", "padded"]) -> None:
    """Use the packed forward if its vectors and gradients match transformers'; freeze parameters without a gradient."""
    expected = _probe(module)
    for name, parameter in module.named_parameters():
        if name not in expected.gradients:  # such as BERT's pooler; a distributed wrapper would wait for its gradient
            parameter.requires_grad = False
    if wanted == "padded":
        return
    try:
        module.use_packed()
        difference = _probe(module).difference(expected)
    except UnsupportedError as error:
        reason = str(error)
    else:
        if difference < (_TOLERANCE if module.backbone.dtype == torch.float32 else _NARROW_TOLERANCE):
            return
        reason = f"its vectors or gradients differ from transformers' by {difference:.1e} in relative norm"
    module.use_padded()
    if wanted == "packed":
        raise TrainingError(
            f"model.forward is 'packed', which does not support {type(module.backbone).__name__}: {reason}"
        )
    _logger.warning("training with padding, since the packed forward does not support this model: %s", reason)


@dataclass(frozen=True, slots=True)
class _Probe:
    """The vectors and gradients of a forward for three short sequences."""

    vectors: Tensor
    gradients: dict[str, Tensor]
    """Gradients of a weighted sum of the vectors, for parameters that have one."""

    def difference(self, expected: _Probe) -> float:
        """Return the larger of the relative differences of vectors and of gradients."""
        if self.gradients.keys() != expected.gradients.keys():
            return float("inf")
        own, other = (
            torch.cat([one.flatten().float() for one in probe.gradients.values()]) for probe in (self, expected)
        )
        pairs = ((self.vectors, expected.vectors), (own, other))
        return max(float((one - two).norm() / two.norm().clamp_min(1e-30)) for one, two in pairs)


@torch.enable_grad()
def _probe(module: EmbeddingModule) -> _Probe:
    size = len(cast("Tensor", module.backbone.get_input_embeddings().weight))
    generator = np.random.default_rng(0)
    sequences = [generator.integers(size, size=length).astype(np.int32) for length in (11, 7, 3)]
    vectors = module.eval()(sequences)
    factors = torch.linspace(-1, 1, vectors.numel(), device=vectors.device).view_as(vectors)
    parameters = {name: one for name, one in module.named_parameters() if one.requires_grad}
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        (vectors * factors).sum(), list(parameters.values()), allow_unused=True
    )
    found = {name: one for name, one in zip(parameters, gradients, strict=True) if one is not None}
    return _Probe(vectors.detach().float(), found)

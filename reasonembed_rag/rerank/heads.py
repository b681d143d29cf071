"""Classification heads: from the pooled state of a pair to its one score, in float32 without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.backbone import read_tensors
from reasonembed_rag.errors import ModelError, want_one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import ModelSource
    from reasonembed_rag.spec import Pooling

    Activation = Callable[[NDArray[np.float32]], NDArray[np.float32]]

__all__ = ["Head", "head_pooling", "read_head"]

_erf = np.frompyfunc(math.erf, 1, 1)


def _gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    errors: NDArray[np.float64] = _erf(x / math.sqrt(2)).astype(np.float64)
    return (x * 0.5 * (1 + errors)).astype(np.float32)


def _relu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(x, np.float32(0))


_ACTIVATIONS: dict[str, Activation] = {"gelu": _gelu, "relu": _relu, "tanh": np.tanh}


@dataclass(frozen=True, slots=True)
class _Shape:
    """The names of a head's layers and what it does between them."""

    out: str
    dense: str | None = None
    activation: str | None = None
    """The name of an activation, or of the setting in config.json that names it."""
    norm: str | None = None


_ROBERTA = _Shape("classifier.out_proj", "classifier.dense", "tanh")
_DEBERTA = _Shape("classifier", "pooler.dense", "pooler_hidden_act")
_DECODER = _Shape("score")
_SHAPES = {
    "bert": _Shape("classifier", "bert.pooler.dense", "tanh"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "electra": _Shape("classifier.out_proj", "classifier.dense", "gelu"),
    "distilbert": _Shape("classifier", "pre_classifier", "relu"),
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
    "modernbert": _Shape("classifier", "head.dense", "classifier_activation", "head.norm"),
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "llama": _DECODER,
    "mistral": _DECODER,
}
"""Heads by model_type, as transformers' ForSequenceClassification classes have them."""


def head_pooling(config: Mapping[str, Any]) -> Pooling:
    """Return which state a model's head reads; raises ModelError for kinds of models without a known head."""
    kind = str(config.get("model_type", ""))
    if kind not in _SHAPES:
        raise ModelError(
            f"model_type is {kind!r}, whose classification head is not known here; {want_one_of(kind, _SHAPES)}"
        )
    if _SHAPES[kind] is _DECODER:
        return "last"
    return "mean" if kind == "modernbert" and config.get("classifier_pooling") == "mean" else "cls"


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    weight_OI: NDArray[np.float32]
    bias_O: NDArray[np.float32] | None

    def __call__(self, x_BI: NDArray[np.float32]) -> NDArray[np.float32]:
        product: NDArray[np.float32] = x_BI @ self.weight_OI.T
        return product if self.bias_O is None else product + self.bias_O


@dataclass(frozen=True, slots=True, eq=False)
class _Norm:
    weight_D: NDArray[np.float32]
    bias_D: NDArray[np.float32] | None
    epsilon: float

    def __call__(self, x_BD: NDArray[np.float32]) -> NDArray[np.float32]:
        centred_BD = x_BD - x_BD.mean(axis=1, keepdims=True)
        scale_B1 = np.sqrt(np.square(centred_BD).mean(axis=1, keepdims=True) + self.epsilon)
        normed: NDArray[np.float32] = (centred_BD / scale_B1 * self.weight_D).astype(np.float32)
        return normed if self.bias_D is None else normed + self.bias_D


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A classification head with one output."""

    layers: tuple[Activation, ...]

    def __call__(self, pooled_BD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (B,) of pooled states."""
        x = pooled_BD
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]


def read_head(source: ModelSource) -> Head:
    """Return the head of a checkpoint; raises ModelError where there is none, or one with several labels."""
    config = source.facts.config
    shape = _SHAPES[config["model_type"]]
    layers_of_head = [layer for layer in (shape.out, shape.dense, shape.norm) if layer is not None]
    names = {f"{layer}.{part}" for layer in layers_of_head for part in ("weight", "bias")}
    tensors = read_tensors(source.facts.transformer_folder, names=names)
    name, folder = source.settings.model, source.folder
    weight = tensors.get(f"{shape.out}.weight")
    labels = len(weight) if weight is not None else 0
    if labels != 1:
        held = "no classification head" if weight is None else f"a classification head with {labels} labels"
        raise ModelError(
            f"{name}: has {held}; want a cross-encoder with one label, whose output is the score of a pair, such as "
            "cross-encoder/ms-marco-MiniLM-L6-v2 or BAAI/bge-reranker-v2-m3"
        )
    layers: list[Activation] = []
    if shape.dense is not None:
        if f"{shape.dense}.weight" not in tensors:
            raise ModelError(f"{folder}: its weights lack {shape.dense}.weight; the download is incomplete")
        layers.append(_linear(tensors, shape.dense))
    if shape.activation is not None:
        layers.append(_activation(shape.activation, config, name))
    if shape.norm is not None:
        bias = tensors.get(f"{shape.norm}.bias")
        layers.append(_Norm(tensors[f"{shape.norm}.weight"], bias, float(config.get("norm_eps", 1e-5))))
    return Head((*layers, _linear(tensors, shape.out)))


def _linear(tensors: Mapping[str, NDArray[np.float32]], name: str) -> _Linear:
    return _Linear(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))


def _activation(named: str, config: Mapping[str, Any], model: str) -> Activation:
    activation = named if named in _ACTIVATIONS else str(config.get(named, "gelu"))
    if activation not in _ACTIVATIONS:
        raise ModelError(f"{model}: {named} is {activation!r}; {want_one_of(activation, _ACTIVATIONS)}")
    return _ACTIVATIONS[activation]

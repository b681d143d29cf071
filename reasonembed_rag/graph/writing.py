"""Write the graph of any supported model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasonembed_rag.graph.bert import ANCHOR, bert_graph, bert_reason
from reasonembed_rag.graph.modernbert import MODERN_ANCHOR, modern_bert_graph, modern_bert_reason
from reasonembed_rag.graph.weights import NamedTensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reasonembed_rag.graph.builder import Graph
    from reasonembed_rag.graph.products import Products
    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["supports", "write_graph"]

_BERT = {"bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta"}
_MODERN_BERT = "modernbert"


def supports(config: Mapping[str, Any]) -> str | None:
    """Return why ONNX Runtime cannot run a model of this config.json here; None where it can."""
    kind = str(config.get("model_type", ""))
    if kind in _BERT:
        return bert_reason(config)
    if kind == _MODERN_BERT:
        return modern_bert_reason(config)
    return f"no graph is known for model_type {kind!r}"


def write_graph(weights: EncoderWeights, products: Products) -> Graph:
    """Return the graph of a supported model; raises ModelError for weights that do not fit its config.json."""
    modern = weights.config["model_type"] == _MODERN_BERT
    tensors = NamedTensors(weights.tensors(), anchor=MODERN_ANCHOR if modern else ANCHOR, folder=weights.folder)
    if modern:
        return modern_bert_graph(weights.config, tensors, products)
    first_only = weights.spec.pooling == "cls"
    return bert_graph(weights.config, tensors, products, first_only=first_only, segments=weights.segments)

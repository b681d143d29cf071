"""Write a graph as one ONNX file with the inputs and outputs that other programs expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.graph.products import Products
from reasonembed_rag.graph.writing import write_graph

if TYPE_CHECKING:
    from pathlib import Path

    from reasonembed_rag.graph.builder import Graph
    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["write_standalone"]

_ONE_FILE_BYTES = 1_900_000_000
"""Tensors beyond this lie beside the model: a message of protocol buffers ends at 2 GiB."""


def write_standalone(weights: EncoderWeights, path: Path) -> None:
    """Write the float32 graph of a supported model: input_ids and attention_mask (int64) to last_hidden_state.

    Texts are to be padded on the right. It needs ONNX Runtime, whose fused operators it uses. Large models have their
    tensors in a second file, named as the first with "_data" after it.
    """
    import onnx

    graph = write_graph(weights, Products())
    model = onnx.load_model_from_string(graph.model)
    width = int(weights.config.get("hidden_size") or weights.config["dim"])
    _rename(model, width=width)
    path.parent.mkdir(parents=True, exist_ok=True)
    if sum(tensor.nbytes for tensor in graph.tensors.values()) <= _ONE_FILE_BYTES:
        _embed(model, graph)
    else:
        _set_location(model, f"{path.name}_data")
        with path.with_name(f"{path.name}_data").open("wb") as file:
            for name, tensor in graph.tensors.items():
                file.seek(graph.offsets[name])
                file.write(tensor.data)
    path.write_bytes(model.SerializeToString())


def _rename(model: Any, *, width: int) -> None:
    """Compute the graph's own inputs, ids and lengths, from the common ones."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    first = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT32),
        helper.make_node("Cast", ["attention_mask"], ["attended"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["attended", "along_text"], ["lengths"], keepdims=0),
    ]
    last = helper.make_node("Identity", ["states"], ["last_hidden_state"])
    nodes = [*first, *map(_masked, graph.node), last]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])
        for name in ("input_ids", "attention_mask")
    )
    shape: list[str | int | None] = ["batch_size", "sequence_length", width]
    graph.output.append(helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape))
    graph.initializer.append(numpy_helper.from_array(np.asarray([1], np.int64), "along_text"))


def _masked(node: Any) -> Any:
    """Return the node itself, or the masked one of two that it chooses from: other programs run that alone right.

    OpenVINO's attention without a mask gives NaN in bfloat16, which it prefers where the processor has it.
    """
    if node.op_type != "If":
        return node
    (other,) = next(one.g for one in node.attribute if one.name == "else_branch").node
    other.output[:] = node.output
    return other


def _embed(model: Any, graph: Graph) -> None:
    from onnx import TensorProto

    for initializer in model.graph.initializer:
        if initializer.data_location == TensorProto.EXTERNAL:
            del initializer.external_data[:]
            initializer.data_location = TensorProto.DEFAULT
            initializer.raw_data = graph.tensors[initializer.name].tobytes()


def _set_location(model: Any, name: str) -> None:
    for initializer in model.graph.initializer:
        for entry in initializer.external_data:
            if entry.key == "location":
                entry.value = name

"""Write ONNX graphs: nodes one after another, large tensors in a file of their own beside the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["FUSED", "GRAPH_FILE", "Graph", "GraphBuilder"]

FUSED = "com.microsoft"
"""The domain of ONNX Runtime's fused operators."""
GRAPH_FILE = "graph.bin"
"""The file that holds the large tensors of a graph."""

_INLINE_BYTES = 1024
_ALIGNED = 4096
"""Tensors start at a memory page."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A serialised ONNX model whose large tensors, by name and in order, lie in GRAPH_FILE."""

    model: bytes
    even: bytes
    """The same model for batches without padding: what else depends on the lengths of rows is left out."""
    tensors: Mapping[str, NDArray[Any]]
    offsets: Mapping[str, int]


class GraphBuilder:
    """Collect nodes and tensors; names of outputs are made here, so that no two are equal."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._inline: dict[str, NDArray[Any]] = {}
        self._tensors: dict[str, NDArray[Any]] = {}
        self._outputs: list[str] = []
        self._if_even: dict[str, Any] = {}
        """The node in place of a choice, by its output, where rows have one length."""
        self._length = ""

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a tensor; one of the same name is taken to be the same."""
        values = self._inline if value.nbytes < _INLINE_BYTES else self._tensors
        values.setdefault(name, np.ascontiguousarray(value))
        return name

    def integers(self, *values: int) -> str:
        """Add a one-dimensional tensor of 64-bit integers."""
        return self.constant("integers_" + "_".join(map(str, values)), np.asarray(values, np.int64))

    def length(self) -> str:
        """Return the number of tokens of a row (1,)."""
        self._length = self._length or self.node("Gather", [self.node("Shape", ["ids"]), self.integers(1)], axis=0)
        return self._length

    def node(self, op: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        return self.nodes(op, inputs, domain=domain, outputs=1, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], *, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        from onnx import helper

        names = [f"{op}_{len(self._nodes)}_{place}" for place in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names

    def choice(self, even: str, then: Sequence[str], otherwise: Sequence[str], *, op: str, **attributes: Any) -> str:
        """Add a node whose inputs depend on whether rows are `even` (1,) in length; return the name of its output."""
        from onnx import TensorProto, helper

        branches: list[Any] = []
        for inputs in (then, otherwise):
            name = f"{op}_{len(self._nodes)}_{len(branches)}"
            result = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            node = helper.make_node(op, inputs, [name], **attributes)
            branches.append(helper.make_graph([node], name, [], [result]))
        output = self.node("If", [even], then_branch=branches[0], else_branch=branches[1])
        self._if_even[output] = helper.make_node(op, then, [output], **attributes)
        return output

    def output(self, name: str) -> str:
        """Make a one-dimensional result of a node an output of the graph, beside the states; return its name."""
        self._outputs.append(name)
        return name

    def finish(self, output: str, *, width: int) -> Graph:
        """Return the graph from token ids (B, S) and lengths (B), both int32, to states (B, L, width) in float32.

        output: the node's output that they are, which no other node reads.
        """
        from onnx import numpy_helper

        (last,) = (node for node in self._nodes if output in node.output)
        last.output[list(last.output).index(output)] = "states"
        offsets: dict[str, int] = {}
        end = 0
        initializers = [numpy_helper.from_array(value, name) for name, value in self._inline.items()]
        for name, value in self._tensors.items():
            offsets[name] = end
            initializers.append(_external(name, value, offset=end))
            end += -(-value.nbytes // _ALIGNED) * _ALIGNED
        even = _read([self._if_even.get(node.output[0], node) for node in self._nodes], ["states", *self._outputs])
        models = [_model(nodes, self._outputs, initializers, width=width) for nodes in (self._nodes, even)]
        return Graph(models[0], models[1], self._tensors, offsets)


def _read(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    """Return the nodes whose results are outputs or are read by such nodes."""
    wanted, kept = set(outputs), list[Any]()
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _model(nodes: Sequence[Any], outputs: Sequence[str], initializers: Sequence[Any], *, width: int) -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["B", "S"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
        ],
        [
            helper.make_tensor_value_info("states", TensorProto.FLOAT, ["B", "L", width]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in outputs),
        ],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


def _external(name: str, value: NDArray[Any], *, offset: int) -> Any:
    from onnx import TensorProto, helper

    tensor = TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype))
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": GRAPH_FILE, "offset": offset, "length": value.nbytes}.items():
        tensor.external_data.add(key=key, value=str(entry))
    return tensor

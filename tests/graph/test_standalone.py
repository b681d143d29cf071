"""One ONNX file for other programs: its large tensors within it or beside it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from reasonembed_rag.graph import standalone, write_standalone


def test_large_tensors_lie_beside_the_file(tiny_model, weights_of, tmp_path, monkeypatch):
    import onnxruntime

    weights = weights_of(tiny_model("bert"))
    write_standalone(weights, tmp_path / "one.onnx")
    monkeypatch.setattr(standalone, "_ONE_FILE_BYTES", 0)
    write_standalone(weights, tmp_path / "two.onnx")
    assert (tmp_path / "two.onnx").stat().st_size < (tmp_path / "two.onnx_data").stat().st_size
    inputs = {"input_ids": np.asarray([[2, 9, 3]]), "attention_mask": np.ones((1, 3), np.int64)}
    one, two = (onnxruntime.InferenceSession(tmp_path / name).run(None, inputs)[0] for name in ("one.onnx", "two.onnx"))
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "modernbert"])
def test_attention_is_always_masked(tiny_model, weights_of, tmp_path, kind):
    """Other programs choose badly: OpenVINO's attention without a mask gives NaN in bfloat16."""
    write_standalone(weights_of(tiny_model(kind)), tmp_path / "one.onnx")
    nodes = onnx.load(tmp_path / "one.onnx", load_external_data=False).graph.node
    assert "If" not in {node.op_type for node in nodes}
    attending = [node for node in nodes if node.op_type == "MultiHeadAttention"]
    assert attending
    assert all(node.input[4] == "lengths" for node in attending)

"""`reasonembed export MODEL --to FOLDER`."""

from __future__ import annotations

import numpy as np
import pytest

from reasonembed_cli.app import main
from reasonembed_rag import Encoder


def test_a_model_is_exported_and_loaded_again(tiny_model, tmp_path, capsys):
    model, out = tiny_model("bert", pooling="mean"), tmp_path / "out"
    assert main(["export", str(model), "--to", str(out), "--format", "onnx"]) == 0
    assert str(out) in capsys.readouterr().out
    assert (out / "onnx" / "model.onnx").is_file()
    vectors = [Encoder.from_pretrained(folder).encode_documents(["a fox"]) for folder in (model, out)]
    np.testing.assert_allclose(*vectors, atol=1e-6)
    assert main(["export", str(model), "--to", str(out)]) == 2
    assert main(["export", str(model), "--to", str(out), "--overwrite"]) == 0
    assert not (out / "onnx").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--to", "out", "--jsonl", "lines.jsonl"],
        ["--to", "out", "--vectors"],
        ["--to", "out", "--filter", "a=1"],
        ["--jsonl", "lines.jsonl", "--overwrite"],
        ["--jsonl", "lines.jsonl", "--format", "onnx"],
    ],
)
def test_options_of_the_other_kind_are_refused(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "default", *options]) == 2
    assert "--" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

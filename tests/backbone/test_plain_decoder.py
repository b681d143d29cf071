"""Decoders as bare modules, against the vectors of transformers' own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import PlainDecoder, plain_decoder
from reasonembed_rag.errors import ModelError

TEXTS = ["why?", "a list keeps growing " * 3, "lazy dog " * 24]
KINDS = {
    "qwen3": {},
    "qwen2": {"vocab_size": 420},
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"sliding_window": None},
}
_FRESH = """
import sys
import numpy as np
from reasonembed_rag import Encoder
np.save(sys.argv[2], Encoder.from_pretrained(sys.argv[1]).encode_documents(sys.argv[3:]))
print([name for name in sys.modules if name == "transformers" or ".modeling_" in name])
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_that_was_checked_once_loads_without_transformers_and_gives_the_same_vectors(
    tiny_model, tmp_path, kind
):
    folder = str(tiny_model(kind, **KINDS[kind]))
    encoder = Encoder.from_pretrained(folder)
    assert encoder._engine.packed
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, folder, tmp_path / "vectors.npy", *TEXTS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if kind == "qwen2":  # its tokenizer class adds a token to these files, which transformers therefore loads
        assert f"modeling_{kind}" not in done.stdout
    else:
        assert done.stdout.strip() == "[]"
    assert np.abs(np.load(tmp_path / "vectors.npy") - encoder.encode_documents(TEXTS)).max() < 1e-6


def test_modules_that_fail_the_check_are_not_used_and_transformers_are(tiny_model, monkeypatch):
    folder = str(tiny_model("qwen3", seed=31))
    expected = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    monkeypatch.setenv("REASONEMBED_CACHE", folder)  # no mark of the load above
    real = plain_decoder._Rotary.forward
    monkeypatch.setattr(plain_decoder._Rotary, "forward", lambda self, like, at: real(self, like, at + at))
    made = []
    monkeypatch.setattr(PlainDecoder, "around", _recorded(PlainDecoder.around, made))
    encoder = Encoder.from_pretrained(folder)
    assert made
    assert encoder._engine.packed
    assert np.abs(encoder.encode_documents(TEXTS) - expected).max() < 1e-5


def _recorded(real, made):
    def around(*arguments, **settings):
        made.append(real(*arguments, **settings))
        return made[-1]

    return around


@pytest.mark.parametrize(
    "changes",
    [
        {"use_sliding_window": True},
        {"layer_types": ["sliding_attention", "full_attention"]},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}},
        {"hidden_act": "gelu"},
        {"rms_norm_eps": None},
        {"model_type": "gemma2"},
    ],
    ids=str,
)
def test_a_config_that_says_more_than_the_modules_know_is_left_to_transformers(tiny_model, changes):
    config = json.loads((tiny_model("qwen3") / "config.json").read_text())
    assert plain_decoder.fits_plain_decoder(config)
    assert not plain_decoder.fits_plain_decoder(config | changes)


def test_missing_weights_and_other_shapes_are_named(tiny_model):
    import torch

    folder = tiny_model("qwen3")
    config, path = json.loads((folder / "config.json").read_text()), folder / "model.safetensors"
    tensors = load_file(path)
    target = {"dtype": torch.float32, "device": torch.device("cpu")}
    for changed in (tensors["norm.weight"][:-1].clone(), None):
        rest = {name: one for name, one in tensors.items() if name != "norm.weight"}
        save_file(rest if changed is None else rest | {"norm.weight": changed}, path)
        with pytest.raises(ModelError, match=r"norm\.weight"):
            plain_decoder.read_plain_decoder(folder, config, **target)

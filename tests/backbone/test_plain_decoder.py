"""Decoders as bare modules, against the vectors of transformers' own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import PackedForward, PaddedForward, PlainDecoder, plain_decoder, read_blueprint
from reasonembed_rag.backbone.decoder_shape import read_shape
from reasonembed_rag.backbone.linears import make_live
from reasonembed_rag.errors import ModelError

TEXTS = ["why?", "a list keeps growing " * 3, "lazy dog " * 24]
KINDS = {
    "qwen3": {},
    "qwen2": {"vocab_size": 420},
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"sliding_window": None},
    "gemma3_text": {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
}
LOCAL = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
ORIGINAL = {"original_max_position_embeddings": 64, "factor": 8.0}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
SHAPES = {
    "qwen3, windows in later layers": (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, **LOCAL}),
    "mistral, windows": ("mistral", {"sliding_window": 24}),
    "gemma": ("gemma", {"attention_bias": True}),
    "gemma2": ("gemma2", LOCAL | {"query_pre_attn_scalar": 30, "attn_logit_softcapping": 3.0}),
    "gemma2, defaults": ("gemma2", {"sliding_window": 16}),
    "gemma3": ("gemma3_text", LOCAL | {"query_pre_attn_scalar": 30}),
    "gemma3, a pattern": ("gemma3_text", {"sliding_window": 16, "sliding_window_pattern": 2}),
    "gemma3, both ways": ("gemma3_text", LOCAL | {"use_bidirectional_attention": True}),
    "gemma3, scaled": ("gemma3_text", LOCAL | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "llama, linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    "llama, llama3": (
        "llama",
        {
            "rope_parameters": ORIGINAL
            | {"rope_type": "llama3", "rope_theta": 5e5, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        },
    ),
    "qwen2, yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen3, yarn with all settings": (
        "qwen3",
        {
            "rope_parameters": YARN
            | {"beta_fast": 8, "beta_slow": 2, "mscale": 0.7, "mscale_all_dim": 0.4, "truncate": False}
        },
    ),
    "llama, yarn with its own factor": ("llama", {"rope_parameters": YARN | {"attention_factor": 0.8}}),
}
_FRESH = """
import sys
import numpy as np
from reasonembed_rag import Encoder
np.save(sys.argv[2], Encoder.from_pretrained(sys.argv[1]).encode_documents(sys.argv[3:]))
heavy = {"transformers", "sympy", "torch._dynamo"}
print([name for name in sys.modules if name in heavy or ".modeling_" in name])
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


@pytest.mark.parametrize("name", SHAPES)
def test_bare_modules_give_the_states_of_transformers_beyond_every_window(tiny_model, name):
    import torch
    from transformers import AutoModel

    kind, settings = SHAPES[name]
    folder = tiny_model(kind, num_hidden_layers=3, **settings)
    config = json.loads((folder / "config.json").read_text())
    bare = plain_decoder.read_plain_decoder(folder, config, dtype=torch.float32, device=torch.device("cpu"))
    causal = not config.get("use_bidirectional_attention")
    packed = PackedForward(read_blueprint(bare, causal=causal, make=make_live), pooling="mean")
    backbone = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    plain = PaddedForward(backbone, pooling="mean", pad_id=0)
    generator = np.random.default_rng(0)
    sequences = [generator.integers(5, 200, size=size).astype(np.int32) for size in (300, 70, 40, 17, 5, 1)]
    with torch.inference_mode():
        expected = torch.cat([plain([sequence]) for sequence in sequences])
        assert (packed(sequences) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_files_of_older_versions_keep_rotary_settings_elsewhere(tiny_model, kind):
    config = json.loads((tiny_model(kind) / "config.json").read_text())
    new = read_shape(config)
    old = {name: value for name, value in config.items() if name != "rope_parameters"}
    old |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4} if kind == "gemma3_text" else {"rope_theta": 1e4}
    assert read_shape(old) == new
    scaled = read_shape(old | {"rope_scaling": {"type": "linear", "factor": 2.0}})
    kinds = [one["rope_type"] for one in scaled.rotary.values()]
    assert kinds == (["linear", "default"] if kind == "gemma3_text" else ["linear"])


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("llama", "head_dim", "wide"),
        ("llama", "head_dim", -8),
        ("llama", "vocab_size", -1),
        ("llama", "num_hidden_layers", True),
        ("llama", "num_attention_heads", 0),
        ("llama", "hidden_act", ["silu"]),
        ("llama", "layer_types", 2),
        ("llama", "rope_scaling", {"rope_type": ["yarn"]}),
        (
            "llama",
            "rope_scaling",
            {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0},
        ),
        ("qwen3", "max_window_layers", None),
        ("gemma2", "query_pre_attn_scalar", 0),
        ("gemma3_text", "query_pre_attn_scalar", None),
        ("gemma3_text", "sliding_window_pattern", 0),
    ],
)
def test_settings_that_mean_nothing_are_left_to_transformers(tiny_model, kind, name, value):
    config = json.loads((tiny_model(kind) / "config.json").read_text())
    assert read_shape(config) is not None
    more = {"use_sliding_window": True} if name == "max_window_layers" else {}
    if name in {"max_window_layers", "sliding_window_pattern"}:  # read where the types of layers are not given
        config.pop("layer_types", None)
    assert read_shape({**config, **more, name: value}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head_dim", None),
        ("rms_norm_eps", "small"),
        ("num_attention_heads", 0),
        ("layer_types", 2),
        ("hidden_act", "nonsense"),
        ("rope_parameters", {"rope_type": ["yarn"], "rope_theta": 1e4}),
    ],
)
def test_a_config_that_transformers_refuses_is_an_error_of_the_folder(tiny_model, tmp_path, name, value):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("qwen3"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))
    with pytest.raises(ModelError, match=str(folder)):
        Encoder.from_pretrained(str(folder))


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"])
def test_heads_whose_width_is_not_said_are_as_wide_as_in_transformers(tiny_model, tmp_path, kind):
    from transformers import AutoConfig, AutoModel

    config = json.loads((tiny_model(kind) / "config.json").read_text())
    config.pop("head_dim", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    attention = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path)).layers[0].self_attn
    assert read_shape(config).head_width == attention.head_dim


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
        {"layer_types": ["sliding_attention", "full_attention"]},
        {"layer_types": ["full_attention"]},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}},
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 4.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6}}},
        {"rope_scaling": "linear"},
        {"partial_rotary_factor": 0.5},
        {"hidden_act": "gelu"},
        {"rms_norm_eps": None},
        {"model_type": "gemma", "hidden_act": "relu"},
        {"model_type": "gemma2", "hidden_activation": "silu"},
        {"model_type": "gemma2", "hidden_activation": "gelu_pytorch_tanh", "use_bidirectional_attention": True},
        {"model_type": "phi3"},
    ],
    ids=str,
)
def test_a_config_that_says_more_than_the_modules_know_is_left_to_transformers(tiny_model, changes):
    config = json.loads((tiny_model("qwen3") / "config.json").read_text())
    assert read_shape(config) is not None
    assert read_shape(config | changes) is None


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

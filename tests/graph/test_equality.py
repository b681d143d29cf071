"""The graph of every architecture against transformers' own class, one text at a time."""

from __future__ import annotations

import numpy as np
import pytest

from reasonembed_rag.errors import ModelError
from reasonembed_rag.graph import OnnxEngine, supports
from reasonembed_rag.graph.bert import relative_buckets

DISTILBERT = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96}
KINDS = {
    "bert": {},
    "roberta": {"pad_token_id": 1},
    "xlm-roberta": {"pad_token_id": 1},
    "camembert": {"pad_token_id": 1},
    "mpnet": {"pad_token_id": 1},
    "distilbert": DISTILBERT,
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2, "num_hidden_layers": 3},
}


def plain(folder, sequences, pooling, skip=0):
    """Embed one sequence at a time with nothing but transformers."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for ids in sequences:
        with torch.inference_mode():
            hidden = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0]
        kept = min(skip, len(ids) - 1)
        vector = {"last": hidden[-1], "mean": hidden[kept:].mean(0), "cls": hidden[0]}[pooling]
        rows.append(torch.nn.functional.normalize(vector, dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_equals_transformers_whatever_shares_its_batch(tiny_model, weights_of, sequences, embed, kind, pooling):
    folder = tiny_model(kind, **KINDS[kind])
    engine = OnnxEngine(weights_of(folder, pooling=pooling), dtype="float32")
    expected = plain(folder, sequences, pooling)
    assert np.abs(embed(engine, sequences) - expected).max() < 1e-5
    alone = np.concatenate([embed(engine, [ids]) for ids in sequences])
    assert np.abs(alone - expected).max() < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ["bert", "mpnet", "distilbert"])
def test_every_bias_is_added_where_it_belongs(tiny_model, weights_of, sequences, embed, kind, pooling):
    import torch
    from transformers import AutoModel

    folder = tiny_model(kind, **KINDS[kind])
    model = AutoModel.from_pretrained(folder)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)  # a new model has zeros there
    model.save_pretrained(folder)
    expected = plain(folder, sequences, pooling)
    assert (
        np.abs(embed(OnnxEngine(weights_of(folder, pooling=pooling), dtype="float32"), sequences) - expected).max()
        < 1e-5
    )
    int8 = embed(OnnxEngine(weights_of(folder, pooling=pooling), dtype="int8"), sequences)
    assert (int8 * expected).sum(axis=1).min() > 0.99


def test_a_model_without_layers_gives_its_embeddings(tiny_model, weights_of, sequences, embed):
    folder = tiny_model("bert", num_hidden_layers=0)
    engine = OnnxEngine(weights_of(folder), dtype="float32")
    assert np.abs(embed(engine, sequences) - plain(folder, sequences, "mean")).max() < 1e-5


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_every_activation_is_the_one_of_config(tiny_model, weights_of, sequences, embed, activation):
    folder = tiny_model("bert", hidden_act=activation)
    engine = OnnxEngine(weights_of(folder), dtype="float32")
    assert np.abs(embed(engine, sequences) - plain(folder, sequences, "mean")).max() < 1e-5


def test_the_prompt_is_left_out_and_a_text_without_more_gives_its_last_state(tiny_model, weights_of, sequences, embed):
    folder = tiny_model("bert")
    engine = OnnxEngine(weights_of(folder, pool_prompt=False), dtype="float32")
    assert np.abs(embed(engine, sequences, skip=3) - plain(folder, sequences, "mean", skip=3)).max() < 1e-5


def test_vectors_are_truncated_before_they_are_normalised(tiny_model, weights_of, sequences, embed):
    folder = tiny_model("bert")
    whole = embed(OnnxEngine(weights_of(folder, normalize=False), dtype="float32"), sequences)
    short = embed(OnnxEngine(weights_of(folder, dimension=16), dtype="float32"), sequences)
    assert np.allclose(short, whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True), atol=1e-6)


def test_mpnets_buckets_are_those_of_transformers():
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distance = torch.arange(512)[None] - torch.arange(512)[:, None]
    expected = MPNetEncoder.relative_position_bucket(distance, num_buckets=32).numpy()
    assert (relative_buckets(512, buckets=32) == expected).all()


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen3"},
        {"model_type": "bert", "is_decoder": True},
        {"model_type": "bert", "hidden_act": "silu"},
        {"model_type": "bert", "position_embedding_type": "relative_key"},
        {"model_type": "modernbert", "rope_scaling": {"rope_type": "yarn"}},
    ],
)
def test_what_cannot_run_is_refused_and_the_error_names_torch(tiny_model, weights_of, config):
    import dataclasses

    assert supports(config)
    weights = weights_of(tiny_model("bert"))
    changed = dataclasses.replace(weights, config={**weights.config, **config})
    with pytest.raises(ModelError, match=r"backend='torch'"):
        OnnxEngine(changed, dtype="float32")


def test_a_missing_and_a_misshapen_weight_are_named(tiny_model, weights_of):
    import dataclasses

    weights = weights_of(tiny_model("bert"))
    name = "encoder.layer.1.output.dense.weight"
    tensors = dict(weights.tensors())
    for changed in (
        {key: value for key, value in tensors.items() if key != name},
        tensors | {name: tensors[name][:, :3]},
    ):
        damaged = dataclasses.replace(weights, tensors=lambda changed=changed: changed, digest=f"{len(changed)}")
        with pytest.raises(ModelError, match=name):
            OnnxEngine(damaged, dtype="float32")

"""The model in training: its forwards agree, LoRA is on the right layers, and a frozen copy equals the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonembed_rag.backbone import PackedForward, PaddedForward
from reasonembed_rag.errors import TrainingError
from reasonembed_training import model as room
from reasonembed_training.config import LoraConfig, ModelConfig
from reasonembed_training.model import build_model

BERT = ("query", "key", "value", "dense")
DECODER = LoraConfig().targets
SEQUENCES = [np.array(ids, dtype=np.int32) for ids in ([2, 9, 30, 41, 3], [2, 7, 3], [2, 5, 5, 60, 61, 62, 70, 3])]
WIDTH, INNER, HEAD, LAYERS = 64, 96, 16, 2  # tiny_model's


@pytest.fixture
def forward_error(sum_error):
    """Error bound for two correct forwards of SEQUENCES: each rounds every sum and amplifies none."""
    layer = (WIDTH, HEAD, max(map(len, SEQUENCES)), WIDTH, WIDTH, INNER, WIDTH, WIDTH)  # the products, then two norms
    return 2 * sum_error(*layer * LAYERS, WIDTH)


def built(folder, *, targets=BERT, **settings):
    torch.manual_seed(0)
    config = ModelConfig(name=str(folder), **settings)
    return build_model(config, LoraConfig(rank=4, targets=targets), device=torch.device("cpu"), bfloat16=False)


def shake(model):
    """Set LoRA's B matrices, which start at zero, to random values."""
    torch.manual_seed(1)
    for parameter in model.trainable().values():
        torch.nn.init.normal_(parameter, std=0.1)


def gradients(model):
    model.module.zero_grad()
    vectors = model.module(SEQUENCES)
    (vectors * torch.linspace(-1, 1, vectors.numel()).view_as(vectors)).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.trainable().items()}, vectors.detach()


@pytest.mark.parametrize(("kind", "targets"), [("bert", BERT), ("qwen3", DECODER), ("llama", DECODER)])
@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_vectors_and_gradients_are_those_of_transformers(
    tiny_model, kind, targets, tuning, checkpointing, forward_error, sum_error
):
    folder = tiny_model(kind)
    found = {}
    for forward in ("packed", "padded"):
        model = built(folder, targets=targets, tuning=tuning, forward=forward, gradient_checkpointing=checkpointing)
        if tuning == "lora":
            shake(model)
        for module in model.module.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        found[forward] = gradients(model)
    packed, padded = found["packed"], found["padded"]
    torch.testing.assert_close(packed[1], padded[1], atol=forward_error, rtol=0)
    assert packed[0].keys() == padded[0].keys()
    # Backward computes every product twice, for its input and its weight; terms that cancel, such as a key's bias,
    # leave the rounding errors of their sums.
    noise = 2 * sum_error(WIDTH) * max(gradient.abs().max() for gradient in padded[0].values())
    for name, gradient in padded[0].items():
        difference = (packed[0][name] - gradient).abs().max()
        assert difference <= 3 * forward_error * gradient.abs().max() + noise, name


def test_the_forward_is_packed_where_it_fits_and_padded_where_its_gradients_differ(tiny_bert, monkeypatch, caplog):
    assert isinstance(built(tiny_bert).module._run, PackedForward)
    make_live = room.make_live
    monkeypatch.setattr(room, "make_live", lambda modules: _Deaf(make_live(modules)))
    assert isinstance(built(tiny_bert).module._run, PaddedForward)
    assert "gradients" in caplog.text
    with pytest.raises(TrainingError, match=r"\bmodel\.forward\b.*'packed'.*\bBertModel\b"):
        built(tiny_bert, forward="packed")


class _Deaf:
    """A product with correct values and no gradient."""

    def __init__(self, linear):
        self._linear = linear

    def __call__(self, x, *, activation=None):
        return self._linear(x.detach(), activation=activation)

    def plus(self, x, residual):
        return self._linear.plus(x, residual)

    def times(self, x, factor):
        return self._linear.times(x, factor)


def test_modernbert_whose_packed_weights_are_copies_is_trained_padded(tiny_model):
    folder = tiny_model("modernbert", pooling="cls", num_hidden_layers=4)  # the last layer attends globally
    model = built(folder, tuning="full")
    assert isinstance(model.module._run, PaddedForward)
    got, _ = gradients(model)
    assert all(torch.isfinite(gradient).all() for gradient in got.values())


def test_only_lora_is_trained_and_only_lora_drops_out(tiny_bert):
    model = built(tiny_bert)
    assert model.trainable()
    assert all(".lora_" in name for name in model.trainable())
    dropouts = {name: one.p for name, one in model.module.named_modules() if isinstance(one, torch.nn.Dropout)}
    assert all((p == 0.1) == ("lora_dropout" in name) for name, p in dropouts.items())
    assert any(p == 0.1 for p in dropouts.values())


def test_a_parameter_that_no_vector_depends_on_is_not_trained(tiny_bert):
    model = built(tiny_bert, tuning="full")
    assert not any(name.startswith("backbone.pooler") for name in model.trainable())
    assert any(name.startswith("backbone.embeddings") for name in model.trainable())


def test_lora_starts_as_the_model_it_is_put_on(tiny_bert):
    with torch.no_grad():
        torch.testing.assert_close(
            built(tiny_bert).module(SEQUENCES), built(tiny_bert, tuning="full").module(SEQUENCES), atol=1e-6, rtol=0
        )


def test_a_frozen_copy_embeds_as_the_model_did_and_is_not_changed_by_later_steps(tiny_bert, forward_error):
    model = built(tiny_bert)
    shake(model)
    frozen = model.module.frozen()
    with torch.no_grad():
        wanted = model.module.eval()(SEQUENCES)
    torch.testing.assert_close(frozen(SEQUENCES), wanted, atol=forward_error, rtol=0)
    shake_more = next(iter(model.trainable().values()))
    with torch.no_grad():
        shake_more.add_(1.0)
    torch.testing.assert_close(frozen(SEQUENCES), wanted, atol=forward_error, rtol=0)


def test_measuring_leaves_the_model_in_training(tiny_bert):
    module = built(tiny_bert).module
    module.train()
    module.frozen()(SEQUENCES)
    assert module.training


def test_the_recipe_may_overrule_the_files(tiny_bert):
    model = built(tiny_bert, pooling="cls", query_template="find: {text}", max_query_length=33)
    assert (model.spec.pooling, model.spec.query_template, model.spec.max_query_length) == ("cls", "find: {text}", 33)

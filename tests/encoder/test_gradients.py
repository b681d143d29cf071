"""An encoder's gradients against finite differences; tokens and vectors against its documents."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.encoder.cache import VectorCache
from reasonembed_rag.errors import InputError, ModelError

TEXT = "the quick brown fox jumps over the lazy dog"


def direction(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size)


def with_template(folder, template: str):
    """Write a spec.json with a document template."""
    spec = json.loads(Encoder.from_pretrained(str(folder)).spec.to_json())
    (folder / "spec.json").write_text(json.dumps(spec | {"document_template": template}))
    return str(folder)


def measured_slope(folder, ids: list[int], row: int, token: int, towards: np.ndarray, *, pooling: str) -> float:
    """Move one token's embedding a little towards another's, in float64, and return the change of the similarity."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    embed = model.get_input_embeddings()
    step = 1e-3  # norms are computed in float32 in any format: a smaller step would measure their rounding

    def similarity(share: float) -> float:
        with torch.no_grad():
            inputs = embed(torch.tensor(ids))[None].clone()
            inputs[0, row] += share * (embed(torch.tensor(token)) - inputs[0, row])
            hidden = model(inputs_embeds=inputs).last_hidden_state[0]
        vector = hidden.mean(0) if pooling == "mean" else hidden[-1]
        return float(torch.nn.functional.normalize(vector, dim=0) @ torch.from_numpy(towards))

    return (similarity(step) - similarity(-step)) / (2 * step)


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "mean"), ("qwen3", "last"), ("gemma3_text", "last")])
def test_gains_are_the_slopes_that_finite_differences_measure(tiny_model, kind, pooling):
    folder = tiny_model(kind, pooling=pooling)
    encoder = Encoder.from_pretrained(str(folder))
    view, towards, place = encoder.token_gradients(), direction(encoder.dimension), 3
    own = view.tokens([TEXT])[0]
    whole = encoder._tokenizer([TEXT], before="", after="", max_length=100).ids.tolist()
    row = whole.index(own[0]) + place
    gains = view.gains(TEXT, place=place, direction=towards)
    others = np.flatnonzero(gains > -np.inf)[::40]
    expected = [measured_slope(folder, whole, row, int(other), towards, pooling=pooling) for other in others]
    got = gains[others] - gains[own[place]]
    scale = float(got @ expected / (got @ got))  # Gemma scales its embeddings: only the order matters
    assert scale == pytest.approx(1.0, rel=5e-3) or kind.startswith("gemma")
    assert scale > 0
    assert np.allclose(scale * got, expected, rtol=0, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("template", ["{text}", "the fox: {text}", "the fox: {text} lazy dog"])
def test_a_texts_own_tokens_decode_to_the_text_without_the_template(tiny_model, kind, template):
    folder = with_template(tiny_model(kind, pooling="mean" if kind == "bert" else "last"), template)
    view = Encoder.from_pretrained(folder).token_gradients()
    tokens = view.tokens([TEXT, "the"])
    assert view.texts(tokens) == [TEXT, "the"]
    again = view.tokens(view.texts(tokens))
    assert all(np.array_equal(one, other) for one, other in zip(tokens, again, strict=True))


@pytest.mark.parametrize("template", ["{text}", "the fox: {text} lazy dog"])
def test_gains_are_those_of_the_text_and_not_of_the_template(tiny_model, template):
    view = Encoder.from_pretrained(with_template(tiny_model("qwen3"), template)).token_gradients()
    count = len(view.tokens([TEXT])[0])
    places = [view.gains(TEXT, place=place, direction=direction(64)) for place in range(count)]
    assert len({gains.tobytes() for gains in places}) == count
    for place in (-1, count):
        with pytest.raises(InputError, match=rf"\bplace\b.*{place}\b.*\b{count}\b"):
            view.gains(TEXT, place=place, direction=direction(64))


def test_vectors_are_those_of_the_documents_and_never_reach_the_cache(tiny_model, tmp_path):
    texts = [TEXT, "lazy dog", "x"]
    with VectorCache(tmp_path, max_bytes=1 << 22) as cache:
        encoder = Encoder.from_pretrained(str(tiny_model("bert", pooling="mean")), cache=cache)
        vectors = encoder.token_gradients().vectors(texts)
        before = encoder.tokens_encoded
        documents = encoder.encode_documents(texts)
        assert encoder.tokens_encoded > before  # nothing was found in the cache
    assert np.allclose(vectors, documents, atol=1e-6)


def test_special_tokens_have_no_gain_and_most_words_have_one(tiny_model):
    for kind in ("bert", "qwen3"):
        folder = tiny_model(kind, pooling="mean" if kind == "bert" else "last")
        encoder = Encoder.from_pretrained(str(folder))
        gains = encoder.token_gradients().gains(TEXT, place=0, direction=direction(64))
        special = {"bert": range(5), "qwen3": range(2)}[kind]
        assert all(gains[token] == -np.inf for token in special)
        assert np.isfinite(gains).mean() > 0.4


def test_a_truncated_vector_has_its_own_gradients(tiny_model):
    encoder = Encoder.from_pretrained(str(tiny_model("qwen3")), truncate_dim=16)
    view = encoder.token_gradients()
    assert view.vectors([TEXT]).shape == (1, 16)
    assert np.allclose(view.vectors([TEXT]), encoder.encode_documents([TEXT]), atol=1e-6)
    assert np.isfinite(view.gains(TEXT, place=0, direction=direction(16))).any()


def test_an_encoder_without_gradients_is_refused(tiny_model):
    folder = str(tiny_model("bert", pooling="mean"))
    with pytest.raises(InputError, match=r"\bint8\b.*dtype='float32'"):
        Encoder.from_pretrained(folder, dtype="int8").token_gradients()
    with (
        Encoder.from_pretrained(folder, device=["cpu"]) as encoder,
        pytest.raises(InputError, match=r"gradients.*device='cpu'"),
    ):
        encoder.token_gradients()


def test_changed_model_files_are_refused(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model("bert", pooling="mean"), tmp_path / "model")
    encoder = Encoder.from_pretrained(str(folder))
    shutil.copy(tiny_model("bert", seed=9) / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ModelError, match=rf"{re.escape(str(folder))}.*\bfiles\b"):
        encoder.token_gradients()

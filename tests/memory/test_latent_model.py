"""The latent forward against transformers, against itself in other batches, and with masks and positions broken."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.memory import REPEAT, LatentSettings, create_latent, load_latent, save_latent
from reasonembed_rag.memory import model as module

LOCAL = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
KINDS = {
    "qwen3": {},
    "llama": {},
    "mistral": {"sliding_window": 24},
    "gemma": {},
    "gemma2": LOCAL,
    "gemma3_text": LOCAL,
}
K = 4
TEXTS = [np.random.default_rng(n).integers(5, 200, size=n).astype(np.int32) for n in (43, 41, 17, 3, 1)]
ENDS = [np.random.default_rng(n).integers(5, 200, size=n).astype(np.int32) for n in (6, 9, 1, 4, 7)]


@pytest.fixture(scope="module", params=KINDS)
def latent(request, tiny_model):
    """One latent model per kind of decoder, with random LoRA."""
    folder = tiny_model(request.param, num_hidden_layers=3, tie_word_embeddings=True, **KINDS[request.param])
    made = create_latent(EncoderSettings(model=str(folder)), LatentSettings(latents=K, rank=2), seed=1)
    randomise(made.model)
    return made


@torch.no_grad()
def randomise(model):
    generator = torch.Generator().manual_seed(3)
    for name, one in model.trained().items():
        if name.endswith("/b"):
            one.copy_(torch.randn(one.shape, generator=generator) * 0.3)


@pytest.fixture(autouse=True)
def _no_gradients(request):
    with torch.set_grad_enabled("gradient" in request.node.name):
        yield


def test_plain_states_are_those_of_transformers_and_logits_those_of_its_head(latent):
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(latent.backbone.model, attn_implementation="eager").eval()
    for ids in TEXTS:
        expected = reference(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0]
        logits = latent.model.logits(latent.model.plain([ids])[0])
        torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


def test_plain_positions_keep_their_bits_whatever_the_adapters_do(latent):
    with_adapters = latent.model(TEXTS, text_states=True)
    plain = latent.model.plain(TEXTS)[0]
    saved = {name: one.clone() for name, one in latent.model.trained().items()}
    for name, one in latent.model.trained().items():
        if name.startswith("changes"):
            one.zero_()
    without = latent.model(TEXTS, text_states=True)
    assert torch.equal(latent.model.plain(TEXTS)[0], plain)
    for name, one in latent.model.trained().items():
        one.copy_(saved[name])
    assert torch.equal(with_adapters.texts_TD, without.texts_TD)
    assert not torch.allclose(with_adapters.latents_BkD, without.latents_BkD, atol=1e-2)
    torch.testing.assert_close(with_adapters.texts_TD, plain, atol=1e-4, rtol=1e-4)


def test_one_by_one_is_a_batch_and_the_shorter_last_layer_the_whole_one(latent):
    batch, whole = latent.model(TEXTS), latent.model(TEXTS, text_states=True)
    torch.testing.assert_close(batch.latents_BkD, whole.latents_BkD, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(batch.memories_BN2KkD, whole.memories_BN2KkD, atol=1e-5, rtol=1e-5)
    for row, ids in enumerate(TEXTS):
        alone = latent.model([ids])
        torch.testing.assert_close(alone.latents_BkD[0], batch.latents_BkD[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone.memories_BN2KkD[0], batch.memories_BN2KkD[row], atol=1e-5, rtol=1e-5)


def test_a_memory_has_one_size_whatever_its_text_has(latent):
    shapes = {tuple(latent.model([ids]).memories_BN2KkD.shape[1:]) for ids in TEXTS}
    assert shapes == {latent.model.memory_shape} == {(3, 2, 2, K, 16)}
    assert latent.model.memory_bytes == 2 * 3 * 2 * 16 * K * 4


def continued(model, memories):
    """Return the continuations' states by their memories alone."""
    states = [model.plain([end], past=model.placed(memories[row : row + 1]))[0] for row, end in enumerate(ENDS)]
    return torch.cat(states)


def test_a_continuation_under_the_mask_is_one_behind_the_memory_alone(latent):
    joint = latent.model(TEXTS, ENDS)
    alone = latent.model(TEXTS)
    torch.testing.assert_close(joint.memories_BN2KkD, alone.memories_BN2KkD, atol=2e-5, rtol=1e-4)
    expected = continued(latent.model, alone.memories_BN2KkD)
    torch.testing.assert_close(joint.continuations_TD, expected, atol=2e-4, rtol=1e-4)


def test_a_mask_that_leaks_is_found(latent, monkeypatch):
    real = module.Sight

    def leaky(layout, **tokens):
        return real(layout, **{name: torch.zeros_like(one) for name, one in tokens.items()})

    monkeypatch.setattr(module, "Sight", leaky)
    leaked = latent.model(TEXTS, ENDS)
    expected = continued(latent.model, latent.model(TEXTS).memories_BN2KkD)
    assert not torch.allclose(leaked.continuations_TD, expected, atol=1e-2)


def test_memories_stand_side_by_side_as_a_forward_with_shifted_positions_would_place_them(latent):
    model = latent.model
    one, two = (model([ids]).memories_BN2KkD for ids in TEXTS[:2])
    both = torch.cat([two, one], dim=4)
    shifted = model.placed(torch.cat([torch.zeros_like(two), one], dim=4))
    placed = model.placed(both)
    for layer, (key, value) in enumerate(placed):
        torch.testing.assert_close(key[:, K:], shifted[layer][0][:, K:], atol=0, rtol=0)
        torch.testing.assert_close(value[:, K:], one[:, layer, 1].transpose(1, 2), atol=0, rtol=0)
        # rotated at k..2k-1, not copied from 0..k-1
        assert not torch.allclose(key[:, K:], model.placed(one)[layer][0], atol=1e-2)


def test_positions_that_are_not_rebased_are_found(latent, monkeypatch):
    memories = latent.model(TEXTS).memories_BN2KkD
    expected = continued(latent.model, memories)

    def raw(memories_BN2KPd):
        return [
            module.KeyValue(*(memories_BN2KPd[:, layer, side].transpose(1, 2) for side in (0, 1)))
            for layer in range(memories_BN2KPd.shape[1])
        ]

    monkeypatch.setattr(latent.model, "placed", raw)
    assert not torch.allclose(continued(latent.model, memories), expected, atol=1e-2)


def test_reading_behind_a_memory_gives_a_memory_of_the_same_size(latent):
    model = latent.model
    memory = model(TEXTS[:1]).memories_BN2KkD
    for ids in TEXTS[1:]:
        after = model([ids], memories_BN2KPd=memory).memories_BN2KkD
        assert after.shape == memory.shape
        assert not torch.allclose(after, model([ids]).memories_BN2KkD, atol=1e-3)
        memory = after


def test_tokens_behind_a_past_are_those_of_one_pass(latent):
    ids = TEXTS[0]
    whole = latent.model.plain([ids])[0]
    first, past = latent.model.plain([ids[:20]])
    second, past = latent.model.plain([ids[20:30]], past=past)
    steps = []
    for number in range(30, len(ids)):
        state, past = latent.model.plain([ids[number : number + 1]], past=past)
        steps.append(state)
    torch.testing.assert_close(torch.cat([first, second, *steps]), whole, atol=1e-4, rtol=1e-4)


def test_gradients_reach_rows_and_matrices_from_every_output_and_none_the_backbone(latent):
    model = latent.model
    reading = model(TEXTS, [np.asarray([REPEAT, *end[:-1]]) for end in ENDS])
    loss = model.logits(reading.continuations_TD).logsumexp(dim=-1).sum()
    loss.backward()
    alone = model(TEXTS).pooled_BD
    alone.sum().backward()
    for name, one in model.trained().items():
        assert one.grad is not None, name
        assert bool(one.grad.abs().sum() > 0), name
        one.grad = None
    assert all(one.grad is None for one in model.backbone.parameters())


def test_a_saved_model_gives_the_same_memories(latent, tmp_path):
    save_latent(latent, tmp_path / "one")
    loaded = load_latent(tmp_path / "one")
    assert loaded.fingerprint == latent.fingerprint == loaded.spec.weights
    assert loaded.model.settings == latent.model.settings
    expected = latent.model(TEXTS)
    found = loaded.model(TEXTS)  # through the fast linears
    torch.testing.assert_close(found.memories_BN2KkD, expected.memories_BN2KkD, atol=2e-5, rtol=1e-4)


def test_another_backbone_is_refused(latent, tiny_model, tmp_path):
    save_latent(latent, tmp_path)
    other = tiny_model("qwen3", num_hidden_layers=3, tie_word_embeddings=True, seed=7)
    with pytest.raises(ModelError, match=latent.backbone_fingerprint):
        load_latent(tmp_path, backbone=str(other))


def test_a_backbone_is_found_from_any_folder_and_one_that_is_gone_is_said(latent, tmp_path, monkeypatch):
    moved = tmp_path / "back"
    shutil.copytree(latent.backbone.model, moved)
    monkeypatch.chdir(tmp_path)
    named = replace(latent, backbone=replace(latent.backbone, model="back"))
    save_latent(named, tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    assert load_latent(tmp_path / "model").fingerprint == latent.fingerprint
    moved.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="--backbone"):
        load_latent(tmp_path / "model")
    assert load_latent(tmp_path / "model", backbone="../elsewhere").fingerprint == latent.fingerprint


def test_bad_backbones_and_settings_are_refused(tiny_model, tmp_path):
    settings = LatentSettings(latents=2, rank=1)
    for kind, more in (("bert", {}), ("gemma3_text", {"use_bidirectional_attention": True})):
        with pytest.raises(InputError, match="causal decoder"):
            create_latent(EncoderSettings(model=str(tiny_model(kind, **more))), settings)
    folder = str(tiny_model("qwen3", tie_word_embeddings=False))
    with pytest.raises(ModelError, match="lm_head"):
        create_latent(EncoderSettings(model=folder), settings)
    for wrong in ({"latents": 0}, {"rank": -1}, {"alpha": 0.0}, {"question_template": "no field"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            LatentSettings(**wrong)
    tied = EncoderSettings(model=str(tiny_model("qwen3", tie_word_embeddings=True)))
    with pytest.raises(InputError, match="no_proj"):
        create_latent(tied, LatentSettings(targets=("q_proj", "no_proj")))
    model = create_latent(tied, settings).model
    for texts in ([np.empty(0, np.int32)], [np.asarray([10_000])], [np.asarray([REPEAT])]):
        with pytest.raises(InputError, match="text 0"):
            model(texts)
